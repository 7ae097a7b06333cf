//! Rare combinations: handlers that use their client, hooks that panic, drivers within drivers, many threads, odd answers.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::lines::{normal, pair, process};
use crate::fault::run::{in_parallel, once};
use crate::fault::tool;
use crate::kit::{Feed, http, millis, reply};
use serde_json::json;
use shared_fate_mcp::{CallOptions, Client, Event, Mode, Reconnecting, Revision, RpcError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// A client that its own handlers can use, once it is connected.
type Own = Arc<OnceLock<Client>>;

#[test]
fn rev_07_a_handler_may_close_the_client() {
    once(async |_| {
        for over_http in [false, true] {
            let (own, feed) = (Own::default(), Feed::new());
            let (inner, events) = (Arc::clone(&own), feed.clone());
            let builder = Client::builder().mode(Mode::Legacy).on_request("close", move |_| {
                let client = inner.get().unwrap().clone();
                async move {
                    client.ping().await.unwrap();
                    client.close().await;
                    Err(RpcError::new(1, "closed"))
                }
            });
            let ask = json!({ "jsonrpc": "2.0", "id": "q", "method": "close" });
            if over_http {
                let server = Server::start(move |call| match &*call.request.method {
                    "GET" => events.serve(call),
                    _ => call.normal(),
                });
                let (client, driver) = builder.connect(http(&server)).await.unwrap();
                own.set(client.clone()).unwrap();
                let app = async {
                    feed.say(&ask);
                    client.session().ended().await;
                    client.close().await;
                };
                driver.run_until(app).await;
                feed.end();
                server.deserted().await;
            } else {
                let (stdio, server) = process(normal);
                let server_process = server.process().await;
                let (client, driver) = builder.connect(stdio).await.unwrap();
                own.set(client.clone()).unwrap();
                let app = async {
                    server.peer.say(&ask);
                    client.session().ended().await;
                    client.close().await;
                };
                driver.run_until(app).await;
                server_process.gone().await;
            }
        }
    });
}

#[test]
fn rev_07_a_call_that_fails_within_a_handler_is_told_there() {
    once(async |_| {
        let (own, feed) = (Own::default(), Feed::new());
        let (inner, events) = (Arc::clone(&own), feed.clone());
        let builder = on(&Clock::new()).on_request("x", move |_| {
            let client = inner.get().unwrap().clone();
            async move { Err(RpcError::new(1, client.call_tool("bad", ()).await.unwrap_err().to_string())) }
        });
        let server = Server::start(move |call| match call.request.tool() {
            "bad" => call.respond("500 X", &[], ""),
            _ if call.request.method == "GET" => events.serve(call),
            _ => call.normal(),
        });
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        own.set(client.clone()).unwrap();
        driver
            .run_until(async {
                feed.say(&json!({ "jsonrpc": "2.0", "id": "q", "method": "x" }));
                let answer = server.arrival(|request| request.body["id"] == "q").await;
                let message = answer.body["error"]["message"].as_str().unwrap();
                let (name, message) = message.split_once(": ").unwrap();
                assert_eq!(name, format!("http://{}", server.address()));
                assert_eq!(message, "the server answered with HTTP status 500");
                client.close().await;
            })
            .await;
        feed.end();
    });
}

#[test]
fn prg_03_a_hook_that_panics_within_a_call_costs_nothing() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "told" => {
                call.events();
                call.event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
                let answer = call.answer();
                call.event(&answer);
            }
            _ => call.normal(),
        });
        let builder = on(&Clock::new()).on_event(|event| {
            assert!(!matches!(event, Event::ToolsChanged), "a bug in the hook");
        });
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                client.call_tool("told", ()).await.unwrap();
                assert_eq!(client.pending_calls(), 0);
                client.ping().await.unwrap();
                client.close().await;
            })
            .await;
        server.deserted().await;
    });
}

#[test]
fn drivers_may_be_nested() {
    once(async |_| {
        let ((one, _one), (two, _two)) = (pair(normal), pair(normal));
        let (one, first) = on(&Clock::new()).connect(one).await.unwrap();
        let (two, second) = on(&Clock::new()).connect(two).await.unwrap();
        let app = async {
            one.ping().await.unwrap();
            two.ping().await.unwrap();
            two.close().await;
            one.ping().await.unwrap();
            one.close().await;
        };
        first.run_until(second.run_until(app)).await;
    });
}

#[test]
fn liv_11_replies_and_the_end_in_one_go_are_all_delivered() {
    once(async |_| {
        let (stdio, _server) = pair(|peer, message| match tool(message) {
            "last" => {
                let replies = 2..=101;
                let line = |id: i32| reply(&json!(id), json!({ "content": [] })).to_string() + "\n";
                peer.write(replies.map(line).collect::<String>());
                peer.hang_up();
            }
            "held" => {}
            _ => normal(peer, message),
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        let calls = (0..100).map(|n| client.call_tool(if n == 99 { "last" } else { "held" }, ()));
        let results = driver.run_until(futures::future::join_all(calls)).await;
        assert!(results.iter().all(Result::is_ok));
    });
}

#[test]
fn liv_02_an_upgrade_that_nobody_asked_for_fails_its_call() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "x" => {
                call.head("101 Switching Protocols", &["Connection: upgrade", "Upgrade: websocket"]);
                call.hold();
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                let error = client.call_tool("x", ()).await.unwrap_err();
                assert_eq!(error.http().unwrap().status(), 101);
                client.ping().await.unwrap();
            })
            .await;
    });
}

#[test]
fn era_06_era_11_era_13_era_14_odd_answers_to_the_probe() {
    const JSON: &str = "Content-Type: application/json";
    once(async |_| {
        for (status, header, body, connects) in [
            ("200 OK", JSON, "", true),
            ("200 OK", "Content-Type: text/html", "<html>", true),
            ("200 OK", "Content-Type: text/event-stream", "data: hello\n\n", true),
            ("200 OK", JSON, "ok", true),
            ("200 OK", JSON, r#"{"id":1,"result":null}"#, true),
            ("200 OK", JSON, r#"{"id":1,"result":[]}"#, true),
            ("200 OK", JSON, r#"{"id":null,"error":{"code":-32600,"message":"not initialized"}}"#, true),
            ("200 OK", JSON, r#"[{"id":1,"error":{"code":-32601,"message":"?"}}]"#, true),
            ("200 OK", JSON, r#"{"id":99,"result":{}}"#, true),
            ("202 Accepted", "X: y", "", true),
            ("204 No Content", "X: y", "", true),
            ("400 Bad Request", JSON, r#"{"id":"server-error","error":{"code":-32600,"message":"?"}}"#, true),
            ("406 Not Acceptable", "X: y", "", true),
            ("302 Found", "Location: /login", "", false),
            ("500 X", JSON, r#"{"id":1,"error":{"code":-32603,"message":"?"}}"#, true),
            ("501 X", "X: y", "", true),
            ("502 X", "X: y", "", false),
            ("503 X", "X: y", "", false),
        ] {
            let server = Server::start(move |call| match call.request.rpc() {
                "server/discover" => call.respond(status, &[header], body),
                _ => call.normal(),
            });
            let connected = Client::builder().timer(Clock::new()).connect(http(&server)).await;
            let revision = connected.as_ref().ok().map(|(client, _)| client.revision());
            assert_eq!(revision, connects.then_some(Revision::LATEST_WITH_HANDSHAKE), "{status} {body}");
            let initialized = server.requests().iter().any(|request| request.rpc() == "initialize");
            assert_eq!(initialized, connects, "{status} {body}");
        }
    });
}

/// Calls that succeed and calls that run out of time, until the session ends.
async fn call_until_the_end(client: Client, made: Arc<AtomicUsize>) {
    loop {
        let tool = if made.fetch_add(1, Ordering::Relaxed) % 7 == 0 { "held" } else { "fast" };
        let hasty = client.with_options(CallOptions::timeout(millis(5)));
        match hasty.call_tool(tool, ()).await {
            Err(error) if !error.is_timeout() => {
                assert!(error.is_session_ended(), "{error:#}");
                return;
            }
            _ => {}
        }
    }
}

#[test]
fn liv_19_close_among_calls_of_several_threads() {
    in_parallel(async |run| {
        for round in 0..20 {
            let server = Server::start(|call: &mut Call| match call.request.tool() {
                "held" => call.hold(),
                _ => call.normal(),
            });
            let (stdio, _lines) = pair(normal);
            let builder = Client::builder().mode(Mode::Legacy);
            let (client, driver) = match round % 2 {
                0 => builder.connect(http(&server)).await.unwrap(),
                _ => builder.connect(stdio).await.unwrap(),
            };
            run.drive(driver, async {
                let made = Arc::<AtomicUsize>::default();
                let threads = [(); 4].map(|()| {
                    let (client, made) = (client.clone(), Arc::clone(&made));
                    thread::spawn(|| pollster::block_on(call_until_the_end(client, made)))
                });
                while made.load(Ordering::Relaxed) < 50 + round {
                    tokio::task::yield_now().await;
                }
                client.close().await;
                for thread in threads {
                    smol::unblock(|| thread.join()).await.unwrap();
                }
                assert_eq!(client.pending_calls(), 0);
            })
            .await;
        }
    });
}

#[test]
fn ses_06_liv_09_sessions_are_lost_again_and_again_under_load() {
    in_parallel(async |_| {
        let session = Arc::<AtomicUsize>::default();
        let current = Arc::clone(&session);
        let server = Server::start(move |call| {
            let id = format!("s{}", current.load(Ordering::SeqCst));
            match call.request.rpc() {
                "initialize" => {
                    let answer = call.answer();
                    call.json(&[&format!("Mcp-Session-Id: {id}")], &answer);
                }
                _ if call.request.header("mcp-session-id") == Some(&id) => call.normal(),
                _ => call.respond("404 Not Found", &[], ""),
            }
        });
        server.forget();
        let builder = Client::builder().mode(Mode::Legacy);
        let (clients, driver) = Reconnecting::connect(builder, http(&server)).await.unwrap();
        let driving = tokio::spawn(driver);
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (clients, session) = (clients.clone(), Arc::clone(&session));
                tokio::spawn(async move {
                    let mut done = 0;
                    while done < 30 {
                        // A new session may be lost before its handshake is over.
                        let called = async { clients.client().await?.call_tool("x", ()).await };
                        if let Err(error) = called.await {
                            assert!(error.is_session_ended(), "{error:#}");
                            continue;
                        }
                        done += 1;
                        if done == 15 {
                            session.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        clients.client().await.unwrap().close().await;
        driving.await.unwrap();
        server.deserted().await;
    });
}

#[test]
fn sec_08_endless_heads_trailers_and_chunk_extensions_are_bounded() {
    once(async |_| {
        let server = Server::start(|call| {
            let (begin, again) = match call.request.tool() {
                "headers" => ("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
                "header" => ("HTTP/1.1 200 OK\r\nx: ", "y"),
                "extensions" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "1;x=y\r\n \r\n"),
                "extension" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "y"),
                "trailers" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "x: y\r\n"),
                _ => return call.normal(),
            };
            call.take();
            call.write(begin);
            match call.request.tool() {
                "extension" => call.write("Content-Type: application/json\r\n\r\n1;x="),
                "extensions" => call.write("Content-Type: application/json\r\n\r\n"),
                "trailers" => call.write("Content-Type: application/json\r\n\r\n1\r\n \r\n0\r\n"),
                _ => {}
            }
            for _ in 0..300 {
                call.write(again.repeat(100_000 / again.len()));
            }
            call.hold();
        });
        let (client, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                for tool in ["headers", "header", "extensions", "extension", "trailers"] {
                    let error = client.call_tool(tool, ()).await.unwrap_err();
                    assert!(!error.is_session_ended() && !error.is_timeout(), "{tool}: {error:#}");
                    client.ping().await.unwrap();
                }
            })
            .await;
    });
}
