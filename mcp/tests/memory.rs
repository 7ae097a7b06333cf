//! Ten thousand calls leave nothing behind. A process of its own, because it looks at its own size. No watchdog: on a busy
//! machine this takes long.
#![cfg(all(target_os = "linux", feature = "stdio", feature = "http"))]

mod fault;

use fault::http::{Call, Server};
use fault::lines::{normal, pair};
use serde_json::json;
use shared_fate_mcp::{CallOptions, Client, Http};
use std::fs;
use std::time::Duration;

/// How much memory of this process is resident, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn count(path: &str) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// Runs `round` until everything is warm, and then ten times as often. That takes less than a tenth of a KiB for each call.
async fn flat(calls_in_a_round: u64, round: impl AsyncFn()) {
    for _ in 0..1000 / calls_in_a_round {
        round().await;
    }
    let (before, files, threads) = (resident(), count("/proc/self/fd"), count("/proc/self/task"));
    for _ in 0..10_000 / calls_in_a_round {
        round().await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB more for 10 000 calls");
    assert!(count("/proc/self/fd") <= files + 2);
    assert!(count("/proc/self/task") <= threads + 2);
}

/// One test for pipes and HTTP: two at a time would disturb each other.
#[test]
fn ten_thousand_calls_leave_memory_flat() {
    pollster::block_on(async {
        let (stdio, server) = pair(normal);
        server.forget();
        let (client, driver) = Client::connect(stdio).await.unwrap();
        let calls = async {
            flat(1, async || drop(client.call_tool("echo", json!({ "n": 1 })).await.unwrap())).await;
            assert_eq!(client.pending_calls(), 0);
            // Some calls are given up before they are written, and some after.
            flat(10, async || {
                let hasty = client.with_options(CallOptions::timeout(Duration::ZERO));
                let calls = (0..10).map(|_| hasty.call_tool("held", ()));
                let results = futures::future::join_all(calls).await;
                assert!(results.iter().all(Result::is_err));
                client.ping().await.unwrap();
            })
            .await;
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
        };
        driver.run_until(calls).await;
    });
    pollster::block_on(async {
        let server = Server::start(|call| match call.request.tool() {
            "broken" => call.respond("500 X", &[], "no"),
            _ => Call::normal(call),
        });
        server.forget();
        let (client, driver) = Client::connect(Http::new(&server.url()).unwrap()).await.unwrap();
        let calls = async {
            flat(2, async || {
                client.call_tool("echo", json!({ "n": 1 })).await.unwrap();
                client.call_tool("broken", ()).await.unwrap_err();
            })
            .await;
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
        };
        driver.run_until(calls).await;
    });
}
