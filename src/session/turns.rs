//! Which driver is being polled, for a failed request that must wait that poll out.
//!
//! A driver that fails often takes its reply channels down *inside* its last poll: an async block
//! drops its locals before it returns, and so does a panic on its way out. The request then has the
//! echo before anything can have the cause. It cannot look the cause up, but it can see that a driver
//! is being polled at this moment, and wait for that poll to be over.
//!
//! Each driver has a [`Turn`]: a word that is odd during a poll and is another one after it.
//!
//! Invariants:
//!
//! 1. A verdict that a poll brings is latched before the poll is over; a request looks at the latch
//!    after it has seen the poll over. So an echo from inside a driver's last poll never beats the cause.
//! 2. A request that holds an echo sees that the poll is under way: the echo came through a channel, so what
//!    the driver stored when its poll began happened before.
//! 3. A request waits for the polls that it has seen under way, never for a later one: the word would differ.
//! 4. It waits for drivers of its own session and of those above it: no other one's verdict ends its session.
//! 5. It never waits for a poll on its own thread, which is below it on the stack.
//! 6. It sets the mark [`AWAITED`] under the lock of `waiting`, and puts its waker there under the same lock.
//!    The driver takes the mark away in the same step that ends the poll. So if it finds the mark, it finds the
//!    waker; if it does not, the request's step has failed, and the request knows that the poll is over.
//! 7. `waiting` is emptied by the end of a poll, before the next one begins. So a place in it belongs to
//!    the poll that the word names.
//! 8. What waits here is registered with the session, too: an end that is not the poll's wakes it.

use super::Session;
use super::slab::Slab;
use crate::contain::contain;
use crate::sync::{AtomicUsize, Mutex, thread_id};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};

/// A bit of the word: a poll is under way.
const POLLING: usize = 1;
/// A bit of the word: a request waits for the poll to be over.
const AWAITED: usize = 2;
/// What the end of a poll adds.
const STEP: usize = 4;

/// A driver's polls.
pub(crate) struct Turn {
    /// How many polls there were, in steps, and the two bits. The driver alone writes, but for the mark.
    word: AtomicUsize,
    /// The thread of the poll that is under way.
    thread: AtomicUsize,
    waiting: Mutex<Slab<Waker>>,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { word: AtomicUsize::new(0), thread: AtomicUsize::new(0), waiting: Mutex::default() }
    }

    /// A poll of a driver of this session begins. It is over when the guard is dropped.
    #[inline]
    pub(crate) fn begin<'a, E: ?Sized>(&'a self, session: &'a Session<E>) -> Polling<'a, E> {
        let word = self.word.load(Relaxed) | POLLING;
        self.thread.store(thread_id(), Relaxed);
        self.word.store(word, Relaxed);
        Polling { turn: self, word, session }
    }

    pub(super) fn was_polled(&self) -> bool {
        self.word.load(Relaxed) != 0
    }

    /// The poll that is under way on another thread, if one is.
    pub(super) fn under_way(self: &Arc<Self>) -> Option<UnderWay> {
        let word = self.word.load(Acquire) & !AWAITED;
        let waited_for = word & POLLING != 0 && self.thread.load(Relaxed) != thread_id();
        waited_for.then(|| UnderWay { turn: Arc::clone(self), word, place: None })
    }
}

/// A poll of a driver; see [`Turn::begin`].
pub(crate) struct Polling<'a, E: ?Sized> {
    turn: &'a Turn,
    word: usize,
    session: &'a Session<E>,
}

impl<E: ?Sized> Drop for Polling<'_, E> {
    #[inline]
    fn drop(&mut self) {
        // `Release`: a request that sees the poll over sees the verdict.
        let word = self.turn.word.swap((self.word & !POLLING).wrapping_add(STEP), Release);
        if word & AWAITED != 0 {
            wake(&self.turn.waiting, self.session.is_ended());
        }
    }
}

/// If the session has `ended`, its end has woken all: what waits for the poll is below that session (4, 8).
#[cold]
fn wake(waiting: &Mutex<Slab<Waker>>, ended: bool) {
    let wakers = std::mem::take(&mut *waiting.lock());
    for waker in wakers.into_values() {
        contain(|| if ended { drop(waker) } else { waker.wake() });
    }
}

/// A poll that a failed request waits for.
#[allow(
    unnameable_types,
    missing_debug_implementations,
    reason = "a part of the sealed trait of supervisors"
)]
pub struct UnderWay {
    turn: Arc<Turn>,
    /// The word while the poll is under way, without the mark.
    word: usize,
    place: Option<u32>,
}

impl UnderWay {
    fn is_over(&self) -> bool {
        self.turn.word.load(Acquire) & !AWAITED != self.word
    }

    /// Ready when the poll is over.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() || self.turn.thread.load(Relaxed) == thread_id() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let mut waiting = self.turn.waiting.lock();
        if !self.mark() {
            drop(waiting);
            return Poll::Ready(());
        }
        let replaced = match self.place {
            Some(place) => Some(waiting.replace(place, waker)),
            None => {
                self.place = Some(waiting.insert(waker));
                None
            }
        };
        drop(waiting);
        drop(replaced);
        Poll::Pending
    }

    /// Tells the driver to look for wakers when its poll is over. `false` if it is over already.
    fn mark(&self) -> bool {
        let marked = self.word | AWAITED;
        match self.turn.word.compare_exchange(self.word, marked, Relaxed, Acquire) {
            Ok(_) => true,
            Err(word) => word == marked,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let own = {
            let mut waiting = self.turn.waiting.lock();
            // Otherwise the end of the poll has taken the waker, or is about to.
            if self.is_over() { None } else { waiting.remove(place) }
        };
        drop(own);
    }
}
