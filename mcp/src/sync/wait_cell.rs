//! State that one task at a time waits for, behind a lock.
//!
//! Wakers are foreign code: a clone, a wake or a drop may come back here, or panic. None of them happens
//! under the lock, and no change is missed for that: who finds nothing looks again when its waker is
//! registered.

#[cfg(test)]
mod tests;

use crate::sync::{Mutex, contain};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub(crate) struct WaitCell<T>(Mutex<Cell<T>>);

#[derive(Debug, Default)]
struct Cell<T> {
    state: T,
    waiting: Option<Waker>,
}

impl<T> WaitCell<T> {
    pub(crate) fn new(state: T) -> Self {
        Self(Mutex::new(Cell { state, waiting: None }))
    }

    /// Does something to the state that nobody waits for. `act` must not call foreign code; what it
    /// returns is dropped without the lock.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().state)
    }

    /// Changes the value, and wakes the task that waits.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let (result, waiting) = {
            let mut cell = self.0.lock();
            (change(&mut cell.state), cell.waiting.take())
        };
        if let Some(waiting) = waiting {
            // Whose state it is, is not to blame for a waker that panics.
            contain(|| waiting.wake());
        }
        result
    }

    /// What `look` finds; if it finds nothing, the next [`change`](Self::change) wakes the task, and no
    /// other that waited before.
    pub(crate) fn poll<R>(&self, cx: &mut Context<'_>, mut look: impl FnMut(&mut T) -> Option<R>) -> Poll<R> {
        {
            let mut cell = self.0.lock();
            if let Some(found) = look(&mut cell.state) {
                return Poll::Ready(found);
            }
            if cell.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        let waker = cx.waker().clone();
        let (found, _left_over) = {
            let mut cell = self.0.lock();
            match look(&mut cell.state) {
                Some(found) => (Some(found), Some(waker)),
                None => (None, cell.waiting.replace(waker)),
            }
        };
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// Nobody waits any more.
    pub(crate) fn forget(&self) {
        let left_over = self.0.lock().waiting.take();
        drop(left_over);
    }
}
