//! The latch: alive, or ended with one cause.
//!
//! Invariant: a cause is stored before the state that says so, with `Release`; a look that finds the state, with
//! `Acquire`, finds the cause. It is latched at most once, under the lock of the session's family.
//!
//! Ends that carry nothing are the state alone.

use crate::cause::{Cause, PanicMessage};
use crate::sync::{AtomicU8, OnceLock};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

const ALIVE: u8 = 0;
const DROPPED: u8 = 1;
const FINISHED: u8 = 2;
const CLOSED: u8 = 3;
/// Failed or panicked: the cause says.
const TOLD: u8 = 4;

pub(super) struct Verdict<E: ?Sized> {
    state: AtomicU8,
    told: OnceLock<Told<E>>,
}

enum Told<E: ?Sized> {
    Failed(Arc<E>),
    Panicked(PanicMessage),
}

impl<E: ?Sized> Verdict<E> {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(ALIVE), told: OnceLock::new() }
    }

    #[inline]
    pub(super) fn is_latched(&self) -> bool {
        self.state.load(Acquire) != ALIVE
    }

    #[inline]
    pub(super) fn get(&self) -> Option<Cause<E>> {
        match self.state.load(Acquire) {
            ALIVE => None,
            state => Some(self.cause(state)),
        }
    }

    #[cold]
    fn cause(&self, state: u8) -> Cause<E> {
        match (state, self.told.get()) {
            (DROPPED, _) => Cause::Dropped,
            (FINISHED, _) => Cause::Finished,
            (CLOSED, _) => Cause::Closed,
            (_, Some(Told::Failed(error))) => Cause::Failed(Arc::clone(error)),
            (_, Some(Told::Panicked(message))) => Cause::Panicked(message.clone()),
            (_, None) => unreachable!("the cause is stored before the state"),
        }
    }

    /// Must be called once.
    #[inline]
    pub(super) fn latch(&self, cause: Cause<E>) {
        let state = match cause {
            Cause::Dropped => DROPPED,
            Cause::Finished => FINISHED,
            Cause::Closed => CLOSED,
            Cause::Failed(error) => self.tell(Told::Failed(error)),
            Cause::Panicked(message) => self.tell(Told::Panicked(message)),
        };
        self.state.store(state, Release);
    }

    #[cold]
    fn tell(&self, told: Told<E>) -> u8 {
        if self.told.set(told).is_err() {
            unreachable!("a verdict is latched once");
        }
        TOLD
    }
}
