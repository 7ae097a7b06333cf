//! Servers that never stop: no poll goes on for as long as they do, and no memory grows with them.

use crate::check::{on, violation};
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use crate::fault::tool;
use crate::kit::{Feed, Log, http, reply, tell};
use futures::FutureExt;
use futures::io::AsyncWrite;
use serde_json::{Value, json};
use shared_fate::mcp::{Client, Elicited, Interest, Limits, Mode, RpcError, Stdio, Violation};
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

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
#[ignore = "fails: reading has its turn after so many chunks, writing has not"]
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
#[ignore = "fails: unknown notifications are not counted (DESIGN, section 4), and reset the count of the rest"]
fn sec_08_a_flood_of_unknown_notifications_ends_the_session() {
    once(async |_| {
        let (stdio, _server) = pair(|peer, message| {
            if tool(message) == "flood" {
                peer.write("{\"method\":\"nonsense\"}\n".repeat(20_000));
            }
            normal(peer, message);
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
#[ignore = "fails: a round may ask for as much as fits into 16 MiB, and each has a handler called"]
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
#[ignore = "fails: changes are counted, not weighed: 1024 of 16 MiB each are kept"]
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
#[ignore = "fails: behind 16 POSTs that hang no request of the server's is served and no ping answered"]
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
