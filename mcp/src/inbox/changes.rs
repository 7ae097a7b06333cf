//! [`Changes`]: what a server has reported to one subscription, until it is fetched (SUB-01 to SUB-12).

use crate::protocol::json::object::read_object;
use crate::sync::wait_cell::WaitCell;
use crate::types::{Json, TaskStatus};
use serde::Deserialize;
use std::collections::VecDeque;
use std::task::{Context, Poll};

pub(crate) const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// Something that has changed at the server. The new value is not included: fetch it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// This resource, or a part of it.
    Resource {
        /// Its address.
        uri: String,
    },
    /// A task: how it stands now.
    Task {
        /// Its id.
        id: String,
        /// How far it is.
        status: TaskStatus,
        /// All that `tasks/get` would say, its result included.
        state: Json,
    },
    /// Something that this crate does not know.
    Other {
        /// The notification's method.
        method: String,
        /// Its parameters.
        params: Option<Json>,
    },
    /// More than [`Limits::changes`](crate::Limits::changes), or than
    /// [`Limits::change_bytes`](crate::Limits::change_bytes), were not fetched in time, and the oldest are
    /// lost: anything may have changed.
    Lagged,
}

impl Change {
    /// How much text it keeps, in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Tools | Self::Prompts | Self::Resources | Self::Lagged => 0,
            Self::Resource { uri } => uri.len(),
            Self::Task { id, state, .. } => id.len() + state.text().len(),
            Self::Other { method, params } => {
                method.len() + params.as_ref().map_or(0, |params| params.text().len())
            }
        }
    }
}

/// Where the changes of one subscription are kept until they are fetched.
pub(crate) struct Changes {
    limit: usize,
    byte_limit: usize,
    kept: WaitCell<Kept>,
}

#[derive(Default)]
struct Kept {
    changes: VecDeque<Change>,
    /// How much text is in them.
    bytes: usize,
    lagged: bool,
    acknowledged: Option<Json>,
}

impl Changes {
    pub(crate) fn new(limit: usize, byte_limit: usize) -> Self {
        Self { limit, byte_limit, kept: WaitCell::default() }
    }

    /// What the server has agreed to report, once it has.
    pub(crate) fn acknowledged(&self) -> Option<Json> {
        self.kept.with(|kept| kept.acknowledged.clone())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.with(|kept| kept.changes.is_empty())
    }

    /// Takes a notification of this subscription.
    pub(crate) fn push(&self, method: &str, params: Option<Json>) {
        #[derive(Deserialize)]
        struct Updated {
            uri: String,
        }
        #[derive(Deserialize)]
        struct Stands {
            #[serde(rename = "taskId")]
            id: String,
            status: TaskStatus,
        }
        if method == ACKNOWLEDGED {
            let params = params.unwrap_or_else(|| Json::new(&()).expect("null"));
            let old = self.kept.change(|kept| kept.acknowledged.replace(params));
            return drop(old);
        }
        let known = match (method, &params) {
            ("notifications/tools/list_changed", _) => Some(Change::Tools),
            ("notifications/prompts/list_changed", _) => Some(Change::Prompts),
            ("notifications/resources/list_changed", _) => Some(Change::Resources),
            ("notifications/resources/updated", Some(params)) => {
                read_object(params.text()).map(|Updated { uri }| Change::Resource { uri })
            }
            ("notifications/tasks", Some(state)) => {
                let task = read_object(state.text());
                task.map(|Stands { id, status }| Change::Task { id, status, state: state.clone() })
            }
            _ => None,
        };
        let change = known.unwrap_or_else(|| Change::Other { method: method.to_owned(), params });
        self.kept.change(|kept| {
            kept.bytes += change.size();
            kept.changes.push_back(change);
            while kept.changes.len() > self.limit || kept.bytes > self.byte_limit {
                drop(kept.pop());
                kept.lagged = true;
            }
        });
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Change> {
        self.kept.poll(cx, |kept| match std::mem::take(&mut kept.lagged) {
            true => Some(Change::Lagged),
            false => kept.pop(),
        })
    }

    pub(crate) fn poll_acknowledged(&self, cx: &mut Context<'_>) -> bool {
        self.kept.poll(cx, |kept| kept.acknowledged.as_ref().map(drop)).is_ready()
    }
}

impl Kept {
    fn pop(&mut self) -> Option<Change> {
        let change = self.changes.pop_front()?;
        self.bytes -= change.size();
        Some(change)
    }
}
