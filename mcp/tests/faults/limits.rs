//! Every limit, at it and one past it. Those for lines and redirects are with their kin.

use crate::check::{cause, limit, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{self, Call};
use crate::fault::lines::{Peer, normal, pair, process};
use crate::fault::run::everywhere;
use crate::fault::{Gate, text_result, tool};
use futures::future::{join, join_all};
use serde_json::{Value, json};
use shared_fate_mcp::error::{HttpError, Violation};
use shared_fate_mcp::{Builder, Client, Delivery, Driver, ErrorKind, Event, Limits};
use smol::channel;
use std::pin::pin;
use std::sync::Barrier;
use std::time::Duration;

fn with(set: impl FnOnce(&mut Limits)) -> Builder {
    let mut limits = Limits::default();
    set(&mut limits);
    on(&Clock::new()).limits(limits)
}

async fn over_http(builder: Builder, server: &http::Server) -> (Client, Driver) {
    builder.connect(server.transport()).await.unwrap()
}

const SIZE: usize = 1000;

/// A reply to the call, of exactly that length.
fn reply_of(length: usize, call: &Call) -> String {
    let reply =
        |text: &str| json!({ "id": call.request.body["id"], "result": text_result(text) }).to_string();
    let reply = reply(&"x".repeat(length - reply("").len()));
    assert_eq!(reply.len(), length);
    reply
}

fn length(request: &http::Request) -> usize {
    request.body["params"]["arguments"]["length"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn limits_body() {
    everywhere(async |run| {
        for chunked in [false, true] {
            let server = http::Server::start(move |call| match call.request.tool() {
                "sized" => {
                    let reply = reply_of(length(&call.request), call);
                    match chunked {
                        false => call.json(&[], &reply),
                        true => {
                            call.head(
                                "200 OK",
                                &["Content-Type: application/json", "Transfer-Encoding: chunked"],
                            );
                            for chunk in reply.as_bytes().chunks(100) {
                                call.write(format!("{:x}\r\n", chunk.len()));
                                call.write(chunk);
                                call.write("\r\n");
                            }
                            call.write("0\r\n\r\n");
                            call.keep();
                        }
                    }
                }
                _ => call.normal(),
            });
            let (client, driver) = over_http(with(|limits| limits.body = SIZE), &server).await;
            run.drive(driver, async {
                client.call_tool("sized", json!({ "length": SIZE })).await.unwrap();
                let error = client.call_tool("sized", json!({ "length": SIZE + 1 })).await.unwrap_err();
                assert_eq!(limit(&error), ("the length of a reply", SIZE));
                assert_eq!(error.delivery(), Delivery::Answered);
                client.ping().await.unwrap();
                client.close().await;
                server.deserted().await;
            })
            .await;
        }
    });
}

#[test]
fn liv_08_limits_event() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "sized" => {
                // The length counts the whole line.
                let reply = reply_of(length(&call.request) - "data: ".len(), call);
                call.events();
                call.write(format!(": {}\n\n", "comments count nothing".repeat(SIZE)));
                call.event(&reply);
                call.hold();
            }
            "endless" => {
                call.events();
                call.write(format!("data: {}", "x".repeat(SIZE)));
                call.hold();
            }
            _ => call.normal(),
        });
        let (client, driver) = over_http(with(|limits| limits.event = SIZE), &server).await;
        run.drive(driver, async {
            client.call_tool("sized", json!({ "length": SIZE })).await.unwrap();
            for (tool, length) in [("sized", SIZE + 1), ("endless", 0)] {
                let error = client.call_tool(tool, json!({ "length": length })).await.unwrap_err();
                assert_eq!(limit(&error), ("the length of an event", SIZE));
                assert_eq!(error.delivery(), Delivery::Answered);
            }
            client.ping().await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn limits_error_body() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "sized" => {
                let error = |text: &str| json!({ "error": { "code": -9, "message": text } }).to_string();
                let body = error(&"x".repeat(length(&call.request) - error("").len()));
                call.respond("500 X", &[], &body);
            }
            "endless" => {
                call.head("500 X", &[]);
                while call.event("nonsense") {}
            }
            _ => call.normal(),
        });
        let (client, driver) = over_http(with(|limits| limits.error_body = SIZE), &server).await;
        run.drive(driver, async {
            let error = client.call_tool("sized", json!({ "length": SIZE })).await.unwrap_err();
            assert_eq!(error.rpc().unwrap().code(), -9);
            // One more, and it is no JSON: the status is told all the same.
            let error = client.call_tool("sized", json!({ "length": SIZE + 1 })).await.unwrap_err();
            assert!(error.rpc().is_none());
            assert_eq!(error.http().unwrap().body_excerpt().len(), SIZE);
            let error = client.call_tool("endless", ()).await.unwrap_err();
            assert_eq!(error.http().unwrap().status(), 500);
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn a_reply_of_another_type_is_read_to_its_end_and_bounded_as_any_other() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "plain" => {
                let reply = reply_of(length(&call.request), call);
                call.respond("200 OK", &["Content-Type: text/plain"], &reply);
            }
            _ => call.normal(),
        });
        const LONG: usize = 300_000;
        let limits = |limits: &mut Limits| (limits.body, limits.error_body) = (LONG, 10_001);
        let (client, driver) = over_http(with(limits), &server).await;
        run.drive(driver, async {
            let text = client.call_tool("plain", json!({ "length": LONG })).await.unwrap().text();
            assert!((LONG - 200..LONG).contains(&text.len()), "{}", text.len());
            let error = client.call_tool("plain", json!({ "length": LONG + 1 })).await.unwrap_err();
            assert_eq!(limit(&error), ("the length of a reply", LONG));
            client.close().await;
        })
        .await;
        let limits = |limits: &mut Limits| (limits.body, limits.error_body) = (1000, 100_000);
        let (client, driver) = over_http(with(limits), &server).await;
        run.drive(driver, async {
            client.call_tool("plain", json!({ "length": 1000 })).await.unwrap();
            let error = client.call_tool("plain", json!({ "length": 1001 })).await.unwrap_err();
            assert_eq!(limit(&error), ("the length of a reply", 1000));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn the_excerpt_of_a_body_is_as_short_as_promised() {
    everywhere(async |run| {
        for body in ["x".repeat(5000), "\u{1}".repeat(5000), "ä\u{fffd}".repeat(1000)] {
            let server = http::Server::start(move |call| match call.request.rpc() {
                "ping" => call.respond("500 X", &[&format!("WWW-Authenticate: {}", "y".repeat(5000))], &body),
                _ => call.normal(),
            });
            let (client, driver) = over_http(with(|_| {}), &server).await;
            run.drive(driver, async {
                let error = client.ping().await.unwrap_err();
                let http = error.http().unwrap();
                assert!(http.body_excerpt().len() <= HttpError::EXCERPT, "{}", http.body_excerpt().len());
                assert!(http.body_excerpt().len() > HttpError::EXCERPT - 10);
                assert!(http.www_authenticate()[0].len() <= HttpError::EXCERPT);
                assert!(story(&error).len() < 1000);
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn limits_pending_calls() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = with(|limits| limits.pending_calls = 3).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let mut calls = pin!(join_all((0..3).map(|_| client.call_tool("held", ()))));
            assert!(futures::poll!(&mut calls).is_pending());
            let error = client.ping().await.unwrap_err();
            assert_eq!(limit(&error), ("pending calls", 3));
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert!(error.is_retryable());
            assert_eq!(client.pending_calls(), 3);
            let answers = async {
                for _ in 0..3 {
                    let held = server.arrival(|message| tool(message) == "held").await;
                    server.peer.normal(&held);
                }
            };
            let (results, ()) = join(calls, answers).await;
            assert!(results.iter().all(Result::is_ok));
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        assert_eq!(server.received().iter().filter(|message| message["method"] == "ping").count(), 1);
    });
}

#[test]
fn limits_stray() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (sender, strays) = channel::unbounded();
        let builder = with(|limits| limits.stray = 5).on_event(move |event| {
            if let Event::Stray { excerpt } = event {
                sender.try_send(excerpt.to_string()).unwrap();
            }
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            for _ in 0..3 {
                server.peer.write("garbage\n".repeat(5));
                // Something that belongs to somebody: the count begins anew.
                client.ping().await.unwrap();
            }
            assert_eq!(strays.len(), 15);
            server.peer.write("garbage\n".repeat(6));
            let error = client.call_tool("held", ()).await.unwrap_err();
            assert_eq!(*violation(cause(&error)), Violation::Flood);
            let error = client.ping().await.unwrap_err();
            assert_eq!((violation(cause(&error)), error.delivery()), (&Violation::Flood, Delivery::NotSent));
            client.close().await;
            server.input_ended().await;
        })
        .await;
        assert_eq!(strays.try_recv().unwrap(), "garbage");
    });
}

#[test]
#[cfg(unix)] // what stands in for a socket pair on windows holds more than all these answers
fn limits_outbox_of_a_server_that_asks_and_does_not_listen() {
    everywhere(async |run| {
        let gate = Gate::default();
        let closed = gate.clone();
        let (stdio, server) = pair(move |peer, message| {
            normal(peer, message);
            if message["method"] == "notifications/initialized" {
                // From now on it reads nothing.
                closed.wait();
            }
        });
        let (sender, heard) = channel::unbounded();
        let builder = with(|limits| limits.outbox = 50).on_event(move |event| {
            if matches!(event, Event::Notification { method, .. } if method == "x") {
                sender.try_send(()).unwrap();
            }
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            // No more than an outbox at a time, and much more than any socket holds.
            let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n".repeat(20);
            let asking = async {
                for _ in 0..2000 {
                    server.peer.write(ping.clone() + "{\"method\":\"x\"}\n");
                    heard.recv().await.unwrap();
                }
            };
            futures::future::select(pin!(asking), client.session().ended()).await;
            let cause = client.session().cause().expect("they are not kept without end");
            assert_eq!(limit(cause.error().unwrap()), ("queued answers", 50));
            // What has been begun is written to its end, if the driver has not given it up by now.
            gate.open();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn limits_outbox_of_cancellations_drops_them() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            _ => call.normal(),
        });
        let (client, driver) = over_http(with(|limits| limits.outbox = 2), &server).await;
        {
            // Nobody drives: they stay in the outbox.
            let calls = join_all((0..5).map(|_| client.call_tool("held", ())));
            let arrived = async {
                for _ in 0..5 {
                    server.arrival(|request| request.tool() == "held").await;
                }
            };
            futures::future::select(pin!(calls), pin!(arrived)).await;
        }
        assert_eq!(client.pending_calls(), 0);
        run.drive(driver, async {
            for _ in 0..2 {
                server.arrival(|request| request.rpc() == "notifications/cancelled").await;
            }
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        let requests = server.requests();
        assert_eq!(requests.iter().filter(|request| request.rpc() == "notifications/cancelled").count(), 2);
    });
}

#[test]
fn limits_stderr_tail() {
    everywhere(async |run| {
        for (text, tail) in
            [("0123456789\n", "0123456789\n"), ("x0123456789\n", "0123456789\n"), ("y\n", "y\n")]
        {
            let (stdio, server) = process(normal);
            let (client, driver) = with(|limits| limits.stderr_tail = 11).connect(stdio).await.unwrap();
            run.drive(driver, async {
                server.peer.write_error("z".repeat(100_000) + "\n");
                server.peer.write_error(text);
                server.peer.exit(1);
                let ended = client.session().ended().await;
                let ErrorKind::ServerExited(exited) = ended.error().unwrap().kind() else {
                    panic!("{ended:?}")
                };
                assert!(exited.stderr().ends_with(tail), "{:?}", exited.stderr());
                assert!(exited.stderr().len() <= 11);
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn limits_stderr_tail_counts_what_is_kept() {
    everywhere(async |run| {
        let (stdio, server) = process(normal);
        let (client, driver) = with(|limits| limits.stderr_tail = 10).connect(stdio).await.unwrap();
        run.drive(driver, async {
            server.peer.write_error([0xff; 100]);
            server.peer.exit(1);
            let ended = client.session().ended().await;
            let ErrorKind::ServerExited(exited) = ended.error().unwrap().kind() else { panic!("{ended:?}") };
            assert_eq!(exited.stderr(), "\u{fffd}".repeat(3));
            client.close().await;
        })
        .await;
    });
}

/// One tool on each of so many pages; the cursor after the last one is `after`.
fn pages(message: &Value, count: u64, after: Option<&str>) -> Value {
    let page: u64 = message["params"]["cursor"].as_str().map_or(1, |cursor| cursor.parse().unwrap());
    let mut result = json!({ "tools": [{ "name": page.to_string() }] });
    if page < count {
        result["nextCursor"] = json!((page + 1).to_string());
    } else if let Some(after) = after {
        result["nextCursor"] = json!(after);
    }
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })
}

#[test]
fn limits_pages() {
    everywhere(async |run| {
        for (count, fits) in [(1, true), (4, true), (5, false)] {
            let (stdio, server) = pair(move |peer, message| match message["method"].as_str() {
                Some("tools/list") => peer.say(&pages(message, count, None)),
                _ => normal(peer, message),
            });
            let (client, driver) = with(|limits| limits.pages = 4).connect(stdio).await.unwrap();
            run.drive(driver, async {
                match client.list_tools().await {
                    Ok(tools) => assert!(fits && tools.len() as u64 == count),
                    Err(error) => {
                        assert!(!fits);
                        assert_eq!(limit(&error), ("pages", 4));
                    }
                }
                client.ping().await.unwrap();
                client.close().await;
            })
            .await;
            let asked = server.received().iter().filter(|message| message["method"] == "tools/list").count();
            assert_eq!(asked as u64, count.min(4));
        }
    });
}

#[test]
fn limits_list() {
    everywhere(async |run| {
        let list = |peer: &Peer, message: &Value| match message["method"].as_str() {
            Some("tools/list") => peer.say(&pages(message, 3, None)),
            _ => normal(peer, message),
        };
        let page = |cursor: Value| pages(&json!({ "params": { "cursor": cursor } }), 3, None);
        let length = |cursor: Value| page(cursor)["result"].to_string().len();
        let all = length(json!(null)) + length(json!("2")) + length(json!("3"));
        for (bytes, fits) in [(all, true), (all - 1, false)] {
            let (stdio, _server) = pair(list);
            let (client, driver) = with(|limits| limits.list = bytes).connect(stdio).await.unwrap();
            run.drive(driver, async {
                match client.list_tools().await {
                    Ok(tools) => assert!(fits && tools.len() == 3),
                    Err(error) => {
                        assert!(!fits);
                        assert_eq!(limit(&error), ("the length of a list", bytes));
                        assert_eq!(error.delivery(), Delivery::Answered);
                    }
                }
                client.ping().await.unwrap();
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn liv_24_a_cursor_that_comes_again_ends_the_list() {
    everywhere(async |run| {
        for (after, asked) in [("3", 3), ("2", 3)] {
            let (stdio, server) = pair(move |peer, message| match message["method"].as_str() {
                Some("tools/list") => peer.say(&pages(message, 3, Some(after))),
                _ => normal(peer, message),
            });
            let (client, driver) = with(|_| {}).connect(stdio).await.unwrap();
            run.drive(driver, async {
                let error = client.list_tools().await.unwrap_err();
                assert_eq!(*violation(&error), Violation::CursorLoop);
                client.ping().await.unwrap();
                client.close().await;
            })
            .await;
            let lists = server.received().iter().filter(|message| message["method"] == "tools/list").count();
            assert_eq!(lists, asked);
        }
    });
}

#[test]
fn limits_event_id() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "" if call.request.header("last-event-id").is_some() => {
                let reply = json!({ "id": 2, "result": text_result("resumed") });
                call.events();
                call.event(&reply.to_string());
            }
            "" => call.normal(),
            tool => {
                let event = format!("id: {tool}\ndata:\n\n");
                call.events();
                call.write(event);
            }
        });
        let (clock, mut limits) = (Clock::new(), Limits::default());
        limits.event_id = 4;
        let (client, driver) = over_http(on(&clock).limits(limits), &server).await;
        run.drive(driver, async {
            let (resumed, ()) = join(client.call_tool("four", ()), clock.pass(Duration::from_secs(1))).await;
            assert_eq!(resumed.unwrap().text(), "resumed");
            let error = client.call_tool("fives", ()).await.unwrap_err();
            assert_eq!(*violation(&error), Violation::StreamEnded);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn limits_idle_connections() {
    everywhere(async |run| {
        for (limit, more) in [(2, 0), (1, 1)] {
            let together = Barrier::new(2);
            let server = http::Server::start(move |call| {
                if call.request.rpc() == "ping" {
                    together.wait();
                }
                call.normal();
            });
            let (client, driver) = over_http(with(|limits| limits.idle_connections = limit), &server).await;
            run.drive(driver, async {
                let both = async || {
                    let (one, two) = join(client.ping(), client.ping()).await;
                    one.and(two).unwrap();
                    server.connections()
                };
                let connections = both().await;
                assert_eq!(both().await - connections, more, "{limit}");
                client.close().await;
            })
            .await;
        }
    });
}
