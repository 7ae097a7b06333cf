//! The limits that are for any transport or for lines, at the limit and one past it. That for the length of a line is in
//! `stdio_lines`.

use crate::check::{cause, limit, on, violation};
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, normal, pair, process};
use crate::fault::run::everywhere;
use crate::fault::{Gate, tool};
use futures::future::{join, join_all};
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{Builder, Delivery, ErrorKind, Event, Limits};
use smol::channel;
use std::pin::pin;

/// A client with one limit changed, whose deadlines never come.
pub(crate) fn limited(set: impl FnOnce(&mut Limits)) -> Builder {
    let mut limits = Limits::default();
    set(&mut limits);
    on(&Clock::new()).limits(limits)
}

#[test]
fn limits_pending_calls() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = limited(|limits| limits.pending_calls = 3).connect(stdio).await.unwrap();
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
        let builder = limited(|limits| limits.stray = 5).on_event(move |event| {
            if let Event::Stray { excerpt } = event {
                sender.try_send(excerpt.to_string()).unwrap();
            }
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            for _ in 0..3 {
                server.peer.write("garbage\n".repeat(5));
                // With a reply that a call waits for, the count of strays begins anew.
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
                // From now on the server reads nothing.
                closed.wait();
            }
        });
        let (sender, heard) = channel::unbounded();
        let builder = limited(|limits| limits.outbox = 50).on_event(move |event| {
            if matches!(event, Event::Notification { method, .. } if method == "x") {
                sender.try_send(()).unwrap();
            }
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            // Each write asks for less than an outbox of answers, and all of them for more than any socket holds.
            let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n".repeat(20);
            let asking = async {
                for _ in 0..2000 {
                    server.peer.write(ping.clone() + "{\"method\":\"x\"}\n");
                    heard.recv().await.unwrap();
                }
            };
            futures::future::select(pin!(asking), client.session().ended()).await;
            let cause = client.session().cause().expect("answers are not kept without end");
            assert_eq!(limit(cause.error().unwrap()), ("queued answers", 50));
            // An answer whose write has begun is written to its end, if the driver has not given it up by now.
            gate.open();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn limits_stderr_tail() {
    everywhere(async |run| {
        for (text, tail) in
            [("0123456789\n", "0123456789\n"), ("x0123456789\n", "0123456789\n"), ("y\n", "y\n")]
        {
            let (stdio, server) = process(normal);
            let (client, driver) = limited(|limits| limits.stderr_tail = 11).connect(stdio).await.unwrap();
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
        let (client, driver) = limited(|limits| limits.stderr_tail = 10).connect(stdio).await.unwrap();
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

/// A page of one tool, out of `count` pages. The cursor after the last page is `after`.
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
            let (client, driver) = limited(|limits| limits.pages = 4).connect(stdio).await.unwrap();
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
            let (client, driver) = limited(|limits| limits.list = bytes).connect(stdio).await.unwrap();
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
            let (client, driver) = limited(|_| {}).connect(stdio).await.unwrap();
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
