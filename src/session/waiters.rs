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
//! 3. Only the owner of a seat gives its slot back, once: no generation counter is needed.
//! 4. No waker is cloned, woken or dropped under a lock. Waking and dropping run foreign code that
//!    may lock the same slab (a waker that polls, or drops a task that unregisters).
//! 5. While a seat is taken, the waker in its slot is alive and keeps its data pointer from being
//!    reused; so "same data, same vtable" means the same task. The identity is read off *our clone*,
//!    as [`Waker::will_wake`] does. When the session's end consumes that clone the verdict is
//!    already latched, and a poll looks there first.

use crate::sync::{Mutex, SHARDS, shard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{RawWakerVTable, Waker};

/// One shard to a cache line: two threads on one session do not fight over a line either.
#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Slab>);

#[derive(Default)]
pub(crate) struct Waiters {
    shards: [Shard; SHARDS],
}

/// The end of the free list.
const NONE: u32 = u32::MAX;

struct Slab {
    slots: Vec<Slot>,
    free: u32,
}

impl Default for Slab {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE }
    }
}

pub(crate) enum Slot {
    Free { next: u32 },
    Taken(Waker),
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
    pub(crate) fn is_taken(&self) -> bool {
        self.vtable.is_some()
    }

    /// Whether the registered waker wakes the same task (invariant 5).
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        self.data == waker.data().addr()
            && self.vtable.is_some_and(|vtable| std::ptr::eq(vtable, waker.vtable()))
    }

    fn take_by(&mut self, waker: &Waker) {
        self.data = waker.data().addr();
        self.vtable = Some(waker.vtable());
    }
}

impl Waiters {
    /// Puts `waker` in the seat, unless `ended` says so under the lock; then the seat stays as it is
    /// and `false` is returned.
    pub(crate) fn register(&self, seat: &mut Seat, waker: &Waker, ended: impl Fn() -> bool) -> bool {
        // A clone that panics has changed nothing yet.
        let waker = waker.clone();
        let mut taken = Seat { vtable: None, ..*seat };
        taken.take_by(&waker);
        let left_over;
        let registered;
        if seat.is_taken() {
            let mut slab = self.shards[usize::from(seat.shard)].0.lock();
            registered = !ended();
            left_over = if registered {
                match slab.slots.get_mut(seat.slot as usize) {
                    Some(slot) => Some(std::mem::replace(slot, Slot::Taken(waker))),
                    None => unreachable!("a taken seat has a slot until the session ends"),
                }
            } else {
                Some(Slot::Taken(waker))
            };
        } else {
            let shard = shard();
            let mut slab = self.shards[shard].0.lock();
            registered = !ended();
            left_over = if registered {
                // `SHARDS` is far below 256.
                #[allow(clippy::cast_possible_truncation, reason = "see the line above")]
                let number = shard as u8;
                taken.shard = number;
                taken.slot = slab.insert(waker);
                None
            } else {
                Some(Slot::Taken(waker))
            };
        }
        if registered {
            *seat = taken;
        }
        drop(left_over);
        registered
    }

    /// Empties the seat: after this the waker is gone from the table, and dropped by the caller.
    pub(crate) fn leave(&self, seat: &mut Seat) -> Option<Slot> {
        seat.vtable.take()?;
        self.shards[usize::from(seat.shard)].0.lock().remove(seat.slot)
    }

    /// Wakes everyone and empties the table. The verdict must be latched before (invariant 1).
    ///
    /// A waker that panics stops nobody: the panic has been reported by the panic hook, and the one
    /// who ends the session is not to blame for it.
    pub(crate) fn wake_all(&self) {
        for shard in &self.shards {
            let slab = std::mem::take(&mut *shard.0.lock());
            for slot in slab.slots {
                if let Slot::Taken(waker) = slot
                    && let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake()))
                {
                    // A payload's own drop may panic too; there is no one left to tell.
                    std::mem::forget(payload);
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let taken = |slab: &Slab| slab.slots.iter().filter(|slot| matches!(slot, Slot::Taken(_))).count();
        self.shards.iter().map(|shard| taken(&shard.0.lock())).sum()
    }
}

impl Slab {
    fn insert(&mut self, waker: Waker) -> u32 {
        let number = self.free;
        if let Some(slot) = self.slots.get_mut(number as usize) {
            if let Slot::Free { next } = *slot {
                self.free = next;
            }
            *slot = Slot::Taken(waker);
            number
        } else {
            let number = u32::try_from(self.slots.len()).ok().filter(|&number| number != NONE);
            let number = number.expect("fewer than 2^32 waiters");
            self.slots.push(Slot::Taken(waker));
            number
        }
    }

    fn remove(&mut self, number: u32) -> Option<Slot> {
        // Gone where the session has ended meanwhile (invariant 2).
        let slot = self.slots.get_mut(number as usize)?;
        let removed = std::mem::replace(slot, Slot::Free { next: self.free });
        self.free = number;
        Some(removed)
    }
}
