//! [`Watch`]: tells whoever watches calls how one ends, however that is.

use crate::error::{Delivery, Error};
use crate::inbox::Inbox;
use crate::inbox::call_hook::{CallEnd, CallHook, CallStart, EndHook};
use crate::sync::contain;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A call that is watched, or none. Dropped before it has ended, it says so.
pub(super) struct Watch<'a> {
    inbox: &'a Inbox,
    /// Whether the request was taken back before it was written. It is read last of all.
    retracted: &'a AtomicBool,
    /// Boxed: nearly no call is watched, and the others should not keep room for it.
    begun: Option<Box<Begun>>,
}

struct Begun {
    at: Instant,
    end: EndHook,
}

impl<'a> Watch<'a> {
    /// Nobody watches yet.
    pub(super) fn new(inbox: &'a Inbox, retracted: &'a AtomicBool) -> Self {
        Self { inbox, retracted, begun: None }
    }

    /// The call begins. Returns what is added to it.
    pub(super) fn begin<'m>(&mut self, hook: &CallHook, method: &'m str, id: u64) -> CallStart<'m>
    where
        'a: 'm,
    {
        let server = self.inbox.server().map(|server| &**server);
        let mut start = CallStart { method, id, server, meta: Vec::new(), headers: Vec::new() };
        let at = self.inbox.config().timer.now();
        // It is the application's; the panic hook has reported it.
        contain(|| self.begun = Some(Box::new(Begun { at, end: hook(&mut start) })));
        start
    }

    /// The call has ended.
    pub(super) fn end<T>(mut self, result: &Result<T, Error>) {
        let error = result.as_ref().err();
        self.tell(error, error.map_or(Delivery::Answered, Error::delivery), false);
    }

    fn tell(&mut self, error: Option<&Error>, delivery: Delivery, dropped: bool) {
        if let Some(begun) = self.begun.take() {
            let Begun { at, end } = *begun;
            let elapsed = self.inbox.config().timer.now().saturating_duration_since(at);
            contain(|| end(&CallEnd { elapsed, error, delivery, dropped }));
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let delivery = match self.retracted.load(Ordering::Relaxed) {
            true => Delivery::NotSent,
            false => Delivery::MaybeSent,
        };
        self.tell(None, delivery, true);
    }
}
