//! The wakers of everything that waits for a session's end.
//!
//! They are in one table, or, once two threads have met at its lock, in one of [`SHARDS`] more, by thread. A
//! waiting future keeps a [`Registration`]: in which table and place its waker is, and which waker that is. So a
//! poll with the same waker takes no lock.
//!
//! Invariants:
//!
//! 1. The verdict is latched *before* the first table is emptied. A future that registers is in its table when that
//!    is emptied, and woken; or it comes later, finds no room in a table that has no memory any more, and then looks
//!    at the latch *while it holds the lock*. There it sees the verdict: the second one to lock the table knows what
//!    the first one did.
//! 2. The further tables are made under the lock of the first one. So either the end finds them when it has
//!    emptied the first, or the future that made them sees the verdict, and so does every one that registers there.
//! 3. Once emptied a table stays empty, without memory (1 again), so the number of an old place never means another
//!    future's.
//! 4. Only the owner of a registration gives its place back, once: no generation counter is needed. After the
//!    verdict it need not: nothing registers any more, and the table is emptied or about to be.
//! 5. No waker is cloned, woken or dropped under a lock. Waking and dropping run foreign code that
//!    may lock the same table (a waker that polls, or drops a task that deregisters).
//! 6. While a registration is taken, the waker in its place is alive and keeps its data pointer from being
//!    reused; so "same data, same vtable" means the same task. The identity is read off *our clone*,
//!    as [`Waker::will_wake`] does. When the session's end consumes that clone the verdict is
//!    already latched, and a poll looks there first: if it finds nothing, our clone and the waker of
//!    that poll were alive at the same time, and the end that may come during the poll wakes our clone.

use super::slab::Slab;
use crate::contain::contain;
use crate::sync::{Mutex, MutexGuard, OnceLock, SHARDS, shard};
use std::ptr;
use std::task::{RawWakerVTable, Waker};

#[derive(Default)]
#[repr(C)]
pub(super) struct Registrations {
    first: Mutex<Slab<Waker>>,
    more: OnceLock<Box<[Shard; SHARDS]>>,
}

/// One to a cache line: two threads on one session do not fight over a line either.
#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Slab<Waker>>);

/// Where a future's waker is. Empty until the future first had to wait.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "a part of the sealed trait of supervisors")]
pub struct Registration {
    /// The registered waker's identity; `None` means that none is.
    vtable: Option<&'static RawWakerVTable>,
    /// The address only: kept as a number so that it takes no part in auto traits.
    data: usize,
    pub(super) place: u32,
    /// 0 is the first table. It is 0 again when the waker has left a further one.
    table: u8,
    /// Whether the request that waits with this was polled. It is kept here because here is room for it.
    pub(crate) started: bool,
}

impl Registration {
    #[inline]
    pub(super) fn is_taken(&self) -> bool {
        self.vtable.is_some()
    }

    /// After the verdict: leaves the waker to [`Registrations::wake_all`], which may wake it once more. A crowd that
    /// resolves need not queue for the lock.
    #[inline]
    pub(crate) fn abandon(&mut self) {
        self.vtable = None;
    }

    /// Whether the registered waker wakes the same task (invariant 6).
    #[inline]
    pub(super) fn will_wake(&self, waker: &Waker) -> bool {
        // The null of an empty registration is no vtable's address: one comparison instead of two.
        let vtable = self.vtable.map_or(ptr::null(), ptr::from_ref);
        self.data == waker.data().addr() && ptr::eq(vtable, waker.vtable())
    }
}

// What every poll does is inlined there. Registering and deregistering lock: they are calls, made by `Inner`. The
// short way of one request at a time is inlined into those; all other ways are calls at the end, because a value that
// is needed after a call costs a saved register, for which each request pays.
impl Registrations {
    /// Puts `waker` in a table. If the end has emptied that, as `ended` says, the registration is not taken and
    /// `false` is returned. It must not be taken before.
    ///
    /// The waker comes as a clone: if cloning it panicked, nothing has changed.
    #[inline]
    pub(super) fn register(
        &self,
        registration: &mut Registration,
        waker: Waker,
        ended: impl Fn() -> bool,
    ) -> bool {
        if let Some(more) = self.more.get() {
            return register_in(more, registration, waker, ended);
        }
        match self.first.try_lock() {
            Some(first) => enter(first, registration, waker, ended),
            None => self.register_and_spread(registration, waker, ended),
        }
    }

    /// Two threads have met. This one stays here, the next ones go to tables of their own.
    #[cold]
    fn register_and_spread(
        &self,
        registration: &mut Registration,
        waker: Waker,
        ended: impl Fn() -> bool,
    ) -> bool {
        enter(self.spread(), registration, waker, ended)
    }

    #[cold]
    pub(super) fn spread(&self) -> MutexGuard<'_, Slab<Waker>> {
        let first = self.first.lock();
        self.more.get_or_init(Box::default);
        first
    }

    /// [`register`](Self::register) for a registration that is taken: another waker in the same place.
    #[inline]
    pub(super) fn replace(
        &self,
        registration: &mut Registration,
        waker: Waker,
        ended: impl Fn() -> bool,
    ) -> bool {
        let (data, vtable) = (waker.data().addr(), waker.vtable());
        let mut wakers = self.table(registration.table).lock();
        if ended() {
            return refuse(wakers, waker);
        }
        let replaced = wakers.replace(registration.place, waker);
        (registration.data, registration.vtable) = (data, Some(vtable));
        drop(wakers);
        drop(replaced);
        true
    }

    /// Takes the waker out and drops it.
    #[inline]
    pub(super) fn deregister(&self, registration: &mut Registration) {
        registration.vtable = None;
        if registration.table == 0 {
            leave(&self.first, registration.place);
        } else {
            self.deregister_further(registration);
        }
    }

    #[inline(never)]
    fn deregister_further(&self, registration: &mut Registration) {
        leave(self.table(registration.table), registration.place);
        registration.table = 0;
    }

    #[inline]
    fn table(&self, number: u8) -> &Mutex<Slab<Waker>> {
        if number == 0 {
            return &self.first;
        }
        let more = self.more.get().expect("a number of theirs was given out");
        // The remainder is the number itself, and tells the compiler that it is in range.
        &more[usize::from(number - 1) % SHARDS].0
    }

    /// Wakes all and empties the tables. The verdict must be latched before (invariant 1).
    ///
    /// A waker that panics stops none of the others. The panic hook has reported it, and the caller, which
    /// ends the session, is not to blame for it.
    #[inline(always)]
    pub(super) fn wake_all(&self) {
        wake(&self.first);
        if let Some(more) = self.more.get() {
            wake_more(more);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let more = self.more.get().into_iter().flat_map(|more| &**more);
        self.first.lock().len() + more.map(|shard| shard.0.lock().len()).sum::<usize>()
    }
}

/// In the table of this thread.
#[inline(never)]
fn register_in(
    more: &[Shard; SHARDS],
    registration: &mut Registration,
    waker: Waker,
    ended: impl Fn() -> bool,
) -> bool {
    let shard = shard() % SHARDS;
    // `SHARDS` is far below 255.
    #[allow(clippy::cast_possible_truncation, reason = "see the line above")]
    let table = shard as u8 + 1;
    registration.table = table;
    enter(more[shard].0.lock(), registration, waker, ended)
}

#[inline(always)]
fn enter(
    wakers: MutexGuard<'_, Slab<Waker>>,
    registration: &mut Registration,
    waker: Waker,
    ended: impl Fn() -> bool,
) -> bool {
    // There is none when the end has emptied the table (invariant 1).
    if wakers.has_room_at_the_end() {
        seat(wakers, registration, waker)
    } else {
        enter_anywhere(wakers, registration, waker, ended)
    }
}

#[inline(never)]
fn enter_anywhere(
    wakers: MutexGuard<'_, Slab<Waker>>,
    registration: &mut Registration,
    waker: Waker,
    ended: impl Fn() -> bool,
) -> bool {
    if ended() { refuse(wakers, waker) } else { seat(wakers, registration, waker) }
}

#[inline(always)]
fn seat(mut wakers: MutexGuard<'_, Slab<Waker>>, registration: &mut Registration, waker: Waker) -> bool {
    let (data, vtable) = (waker.data().addr(), waker.vtable());
    registration.place = wakers.insert(waker);
    (registration.data, registration.vtable) = (data, Some(vtable));
    true
}

#[inline(always)]
fn leave(table: &Mutex<Slab<Waker>>, place: u32) {
    let mut wakers = table.lock();
    if !wakers.just_pops(place) {
        return leave_from_among(wakers, place);
    }
    let waker = wakers.pop();
    drop(wakers);
    drop(waker);
}

#[inline(never)]
fn leave_from_among(mut wakers: MutexGuard<'_, Slab<Waker>>, place: u32) {
    let waker = wakers.remove(place);
    drop(wakers);
    drop(waker);
}

#[cold]
fn wake_more(more: &[Shard; SHARDS]) {
    for shard in more {
        wake(&shard.0);
    }
}

#[inline(always)]
fn wake(table: &Mutex<Slab<Waker>>) {
    let mut table = table.lock();
    // Without memory it is as if it were emptied.
    if table.has_memory() {
        let wakers = std::mem::take(&mut *table);
        drop(table);
        wake_each(wakers);
    }
}

#[inline(never)]
fn wake_each(wakers: Slab<Waker>) {
    for waker in wakers.into_values() {
        contain(|| waker.wake());
    }
}

/// The session has ended: the waker is not needed, and dropped after the lock.
#[cold]
fn refuse(wakers: MutexGuard<'_, Slab<Waker>>, waker: Waker) -> bool {
    drop(wakers);
    drop(waker);
    false
}
