//! The only file that says which locks, atomics and threads these are: std's in `sync/real.rs`, those of loom or shuttle
//! in `sync/model.rs`.
//!
//! Everything whose interleaving matters comes from here, so that the models run the code that ships.
//! Reference counts (`Arc`) are std's in every build, and the models cannot see into them: nothing may depend on
//! the order in which another thread sees a count change.

use std::sync::{PoisonError, TryLockError};

#[cfg(any(shared_fate_loom, shared_fate_shuttle))]
mod model;
#[cfg(any(shared_fate_loom, shared_fate_shuttle))]
use model as parts;

#[cfg(not(any(shared_fate_loom, shared_fate_shuttle)))]
mod real;
#[cfg(not(any(shared_fate_loom, shared_fate_shuttle)))]
use real as parts;

pub(crate) use parts::{AtomicU8, AtomicUsize, MutexGuard, OnceLock, SHARDS, shard, thread_id};

/// A mutex without poison. No user code runs under our locks, so a panic cannot leave anything half done behind one.
#[derive(Debug)]
pub(crate) struct Mutex<T>(parts::Mutex<T>);

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(parts::Mutex::new(value))
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
