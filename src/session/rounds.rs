//! Which polls of drivers are going on, for a failed request that must wait one out.
//!
//! A driver that fails often takes its reply channels down *inside* its last poll: an async block
//! drops its locals before it returns, and so does a panic on its way out. The request then knows the
//! echo before anybody can know the cause. It cannot look the cause up, but it can tell that a driver
//! is being polled at this moment, and wait for that poll to be over.
//!
//! Invariants:
//!
//! 1. A verdict that a poll brings is latched before the poll is left; a request looks at the latch
//!    after it has seen the poll left. So an echo from inside a driver's last poll never beats the cause.
//! 2. A request waits for polls that it found under way, and never for a later one: it waits once.
//! 3. It never waits for a poll on its own thread, which is below it on the stack.
//!
//! With several drivers "as many as were under way have been left" stands for "those have"; a very busy
//! sibling may then let an echo through, and nobody waits longer for it.

use crate::contain::contain;
use crate::sync::{Mutex, ThreadId, thread_id};
use std::task::{Context, Poll, Waker};

#[derive(Default)]
pub(crate) struct Rounds(Mutex<State>);

#[derive(Default)]
struct State {
    polling: Vec<ThreadId>,
    left: u64,
    /// Emptied by the next poll that is left, so a waiter that has gone stays no longer than that.
    waiting: Vec<Waker>,
}

impl Rounds {
    pub(crate) fn enter(&self) {
        self.0.lock().polling.push(thread_id());
    }

    pub(crate) fn leave(&self) {
        let this = thread_id();
        let waiting = {
            let mut state = self.0.lock();
            if let Some(at) = state.polling.iter().rposition(|&polling| polling == this) {
                state.polling.swap_remove(at);
            }
            state.left += 1;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            contain(|| waker.wake());
        }
    }

    /// Ready when the polls that were under way at the first call are over.
    pub(crate) fn poll_over(&self, until: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        let this = thread_id();
        let under_way =
            |state: &State| state.polling.iter().filter(|&&polling| polling != this).count() as u64;
        {
            let state = self.0.lock();
            if state.left >= *until.get_or_insert_with(|| state.left + under_way(&state)) {
                return Poll::Ready(());
            }
        }
        let waker = cx.waker().clone();
        let mut state = self.0.lock();
        if state.left >= until.unwrap_or(0) {
            drop(state);
            return Poll::Ready(());
        }
        state.waiting.push(waker);
        Poll::Pending
    }
}
