//! The allocator, which counts as soon as it is told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// Whether what is allocated now is the server's. (Its bytes count: the client frees some of them.)
    static SERVER: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(allocations: i64, bytes: i64) {
    if ON.load(Relaxed) {
        BYTES.fetch_add(bytes, Relaxed);
        if !SERVER.get() {
            ALLOCATIONS.fetch_add(allocations, Relaxed);
        }
    }
}

// SAFETY: everything is passed on to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: our caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: our caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: our caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: our caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

pub(crate) fn start() {
    ON.store(true, Relaxed);
}

/// Bytes allocated since the start and not freed.
pub(crate) fn bytes() -> i64 {
    BYTES.load(Relaxed)
}

/// Allocations since the start, and blocks that have grown or shrunk, without the server's.
pub(crate) fn allocations() -> i64 {
    ALLOCATIONS.load(Relaxed)
}

/// Runs a part of the server, whose allocations are not the client's.
pub(crate) fn as_server<T>(part: impl FnOnce() -> T) -> T {
    let before = SERVER.replace(true);
    let value = part();
    SERVER.set(before);
    value
}
