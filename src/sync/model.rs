//! What `sync.rs` has, from parts that loom and shuttle know.

#[cfg(shared_fate_loom)]
use loom as kit;
#[cfg(shared_fate_shuttle)]
use shuttle as kit;

use kit::sync::atomic::{AtomicBool, Ordering};
pub(crate) use kit::sync::atomic::{AtomicU8, AtomicUsize};
pub(crate) use kit::sync::{Mutex, MutexGuard};
use kit::thread_local;

/// `OnceLock`, with a flag that the models know: it is stored with `Release` after the value.
///
/// There is no call that finds the value on its way: each of ours is under a lock, or alone.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    is_set: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self { is_set: AtomicBool::new(false), value: std::sync::OnceLock::new() }
    }
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.is_set.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(crate) fn get_or_init(&self, value: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            assert!(self.set(value()).is_ok(), "two threads at a time");
        }
        self.get().expect("set before")
    }
}

pub(crate) fn thread_id() -> usize {
    thread_local!(static HERE: u8 = 0);
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// One shard beside the first: every further lock multiplies the interleavings.
pub(crate) const SHARDS: usize = 1;

pub(crate) fn shard() -> usize {
    0
}
