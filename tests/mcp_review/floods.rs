//! Servers that never stop: no poll goes on for as long as they do, and no memory grows with them.

use crate::check::{on, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use crate::fault::tool;
use crate::kit::{Feed, Log, http, millis, reply, seconds, tell};
use futures::FutureExt;
use futures::io::AsyncWrite;
use serde_json::{Value, json};
use shared_fate::mcp::{CallOptions, Client, Elicited, Interest, Limits, Mode, RpcError, Stdio, Violation};
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
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

/// Takes everything at once; and for each write somebody else, as another thread might, has one more
/// message.
struct Greedy {
    client: Arc<OnceLock<Client>>,
    writes: Arc<AtomicUsize>,
}

impl AsyncWrite for Greedy {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writes.fetch_add(1, Ordering::SeqCst) < 100_000
            && let Some(client) = self.client.get()
        {
            client.notify("x", ()).now_or_never();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn io_17_writing_leaves_reading_its_turn() {
    once(async |_| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
        io::Write::write_all(&mut &theirs, format!("{}\n", reply(&json!(1), hello)).as_bytes()).unwrap();
        let (client, writes) = (Arc::default(), Arc::default());
        let greedy = Greedy { client: Arc::clone(&client), writes: Arc::clone(&writes) };
        let stdio = Stdio::over(smol::Async::new(ours).unwrap(), greedy);
        let (connected, mut driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        client.set(connected).unwrap();
        assert!(futures::poll!(&mut driver).is_pending());
        assert!(writes.load(Ordering::SeqCst) < 1000, "all in one poll");
    });
}

#[test]
fn sec_08_a_flood_of_unknown_notifications_ends_the_session() {
    once(async |_| {
        // No answer: one that comes in the same go as the end is a success all the same (R2).
        let (stdio, _server) = pair(|peer, message| match tool(message) {
            "flood" => peer.write("{\"method\":\"nonsense\"}\n".repeat(20_000)),
            _ => normal(peer, message),
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver
            .with(async {
                let error = client.call_tool("flood", ()).await.unwrap_err();
                assert_eq!(*violation(crate::check::cause(&error)), Violation::Flood);
            })
            .await;
    });
}

#[test]
fn mr_09_sec_08_what_one_round_may_ask_is_bounded() {
    once(async |_| {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = Server::start(|call| {
            let form = json!({ "mode": "form", "message": "?", "requestedSchema": { "type": "object" } });
            let ask = json!({ "method": "elicitation/create", "params": form });
            let result = match call.request.rpc() {
                "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
                "tools/call" if call.request.body["params"].get("inputResponses").is_none() => {
                    let requests: Value = (0..5000).map(|n| (n.to_string(), ask.clone())).collect();
                    json!({ "resultType": "input_required", "inputRequests": requests })
                }
                _ => json!({ "tools": [], "content": [] }),
            };
            call.json(&[], &reply(&call.request.body["id"], result).to_string());
        });
        let builder = Client::builder().mode(Mode::Modern).on_elicit_form(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Elicited::Decline)
        });
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        let _ = driver.with(client.call_tool("x", ())).await;
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked <= Limits::default().server_requests, "{asked} in one round");
    });
}

/// Resident memory, in MiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
}

#[test]
fn sub_09_sec_08_a_subscription_that_is_not_read_keeps_no_more_than_a_message() {
    const MIB: usize = 1024 * 1024;
    once(async |_| {
        let (stdio, _server) = pair(|peer, message| {
            let meta = json!({ "io.modelcontextprotocol/subscriptionId": message["id"] });
            match message["method"].as_str() {
                Some("server/discover") => {
                    let result = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} });
                    peer.say(&reply(&message["id"], result));
                }
                Some("subscriptions/listen") => {
                    let acknowledged = "notifications/subscriptions/acknowledged";
                    peer.say(&tell(acknowledged, json!({ "_meta": meta })));
                    let text = "x".repeat(MIB);
                    for _ in 0..60 {
                        peer.say(&tell("notifications/other", json!({ "_meta": meta, "text": text })));
                    }
                }
                _ => normal(peer, message),
            }
        });
        let builder = Client::builder().mode(Mode::Modern).timer(Clock::new());
        let (client, driver) = builder.connect(stdio).await.unwrap();
        driver
            .with(async {
                let before = resident();
                let subscription = client.listen(&Interest::default()).await.unwrap();
                client.call_tool("x", ()).await.unwrap();
                let more = resident().saturating_sub(before);
                assert!(more < 40, "{more} MiB for one subscription");
                drop(subscription);
            })
            .await;
    });
}

#[test]
fn liv_21_rev_07_cancellations_that_hang_hold_up_no_handler() {
    once(async |_| {
        let feed = Feed::new();
        let events = feed.clone();
        let server = Server::start(move |call| match (call.request.tool(), call.request.rpc()) {
            ("held", _) | (_, "notifications/cancelled") => call.hold(),
            _ if call.request.method == "GET" => events.serve(call),
            _ => call.normal(),
        });
        let (log, heard) = (Log::default(), Log::default());
        let hearing = heard.clone();
        let builder = log.events(on(&Clock::new())).on_request("x", move |_| {
            hearing.push("served");
            std::future::ready(Err(RpcError::new(1, "no")))
        });
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        driver
            .with(async {
                {
                    let calls =
                        pin!(futures::future::join_all((0..16).map(|_| client.call_tool("held", ()))));
                    let arrived = pin!(async {
                        for _ in 0..16 {
                            server.arrival(|request| request.tool() == "held").await;
                        }
                    });
                    futures::future::select(calls, arrived).await;
                }
                for _ in 0..16 {
                    server.arrival(|request| request.rpc() == "notifications/cancelled").await;
                }
                feed.say(&json!({ "jsonrpc": "2.0", "id": "q", "method": "x" }));
                // Behind the request on the same stream: when this is heard, that has been read.
                feed.say(&tell("notifications/tools/list_changed", json!({})));
                while log.count("ToolsChanged") == 0 {
                    client.ping().await.unwrap();
                }
                client.ping().await.unwrap();
                assert_eq!(heard.count("served"), 1);
                feed.end();
            })
            .await;
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
