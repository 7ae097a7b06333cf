//! Every public future, dropped at every one of its await points.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::lines::{self, normal, pair};
use crate::fault::run::once;
use crate::fault::{answer, child, tool};
use crate::kit::{http, reply};
use futures::FutureExt;
use futures::future::FusedFuture;
use serde_json::{Value, json};
use shared_fate_mcp::{CallOptions, Client, Driver, Interest, Memory, Mode, Reconnecting, Stdio, Timeouts};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Polls `future` when it is woken, at most `polls` times, and drops it. Whether it has resolved.
async fn polled(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(cx).map(|_| true)
    })
    .await
}

/// Drops what `make` makes after 0, 1, 2, … polls, until it resolves. After each drop the client must work.
async fn at_every_point<F: Future>(client: &Client, mut make: impl FnMut() -> F) {
    for polls in 0..1000 {
        let done = polled(polls, make()).await;
        assert_eq!(client.pending_calls(), 0, "after {polls} polls");
        client.ping().await.unwrap();
        assert_eq!(client.pending_calls(), 0);
        if done {
            return;
        }
    }
    panic!("the future never resolves");
}

fn pages(message: &Value) -> Option<Value> {
    if message["method"] != "tools/list" {
        return answer(message);
    }
    let mut result = json!({ "tools": [{ "name": "a" }] });
    match message["params"]["cursor"].as_str() {
        None => result["nextCursor"] = json!("2"),
        Some("2") => result["nextCursor"] = json!("3"),
        _ => {}
    }
    Some(reply(&message["id"], result))
}

async fn calls(client: &Client, driver: Driver) {
    let app = async {
        let watched = client.with_options(CallOptions::default().on_progress(|_| {}));
        at_every_point(client, || client.call_tool("a", json!({ "x": 1 }))).await;
        at_every_point(client, || client.list_tools()).await;
        at_every_point(client, || client.notify("x", ())).await;
        at_every_point(client, || client.request("ping", ())).await;
        at_every_point(&watched, || watched.call_tool("a", ())).await;
        client.close().await;
    };
    driver.run_until(app).await;
    assert_eq!(client.pending_calls(), 0);
}

fn paging(peer: &lines::Peer, message: &Value) {
    if let Some(answer) = pages(message) {
        peer.say(&answer);
    }
}

fn paging_http(call: &mut Call) {
    match pages(&call.request.body) {
        Some(answer) if call.request.rpc() == "tools/list" => call.json(&[], &answer.to_string()),
        // The answer comes as an event, in pieces.
        Some(answer) if call.request.tool() == "a" => {
            call.head("200 OK", &["Content-Type: text/event-stream", "Transfer-Encoding: chunked"]);
            let event = format!("data: {answer}\n\n");
            for piece in event.as_bytes().chunks(20) {
                call.write(format!("{:x}\r\n", piece.len()));
                call.write(piece);
                call.write("\r\n");
            }
            call.write("0\r\n\r\n");
            call.keep();
        }
        _ => call.normal(),
    }
}

#[test]
fn liv_18_calls_dropped_at_every_point_over_a_pipe() {
    once(async |_| {
        let (stdio, server) = pair(paging);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        calls(&client, driver).await;
        server.input_ended().await;
    });
}

#[test]
fn liv_18_calls_dropped_at_every_point_over_http() {
    once(async |_| {
        let server = Server::start(paging_http);
        let (client, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        calls(&client, driver).await;
        server.deserted().await;
    });
}

#[test]
fn liv_18_calls_dropped_at_every_point_in_memory() {
    once(async |_| {
        let (memory, server) = Memory::pair();
        let serving = async {
            while let Some(message) = server.receive().await {
                let message = serde_json::from_slice(&message).unwrap();
                if let Some(answer) = pages(&message) {
                    let _ = server.send(answer.to_string()).await;
                }
            }
        };
        let clients = async {
            let (client, driver) = on(&Clock::new()).connect(memory).await.unwrap();
            calls(&client, driver).await;
        };
        futures::future::join(serving, clients).await;
    });
}

#[test]
fn liv_18_liv_27_connecting_dropped_at_every_point() {
    once(async |_| {
        for polls in 0.. {
            let (stdio, server) = pair(normal);
            let done = polled(polls, Client::connect(stdio)).await;
            server.input_ended().await;
            if done {
                break;
            }
        }
        for polls in 0.. {
            let server = Server::start(Call::normal);
            let done = polled(polls, Client::connect(http(&server))).await;
            server.deserted().await;
            if done {
                break;
            }
        }
    });
}

#[test]
fn liv_18_liv_27_connecting_to_a_process_dropped_at_every_point() {
    once(async |_| {
        for polls in 0.. {
            let (stdio, server) = lines::process(normal);
            let process = server.process().await;
            let done = polled(polls, Client::connect(stdio)).await;
            process.gone().await;
            if done {
                break;
            }
        }
    });
}

#[test]
fn liv_18_liv_26_closing_a_process_dropped_at_every_point() {
    once(async |_| {
        for polls in 0.. {
            let (stdio, server) = lines::process(normal);
            let process = server.process().await;
            let (client, driver) = Client::builder().mode(Mode::Legacy).connect(stdio).await.unwrap();
            let done = driver
                .run_until(async {
                    let done = polled(polls, client.close()).await;
                    client.close().await;
                    client.close().await;
                    done
                })
                .await;
            process.gone().await;
            if done {
                break;
            }
        }
    });
}

#[test]
fn liv_18_liv_26_closing_dropped_at_every_point() {
    once(async |_| {
        for polls in 0.. {
            let server = Server::start(Call::normal);
            let (client, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
            let done = driver
                .run_until(async {
                    let done = polled(polls, client.close()).await;
                    client.close().await;
                    done
                })
                .await;
            server.deserted().await;
            if done {
                break;
            }
        }
    });
}

#[test]
fn liv_18_a_new_session_dropped_at_every_point() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "gone" => call.respond("404 Not Found", &[], ""),
            _ => call.normal(),
        });
        let (clients, driver) = Reconnecting::connect(on(&Clock::new()), http(&server)).await.unwrap();
        driver
            .run_until(async {
                for polls in 0.. {
                    let client = clients.client().await.unwrap();
                    client.call_tool("gone", ()).await.unwrap_err();
                    drop(client);
                    let done = polled(polls, clients.client()).await;
                    let client = clients.client().await.unwrap();
                    client.ping().await.unwrap();
                    if done {
                        client.close().await;
                        break;
                    }
                }
            })
            .await;
        server.deserted().await;
    });
}

#[test]
fn liv_18_sub_06_subscribing_dropped_at_every_point() {
    once(async |_| {
        let (stdio, server): (Stdio, _) = pair(|peer, message| match message["method"].as_str() {
            Some("server/discover") => {
                let result = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} });
                peer.say(&reply(&message["id"], result));
            }
            Some("subscriptions/listen") => {
                let params = json!({ "_meta": { "io.modelcontextprotocol/subscriptionId": message["id"] }, "notifications": {} });
                peer.say(&json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params }));
            }
            _ if tool(message) == "x" => peer.say(&reply(&message["id"], json!({"content": []}))),
            _ => {}
        });
        let (client, driver) =
            Client::builder().mode(Mode::Stateless).timer(Clock::new()).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                for polls in 0.. {
                    let interest = Interest::default();
                    let done = polled(polls, client.listen(&interest)).await;
                    assert_eq!(client.pending_calls(), 0);
                    client.call_tool("x", ()).await.unwrap();
                    if done {
                        break;
                    }
                }
                client.close().await;
            })
            .await;
        server.input_ended().await;
    });
}

#[test]
fn liv_17_liv_19_a_driver_dropped_at_every_point_of_a_close() {
    once(async |_| {
        for polls in 0..8 {
            let mut command = child::command();
            command.env(child::STUBBORN, "1");
            let (stdio, server) = lines::process_as(command, normal);
            let process = server.process().await;
            let mut timeouts = Timeouts::default();
            timeouts.close = Duration::from_millis(10);
            let builder = Client::builder().mode(Mode::Legacy).timeouts(timeouts);
            let (client, driver) = builder.connect(stdio).await.unwrap();
            // On a slow machine a whole close may take no longer than a few polls.
            let mut close = pin!(client.close().fuse());
            let mut driver = driver.fuse();
            for _ in 0..polls {
                let _ = futures::poll!(&mut close);
                let _ = futures::poll!(&mut driver);
            }
            drop(driver);
            if !close.is_terminated() {
                close.await;
            }
            client.close().await;
            process.gone().await;
        }
    });
}
