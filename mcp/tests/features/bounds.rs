//! Servers and callers that do too much of one thing: no poll lasts as long as they go on, no memory grows with them, and
//! everybody else gets a turn.

use crate::check::{cause, limit, on, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Request, Server};
use crate::fault::lines::{normal, pair, sockets};
use crate::fault::run::{everywhere, once};
use crate::fault::{Gate, answer, tool};
use crate::kit::{Feed, Log, ask, http, is_answer, reply, tell};
use futures::future::{join_all, select};
use futures::io::AsyncWrite;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::Elicited;
use shared_fate_mcp::{Change, Client, Delivery, Event, Interest, Limits, Mode, RpcError, Stdio};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

#[test]
fn m_15_can_03_late_replies_to_many_calls_that_were_given_up_hurt_nobody() {
    const MANY: usize = 100;
    once(async |_| {
        let (stdio, server) = pair(normal);
        let mut limits = Limits::default();
        limits.stray = MANY - 1;
        let (client, driver) = on(&Clock::new()).limits(limits).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let mut late = Vec::new();
                {
                    let calls = pin!(join_all((0..MANY).map(|_| client.call_tool("held", ()))));
                    let arrived = pin!(async {
                        for _ in 0..MANY {
                            late.push(server.arrival(|message| tool(message) == "held").await);
                        }
                    });
                    select(calls, arrived).await;
                }
                // The server may answer a call that was cancelled (CAN-03).
                for message in &late {
                    server.peer.normal(message);
                }
                client.ping().await.unwrap();
                // A ping's reply alone does not show it: a reply that is read together with the end is delivered.
                assert!(!client.session().is_ended());
                client.close().await;
            })
            .await;
    });
}

/// Makes so many calls, and drops them when they have reached the server.
async fn give_up(client: &Client, server: &Server, calls: usize) {
    let called = pin!(join_all((0..calls).map(|_| client.call_tool("held", ()))));
    let arrived = pin!(async {
        for _ in 0..calls {
            server.arrival(|request| request.tool() == "held").await;
        }
    });
    select(called, arrived).await;
}

#[test]
fn png_01_cancellations_that_wait_leave_room_for_answers() {
    once(async |_| {
        let feed = Feed::new();
        let events = feed.clone();
        let server = Server::start(move |call| match (call.request.tool(), call.request.rpc()) {
            ("held", _) | (_, "notifications/cancelled") => call.hold(),
            _ if call.request.method == "GET" => events.serve(call),
            _ => call.normal(),
        });
        let mut limits = Limits::default();
        limits.outbox = 10;
        let (client, driver) = on(&Clock::new()).limits(limits).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                for _ in 0..3 {
                    give_up(&client, &server, 10).await;
                    client.ping().await.unwrap();
                }
                feed.say(&ask("q", "ping", json!({})));
                server.arrival(|request| is_answer(&request.body, "q")).await;
                client.ping().await.unwrap();
                feed.end();
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
            .run_until(async {
                give_up(&client, &server, 16).await;
                for _ in 0..16 {
                    server.arrival(|request| request.rpc() == "notifications/cancelled").await;
                }
                feed.say(&json!({ "jsonrpc": "2.0", "id": "q", "method": "x" }));
                // The notification follows the request on the same stream: when it is heard, the request has been read.
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
fn limits_sends_of_answers_and_of_cancellations() {
    everywhere(async |run| {
        let (feed, gate) = (Feed::new(), Gate::default());
        let (events, closed) = (feed.clone(), gate.clone());
        let server = Server::start(move |call| match (call.request.tool(), call.request.rpc()) {
            ("held", _) => call.hold(),
            (_, "notifications/cancelled" | "") if call.request.method == "POST" => {
                closed.wait();
                call.respond("202 Accepted", &[], "");
            }
            _ if call.request.method == "GET" => events.serve(call),
            _ => call.normal(),
        });
        let mut limits = Limits::default();
        limits.sends = 2;
        let (client, driver) = on(&Clock::new()).limits(limits).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            give_up(&client, &server, 3).await;
            for id in ["a", "b", "c"] {
                feed.say(&ask(id, "ping", json!({})));
            }
            let unasked = |request: &Request| {
                request.method == "POST" && ["notifications/cancelled", ""].contains(&request.rpc())
            };
            for _ in 0..4 {
                server.arrival(unasked).await;
            }
            for _ in 0..20 {
                client.ping().await.unwrap();
            }
            let requests = server.requests();
            let arrived: Vec<_> = requests.iter().filter(|it| unasked(it)).map(Request::rpc).collect();
            assert_eq!((arrived.len(), arrived.iter().filter(|it| it.is_empty()).count()), (4, 2));
            gate.open();
            for _ in 0..2 {
                server.arrival(unasked).await;
            }
            feed.end();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn m_16_any_number_of_unknown_notifications_is_no_flood() {
    once(async |_| {
        let (stdio, _server) = pair(|peer, message| match tool(message) {
            "talks" => {
                peer.write("{\"method\":\"codex/event\"}\n".repeat(20_000));
                normal(peer, message);
            }
            _ => normal(peer, message),
        });
        let told = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&told);
        let builder = on(&Clock::new()).on_event(move |event| {
            assert!(
                matches!(event, Event::Notification { method, .. } if method == "codex/event"),
                "{event:?}"
            );
            counting.fetch_add(1, Ordering::Relaxed);
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        driver.run_until(client.call_tool("talks", ())).await.unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 20_000);
    });
}

#[test]
fn sec_08_what_follows_a_flood_is_not_told() {
    once(async |_| {
        let (stdio, _server) = pair(|peer, message| match tool(message) {
            "flood" => peer.write("nonsense\n".repeat(100_000)),
            _ => normal(peer, message),
        });
        let told = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&told);
        let builder = on(&Clock::new()).on_event(move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        let error = driver.run_until(client.call_tool("flood", ())).await.unwrap_err();
        assert_eq!(*violation(cause(&error)), Violation::Flood);
        let limit = Limits::default().stray;
        assert_eq!(told.load(Ordering::Relaxed), limit + 1, "the last one told was too many");
    });
}

#[test]
fn m_11_a_reply_anywhere_in_a_batch_settles_its_call() {
    once(async |_| {
        let (stdio, server) = pair(|peer, message| match tool(message) {
            "batch" => {
                let mut batch = vec![json!({ "method": "x" }); 1000];
                batch.extend(answer(message));
                peer.say(&json!(batch));
            }
            _ => normal(peer, message),
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let mut call = pin!(client.call_tool("batch", ()));
                assert!(futures::poll!(&mut call).is_pending());
                server.arrival(|message| tool(message) == "batch").await;
                client.ping().await.unwrap();
                assert!(futures::poll!(&mut call).is_ready());
            })
            .await;
    });
}

#[test]
fn mr_09_sec_08_what_one_round_may_ask_is_bounded() {
    everywhere(async |run| {
        for (count, fits) in [(3, true), (4, false)] {
            let asked = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&asked);
            let server = Server::start(move |call| {
                let form = json!({ "mode": "form", "message": "?", "requestedSchema": { "type": "object" } });
                let ask = json!({ "method": "elicitation/create", "params": form });
                let result = match call.request.rpc() {
                    "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
                    "tools/call" if call.request.body["params"].get("inputResponses").is_none() => {
                        let requests: Value = (0..count).map(|n| (n.to_string(), ask.clone())).collect();
                        json!({ "resultType": "input_required", "inputRequests": requests })
                    }
                    _ => json!({ "tools": [], "content": [] }),
                };
                call.json(&[], &reply(&call.request.body["id"], result).to_string());
            });
            let mut limits = Limits::default();
            limits.server_requests = 3;
            let builder = on(&Clock::new()).limits(limits).mode(Mode::Stateless).on_elicit_form(move |_| {
                counter.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Elicited::Decline)
            });
            let (client, driver) = builder.connect(http(&server)).await.unwrap();
            run.drive(driver, async {
                match client.call_tool("x", ()).await {
                    Ok(_) => assert!(fits),
                    Err(error) => {
                        assert!(!fits);
                        assert_eq!(limit(&error), ("requests for input at a time", 3));
                        assert_eq!(error.delivery(), Delivery::Answered);
                    }
                }
                assert_eq!(asked.load(Ordering::SeqCst), if fits { 3 } else { 0 });
                client.close().await;
            })
            .await;
        }
    });
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
        let builder = Client::builder().mode(Mode::Stateless).timer(Clock::new());
        let (client, driver) = builder.connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let mut subscription = client.listen(&Interest::default()).await.unwrap();
                client.call_tool("x", ()).await.unwrap();
                assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Lagged);
                let mut kept = 0;
                while let Some(change) = subscription.next().now_or_never() {
                    let Change::Other { params, .. } = change.unwrap().unwrap() else { panic!("another") };
                    kept += params.unwrap().text().len();
                }
                assert!((8 * MIB..=16 * MIB).contains(&kept), "{kept} bytes");
                drop(subscription);
            })
            .await;
    });
}

/// Takes everything at once. During each write, one more message is handed to the client, as another thread might.
struct Greedy {
    client: Arc<OnceLock<Client>>,
    writes: Arc<AtomicUsize>,
}

impl AsyncWrite for Greedy {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writes.fetch_add(1, Ordering::SeqCst) < 100_000 {
            if let Some(client) = self.client.get() {
                client.notify("x", ()).now_or_never();
            }
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
        let (ours, theirs) = sockets();
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
        io::Write::write_all(&mut &theirs, format!("{}\n", reply(&json!(1), hello)).as_bytes()).unwrap();
        let (client, writes) = (Arc::default(), Arc::default());
        let greedy = Greedy { client: Arc::clone(&client), writes: Arc::clone(&writes) };
        let stdio = Stdio::over(smol::Async::new(ours).unwrap(), greedy);
        let (connected, mut driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        client.set(connected).unwrap();
        assert!(futures::poll!(&mut driver).is_pending());
        let writes = writes.load(Ordering::SeqCst);
        assert!((10..1000).contains(&writes), "{writes} writes in one poll");
    });
}
