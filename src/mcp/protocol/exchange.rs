//! The calls that wait for a reply.
//!
//! - getters: [`len`](Exchange::len);
//! - `handle_*`: what arrived; each returns what the caller must do with the lock released;
//! - commands: [`begin`](Exchange::begin), [`forget`](Exchange::forget);
//! - `poll_*`: what a call asks.
//!
//! Invariants:
//!
//! 1. An id is never used twice (M-03, M-04): one counter, never reset.
//! 2. An entry lives from `begin` to `forget`, and is settled at most once; a later reply is stray
//!    (M-15).
//! 3. No waker is cloned, woken or dropped in here: wakers come in by value and go out by value.

use super::by_id::ById;
use super::message::{Malformed, MalformedReason, Message, ResponseId, RpcError};
use serde_json::value::RawValue;
use std::task::Waker;

/// A call's reply, or why the thing that came cannot be one.
pub(crate) type Reply = Result<Box<RawValue>, ReplyError>;

#[derive(Debug)]
pub(crate) enum ReplyError {
    Rpc(RpcError),
    Malformed(MalformedReason),
    /// The reply is longer than the transport takes; the limit.
    TooLong(usize),
}

#[derive(Debug)]
pub(crate) struct Exchange {
    next: u64,
    calls: ById<Call>,
    limit: usize,
    /// Messages in a row that belonged to nobody.
    stray: usize,
    stray_limit: usize,
}

#[derive(Debug, Default)]
struct Call {
    reply: Option<Reply>,
    /// It has got its reply, fetched or not.
    settled: bool,
    waker: Option<Waker>,
    /// When there was last a sign of life, on the caller's clock.
    news: Option<u64>,
}

/// What became of something that arrived.
#[derive(Debug)]
#[must_use = "the waker inside must be woken"]
pub(crate) enum Handled {
    /// It settled a call: wake it.
    Settled(Option<Waker>),
    /// It belongs to nobody.
    Stray,
    /// It belongs to nobody, like too many before it.
    Flood,
}

/// What a call's poll found.
#[derive(Debug)]
pub(crate) enum Polled {
    Ready(Reply),
    /// Nothing yet, and the registered waker will do.
    Pending,
    /// Nothing yet; come back with a clone of the waker.
    NeedsWaker,
}

impl Exchange {
    pub(crate) fn new(limit: usize, stray_limit: usize) -> Self {
        Self { next: 1, calls: ById::default(), limit, stray: 0, stray_limit }
    }

    /// A new call's id; `None` where the limit is reached.
    pub(crate) fn begin(&mut self) -> Option<u64> {
        if self.calls.len() >= self.limit {
            return None;
        }
        let id = self.next;
        self.next += 1;
        self.calls.insert(id, Call::default());
        Some(id)
    }

    /// Removes a call. Returns a waker that is no longer needed.
    pub(crate) fn forget(&mut self, id: u64) -> Option<Waker> {
        self.calls.remove(&id)?.waker
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn poll_reply(&mut self, id: u64, waker: &Waker) -> Polled {
        let Some(call) = self.calls.get_mut(&id) else { return Polled::Pending };
        if let Some(reply) = call.reply.take() {
            return Polled::Ready(reply);
        }
        match &call.waker {
            Some(registered) if registered.will_wake(waker) => Polled::Pending,
            _ => Polled::NeedsWaker,
        }
    }

    /// The second half of [`poll_reply`](Self::poll_reply), after the waker was cloned with the lock
    /// released: so it looks again. Returns the waker that is left over, too.
    pub(crate) fn register(&mut self, id: u64, waker: Waker) -> (Polled, Option<Waker>) {
        let Some(call) = self.calls.get_mut(&id) else { return (Polled::Pending, Some(waker)) };
        match call.reply.take() {
            Some(reply) => (Polled::Ready(reply), Some(waker)),
            None => (Polled::Pending, call.waker.replace(waker)),
        }
    }

    /// When there was last news for this call.
    pub(crate) fn news(&self, id: u64) -> Option<u64> {
        self.calls.get(&id)?.news
    }

    /// The server said something about this call (progress). After the reply it is no news any more
    /// (PRG-03).
    pub(crate) fn handle_news(&mut self, id: u64, now: u64) -> bool {
        match self.calls.get_mut(&id) {
            Some(call) if !call.settled => {
                call.news = Some(now);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn handle_reply(
        &mut self,
        id: ResponseId,
        outcome: Result<Box<RawValue>, RpcError>,
    ) -> Handled {
        match id {
            ResponseId::Ours(id) => self.settle(id, outcome.map_err(ReplyError::Rpc)),
            ResponseId::Foreign | ResponseId::Null | ResponseId::Absent => self.stray(),
        }
    }

    pub(crate) fn handle_malformed(&mut self, malformed: Malformed) -> Handled {
        match malformed.id {
            Some(id) => self.settle(id, Err(ReplyError::Malformed(malformed.reason))),
            None => self.stray(),
        }
    }

    pub(crate) fn handle_too_long(&mut self, id: Option<u64>, limit: usize) -> Handled {
        match id {
            Some(id) => self.settle(id, Err(ReplyError::TooLong(limit))),
            None => self.stray(),
        }
    }

    /// A request or a notification from the server: no reply, but not stray either.
    pub(crate) fn handle_other(&mut self) {
        self.stray = 0;
    }

    /// The only call there is, if there is just one. During the handshake an error that names nobody
    /// can only mean that one (LIV-15).
    pub(crate) fn only_call(&self) -> Option<u64> {
        match self.calls.len() {
            1 => self.calls.keys().next().copied(),
            _ => None,
        }
    }

    /// Every waker, out of its entry: the calls will look at the clock and register anew.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        self.calls.values_mut().filter_map(|call| call.waker.take()).collect()
    }

    fn settle(&mut self, id: u64, reply: Reply) -> Handled {
        match self.calls.get_mut(&id) {
            Some(call) if !call.settled => {
                call.settled = true;
                call.reply = Some(reply);
                let waker = call.waker.take();
                self.stray = 0;
                Handled::Settled(waker)
            }
            _ => self.stray(),
        }
    }

    fn stray(&mut self) -> Handled {
        self.stray += 1;
        if self.stray > self.stray_limit { Handled::Flood } else { Handled::Stray }
    }
}

/// Whether a message is a reply that names nobody.
pub(crate) fn names_nobody(message: &Message) -> bool {
    matches!(message, Message::Response { id: ResponseId::Null | ResponseId::Absent, .. })
}

#[cfg(test)]
mod tests;
