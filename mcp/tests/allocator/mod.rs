//! An allocator that counts: what is allocated now, the most there was, and how often this thread has allocated.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unsafe_code, reason = "an allocator that counts has to be an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is passed on to `System` unchanged. (`realloc` is the default: both copies count.)
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: our caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: our caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Held by a test that measures: bytes are counted for the whole process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many allocations there were in this thread: the harness allocates in its own.
pub(crate) fn count() -> usize {
    COUNT.get()
}

/// How many bytes are allocated.
pub(crate) fn bytes() -> usize {
    NOW.load(Relaxed)
}

/// How many bytes are allocated. The peak begins anew.
pub(crate) fn begin() -> usize {
    let now = bytes();
    PEAK.store(now, Relaxed);
    now
}

/// The most bytes that were allocated since [`begin`].
pub(crate) fn peak() -> usize {
    PEAK.load(Relaxed)
}
