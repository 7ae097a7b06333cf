//! What a pending call occupies on the client's heap, its future and task included.

use crate::again;
use crate::client::{Client, Way, Who, ours, rmcp};
use crate::load::runtime;
use crate::server::Process;
use crate::table::{Table, ratio, thousands};
use std::time::{Duration, Instant};

mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

    struct Counting;

    static ON: AtomicBool = AtomicBool::new(false);
    static BYTES: AtomicI64 = AtomicI64::new(0);

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    fn count(bytes: i64) {
        if ON.load(Relaxed) {
            BYTES.fetch_add(bytes, Relaxed);
        }
    }

    // SAFETY: everything is passed on to `System` unchanged.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count(layout.size() as i64);
            // SAFETY: our caller's promises are passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            count(-(layout.size() as i64));
            // SAFETY: our caller's promises are passed on.
            unsafe { System.dealloc(memory, layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            count(layout.size() as i64);
            // SAFETY: our caller's promises are passed on.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            count(size as i64 - layout.size() as i64);
            // SAFETY: our caller's promises are passed on.
            unsafe { System.realloc(memory, layout, size) }
        }
    }

    pub(super) fn start() {
        ON.store(true, Relaxed);
    }

    pub(super) fn bytes() -> i64 {
        BYTES.load(Relaxed)
    }
}

/// Bytes for each of `n` pending calls.
pub(crate) fn run(who: Who, way: Way, n: usize) -> i64 {
    runtime(1).block_on(async {
        match who {
            Who::Ours | Who::OursOnTokio => hold(ours(way, who == Who::OursOnTokio).await, n).await,
            Who::Rmcp | Who::RmcpDefault => hold(rmcp(way, who == Who::Rmcp).await, n).await,
        }
    })
}

async fn hold(client: impl Client, n: usize) -> i64 {
    client.call("echo").await.expect("all is well");
    counting::start();
    for _ in 0..n {
        let client = client.clone();
        tokio::spawn(async move { client.call("held").await });
    }
    // Until nothing has moved for as long as the system takes to try again to connect.
    let (mut bytes, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if counting::bytes() != bytes {
            (bytes, since) = (counting::bytes(), Instant::now());
        }
    }
    bytes / i64::try_from(n).expect("a small number")
}

pub(crate) fn print() {
    let server = Process::http();
    println!("Bytes on the client's heap for each pending call, its future and task included\n");
    let mut table = Table::new(["pending", "ours", "ours, tokio's I/O", "rmcp", "ours / rmcp"]);
    for (name, way) in [("stdio", "stdio"), ("HTTP", &server.port)] {
        for n in [16, 1000] {
            let bytes = [Who::Ours, Who::OursOnTokio, Who::Rmcp].map(|who| {
                let arguments = ["pending", who.name(), way, &n.to_string()].map(str::to_owned);
                again(&arguments).parse::<f64>().expect("a number")
            });
            let share = ratio(bytes[0], bytes[2]);
            let [ours, on_tokio, theirs] = bytes.map(thousands);
            table.row([format!("{name}, {n}"), ours, on_tokio, theirs, share]);
        }
    }
    table.print();
}
