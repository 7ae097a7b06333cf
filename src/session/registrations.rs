//! Who is waiting for a session's end, and how they are woken.
//!
//! A table of wakers in [`SHARDS`] independent slabs. A waiter keeps a [`Seat`]: which slot is its
//! own, and which waker is in it, so that a poll with the same waker takes no lock.
//!
//! Invariants:
//!
//! 1. The verdict is latched *before* the first slab is emptied, and a waiter looks at the latch
//!    again *while it holds its slab's lock*. So it is either in the slab when that is emptied, and
//!    woken, or it sees the verdict: whoever locks the slab second knows what the first one did.
//! 2. Once emptied, a slab stays empty (1 again), so the number of an old slot can never mean
//!    somebody else's.
//! 3. Only the owner of a seat gives its slot back, once: no generation counter is needed. After the verdict
//!    it need not: nobody registers any more, and the slab is emptied or about to be.
//! 4. No waker is cloned, woken or dropped under a lock. Waking and dropping run foreign code that
//!    may lock the same slab (a waker that polls, or drops a task that unregisters).
//! 5. While a seat is taken, the waker in its slot is alive and keeps its data pointer from being
//!    reused; so "same data, same vtable" means the same task. The identity is read off *our clone*,
//!    as [`Waker::will_wake`] does. When the session's end consumes that clone the verdict is
//!    already latched, and a poll looks there first: if it finds nothing, our clone and the waker of
//!    that poll were alive at the same time, and the end that may come during the poll wakes our clone.

use super::slab::Slab;
use crate::contain::contain;
use crate::sync::{Mutex, MutexGuard, SHARDS, shard};
use std::ptr;
use std::task::{RawWakerVTable, Waker};

/// One shard to a cache line: two threads on one session do not fight over a line either.
#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Slab<Waker>>);

#[derive(Default)]
pub(crate) struct Waiters {
    shards: [Shard; SHARDS],
}

/// A waiter's place in the table. Empty until it first had to wait.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// The registered waker's identity; `None` is an empty seat.
    vtable: Option<&'static RawWakerVTable>,
    /// The address only: kept as a number so that it takes no part in auto traits.
    data: usize,
    pub(super) slot: u32,
    shard: u8,
    /// Whether the owner has begun what it waits with. Kept here because here is room for it.
    pub(crate) started: bool,
}

impl Seat {
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.vtable.is_some()
    }

    /// Empties the seat and leaves its slot to [`Waiters::wake_all`], after the verdict. It may be woken once
    /// more by that.
    #[inline]
    pub(crate) fn abandon(&mut self) {
        self.vtable = None;
    }

    /// Whether the registered waker wakes the same task (invariant 5).
    #[inline]
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        // An empty seat's null is nobody's vtable: one comparison instead of two.
        let vtable = self.vtable.map_or(ptr::null(), ptr::from_ref);
        self.data == waker.data().addr() && ptr::eq(vtable, waker.vtable())
    }
}

// What every poll does is inlined there. Taking a seat and giving it back lock: they are calls, made by
// `Inner`, so everything here is inlined into those.
impl Waiters {
    #[inline]
    fn slab(&self, shard: usize) -> MutexGuard<'_, Slab<Waker>> {
        // Always in range; the remainder says so to the compiler, and costs one instruction.
        self.shards[shard % SHARDS].0.lock()
    }

    /// Puts `waker` in the seat, unless `ended` says so under the lock; then the seat stays as it is and
    /// `false` is returned.
    ///
    /// The waker comes as a clone: if cloning it panicked, nothing has changed.
    #[inline]
    pub(crate) fn register(&self, seat: &mut Seat, waker: Waker, ended: impl Fn() -> bool) -> bool {
        if seat.is_taken() { self.replace(seat, waker, ended) } else { self.enter(seat, waker, ended) }
    }

    /// `register` for an empty seat: takes a slot.
    #[inline(always)]
    fn enter(&self, seat: &mut Seat, waker: Waker, ended: impl Fn() -> bool) -> bool {
        let (shard, vtable) = (shard(), waker.vtable());
        // These mean nothing yet: a seat is taken when it has a vtable.
        seat.data = waker.data().addr();
        // `SHARDS` is far below 256.
        #[allow(clippy::cast_possible_truncation, reason = "see the line above")]
        let number = shard as u8;
        seat.shard = number;
        let mut slab = self.slab(shard);
        if ended() {
            return refused(slab, waker);
        }
        seat.slot = slab.insert(waker);
        seat.vtable = Some(vtable);
        true
    }

    /// `register` for a taken seat: another waker in the same slot.
    #[inline(always)]
    fn replace(&self, seat: &mut Seat, waker: Waker, ended: impl Fn() -> bool) -> bool {
        let (data, vtable) = (waker.data().addr(), waker.vtable());
        let mut slab = self.slab(usize::from(seat.shard));
        if ended() {
            return refused(slab, waker);
        }
        let replaced = slab.replace(seat.slot, waker);
        (seat.data, seat.vtable) = (data, Some(vtable));
        drop(slab);
        drop(replaced);
        true
    }

    /// Empties a taken seat: after this the waker is gone from the table, and dropped by the caller.
    #[inline(always)]
    pub(crate) fn leave(&self, seat: &mut Seat) -> Option<Waker> {
        seat.vtable = None;
        self.slab(usize::from(seat.shard)).remove(seat.slot)
    }

    /// Wakes everyone and empties the table. The verdict must be latched before (invariant 1).
    ///
    /// A waker that panics stops nobody: the panic has been reported by the panic hook, and the one
    /// who ends the session is not to blame for it.
    pub(crate) fn wake_all(&self) {
        for shard in &self.shards {
            let slab = std::mem::take(&mut *shard.0.lock());
            for waker in slab.into_values() {
                contain(|| waker.wake());
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }
}

/// The session has ended: the waker is not needed, and dropped after the lock.
#[cold]
fn refused(slab: MutexGuard<'_, Slab<Waker>>, waker: Waker) -> bool {
    drop(slab);
    drop(waker);
    false
}
