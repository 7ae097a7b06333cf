//! Servers that never stop: no poll goes on for as long as they do, and no memory grows with them.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::run::once;
use crate::kit::{http, millis, reply, seconds};
use serde_json::{Value, json};
use shared_fate::mcp::{CallOptions, Client, Limits, Mode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Much, and not without end: a client that takes all of it in one go shall fail its test soon.
fn endless_interim_answers(call: &mut Call, mut after: impl FnMut(usize)) {
    let some = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    for round in 0..300 {
        call.write(&some);
        after(round);
    }
}

#[test]
#[ignore = "fails: hyper reads interim answers in one poll for as long as they come; the deadline is not looked at"]
fn liv_07_endless_interim_answers_do_not_keep_a_call_from_its_deadline() {
    once(async |_| {
        let clock = Clock::new();
        let time = clock.clone();
        let server = Server::start(move |call| match call.request.tool() {
            "flood" => {
                call.take();
                endless_interim_answers(call, |round| {
                    if round == 10 {
                        pollster::block_on(time.pass(seconds(60)));
                    }
                });
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
        driver
            .with(async {
                let error = client.call_tool("flood", ()).await.unwrap_err();
                assert!(error.is_timeout(), "{error:#}");
            })
            .await;
    });
}

#[test]
#[ignore = "fails: as above, in the driver's poll; and so nothing else is polled"]
fn liv_20_endless_interim_answers_on_the_servers_stream_hold_up_nobody() {
    once(async |_| {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let server = Server::start(move |call| match &*call.request.method {
            "GET" => {
                call.take();
                endless_interim_answers(call, |_| {});
                is_over.store(true, Ordering::SeqCst);
            }
            _ => call.normal(),
        });
        let builder = Client::builder().mode(Mode::Legacy);
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        driver
            .with(async {
                client.ping().await.unwrap();
                assert!(!over.load(Ordering::SeqCst), "connected only when the flood was over");
            })
            .await;
    });
}

/// How long it takes to list a tool with so many annotated arguments.
async fn listing(client: &Client, count: &AtomicUsize, arguments: usize) -> Duration {
    count.store(arguments, Ordering::SeqCst);
    let start = Instant::now();
    client.list_tools().await.unwrap();
    start.elapsed()
}

#[test]
#[ignore = "fails: quadratic; 16 MiB of them block the thread for minutes"]
fn par_03_the_time_for_annotated_arguments_grows_with_their_number() {
    once(async |_| {
        let count = Arc::new(AtomicUsize::new(0));
        let arguments = Arc::clone(&count);
        let server = Server::start(move |call| {
            let result = match call.request.rpc() {
                "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
                _ => {
                    let annotated = |n| json!({ "type": "string", "x-mcp-header": format!("a{n:05}") });
                    let arguments = 0..arguments.load(Ordering::SeqCst);
                    let properties: Value = arguments.map(|n| (n.to_string(), annotated(n))).collect();
                    let schema = json!({ "type": "object", "properties": properties });
                    json!({ "tools": [{ "name": "x", "inputSchema": schema }] })
                }
            };
            call.json(&[], &reply(&call.request.body["id"], result).to_string());
        });
        let builder = Client::builder().mode(Mode::Modern);
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        driver
            .with(async {
                let mut few = Duration::MAX;
                for _ in 0..5 {
                    few = few.min(listing(&client, &count, 1000).await);
                }
                let many = listing(&client, &count, 8000).await;
                // Eight times as many; twice that is for the noise.
                assert!(many < 16 * few, "{few:?} for 1000, {many:?} for 8000");
            })
            .await;
    });
}

#[test]
#[ignore = "fails: with `retry: 0` and an id on each stream it is opened again at once, for ever"]
fn ses_14_res_08_a_stream_that_says_come_back_at_once_is_no_hot_loop() {
    once(async |_| {
        let server = Server::start(|call| match &*call.request.method {
            "GET" => {
                call.events();
                call.write("id: 1\nretry: 0\ndata:\n\n");
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        driver
            .with(async {
                for _ in 0..200 {
                    client.ping().await.unwrap();
                }
            })
            .await;
        // No time has passed.
        let gets = server.requests().iter().filter(|request| request.method == "GET").count();
        assert!(gets <= 1 + Limits::default().resumptions, "{gets}");
    });
}

#[test]
fn liv_06_a_deadline_is_kept_among_thousands_of_small_events() {
    once(async |_| {
        let clock = Clock::new();
        let time = clock.clone();
        let server = Server::start(move |call| match call.request.tool() {
            "flood" => {
                call.events();
                let some = ": on it\n\nid: 1\n\ndata: {\"method\":\"x\"}\n\n".repeat(500);
                for round in 0..200 {
                    call.write(&some);
                    if round == 10 {
                        pollster::block_on(time.pass(millis(100)));
                    }
                }
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
        driver
            .with(async {
                let hasty = client.with_options(CallOptions::timeout(millis(100)));
                assert!(hasty.call_tool("flood", ()).await.unwrap_err().is_timeout());
                client.ping().await.unwrap();
            })
            .await;
    });
}
