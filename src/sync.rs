//! The only file that says which locks, atomics and threads these are: std's here, those of loom or
//! shuttle in `sync/model.rs`.
//!
//! Everything whose interleaving matters comes from here, so that the models run the code that ships.
//! Reference counts (`Arc`) are std's in every build, and the models cannot see into them: nothing may depend on
//! the order in which another thread sees a count change.

#[cfg(any(shared_fate_loom, shared_fate_shuttle))]
mod model;

#[cfg(any(shared_fate_loom, shared_fate_shuttle))]
pub(crate) use model::{AtomicU8, AtomicUsize, Mutex, MutexGuard, OnceLock, SHARDS, shard, thread_id};

#[cfg(not(any(shared_fate_loom, shared_fate_shuttle)))]
pub(crate) use real::{AtomicU8, AtomicUsize, Mutex, MutexGuard, OnceLock, SHARDS, shard, thread_id};

#[cfg(not(any(shared_fate_loom, shared_fate_shuttle)))]
mod real {
    use std::cell::Cell;
    use std::sync::atomic::Ordering;
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicUsize};
    pub(crate) use std::sync::{MutexGuard, OnceLock};
    use std::sync::{PoisonError, TryLockError};

    /// `std::sync::Mutex` without poison. No user code runs under our locks, so a panic cannot leave
    /// anything half done behind one.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        #[inline]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// `None` if another thread holds the lock at this moment.
        #[inline]
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }

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
}
