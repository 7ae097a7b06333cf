//! [`Event`]: what is no call's business.

use crate::error::Error;
use crate::protocol::json::object::read_object;
use crate::types::{LogMessage, Task};
use serde::Deserialize;

/// Something that is no call's business. See [`Builder::on_event`](crate::Builder::on_event).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The server's tools have changed.
    ToolsChanged,
    /// The server's prompts have changed.
    PromptsChanged,
    /// The server's resources have changed.
    ResourcesChanged,
    /// A resource that this client subscribed to, or a part of it, has changed.
    ResourceUpdated {
        /// Its address.
        uri: &'a str,
    },
    /// A line of the server's log.
    Log(&'a LogMessage),
    /// How a task stands (2025-11-25). Servers may say so, or not.
    Task(&'a Task),
    /// The user is done with the page that a server asked to be visited.
    ElicitationComplete {
        /// What the server called it: [`ElicitUrl::id`](crate::ElicitUrl::id).
        id: &'a str,
    },
    /// Any other notification: this crate knows no use for it. There may be any number of them. Each is told before the
    /// next message is read, so a hook that takes its time slows the server down.
    Notification {
        /// Its method.
        method: &'a str,
        /// Its parameters, as JSON text.
        params: Option<&'a str>,
    },
    /// A tool was left out of the list, because the server's instructions for its headers are invalid.
    ToolLeftOut {
        /// The tool.
        name: &'a str,
        /// What is wrong.
        why: &'a str,
    },
    /// A part of a result has another form than the schema says: it was left out, or kept as it came.
    OddResult {
        /// The method.
        method: &'a str,
        /// What is odd, and how it begins.
        what: &'a str,
    },
    /// A message that belongs to nobody: output that is no message, a late or foreign reply.
    Stray {
        /// Its beginning.
        excerpt: &'a str,
    },
    /// The server's own event stream is lost for good; calls go on.
    StreamLost(&'a Error),
    /// Something has happened to the tokens of a server. Of several clients that have one handle, one is told: one that
    /// waits for it, or whose driver carries it on.
    #[cfg(feature = "oauth")]
    Auth(&'a crate::oauth::AuthEvent),
    /// A message that nobody waited for (a cancellation, an answer) could not be delivered.
    NotDelivered(&'a Error),
}

pub(crate) const TASK_STATUS: &str = "notifications/tasks/status";

/// Makes an event of a notification. `params` is its parameters, as JSON text.
pub(crate) fn of_notification(method: &str, params: Option<&str>, emit: impl FnOnce(&Event<'_>)) {
    #[derive(Deserialize)]
    struct Updated {
        uri: String,
    }
    #[derive(Deserialize)]
    struct Complete {
        #[serde(rename = "elicitationId")]
        id: String,
    }
    fn read<'a, T: Deserialize<'a>>(params: Option<&'a str>) -> Option<T> {
        read_object(params?)
    }
    let other = Event::Notification { method, params };
    match method {
        "notifications/tools/list_changed" => emit(&Event::ToolsChanged),
        "notifications/prompts/list_changed" => emit(&Event::PromptsChanged),
        "notifications/resources/list_changed" => emit(&Event::ResourcesChanged),
        "notifications/resources/updated" => match read::<Updated>(params) {
            Some(Updated { uri }) => emit(&Event::ResourceUpdated { uri: &uri }),
            None => emit(&other),
        },
        "notifications/elicitation/complete" => match read::<Complete>(params) {
            Some(Complete { id }) => emit(&Event::ElicitationComplete { id: &id }),
            None => emit(&other),
        },
        "notifications/message" => match read::<LogMessage>(params) {
            Some(message) => emit(&Event::Log(&message)),
            None => emit(&other),
        },
        _ => emit(&other),
    }
}
