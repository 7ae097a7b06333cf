//! [`Event`]: what is no call's business.

use crate::error::Error;
use crate::protocol::json::object::read_object;
use crate::types::{LogMessage, Task};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Something that belongs to no call. See [`Builder::on_event`](crate::Builder::on_event).
///
/// It borrows from the message that it was in. One that is kept, or sent through a channel, is [made to
/// own](Self::into_owned) what it has:
///
/// ```
/// use shared_fate_mcp::{Client, Event};
///
/// let (events, told) = std::sync::mpsc::channel::<Event<'static>>();
/// let builder = Client::builder().on_event(move |event| {
///     // Nobody listens any more: that is no concern of the client's.
///     let _ = events.send(event.clone().into_owned());
/// });
/// ```
#[derive(Clone, Debug)]
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
        uri: Cow<'a, str>,
    },
    /// A line of the server's log.
    Log(Cow<'a, LogMessage>),
    /// The status of a task (2025-11-25). Servers need not report it.
    Task(Cow<'a, Task>),
    /// The user is done with the page that a server asked to be visited.
    ElicitationComplete {
        /// What the server called it: [`ElicitUrl::id`](crate::types::ElicitUrl::id).
        id: Cow<'a, str>,
    },
    /// Any other notification. There may be any number of them. The hook is called before the next message is read, so a slow
    /// hook slows the server down.
    Notification {
        /// Its method.
        method: Cow<'a, str>,
        /// Its parameters, as JSON text.
        params: Option<Cow<'a, str>>,
    },
    /// A tool was left out of the list, because the server's instructions for its headers are invalid.
    ToolLeftOut {
        /// The tool.
        name: Cow<'a, str>,
        /// What is wrong.
        why: Cow<'a, str>,
    },
    /// A part of a result has another form than the schema says: it was left out, or kept as it came.
    OddResult {
        /// The method.
        method: Cow<'a, str>,
        /// What is odd, and how it begins.
        what: Cow<'a, str>,
    },
    /// A stray message: output that is no message, or a reply to no pending call.
    Stray {
        /// Its beginning.
        excerpt: Cow<'a, str>,
    },
    /// The server's own event stream is lost for good; calls go on. A [`Subscription`](crate::Subscription) that changes came
    /// to on it has ended with this error as its source.
    StreamLost(Arc<Error>),
    /// Something has happened to the tokens of a server. Of several clients that have one handle, one is told: one that
    /// waits for it, or whose driver carries it on.
    #[cfg(feature = "oauth")]
    Auth(Cow<'a, crate::oauth::AuthEvent>),
    /// A message that nobody waited for (a cancellation, an answer) could not be delivered.
    NotDelivered(Arc<Error>),
}

impl Event<'_> {
    /// The same event, borrowing nothing.
    pub fn into_owned(self) -> Event<'static> {
        fn text(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        match self {
            Self::ToolsChanged => Event::ToolsChanged,
            Self::PromptsChanged => Event::PromptsChanged,
            Self::ResourcesChanged => Event::ResourcesChanged,
            Self::ResourceUpdated { uri } => Event::ResourceUpdated { uri: text(uri) },
            Self::Log(message) => Event::Log(Cow::Owned(message.into_owned())),
            Self::Task(task) => Event::Task(Cow::Owned(task.into_owned())),
            Self::ElicitationComplete { id } => Event::ElicitationComplete { id: text(id) },
            Self::Notification { method, params } => {
                Event::Notification { method: text(method), params: params.map(text) }
            }
            Self::ToolLeftOut { name, why } => Event::ToolLeftOut { name: text(name), why: text(why) },
            Self::OddResult { method, what } => Event::OddResult { method: text(method), what: text(what) },
            Self::Stray { excerpt } => Event::Stray { excerpt: text(excerpt) },
            Self::StreamLost(error) => Event::StreamLost(error),
            #[cfg(feature = "oauth")]
            Self::Auth(event) => Event::Auth(Cow::Owned(event.into_owned())),
            Self::NotDelivered(error) => Event::NotDelivered(error),
        }
    }
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
    let other = Event::Notification { method: method.into(), params: params.map(Cow::Borrowed) };
    match method {
        "notifications/tools/list_changed" => emit(&Event::ToolsChanged),
        "notifications/prompts/list_changed" => emit(&Event::PromptsChanged),
        "notifications/resources/list_changed" => emit(&Event::ResourcesChanged),
        "notifications/resources/updated" => match read::<Updated>(params) {
            Some(Updated { uri }) => emit(&Event::ResourceUpdated { uri: uri.into() }),
            None => emit(&other),
        },
        "notifications/elicitation/complete" => match read::<Complete>(params) {
            Some(Complete { id }) => emit(&Event::ElicitationComplete { id: id.into() }),
            None => emit(&other),
        },
        "notifications/message" => match read::<LogMessage>(params) {
            Some(message) => emit(&Event::Log(Cow::Owned(message))),
            None => emit(&other),
        },
        _ => emit(&other),
    }
}
