//! What a pending call occupies on the client's heap, its future and task included.

use crate::client::{Client, Way, Who, ours, rmcp};
use crate::load::runtime;
use crate::page::Section;
use crate::server::Process;
use crate::table::{Table, less, thousands};
use crate::{again, counting};
use std::time::{Duration, Instant};

/// Bytes for each of `n` pending calls.
pub(crate) fn run(who: Who, way: Way, n: usize) -> i64 {
    runtime(1).block_on(async {
        match who {
            Who::Rmcp | Who::RmcpDefault => hold(rmcp(way, who == Who::Rmcp).await, n).await,
            _ => hold(ours(way, who == Who::OursOnTokio).await, n).await,
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
    // Waits until the count has stood still for as long as the system takes to try again to connect.
    let (mut bytes, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if counting::bytes() != bytes {
            (bytes, since) = (counting::bytes(), Instant::now());
        }
    }
    bytes / i64::try_from(n).expect("a small number")
}

pub(crate) fn section() -> Section {
    let server = Process::http();
    let mut table = Table::new(["pending", "ours", "ours, tokio's I/O", "rmcp", "ours / rmcp"]);
    for (name, way) in [("stdio", "stdio"), ("HTTP", &server.port)] {
        for n in [16, 1000] {
            let bytes = [Who::Ours, Who::OursOnTokio, Who::Rmcp].map(|who| {
                let arguments = ["pending", who.name(), way, &n.to_string()].map(str::to_owned);
                again(&arguments).parse::<f64>().expect("a number")
            });
            let share = less(bytes[0], bytes[2]);
            let [ours, on_tokio, theirs] = bytes.map(thousands);
            table.row([format!("{name}, {}", thousands(n as f64)), ours, on_tokio, theirs, share]);
        }
    }
    Section {
        title: "Memory of pending calls",
        before: "Bytes on the client's heap for each pending call, its future and its task included.",
        tables: vec![("", table)],
        after: "",
    }
}
