//! [`Event`]: what is no call's business.

use super::error::Error;
use super::types::Json;
use serde::Deserialize;

/// Something that is no call's business. See [`Builder::on_event`](super::Builder::on_event).
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
    /// Any other notification.
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
    /// A message that belongs to nobody: output that is no message, a late or foreign reply.
    Stray {
        /// Its beginning.
        excerpt: &'a str,
    },
    /// The server's own event stream is lost for good; calls go on.
    StreamLost(&'a Error),
    /// A message that nobody waited for (a cancellation, an answer) could not be delivered.
    NotDelivered(&'a Error),
}

/// A line of a server's log.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct LogMessage {
    /// How grave it is: `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or
    /// `emergency`.
    pub level: String,
    /// Which part of the server says so.
    pub logger: Option<String>,
    /// What it says: often a string, possibly any JSON.
    pub data: Json,
}

/// How far a call has come.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Grows from one report to the next.
    pub progress: f64,
    /// What `progress` will be at the end, if that is known.
    pub total: Option<f64>,
    /// What is going on.
    pub message: Option<String>,
}

/// Makes an event of a notification. `params` is its parameters, as JSON text.
pub(crate) fn of_notification(method: &str, params: Option<&str>, emit: impl FnOnce(&Event<'_>)) {
    #[derive(Deserialize)]
    struct Updated {
        uri: String,
    }
    fn read<'a, T: Deserialize<'a>>(params: Option<&'a str>) -> Option<T> {
        serde_json::from_str(params?).ok()
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
        "notifications/message" => match read::<LogMessage>(params) {
            Some(message) => emit(&Event::Log(&message)),
            None => emit(&other),
        },
        _ => emit(&other),
    }
}
