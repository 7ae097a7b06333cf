//! The calls that wait for a reply.
//!
//! - getters: [`len`](PendingCalls::len);
//! - `handle_*`: what arrived; each returns what the caller must do with the lock released;
//!   [`count_stray`](PendingCalls::count_stray): it is nobody's;
//! - commands: [`begin`](PendingCalls::begin), [`forget`](PendingCalls::forget), [`give_up`](PendingCalls::give_up);
//! - `poll_*`: what a call asks.
//!
//! Invariants:
//!
//! 1. An id is never used twice (M-03, M-04): one counter, never reset.
//! 2. An entry lives from `begin` to `forget`, and is settled at most once; a later reply is stray
//!    (M-15). For each call that was given up the server may owe one: so many late replies to calls of
//!    ours do not count towards a flood, however many calls there were.
//! 3. No waker is cloned, woken or dropped in here: wakers come in by value and go out by value.
//! 4. Calls that wait and have a deadline are in the order of their deadlines, once somebody has asked for it
//!    ([`take_due`](PendingCalls::take_due), [`earliest`](PendingCalls::earliest)); those that began later are sorted in
//!    when somebody asks again. So a call that has come and gone before costs nothing here, every other is sorted in
//!    once, and nothing is kept of a call that is gone.

use super::message::{Malformed, Message, ReplyError, ResponseId, ResultText, RpcError};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::task::Waker;

/// A call's reply, or why the thing that came cannot be one.
pub(crate) type Reply = Result<ResultText, ReplyError>;

#[derive(Debug)]
pub(crate) struct PendingCalls {
    next: u64,
    calls: FxHashMap<u64, Call>,
    /// When calls are due that are [sorted](Call::sorted), and their ids.
    order: BTreeSet<(u64, u64)>,
    /// Calls from this id on are not sorted yet.
    sorted_to: u64,
    limit: usize,
    /// Calls that were given up, less the late replies since: nothing need be kept of each of them.
    owed: u64,
    /// Messages in a row that belonged to nobody, and when the first of them came.
    stray: usize,
    stray_since: u64,
    stray_limit: usize,
}

#[derive(Debug, Default)]
struct Call {
    reply: Option<Reply>,
    /// It has got its reply, fetched or not.
    settled: bool,
    waker: Option<Waker>,
    /// When it is to be woken, whatever happens, on the caller's clock; [`NO_DEADLINE`] if never.
    due: u64,
    /// It is in the order.
    sorted: bool,
    /// It was woken because somebody has to look at the clock, and has not come back.
    called: bool,
    /// When there was last a sign of life, on the caller's clock.
    news: Option<u64>,
    /// It has lost the stream that its reply was to come on.
    #[cfg(feature = "http")]
    adrift: bool,
}

/// When a call is due that has no deadline.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;

/// How long messages that belong to nobody are counted together, in milliseconds.
const STRAY_PERIOD: u64 = 60_000;

/// What became of something that arrived.
#[derive(Debug)]
#[must_use = "the waker inside must be woken"]
pub(crate) enum Handled {
    /// It settled a call: wake it.
    Settled(Option<Waker>),
    /// A late reply to a call that was given up.
    Late,
    /// It belongs to nobody: count it.
    Stray,
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

impl PendingCalls {
    pub(crate) fn new(limit: usize, stray_limit: usize) -> Self {
        Self {
            next: 1,
            calls: FxHashMap::default(),
            order: BTreeSet::new(),
            sorted_to: 1,
            limit,
            owed: 0,
            stray: 0,
            stray_since: 0,
            stray_limit,
        }
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

    /// Removes a call. Returns a waker that is no longer needed, and whether the call was to look at the clock.
    pub(crate) fn forget(&mut self, id: u64) -> (Option<Waker>, bool) {
        let Some(mut call) = self.calls.remove(&id) else { return (None, false) };
        call.unsort(id, &mut self.order);
        (call.waker, call.called)
    }

    /// A call has been forgotten that the server may be at work on.
    pub(crate) fn give_up(&mut self) {
        self.owed += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Calls that begin from now on have this id, or a greater one.
    pub(crate) fn next_id(&self) -> u64 {
        self.next
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
    /// released: so it looks again. The call is `due` to be woken then. Returns the waker that is left over,
    /// too.
    pub(crate) fn register(&mut self, id: u64, due: u64, waker: Waker) -> (Polled, Option<Waker>) {
        let Some(call) = self.calls.get_mut(&id) else { return (Polled::Pending, Some(waker)) };
        match call.reply.take() {
            Some(reply) => (Polled::Ready(reply), Some(waker)),
            None => {
                let replaced = call.waker.replace(waker);
                call.called = false;
                call.set_due(id, due, id < self.sorted_to, &mut self.order);
                (Polled::Pending, replaced)
            }
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

    pub(crate) fn handle_reply(&mut self, id: ResponseId, outcome: Result<ResultText, RpcError>) -> Handled {
        match id {
            ResponseId::Ours(id) => self.settle(id, outcome.map_err(ReplyError::Rpc)),
            ResponseId::Foreign | ResponseId::Null | ResponseId::Absent => Handled::Stray,
        }
    }

    /// A reply that came with another call's: it is taken if its own call has no stream any more.
    #[cfg(feature = "http")]
    pub(crate) fn handle_reply_elsewhere(
        &mut self,
        id: u64,
        outcome: Result<ResultText, RpcError>,
    ) -> Handled {
        match self.calls.get(&id) {
            Some(call) if !call.adrift => Handled::Stray,
            _ => self.settle(id, outcome.map_err(ReplyError::Rpc)),
        }
    }

    pub(crate) fn handle_malformed(&mut self, malformed: Malformed) -> Handled {
        match malformed.id {
            Some(id) => self.settle(id, Err(ReplyError::Malformed(malformed.reason))),
            None => Handled::Stray,
        }
    }

    pub(crate) fn handle_too_long(&mut self, id: Option<u64>, limit: usize) -> Handled {
        match id {
            Some(id) => self.settle(id, Err(ReplyError::TooLong(limit))),
            None => Handled::Stray,
        }
    }

    /// A call has lost the stream that its reply was to come on.
    #[cfg(feature = "http")]
    pub(crate) fn set_adrift(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.adrift = true;
        }
    }

    /// Something that is not stray and settles no call here: a request, a notification, a reply that was handed to its call.
    pub(crate) fn handle_other(&mut self) {
        self.stray = 0;
    }

    /// Something that belongs to nobody has come; `false` if there were too many in too short a time. What
    /// comes now and then for days is no flood. `now` is in milliseconds.
    #[must_use]
    pub(crate) fn count_stray(&mut self, now: u64) -> bool {
        if self.stray == 0 || now.saturating_sub(self.stray_since) >= STRAY_PERIOD {
            (self.stray, self.stray_since) = (0, now);
        }
        self.stray += 1;
        self.stray <= self.stray_limit
    }

    /// The only call there is, if there is just one. During the handshake an error that names nobody
    /// can only mean that one (LIV-15).
    pub(crate) fn only_call(&self) -> Option<u64> {
        match self.calls.len() {
            1 => self.calls.keys().next().copied(),
            _ => None,
        }
    }

    /// A call that waits is due at another time than it thought.
    pub(crate) fn put_off(&mut self, id: u64, due: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.set_due(id, due, id < self.sorted_to, &mut self.order);
        }
    }

    /// When the first of the calls that wait is due.
    pub(crate) fn earliest(&mut self) -> Option<u64> {
        self.sort();
        self.order.first().map(|(due, _)| *due)
    }

    /// The wakers of the calls that are due by `until`, and of the first `more` of the rest, out of their entries: the
    /// calls will look at the clock and register anew.
    pub(crate) fn take_due(&mut self, until: u64, mut more: usize) -> Vec<Waker> {
        self.sort();
        let mut wakers = Vec::new();
        while let Some((due, id)) = self.order.first().copied() {
            if due > until {
                let Some(left) = more.checked_sub(1) else { break };
                more = left;
            }
            self.order.pop_first();
            if let Some(call) = self.calls.get_mut(&id) {
                (call.sorted, call.called) = (false, true);
                wakers.extend(call.waker.take());
            }
        }
        wakers
    }

    /// Sorts in the calls that have begun since the last time.
    fn sort(&mut self) {
        let new = self.sorted_to..self.next;
        self.sorted_to = self.next;
        // Through the ids or through the calls, whichever are fewer.
        if new.end - new.start < self.calls.len() as u64 {
            for id in new {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.sort(id, &mut self.order);
                }
            }
        } else {
            for (id, call) in self.calls.iter_mut().filter(|(id, _)| new.contains(id)) {
                call.sort(*id, &mut self.order);
            }
        }
    }

    fn settle(&mut self, id: u64, reply: Reply) -> Handled {
        match self.calls.get_mut(&id) {
            Some(call) if !call.settled => {
                call.settled = true;
                call.reply = Some(reply);
                call.unsort(id, &mut self.order);
                let waker = call.waker.take();
                self.stray = 0;
                Handled::Settled(waker)
            }
            None if id < self.next && self.owed > 0 => {
                self.owed -= 1;
                Handled::Late
            }
            _ => Handled::Stray,
        }
    }
}

impl Call {
    fn set_due(&mut self, id: u64, due: u64, sort: bool, order: &mut BTreeSet<(u64, u64)>) {
        if self.due != due {
            self.unsort(id, order);
            self.due = due;
        }
        if sort {
            self.sort(id, order);
        }
    }

    fn sort(&mut self, id: u64, order: &mut BTreeSet<(u64, u64)>) {
        if !self.sorted && self.waker.is_some() && self.due != NO_DEADLINE {
            self.sorted = true;
            order.insert((self.due, id));
        }
    }

    fn unsort(&mut self, id: u64, order: &mut BTreeSet<(u64, u64)>) {
        if self.sorted {
            self.sorted = false;
            order.remove(&(self.due, id));
        }
    }
}

/// Whether a message is a reply that names nobody.
pub(crate) fn names_nobody(message: &Message) -> bool {
    matches!(message, Message::Response { id: ResponseId::Null | ResponseId::Absent, .. })
}

#[cfg(test)]
mod tests;
