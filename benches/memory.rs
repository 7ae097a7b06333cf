//! W7: what a supervised request occupies, and what it allocates. Exact, not timed.
//!
//! `inline`: bytes in the future beyond the request. `heap`: bytes on the heap for each of so many
//! waiters on one session. `allocations`: for a call that pends once, after a warm-up.
//!
//! A second table has what a session occupies when nothing waits under it, or when much has waited. The benchmark fails
//! where the contract allows less.

mod peers;
mod report;

use peers::{PEERS, Request};
use report::Table;
use shared_fate::{Session, SupervisedExt};
use std::hint::black_box;
use std::io;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::Waker;

/// The contract for `&session` and a lane.
const INLINE: usize = 40;
const HEAP: f64 = 26.0;
/// The contract for a session, or a child, under which nothing waits.
const IDLE: f64 = 256.0;
/// What a table may keep when it has held very many and holds a hundred or none. It need not be exact: a table that
/// shrinks at every chance grows again at every chance.
const LEFT: f64 = 16384.0;

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
            && found.iter().any(|found| found.inline > INLINE || found.heap > HEAP || found.allocations > 0.0)
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
    faults.extend(sessions());
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", faults.join("\n"));
    ExitCode::FAILURE
}

type Own = Session<io::Error>;

/// What a session keeps; says where that is too much.
fn sessions() -> Vec<String> {
    println!("bytes that a session keeps beside its requests\n");
    let mut table = Table::new(["", "found", "at most"]);
    let mut faults = Vec::new();
    let mut row = |what: String, found: f64, at_most: Option<f64>| {
        let limit = at_most.map_or_else(String::new, |at_most| format!("{at_most:.0}"));
        table.row([what.clone(), format!("{found:.1}"), limit]);
        if let Some(at_most) = at_most.filter(|&at_most| found > at_most) {
            faults.push(format!("{what}: {found:.1}, the contract allows {at_most:.0}"));
        }
    };
    row("an idle session".to_owned(), each(1000, Own::new), Some(IDLE));
    row("after a request has waited".to_owned(), each(1000, || visited(Own::new())), None);
    row("with a driver".to_owned(), each(1000, || Own::new().drive(std::future::pending())), None);
    // The family's table is a part of it. It grows by doubling: with 1024 it is full, and with one more half empty.
    for (n, of, at_most) in [
        (1, "the only one", None),
        (1000, "one of 1000", Some(IDLE)),
        (1024, "one of 1024, the table is full", Some(IDLE)),
        (1025, "one of 1025, the table has just grown", None),
    ] {
        let parent = Own::new();
        row(format!("an idle child, {of}"), each(n, || parent.child()), at_most);
    }
    let parent = Own::new();
    let child = each(1000, || visited(parent.child()));
    row("after a request has waited, one of 1000".to_owned(), child, None);
    for order in Order::ALL {
        let out = order.label();
        row(format!("a million have waited, 0 are left, {out}"), left(1_000_000, 0, order).0, Some(LEFT));
        let (bytes, allocations) = left(1_000_000, 100, order);
        row(format!("the first 100 are left, {out}"), bytes, Some(LEFT));
        row("allocations, when one comes and goes beside them".to_owned(), allocations, Some(0.0));
    }
    for order in Order::ALL {
        let out = order.label();
        let table = children_left(100_000, 0, order);
        row(format!("there were 100000 children, 0 are left, {out}"), table, Some(LEFT));
        let table = children_left(100_000, 100, order);
        row(format!("beside the first 100 that are left, {out}"), table, Some(LEFT));
    }
    table.print();
    faults
}

fn bytes() -> f64 {
    counting::allocated().1 as f64
}

/// Bytes on the heap for each of so many.
fn each<T>(n: usize, mut make: impl FnMut() -> T) -> f64 {
    let mut all = Vec::with_capacity(n);
    let before = bytes();
    all.extend((0..n).map(|_| make()));
    (bytes() - before) / n as f64
}

/// The session, after a request has waited under it.
fn visited(session: Own) -> Own {
    wait_once(&session, &peers::waker());
    session
}

/// A call that pends once.
fn wait_once(session: &Own, waker: &Waker) {
    let mut request = pin!(black_box(Request { left: 1 }).supervised(session));
    peers::register(request.as_mut(), waker);
    assert!(peers::poll(request.as_mut(), waker).is_ready());
}

/// In which order things go that came one after the other.
#[derive(Clone, Copy)]
enum Order {
    FirstFirst,
    LastFirst,
    Mixed,
}

impl Order {
    const ALL: [Self; 3] = [Self::FirstFirst, Self::LastFirst, Self::Mixed];

    fn label(self) -> &'static str {
        match self {
            Self::FirstFirst => "first in, first out",
            Self::LastFirst => "last in, first out",
            Self::Mixed => "any out",
        }
    }

    /// Takes out all but the first `stay`.
    fn take_out<T>(self, all: &mut [Option<T>], stay: usize) {
        let going = &mut all[stay..];
        let n = going.len();
        for turn in 0..n {
            let at = match self {
                Self::FirstFirst => turn,
                Self::LastFirst => n - 1 - turn,
                // It has no factor in common with n: each number comes once.
                Self::Mixed => turn * 7_368_787 % n,
            };
            assert!(going[at].take().is_some());
        }
    }
}

/// What a session's table keeps after so many have waited and some are left. And the allocations for one request that
/// comes and goes then.
fn left(waited: usize, stay: usize, order: Order) -> (f64, f64) {
    let session = Own::new();
    let waker = peers::waker();
    let mut waiting = Vec::with_capacity(waited);
    let before = bytes();
    waiting.extend((0..waited).map(|_| {
        let mut request = Request::hopeless().supervised(&session);
        peers::register(Pin::new(&mut request), &waker);
        Some(request)
    }));
    order.take_out(&mut waiting, stay);
    let left = bytes() - before;
    let allocations = || counting::allocated().0;
    wait_once(&session, &waker);
    let (before, calls) = (allocations(), 1000);
    (0..calls).for_each(|_| wait_once(&session, &waker));
    (left, (allocations() - before) as f64 / f64::from(calls))
}

/// What a family keeps beside the children that are left.
fn children_left(born: usize, stay: usize, order: Order) -> f64 {
    let parent = Own::new();
    let one = each(1000, || parent.child());
    let parent = Own::new();
    let mut children = Vec::with_capacity(born);
    let before = bytes();
    children.extend((0..born).map(|_| Some(parent.child())));
    order.take_out(&mut children, stay);
    bytes() - before - one * stay as f64
}
