//! Streams that break off and are resumed (RES-01 to RES-11, LIV-04, LIV-05, LIV-28).

use crate::check::{on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, SESSION, Server};
use crate::fault::run::{everywhere, once};
use crate::fault::{Gate, text_result};
use crate::kit::{Log, connect, http, millis, reply, seconds, tell};
use futures::future::{join, join3};
use serde_json::json;
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{CallOptions, Delivery, Error, ErrorKind, Limits};
use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const RETRY: u64 = 1_500;

/// Answers a call with a stream that says where to resume it, and ends. The stream's id names the call.
pub(crate) fn breaks_off(call: &mut Call) {
    call.events();
    let id = &call.request.body["id"];
    let text = format!("id: call-{id}\nretry: {RETRY}\ndata:\n\n");
    call.write(text);
}

/// The reply to the call that the `Last-Event-ID` names.
pub(crate) fn resumed(call: &Call) -> Option<String> {
    let id: u64 = call.request.header("last-event-id")?.strip_prefix("call-")?.parse().unwrap();
    Some(reply(&json!(id), text_result(&format!("call {id}"))).to_string())
}

pub(crate) fn gets(server: &Server) -> usize {
    let requests = server.requests();
    requests.iter().filter(|request| is_resumption(request)).count()
}

pub(crate) fn is_resumption(request: &crate::fault::http::Request) -> bool {
    request.header("last-event-id").is_some()
}

fn cancellations(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.rpc() == "notifications/cancelled").count()
}

#[test]
fn res_01_02_03_06_10_the_reply_comes_on_the_resuming_get() {
    everywhere(async |run| {
        let server = Server::start(|call| match (call.request.tool(), resumed(call)) {
            ("polled", _) => breaks_off(call),
            (_, Some(reply)) => {
                call.events();
                // What follows the reply is read by nobody, and the stream stays open.
                call.write(format!("id: next\ndata: {reply}\n\nretry: 7\ndata:\n\n"));
                call.hold();
            }
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = connect(&server, &clock).await;
        run.drive(driver, async {
            let arguments = json!({});
            let (result, ()) = join(client.call_tool("polled", arguments), async {
                clock.asleep(millis(RETRY)).await;
                assert_eq!(gets(&server), 0, "the stream is not resumed before its time");
                client.ping().await.unwrap();
                clock.advance(millis(RETRY - 1));
                client.ping().await.unwrap();
                assert_eq!(gets(&server), 0, "the stream is not resumed a millisecond early");
                clock.advance(millis(1));
            })
            .await;
            let text = result.unwrap().text();
            assert!(text.starts_with("call "), "{text}");
            let get = server.arrival(is_resumption).await;
            assert_eq!((&*get.method, get.header("accept")), ("GET", Some("text/event-stream")));
            assert_eq!(get.header("mcp-session-id"), Some(SESSION));
            assert_eq!(get.header("mcp-protocol-version"), Some("2025-11-25"));
            assert_eq!(get.header("content-type"), None);
            client.ping().await.unwrap();
            assert_eq!((gets(&server), cancellations(&server)), (1, 0));
            assert_eq!(client.pending_calls(), 0);
            assert!(clock.sleeping() <= 1, "the resumption sleeps no more");
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn res_07_liv_04_without_an_id_the_end_of_the_stream_is_the_end_of_the_call() {
    everywhere(async |run| {
        let gate = Gate::default();
        let opened = gate.clone();
        let server = Server::start(move |call| match call.request.tool() {
            "ends" => {
                call.events();
                call.write("retry: 10\ndata:\n\n");
            }
            // The server takes its id back (SSE-05).
            "cleared" => {
                call.events();
                call.write("id: 1\ndata:\n\nid:\ndata:\n\n");
            }
            // It does so in a chunk of its own: the client has taken what came before.
            "cleared later" => {
                call.events();
                call.write("id: 1\ndata:\n\n");
                call.event(&tell("notifications/tools/list_changed", json!({})).to_string());
                opened.wait();
                call.write("id:\ndata:\n\n");
            }
            "held" => call.hold(),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let builder = on(&clock).on_event(move |_| gate.open());
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let mut sibling = pin!(client.call_tool("held", ()));
            assert!(futures::poll!(&mut sibling).is_pending());
            for tool in ["ends", "cleared", "cleared later"] {
                let error = client.call_tool(tool, ()).await.unwrap_err();
                assert_eq!(*violation(&error), Violation::StreamEnded, "{tool}");
                assert_eq!(error.delivery(), Delivery::Answered);
                assert!(!error.is_retryable());
                story(&error);
            }
            assert!(futures::poll!(&mut sibling).is_pending());
            assert_eq!(client.pending_calls(), 1);
            assert_eq!(gets(&server), 0);
            client.close().await;
            sibling.await.unwrap_err();
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn liv_05_res_08_an_answer_that_will_not_become_another_fails_the_call() {
    everywhere(async |run| {
        for (status, body) in
            [("405 Method Not Allowed", ""), ("404 Not Found", "gone"), ("400 Bad Request", "what?")]
        {
            let server = Server::start(move |call| match (call.request.tool(), resumed(call)) {
                ("polled", _) => breaks_off(call),
                (_, Some(_)) => call.respond(status, &["Content-Type: text/plain"], body),
                _ => call.normal(),
            });
            let clock = Clock::new();
            let (client, driver) = connect(&server, &clock).await;
            run.drive(driver, async {
                let (result, ()) = join(client.call_tool("polled", ()), clock.pass(millis(RETRY))).await;
                let error = result.unwrap_err();
                assert_eq!(*violation(&error), Violation::StreamEnded);
                assert_eq!(error.delivery(), Delivery::Answered);
                let status = status.split(' ').next().unwrap();
                assert!(story(&error).contains(&format!("HTTP status {status}")), "{error:#}");
                client.ping().await.unwrap();
                assert_eq!(gets(&server), 1);
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn liv_05_a_page_in_place_of_the_stream_fails_the_call() {
    everywhere(async |run| {
        let server = Server::start(|call| match (call.request.tool(), resumed(call)) {
            ("polled", _) => breaks_off(call),
            (_, Some(_)) => call.respond("200 OK", &["Content-Type: text/html"], "<p>hello"),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = connect(&server, &clock).await;
        run.drive(driver, async {
            let (result, ()) = join(client.call_tool("polled", ()), clock.pass(millis(RETRY))).await;
            let error = result.unwrap_err();
            assert_eq!(*violation(&error), Violation::StreamEnded);
            assert!(story(&error).contains("text/html"), "{error:#}");
            client.ping().await.unwrap();
            assert_eq!(gets(&server), 1);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn liv_05_res_03_res_08_rounds_without_news_are_bounded_and_wait_longer_and_longer() {
    everywhere(async |run| {
        for broken in [false, true] {
            for (news_at, succeeds) in [(2, true), (3, false)] {
                let tries = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&tries);
                let server = Server::start(move |call| match (call.request.tool(), resumed(call)) {
                    ("polled", _) => breaks_off(call),
                    (_, Some(reply)) => match counted.fetch_add(1, Ordering::SeqCst) + 1 {
                        round if round == news_at => {
                            call.events();
                            call.event(&reply);
                        }
                        _ if broken => call.respond("500 Internal Server Error", &[], ""),
                        // The stream opens, says nothing new, and ends.
                        _ => {
                            call.events();
                            call.write(": here I am\n\n");
                        }
                    },
                    _ => call.normal(),
                });
                let mut limits = Limits::default();
                limits.resumptions = 2;
                let clock = Clock::new();
                let (client, driver) = on(&clock).limits(limits).connect(http(&server)).await.unwrap();
                run.drive(driver, async {
                    let (result, ()) = join(client.call_tool("polled", ()), async {
                        clock.pass(millis(RETRY)).await;
                        clock.pass(seconds(2)).await;
                    })
                    .await;
                    if succeeds {
                        result.unwrap();
                    } else {
                        let error = result.unwrap_err();
                        assert_eq!(*violation(&error), Violation::StreamEnded);
                        assert_eq!(error.delivery(), Delivery::Answered);
                        assert_eq!(story(&error).contains("HTTP status 500"), broken, "{error:#}");
                    }
                    assert_eq!(tries.load(Ordering::SeqCst), 2);
                    client.ping().await.unwrap();
                    assert_eq!(client.pending_calls(), 0);
                    client.close().await;
                })
                .await;
            }
        }
    });
}

#[test]
fn res_08_news_starts_the_count_again() {
    once(async |run| {
        let rounds = AtomicUsize::new(0);
        let server = Server::start(move |call| match (call.request.tool(), resumed(call)) {
            ("polled", _) => breaks_off(call),
            (_, Some(reply)) => {
                call.events();
                match rounds.fetch_add(1, Ordering::SeqCst) {
                    20 => drop(call.event(&reply)),
                    _ => call.write("data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n"),
                }
            }
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = connect(&server, &clock).await;
        run.drive(driver, async {
            let turning = async {
                loop {
                    clock.pass(millis(RETRY)).await;
                    server.arrival(is_resumption).await;
                }
            };
            let call = client.with_options(CallOptions::default().silence(None).total(None));
            let result = smol::future::or(call.call_tool("polled", ()), turning).await;
            result.unwrap();
            assert_eq!(gets(&server), 21);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn res_09_liv_28_a_deadline_during_the_wait_fires_and_nothing_is_resumed() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "polled" => {
                call.events();
                call.write("id: 1\nretry: 86400000\ndata:\n\n");
            }
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = connect(&server, &clock).await;
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let (result, ()) = join(hasty.call_tool("polled", ()), async {
                clock.asleep(seconds(86_400)).await;
                clock.pass(seconds(5)).await;
            })
            .await;
            let error = result.unwrap_err();
            let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
            assert_eq!((timeout.after(), timeout.is_total()), (seconds(5), true));
            assert_eq!(error.delivery(), Delivery::MaybeSent);
            assert_eq!(*violation(error.lost_stream().unwrap()), Violation::StreamEnded);
            assert!(error.source().unwrap().is::<Error>());
            let server_name = format!("http://{}", server.address());
            let expected = "no reply within 5s: the event stream ended before the reply";
            assert_eq!(story(&error), format!("{server_name}: {expected}"));
            server.arrival(|request| request.rpc() == "notifications/cancelled").await;
            clock.advance(seconds(100_000));
            client.ping().await.unwrap();
            assert_eq!((gets(&server), client.pending_calls()), (0, 0));
            client.close().await;
        })
        .await;
    });
}

/// Says where to resume, and resets the connection.
fn breaks(call: &mut Call) {
    let id = call.request.body["id"].clone();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    call.reset_after(&format!("{head}id: call-{id}\nretry: {RETRY}\ndata:\n\n"));
}

/// Whether both are told: how the stream broke, and why it could not be resumed.
fn tells_both(error: &Error, refused: &str) {
    assert_eq!(*violation(error), Violation::StreamEnded);
    let lost = error.lost_stream().unwrap();
    assert_eq!(lost.io_kind(), Some(io::ErrorKind::ConnectionReset));
    let story = story(error);
    assert!(story.contains("reset by peer") && story.contains(refused), "{story}");
}

#[test]
fn liv_05_how_the_stream_broke_is_told_beside_why_it_could_not_be_resumed() {
    everywhere(async |run| {
        for (status, rounds) in [("405 Method Not Allowed", 1), ("503 Service Unavailable", 2)] {
            let server = Server::start(move |call| match (call.request.tool(), resumed(call)) {
                ("broken", _) => breaks(call),
                (_, Some(_)) => call.respond(status, &[], ""),
                _ => call.normal(),
            });
            let clock = Clock::new();
            let (client, driver) = connect(&server, &clock).await;
            run.drive(driver, async {
                let (result, ()) = join(client.call_tool("broken", ()), async {
                    clock.pass(millis(RETRY)).await;
                    if rounds == 2 {
                        clock.pass(seconds(2)).await;
                    }
                })
                .await;
                let error = result.unwrap_err();
                let status: u16 = status[..3].parse().unwrap();
                assert_eq!((error.http().unwrap().status(), gets(&server)), (status, rounds));
                tells_both(&error, &status.to_string());
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn res_09_a_deadline_tells_how_resuming_goes_as_long_as_it_goes_on() {
    everywhere(async |run| {
        let gets = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&gets);
        let server = Server::start(move |call| match (call.request.tool(), resumed(call)) {
            ("broken", _) => breaks(call),
            (_, Some(_)) => match counted.fetch_add(1, Ordering::SeqCst) {
                // The first GET is refused for the moment, the second is not answered, the third resumes and falls silent.
                0 => call.respond("503 Service Unavailable", &[], "restarting"),
                1 => call.hold(),
                _ => {
                    call.events();
                    call.event(&tell("notifications/tools/list_changed", json!({})).to_string());
                    call.hold();
                }
            },
            _ => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(seconds(10)));
            let (result, ()) = join(hasty.call_tool("broken", ()), async {
                clock.pass(millis(RETRY)).await;
                server.arrival(is_resumption).await;
                clock.pass(seconds(2)).await;
                server.arrival(is_resumption).await;
                clock.advance(seconds(7));
            })
            .await;
            let error = result.unwrap_err();
            assert!(error.is_timeout(), "{error:#}");
            tells_both(error.lost_stream().unwrap(), "restarting");
            assert!(story(&error).contains(": no reply within 10s: the event stream ended"));

            let (result, ()) = join(hasty.call_tool("broken", ()), async {
                clock.pass(millis(RETRY)).await;
                server.arrival(is_resumption).await;
                while log.count("ToolsChanged") == 0 {
                    client.ping().await.unwrap();
                }
                clock.advance(seconds(10));
            })
            .await;
            let error = result.unwrap_err();
            assert!(error.is_timeout() && error.lost_stream().is_none(), "{error:#}");
            client.close().await;
        })
        .await;
        assert_eq!(gets.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn res_11_a_caller_that_gives_up_during_the_wait_stops_the_resumption() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "polled" => breaks_off(call),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = connect(&server, &clock).await;
        run.drive(driver, async {
            let waiting = async {
                clock.asleep(millis(RETRY)).await;
                None
            };
            let call = async { Some(client.call_tool("polled", ()).await) };
            assert!(smol::future::or(call, waiting).await.is_none());
            server.arrival(|request| request.rpc() == "notifications/cancelled").await;
            clock.advance(seconds(10));
            client.ping().await.unwrap();
            assert_eq!((gets(&server), cancellations(&server), client.pending_calls()), (0, 1, 0));
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn res_04_an_id_belongs_to_its_own_stream() {
    everywhere(async |run| {
        let server = Server::start(|call| match (call.request.tool(), resumed(call)) {
            ("polled", _) => breaks_off(call),
            ("ends", _) => call.events(),
            (_, Some(reply)) => {
                call.events();
                call.event(&reply);
            }
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = connect(&server, &clock).await;
        run.drive(driver, async {
            let turning = async {
                loop {
                    clock.pass(millis(RETRY)).await;
                }
            };
            let calls = join3(
                client.call_tool("polled", ()),
                client.call_tool("ends", ()),
                client.call_tool("polled", ()),
            );
            let (one, none, two) = smol::future::or(calls, turning).await;
            assert_eq!(*violation(&none.unwrap_err()), Violation::StreamEnded);
            assert_ne!(one.unwrap().text(), two.unwrap().text(), "each call has got its own reply");
            let error = client.call_tool("ends", ()).await.unwrap_err();
            assert_eq!(*violation(&error), Violation::StreamEnded);
            let ids: std::collections::HashSet<_> = server
                .requests()
                .iter()
                .filter_map(|it| it.header("last-event-id").map(str::to_owned))
                .collect();
            assert_eq!((gets(&server), ids.len()), (2, 2));
            client.close().await;
        })
        .await;
    });
}
