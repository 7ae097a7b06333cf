//! What tasks of both kinds have in common: those that revision 2025-11-25 has, and the extension of
//! 2026-07-28.

use super::client::Shared;
use super::protocol::headers::name_of;
use super::protocol::message;
use super::protocol::meta::with_meta;
use super::transport::Outgoing;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::time::Duration;

/// How long to wait before a task is asked after again: what it says, or a second. One that says 0 is not to
/// be asked in a hot loop.
pub(crate) fn interval(wished: Option<Duration>) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(10);
    wished.unwrap_or(Duration::from_secs(1)).max(SHORTEST)
}

/// The parameters of all that is asked of a task.
pub(crate) fn by_id(task: &str) -> Box<RawValue> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ById<'a> {
        task_id: &'a str,
    }
    to_raw_value(&ById { task_id: task }).expect("a string")
}

/// A task whose caller is gone is worked on for nobody: the server is asked to stop, once and best effort
/// (CAN-05, TSK-07).
pub(crate) struct Abandoned<'a> {
    shared: &'a Shared,
    params: &'a RawValue,
    armed: bool,
}

impl<'a> Abandoned<'a> {
    pub(crate) fn new(shared: &'a Shared, params: &'a RawValue) -> Self {
        Self { shared, params, armed: true }
    }

    /// The task has ended.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        const METHOD: &str = "tasks/cancel";
        let inbox = &self.shared.inbox;
        if !self.armed || inbox.session().is_ended() {
            return;
        }
        // An id of its own, and nobody who waits for the acknowledgement.
        let Ok(id) = inbox.begin() else { return };
        inbox.forget(id);
        inbox.give_up();
        let (mut params, mut routing) = (Cow::Borrowed(self.params), None);
        if let Some(modern) = self.shared.modern() {
            let meta = modern.meta().iter().map(|(name, value)| (*name, Cow::Borrowed(&**value)));
            params = Cow::Owned(with_meta(Some(&params), &meta.collect::<Vec<_>>()));
            let exchanges = self.shared.transport.exchanges();
            routing = exchanges.then(|| modern.routing(name_of(METHOD, Some(&params))));
        }
        let body = message::encode_request(id, METHOD, Some(&params));
        inbox.post_cancellation(Outgoing { id: Some(id), method: Some(METHOD.to_owned()), body, routing });
    }
}
