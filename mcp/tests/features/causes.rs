//! Causes that must reach the caller, and secrets that must not.

use crate::check::{limit, on, story};
use crate::fault::clock::Clock;
use crate::fault::http::{SESSION, Server};
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use crate::fault::{Gate, answer, tool};
use crate::kit::{Feed, Log, http, millis, seconds, tell};
use crate::modern::modern;
use futures::future::join;
use serde_json::json;
use shared_fate_mcp::{Limits, Mode, Sse, Timeouts};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn old_09_a_refusal_is_not_lost_when_the_old_transports_stream_says_nothing() {
    once(async |_| {
        let server = Server::start(|call| match &*call.request.method {
            // A stream of Streamable HTTP without sessions: it is open, and names no endpoint.
            "GET" => {
                call.events();
                call.hold();
            }
            _ => {
                let error = json!({ "code": -32000, "message": "the tenant header is missing" });
                let body = json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string();
                call.respond("400 Bad Request", &["Content-Type: application/json"], &body);
            }
        });
        // The limit is `Timeouts::endpoint` or half of the handshake's, whichever is shorter.
        for (handshake, limit) in [(60, 30), (20, 10)] {
            let clock = Clock::new();
            let waiting = async {
                server.arrival(|request| request.method == "GET").await;
                clock.pass(seconds(limit)).await;
            };
            let mut timeouts = Timeouts::default();
            timeouts.handshake = Some(seconds(handshake));
            let connecting = on(&clock).timeouts(timeouts).connect(http(&server));
            let (result, ()) = join(connecting, waiting).await;
            let error = result.unwrap_err();
            assert!(story(&error).contains("the tenant header is missing"), "{error:#}");
        }
    });
}

#[test]
fn sec_09_a_server_that_echoes_secrets_gets_them_into_no_error() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "x" => {
                let token = call.request.header("authorization").unwrap_or_default().to_owned();
                call.respond("400 Bad Request", &[], &format!("no session {SESSION} for {token}"));
            }
            _ => call.normal(),
        });
        let http = http(&server).bearer("t0ken").unwrap();
        let (client, _driver) = on(&Clock::new()).connect(http).await.unwrap();
        story(&client.call_tool("x", ()).await.unwrap_err());
    });
}

#[test]
fn sec_09_no_part_of_a_long_token_is_left_where_a_text_is_cut() {
    once(async |_| {
        let token = "t0ken".repeat(400);
        let echo = format!("no: {token} {token} {token}");
        let server = Server::start(move |call| match call.request.tool() {
            "json" => call.json(&[], &echo),
            "challenge" => {
                let challenge =
                    format!("WWW-Authenticate: Bearer a=\"{}\", b=\"{token}\"", "x".repeat(16_000));
                call.respond("401 Unauthorized", &[&challenge], "");
            }
            "events" => {
                call.events();
                call.write(format!("event: error\ndata: {echo}\n\n"));
            }
            _ => call.normal(),
        });
        let http = http(&server).bearer(&"t0ken".repeat(400)).unwrap();
        let (client, _driver) = on(&Clock::new()).connect(http).await.unwrap();
        for tool in ["json", "events"] {
            let error = client.call_tool(tool, ()).await.unwrap_err();
            assert!(story(&error).ends_with("\"no: *** *** ***\""), "{error:#}");
        }
        let error = client.call_tool("challenge", ()).await.unwrap_err();
        story(&error);
        assert_eq!(error.http().unwrap().challenges()[0].param("b"), Some("***"));
    });
}

#[test]
fn sec_09_a_stream_of_the_older_transport_in_the_answer_to_a_post_is_shown_without_the_token() {
    once(async |_| {
        let server = Server::start(|call| {
            call.events();
            call.write("event: endpoint\ndata: /messages?token=t0ken\n\n");
            call.hold();
        });
        let http = http(&server).bearer("t0ken").unwrap().legacy_fallback(false);
        let error = on(&Clock::new()).connect(http).await.unwrap_err();
        assert!(story(&error).contains("/messages?token=***"), "{error:#}");
    });
}

/// What says that it is no JSON may be a reply, and is no reason to hurry.
#[test]
fn to_04_a_reply_of_another_type_may_come_as_late_as_any_other() {
    once(async |_| {
        for kind in ["Content-Type: text/plain", "X-No-Type: at all"] {
            let gate = Gate::default();
            let opened = gate.clone();
            let server = Server::start(move |call| match call.request.tool() {
                "late" => {
                    let answer = call.answer();
                    call.head("200 OK", &[kind, &format!("Content-Length: {}", answer.len() + 2)]);
                    call.write("\r\n");
                    opened.wait();
                    call.write(answer);
                    call.keep();
                }
                "never" => {
                    call.head("200 OK", &[kind, "Content-Length: 9"]);
                    call.hold();
                }
                _ => call.normal(),
            });
            let clock = Clock::new();
            let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
            // Time passes when the client has read what there is.
            let passes = async |tool, time| {
                server.arrival(|request| request.tool() == tool).await;
                for _ in 0..2 {
                    client.ping().await.unwrap();
                }
                clock.advance(time);
                client.ping().await.unwrap();
            };
            driver
                .run_until(async {
                    let late = async {
                        passes("late", seconds(1)).await;
                        gate.open();
                    };
                    let (result, ()) = join(client.call_tool("late", ()), late).await;
                    assert_eq!(result.unwrap().text(), "fine");
                    let (result, ()) =
                        join(client.call_tool("never", ()), passes("never", seconds(61))).await;
                    let error = result.unwrap_err();
                    assert!(error.is_timeout(), "{error:#}");
                })
                .await;
        }
    });
}

#[test]
fn ht_06_an_answer_that_is_compressed_all_the_same_is_told_to_be() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "x" => call.json(&["Content-Encoding: gzip"], "\u{1f}\u{8b}"),
            _ => call.normal(),
        });
        let (client, _driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        let error = client.call_tool("x", ()).await.unwrap_err();
        assert!(story(&error).contains("gzip"), "{error:#}");
    });
}

#[test]
fn old_02_a_relative_endpoint_may_have_a_url_in_its_query() {
    once(async |_| {
        let feed = Feed::new();
        feed.write("event: endpoint\ndata: /messages?s=1&from=http://elsewhere/\n\n");
        let events = feed.clone();
        let server = Server::start(move |call| match &*call.request.method {
            "GET" => events.serve(call),
            _ => {
                if let Some(answer) = answer(&call.request.body) {
                    events.say(&answer);
                }
                call.respond("202 Accepted", &[], "");
            }
        });
        let connected = on(&Clock::new()).connect(Sse::new(&server.url()).unwrap()).await;
        feed.end();
        assert!(connected.is_ok(), "{:#}", connected.unwrap_err());
    });
}

#[test]
fn ses_05_a_stream_that_is_gone_with_its_session_is_told() {
    once(async |_| {
        let (feed, opened) = (Feed::new(), AtomicUsize::new(0));
        let events = feed.clone();
        let server = Server::start(move |call| match &*call.request.method {
            "GET" if opened.fetch_add(1, Ordering::SeqCst) == 0 => events.serve(call),
            "GET" => call.respond("404 Not Found", &[], "session not found"),
            _ => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                feed.end();
                clock.pass(seconds(1)).await;
                while log.count("StreamLost") == 0 {
                    client.ping().await.unwrap();
                }
            })
            .await;
    });
}

#[test]
fn st_02_what_a_server_says_in_answer_to_a_notification_is_heard() {
    once(async |_| {
        let server = Server::start(|call| match call.request.rpc() {
            "notifications/x" => {
                call.events();
                call.event(&tell("notifications/tools/list_changed", json!({})).to_string());
                call.hold();
            }
            _ => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                let heard = async {
                    while log.count("ToolsChanged") == 0 {
                        client.ping().await.unwrap();
                    }
                    // The stream says no more, and the client does not wait long for its end.
                    clock.pass(millis(500)).await;
                };
                join(client.notify("notifications/x", ()), heard).await.0.unwrap();
            })
            .await;
    });
}

#[test]
fn io_05_rmcp_1_3_5_a_reply_that_is_too_long_fails_its_call_wherever_its_id_is() {
    once(async |_| {
        let clock = Clock::new();
        let mut limits = Limits::default();
        limits.line = 10_000;
        let (stdio, server) = pair(|peer, message| match tool(message) {
            "long" => {
                // As the TypeScript SDK writes it: the id is the last member.
                let (text, id) = ("x".repeat(20_000), &message["id"]);
                let result = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
                peer.write(format!("{{\"result\":{result},\"jsonrpc\":\"2.0\",\"id\":{id}}}\n"));
            }
            _ => normal(peer, message),
        });
        let (client, driver) = on(&clock).limits(limits).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let waiting = async {
                    server.arrival(|message| tool(message) == "long").await;
                    client.ping().await.unwrap();
                    clock.advance(seconds(61));
                };
                let (result, ()) = join(client.call_tool("long", ()), waiting).await;
                let error = result.unwrap_err();
                assert!(!error.is_timeout(), "{error:#}");
                assert_eq!(limit(&error).1, 10_000);
            })
            .await;
    });
}

/// What a server writes on a call's stream, which it then holds open, and what the deadline quotes of it.
const HELD: [(&str, &str); 5] = [
    (
        "data: Traceback: the disk is full\n\n",
        "the reply is malformed: message is not valid JSON: the server sent \"Traceback: the disk is full\"",
    ),
    (
        "event: error\ndata: the disk of t0ken is full\n\n",
        "what the server wrote meanwhile belongs to nobody: the server sent \"the disk of *** is full\"",
    ),
    (
        "data: {\"jsonrpc\":\"2.0\",\"id\":\"abc\",\"result\":{}}\n\n",
        "the reply's id does not match the request",
    ),
    (
        "data: {\"jsonrpc\":\"2.0\",\"id\":999999,\"result\":{}}\n\n",
        "the reply's id does not match the request",
    ),
    (": a comment\n\n", ""),
];

#[test]
fn liv_06_what_came_on_a_stream_that_stays_open_is_told_at_the_deadline() {
    once(async |_| {
        for mode in [Mode::Legacy, Mode::Stateless] {
            for (said, quoted) in HELD {
                let server = Server::start(move |call| match call.request.tool() {
                    "held" => {
                        call.events();
                        call.write(said);
                        call.event(&tell("notifications/tools/list_changed", json!({})).to_string());
                        call.hold();
                    }
                    _ if mode == Mode::Stateless => modern(call),
                    _ => call.normal(),
                });
                let (clock, log) = (Clock::new(), Log::default());
                let http = http(&server).bearer("t0ken").unwrap();
                let (client, driver) = log.events(on(&clock).mode(mode)).connect(http).await.unwrap();
                let patience = async {
                    while log.count("ToolsChanged") == 0 {
                        client.call_tool("x", ()).await.unwrap();
                    }
                    clock.advance(seconds(61));
                };
                let (called, ()) = driver.run_until(join(client.call_tool("held", ()), patience)).await;
                let error = called.unwrap_err();
                assert!(error.is_timeout(), "{error:#}");
                assert!(story(&error).ends_with(quoted), "{error:#}");
                assert_eq!(error.lost_stream().is_some(), !quoted.is_empty(), "{error:#}");
            }
        }
    });
}
