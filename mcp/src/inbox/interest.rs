//! [`Interest`]: what a subscription is to report.

use crate::types::{ListCapability, ServerCapabilities};
use serde::{Deserialize, Deserializer, Serialize};

/// What a [`Subscription`](crate::Subscription) is to report.
///
/// ```
/// use shared_fate_mcp::Interest;
///
/// let interest = Interest::default().tools().resource("file:///notes.txt");
/// assert!(interest.tools_list_changed);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Interest {
    /// Changes of the list of tools.
    #[serde(skip_serializing_if = "is_false")]
    #[serde(deserialize_with = "or_default")]
    pub tools_list_changed: bool,
    /// Changes of the list of prompts.
    #[serde(skip_serializing_if = "is_false")]
    #[serde(deserialize_with = "or_default")]
    pub prompts_list_changed: bool,
    /// Changes of the list of resources.
    #[serde(skip_serializing_if = "is_false")]
    #[serde(deserialize_with = "or_default")]
    pub resources_list_changed: bool,
    /// Changes of these resources, by their addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "or_default")]
    pub resource_subscriptions: Vec<String>,
    /// How these tasks stand, by their ids: with [`Builder::task_extension`](crate::Builder::task_extension)
    /// only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "or_default")]
    pub task_ids: Vec<String>,
}

impl Interest {
    /// Also changes of the list of tools.
    pub fn tools(mut self) -> Self {
        self.tools_list_changed = true;
        self
    }

    /// Also changes of the list of prompts.
    pub fn prompts(mut self) -> Self {
        self.prompts_list_changed = true;
        self
    }

    /// Also changes of the list of resources.
    pub fn resources(mut self) -> Self {
        self.resources_list_changed = true;
        self
    }

    /// Also changes of this resource.
    pub fn resource(mut self, uri: impl Into<String>) -> Self {
        self.resource_subscriptions.push(uri.into());
        self
    }

    /// Also how this task stands: with [`Builder::task_extension`](crate::Builder::task_extension) only.
    pub fn task(mut self, id: impl Into<String>) -> Self {
        self.task_ids.push(id.into());
        self
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is in this one and not in `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let left = |ours: &[String], theirs: &[String]| {
            ours.iter().filter(|it| !theirs.contains(it)).cloned().collect()
        };
        Self {
            tools_list_changed: self.tools_list_changed && !other.tools_list_changed,
            prompts_list_changed: self.prompts_list_changed && !other.prompts_list_changed,
            resources_list_changed: self.resources_list_changed && !other.resources_list_changed,
            resource_subscriptions: left(&self.resource_subscriptions, &other.resource_subscriptions),
            task_ids: left(&self.task_ids, &other.task_ids),
        }
    }
}

impl Interest {
    /// What of this a server with a handshake reports.
    pub(crate) fn offered_by(&self, server: &ServerCapabilities) -> Self {
        let tells = |list: &Option<ListCapability>| list.as_ref().is_some_and(|list| list.list_changed);
        let resources = server.resources.as_ref();
        let subscribes = resources.is_some_and(|resources| resources.subscribe);
        Self {
            tools_list_changed: self.tools_list_changed && tells(&server.tools),
            prompts_list_changed: self.prompts_list_changed && tells(&server.prompts),
            resources_list_changed: self.resources_list_changed
                && resources.is_some_and(|it| it.list_changed),
            resource_subscriptions: match subscribes {
                true => self.resource_subscriptions.clone(),
                false => Vec::new(),
            },
            task_ids: Vec::new(),
        }
    }

    /// Whether a notification of a server with a handshake belongs to this. It may be of a part of a resource, whose address
    /// nobody knows beforehand.
    pub(crate) fn covers(&self, method: &str) -> bool {
        match method {
            "notifications/tools/list_changed" => self.tools_list_changed,
            "notifications/prompts/list_changed" => self.prompts_list_changed,
            "notifications/resources/list_changed" => self.resources_list_changed,
            "notifications/resources/updated" => !self.resource_subscriptions.is_empty(),
            _ => false,
        }
    }
}

/// `null` is as good as nothing.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    value: D,
) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_nothing() {
        let text = r#"{"toolsListChanged":true,"promptsListChanged":null,"resourceSubscriptions":null,"taskIds":null}"#;
        assert_eq!(serde_json::from_str::<Interest>(text).unwrap(), Interest::default().tools());
    }
}
