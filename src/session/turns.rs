//! Which polls of drivers are going on, for a failed request that must wait one out.
//!
//! A driver that fails often takes its reply channels down *inside* its last poll: an async block
//! drops its locals before it returns, and so does a panic on its way out. The request then knows the
//! echo before anybody can know the cause. It cannot look the cause up, but it can tell that a driver
//! is being polled at this moment, and wait for that poll to be over.
//!
//! A family of sessions has one table, since the cause of a child's echo may come from above. Polls and
//! requests take their numbers from one counter.
//!
//! Invariants:
//!
//! 1. A verdict that a poll brings is latched before the poll is left; a request looks at the latch
//!    after it has seen the poll left. So an echo from inside a driver's last poll never beats the cause.
//! 2. A request waits for those polls that have a lower number than its own, which were under way when it
//!    came; never for a later one.
//! 3. It waits for drivers of its own session and of those above it: no other can end its session.
//! 4. It never waits for a poll on its own thread, which is below it on the stack.
//! 5. Whoever waits here is in the session's table of waiters, too: an end that is not the poll's wakes him.
//! 6. A request has one place in `waiting` at the most. It is emptied by the end of a poll, or by the request:
//!    when it has waited long enough, or is dropped. The number tells whether it still is the request's own.

use super::slab::Slab;
use crate::contain::contain;
use crate::sync::{Mutex, ThreadId, thread_id};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[derive(Default)]
pub(super) struct Rounds(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    polling: Vec<Polling>,
    waiting: Slab<(u64, Waker)>,
}

/// A poll that is going on.
struct Polling {
    number: u64,
    thread: ThreadId,
    /// Whose driver it is.
    session: Address,
}

/// Which session it is. One whose driver is being polled lives.
pub(super) type Address = usize;

impl Rounds {
    /// A poll begins. Returns its number.
    pub(super) fn enter(&self, session: Address) -> u64 {
        let thread = thread_id();
        let mut state = self.0.lock();
        let number = state.number();
        state.polling.push(Polling { number, thread, session });
        number
    }

    /// The poll is over. Where its session has `ended` by now, nobody is woken here: whoever waits for this
    /// poll is below that session, and woken by the end.
    pub(super) fn leave(&self, number: u64, ended: bool) {
        let waiting = {
            let mut state = self.0.lock();
            if let Some(at) = state.polling.iter().rposition(|polling| polling.number == number) {
                state.polling.swap_remove(at);
            }
            if ended { Slab::default() } else { std::mem::take(&mut state.waiting) }
        };
        for (_, waker) in waiting.into_values() {
            contain(|| waker.wake());
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether a poll is going on for which the request of this number waits.
    fn is_waited_for(&self, number: u64, this: ThreadId, concerns: impl Fn(Address) -> bool) -> bool {
        let mut polling = self.polling.iter();
        polling.any(|polling| polling.number < number && polling.thread != this && concerns(polling.session))
    }
}

/// A failed request that waits for polls to be over.
#[allow(
    unnameable_types,
    missing_debug_implementations,
    reason = "a part of the sealed trait of supervisors"
)]
pub struct Wait {
    rounds: Arc<Rounds>,
    number: u64,
    place: Option<u32>,
}

impl Wait {
    /// `None` if no poll is going on that is to be waited for: by a driver of a session that it `concerns`.
    pub(super) fn new(rounds: &Arc<Rounds>, concerns: impl Fn(Address) -> bool) -> Option<Self> {
        let this = thread_id();
        let number = {
            let mut state = rounds.0.lock();
            let number = state.number();
            if !state.is_waited_for(number, this, concerns) {
                return None;
            }
            number
        };
        Some(Self { rounds: Arc::clone(rounds), number, place: None })
    }

    /// Ready when those polls are over.
    pub(super) fn poll_over(&mut self, concerns: impl Fn(Address) -> bool, cx: &mut Context<'_>) -> Poll<()> {
        let this = thread_id();
        let waker = cx.waker().clone();
        let mut state = self.rounds.0.lock();
        if !state.is_waited_for(self.number, this, concerns) {
            drop(state);
            return Poll::Ready(());
        }
        let own = self.place.and_then(|place| state.waiting.get_mut(place));
        let left_over = match own.filter(|(of, _)| *of == self.number) {
            Some((_, own)) => Some(std::mem::replace(own, waker)),
            None => {
                self.place = Some(state.waiting.insert((self.number, waker)));
                None
            }
        };
        drop(state);
        drop(left_over);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let own = {
            let mut state = self.rounds.0.lock();
            let is_own = state.waiting.get_mut(place).is_some_and(|(of, _)| *of == self.number);
            if is_own { state.waiting.remove(place) } else { None }
        };
        drop(own);
    }
}
