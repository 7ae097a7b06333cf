//! What `sync.rs` has, from std.

use std::cell::Cell;
use std::sync::atomic::Ordering;
pub(crate) use std::sync::atomic::{AtomicU8, AtomicUsize};
pub(crate) use std::sync::{Mutex, MutexGuard, OnceLock};

/// A number that no other living thread has. The number of a thread that is gone is used again.
#[inline]
pub(crate) fn thread_id() -> usize {
    // An object of no size might share its address with others.
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Over how many locks the waiters of a session are spread once two threads have met at one.
pub(crate) const SHARDS: usize = 8;

/// The shard of this thread. Threads are dealt out in turn, so up to [`SHARDS`] of them never meet.
#[inline]
pub(crate) fn shard() -> usize {
    const UNSET: usize = usize::MAX;
    // Without a destructor and with a constant to begin with, a look is one load.
    thread_local!(static SHARD: Cell<usize> = const { Cell::new(UNSET) });
    #[cold]
    fn deal(shard: &Cell<usize>) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        shard.get()
    }
    SHARD.with(|shard| if shard.get() == UNSET { deal(shard) } else { shard.get() })
}
