//! W7: what a supervised request occupies, and what it allocates. Exact, not timed.
//!
//! `inline`: bytes in the future beyond the request. `heap`: bytes on the heap for each of so many
//! waiters on one session. `allocations`: for a call that pends once, after a warm-up.

mod peers;
mod report;

use peers::PEERS;
use report::Table;
use std::process::ExitCode;

/// The contract for `&session` and a lane.
const INLINE: usize = 40;
const HEAP: f64 = 26.0;

#[allow(unsafe_code, reason = "an allocator that counts has to be an allocator")]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

    struct Counting;

    static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
    static BYTES: AtomicI64 = AtomicI64::new(0);

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    // SAFETY: everything is passed on to `System` unchanged.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            ALLOCATIONS.fetch_add(1, Relaxed);
            BYTES.fetch_add(layout.size() as i64, Relaxed);
            // SAFETY: our caller's promises are passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            BYTES.fetch_sub(layout.size() as i64, Relaxed);
            // SAFETY: our caller's promises are passed on.
            unsafe { System.dealloc(memory, layout) }
        }

        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            ALLOCATIONS.fetch_add(1, Relaxed);
            BYTES.fetch_add(size as i64 - layout.size() as i64, Relaxed);
            // SAFETY: our caller's promises are passed on.
            unsafe { System.realloc(memory, layout, size) }
        }
    }

    /// Allocations so far, and bytes that are allocated now.
    pub(crate) fn allocated() -> (u64, i64) {
        (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed))
    }
}

fn main() -> ExitCode {
    if !report::asked_for() {
        return ExitCode::SUCCESS;
    }
    const MANY: [usize; 3] = [1000, 100_000, 1_000_000];
    println!("\nbytes and allocations for one request\n");
    let mut table = Table::new(["supervised by", "inline", "heap at 1k", "100k", "1M", "allocations"]);
    let mut faults = Vec::new();
    for peer in PEERS.iter().filter(|peer| peer.name != peers::FLOOR) {
        let found = MANY.map(|n| (peer.memory)(counting::allocated, n));
        let [.., last] = found;
        if [peers::OURS, "&mut lane"].contains(&peer.name)
            && (last.inline > INLINE || last.heap > HEAP || last.allocations > 0.0)
        {
            faults.push(format!(
                "{}: more than {INLINE} B inline, {HEAP} B of heap, or an allocation",
                peer.name
            ));
        }
        let heap = found.map(|found| format!("{:.1}", found.heap));
        let cells = [peer.name.to_owned(), last.inline.to_string()].into_iter().chain(heap);
        table.row(cells.chain([format!("{:.2}", last.allocations)]));
    }
    table.print();
    table.save("memory");
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", faults.join("\n"));
    ExitCode::FAILURE
}
