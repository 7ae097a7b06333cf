//! The limits over HTTP, at the limit and one past it. That for redirects is in `http_connect`.

use crate::check::{limit, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{self, Call};
use crate::fault::run::everywhere;
use crate::fault::text_result;
use crate::limits::limited;
use futures::StreamExt;
use futures::future::{Either, join, join_all, select};
use futures::stream::FuturesUnordered;
use serde_json::json;
use shared_fate_mcp::error::{HttpError, Violation};
use shared_fate_mcp::{Builder, Client, Delivery, Driver, Limits};
use smol::channel;
use std::pin::pin;
use std::sync::Barrier;
use std::time::Duration;

async fn over_http(builder: Builder, server: &http::Server) -> (Client, Driver) {
    builder.connect(server.transport()).await.unwrap()
}

const SIZE: usize = 1000;

/// A reply to `call`, of exactly this length.
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
            let (client, driver) = over_http(limited(|limits| limits.body = SIZE), &server).await;
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
        let (client, driver) = over_http(limited(|limits| limits.event = SIZE), &server).await;
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
        let (client, driver) = over_http(limited(|limits| limits.error_body = SIZE), &server).await;
        run.drive(driver, async {
            let error = client.call_tool("sized", json!({ "length": SIZE })).await.unwrap_err();
            assert_eq!(error.rpc().unwrap().code(), -9);
            // A body one byte longer is cut, so it is no JSON; the status is told all the same.
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
        let (client, driver) = over_http(limited(limits), &server).await;
        run.drive(driver, async {
            let text = client.call_tool("plain", json!({ "length": LONG })).await.unwrap().text();
            assert!((LONG - 200..LONG).contains(&text.len()), "{}", text.len());
            let error = client.call_tool("plain", json!({ "length": LONG + 1 })).await.unwrap_err();
            assert_eq!(limit(&error), ("the length of a reply", LONG));
            client.close().await;
        })
        .await;
        let limits = |limits: &mut Limits| (limits.body, limits.error_body) = (1000, 100_000);
        let (client, driver) = over_http(limited(limits), &server).await;
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
            let (client, driver) = over_http(limited(|_| {}), &server).await;
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
fn limits_outbox_of_cancellations_drops_them() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            _ => call.normal(),
        });
        let (client, driver) = over_http(limited(|limits| limits.outbox = 2), &server).await;
        {
            // Nobody polls the driver, so the cancellations stay in the outbox.
            let calls = join_all((0..5).map(|_| client.call_tool("held", ())));
            let arrived = async {
                for _ in 0..5 {
                    server.arrival(|request| request.tool() == "held").await;
                }
            };
            select(pin!(calls), pin!(arrived)).await;
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

/// The limit bounds what event streams keep of an event's fields, too, not only of its data.
#[test]
fn limits_receiving_of_streams() {
    const LONG: usize = 300_000;
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "long id" => {
                call.events();
                call.write(format!("id: {}\n", "x".repeat(LONG)));
                call.event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
                call.hold();
            }
            _ => call.normal(),
        });
        // Beside its id a stream keeps a buffer of 1 KiB, and the last event has some data before it is whole.
        for (limits, fits) in [(4 * (LONG + 1024) + 200, true), (4 * LONG - 1, false)] {
            let (sender, taken) = channel::unbounded();
            let builder = limited(|it| (it.event, it.receiving) = (LONG + 200, limits));
            let builder = builder.on_event(move |_| sender.try_send(()).unwrap());
            let (client, driver) = over_http(builder, &server).await;
            run.drive(driver, async {
                let mut calls = FuturesUnordered::new();
                for number in 1..=4 {
                    calls.push(client.call_tool("long id", ()));
                    match select(calls.next(), pin!(taken.recv())).await {
                        Either::Left((ended, _)) => {
                            let error = ended.unwrap().unwrap_err();
                            assert_eq!(limit(&error), ("the replies that are under way", limits));
                            assert_eq!((number, fits), (4, false));
                        }
                        Either::Right(_) => assert!(number < 4 || fits, "{number}"),
                    }
                }
                client.close().await;
            })
            .await;
        }
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
            let (client, driver) =
                over_http(limited(|limits| limits.idle_connections = limit), &server).await;
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
