//! Odd servers over HTTP.

use crate::fault::http::{Call, Server};
use crate::fault::run::{everywhere, once};
use crate::fault::{Gate, answer};
use crate::{Expect, client};
use futures::StreamExt;
use futures::future::join;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use shared_fate_mcp::{ErrorKind, Limits, Mode};
use smol::channel;

type Row = (&'static str, fn(&mut Call), Expect);

const JSON: &str = "Content-Type: application/json";
const EVENTS: &str = "Content-Type: text/event-stream";

/// Where the server was seen, what it does with a call of the tool `odd`, and what a user expects.
const ROWS: &[Row] = &[
    (
        "dav-mcp 31, kotlin-sdk 344: an event that is no message, before the reply",
        |call| {
            let answer = call.answer();
            call.events();
            call.event("{}");
            call.event("connected");
            call.event(&answer);
        },
        Expect::Fine,
    ),
    (
        "python-sdk PR 1514: the error comes in an event of another type",
        |call| {
            let id = call.request.body["id"].clone();
            let error = json!({ "code": -32000, "message": "the disk is full" });
            let error = json!({ "jsonrpc": "2.0", "id": id, "error": error });
            call.events();
            call.write(format!("event: error\ndata: {error}\n\n"));
        },
        Expect::Says("the disk is full"),
    ),
    (
        "python-sdk PR 1514: the stream says why in plain text",
        |call| {
            call.events();
            call.write("event: error\ndata: the disk is full\n\n");
        },
        Expect::Says("the disk is full"),
    ),
    (
        "the reply comes in an event of a type of its own",
        |call| {
            let answer = call.answer();
            call.events();
            call.write(format!("event: response\ndata: {answer}\n\n"));
        },
        Expect::Fine,
    ),
    (
        "a reply that says it is events",
        |call| {
            let answer: Value = serde_json::from_str(&call.answer()).unwrap();
            call.respond("200 OK", &[EVENTS], &format!("{answer:#}\n"));
        },
        Expect::Fine,
    ),
    (
        "a gateway's page that says it is events",
        |call| call.respond("200 OK", &[EVENTS], "<html>\n\n<h1>Please log in</h1>"),
        Expect::Says("<h1>Please log in</h1>"),
    ),
    (
        "the stream ends in the middle of a text",
        |call| call.respond("200 OK", &[EVENTS], "event: error\ndata: the disk is full"),
        Expect::Says("the disk is full"),
    ),
    (
        "a proxy that has joined two headers",
        |call| {
            let answer = call.answer();
            call.respond("200 OK", &["Content-Type: application/json, application/json"], &answer);
        },
        Expect::Fine,
    ),
    (
        "a reply that says it is text",
        |call| {
            let answer = call.answer();
            call.respond("200 OK", &["Content-Type: text/plain"], &answer);
        },
        Expect::Fine,
    ),
    (
        "a reply that does not say what it is",
        |call| {
            let answer = call.answer();
            call.respond("200 OK", &[], &answer);
        },
        Expect::Fine,
    ),
    (
        "express, to keep its compression away from a reply: an encoding that is none",
        |call| {
            let answer = call.answer();
            call.json(&["Content-Encoding: none"], &answer);
        },
        Expect::Fine,
    ),
    (
        "Next.js and FastAPI, to keep a proxy's compression away from a stream: an encoding that is none",
        |call| {
            let answer = call.answer();
            call.head("200 OK", &["Content-Type: text/event-stream", "Content-Encoding: None, identity"]);
            call.event(&answer);
        },
        Expect::Fine,
    ),
    (
        "a charset in the place of an encoding",
        |call| {
            let answer = call.answer();
            call.json(&["Content-Encoding: utf-8"], &answer);
        },
        Expect::Fine,
    ),
    (
        "two encodings in two headers, and one of them is there",
        |call| call.json(&["Content-Encoding: identity", "Content-Encoding: X-GZip"], "\u{1f}\u{8b}"),
        Expect::Says("compressed, which was not asked for: \"X-GZip\""),
    ),
    (
        "two messages in one body",
        |call| {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}}\n{}\n", call.answer());
            call.json(&[], &text);
        },
        Expect::Fine,
    ),
    (
        "a gateway that shows its page with status 200",
        |call| call.respond("200 OK", &["Content-Type: text/html"], "<h1>Please log in</h1>"),
        Expect::Says("<h1>Please log in</h1>"),
    ),
    (
        "a debug page in the place of JSON",
        |call| call.json(&[], "Warning: mysql_connect() failed"),
        Expect::Says("Warning: mysql_connect() failed"),
    ),
    (
        "a stream on which the id of the reply is a name",
        |call| {
            call.events();
            call.event(r#"{"jsonrpc":"2.0","id":"abc","result":{"content":[]}}"#);
        },
        Expect::Says("the reply's id does not match the request"),
    ),
    (
        "a stream on which the reply has no id",
        |call| {
            call.events();
            call.write(
                "event: result\ndata: {\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"content\":[]}}\n\n",
            );
        },
        Expect::Says("the reply's id does not match the request"),
    ),
    ("a body of white space", |call| call.json(&[], " \n"), Expect::Says("no reply")),
];

#[test]
fn each_row_is_as_a_user_expects() {
    once(async |_| {
        for (from, serve, expect) in ROWS.iter().copied() {
            let server = Server::start(move |call| match call.request.tool() {
                "odd" => serve(call),
                _ => call.normal(),
            });
            let (client, driver) = client().mode(Mode::Legacy).connect(server.transport()).await.unwrap();
            let result = driver.run_until(client.call_tool("odd", ())).await;
            expect.check(from, result);
        }
    });
}

#[test]
fn an_answer_to_the_probe_that_says_nothing_usable_leads_to_the_handshake() {
    // typescript-sdk 2619
    let rows: &[fn(&mut Call)] = &[
        |call| call.respond("202 Accepted", &[], ""),
        |call| call.respond("204 No Content", &[], ""),
        |call| call.respond("200 OK", &[], ""),
        |call| call.json(&[], ""),
        |call| call.respond("200 OK", &["Content-Type: text/plain"], "ok"),
        |call| call.json(&[], "null"),
        |call| call.json(&[], r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
        Call::events,
        |call| call.respond("500 Internal Server Error", &[JSON], r#"{"message":"not initialized"}"#),
        |call| {
            let id = call.request.body["id"].clone();
            call.json(&[], &json!({ "jsonrpc": "2.0", "id": id, "result": [["2026-07-28"]] }).to_string());
        },
    ];
    once(async |_| {
        for (row, serve) in rows.iter().copied().enumerate() {
            let server = Server::start(move |call| match call.request.rpc() {
                "server/discover" => serve(call),
                _ => call.normal(),
            });
            let connected = client().connect(server.transport()).await;
            let (client, driver) = connected.unwrap_or_else(|error| panic!("row {row}: {error:#}"));
            assert_eq!(driver.run_until(client.call_tool("x", ())).await.unwrap().text(), "fine");
        }
    });
}

/// quarkus-mcp-server 317, VS Code PR 249914: a server of HTTP+SSE opens its event stream for a POST, too.
fn older(only_initialize: bool) -> Server {
    let (say, said) = channel::unbounded::<Value>();
    Server::start(move |call| match (&*call.request.method, call.request.rpc()) {
        ("GET", _) => {
            call.events();
            call.write("event: endpoint\ndata: /messages\n\n");
            while let Ok(message) = said.recv_blocking() {
                if !call.event(&message.to_string()) {
                    return;
                }
            }
        }
        ("POST", _) if call.request.target == "/messages" => {
            if let Some(answer) = answer(&call.request.body) {
                say.try_send(answer).unwrap();
            }
            call.respond("202 Accepted", &[], "");
        }
        ("POST", "server/discover") if only_initialize => call.respond("404 Not Found", &[], ""),
        _ => {
            call.events();
            call.write("event: endpoint\ndata: /messages\n\n");
            call.hold();
        }
    })
}

#[test]
fn a_server_of_the_older_transport_that_answers_a_post_with_its_stream_is_understood() {
    everywhere(async |run| {
        for (only_initialize, mode) in [(false, Mode::Auto), (true, Mode::Auto), (false, Mode::Legacy)] {
            let server = older(only_initialize);
            let (client, driver) = client().mode(mode).connect(server.transport()).await.unwrap();
            run.drive(driver, async {
                assert_eq!(client.call_tool("x", ()).await.unwrap().text(), "fine");
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn without_the_fallback_the_error_says_what_the_server_speaks() {
    once(async |_| {
        let server = older(false);
        let http = server.transport().legacy_fallback(false);
        let error = client().mode(Mode::Legacy).connect(http).await.unwrap_err();
        assert!(format!("{error:#}").contains("event: endpoint"), "{error:#}");
    });
}

#[test]
fn a_session_id_is_sent_back_up_to_its_limit() {
    once(async |_| {
        for (length, fits) in [(4096, true), (4097, false)] {
            let server = Server::start(move |call| match call.request.rpc() {
                "initialize" => {
                    let answer = call.answer();
                    call.json(&[&format!("Mcp-Session-Id: {}", "s".repeat(length))], &answer);
                }
                _ => call.normal(),
            });
            let connected = client().mode(Mode::Legacy).connect(server.transport()).await;
            assert_eq!(connected.is_ok(), fits, "{length}");
            let error = connected.err().map(|error| error.to_string());
            assert!(error.is_none_or(|error| error.contains("session id")), "{length}");
        }
    });
}

/// A proxy that mixes answers up: the answer to one call carries the reply to another, whose own answer is on its way.
#[test]
fn a_reply_in_the_answer_to_another_call_is_not_believed() {
    everywhere(async |run| {
        let gate = Gate::default();
        let opened = gate.clone();
        let server = Server::start(move |call| match call.request.tool() {
            "victim" => {
                opened.wait();
                call.normal();
            }
            "mixed up" => {
                let number = call.request.body["params"]["arguments"]["victim"].clone();
                let result = json!({ "content": [{ "type": "text", "text": "not yours" }] });
                call.json(&[], &json!({ "jsonrpc": "2.0", "id": number, "result": result }).to_string());
            }
            _ => call.normal(),
        });
        let (client, driver) = client().mode(Mode::Legacy).connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            let mix = async {
                let victim = server.arrival(|request| request.tool() == "victim").await;
                let error = client.call_tool("mixed up", json!({ "victim": victim.body["id"] })).await;
                assert!(format!("{:#}", error.unwrap_err()).contains("does not match"));
                gate.open();
            };
            let (victim, ()) = join(client.call_tool("victim", ()), mix).await;
            assert_eq!(victim.unwrap().text(), "fine");
            client.close().await;
        })
        .await;
    });
}

/// Half bodies of many calls fill the budget: one more fails with it, and those that are under way go on.
#[test]
fn half_bodies_fill_a_budget_that_one_more_does_not_exceed() {
    const HALF: usize = 300_000;
    once(async |run| {
        for events in [false, true] {
            let gate = Gate::default();
            let opened = gate.clone();
            let server = Server::start(move |call| match call.request.tool() {
                "half" => {
                    let id = call.request.body["id"].clone();
                    let result = json!({ "content": [{ "type": "text", "text": "y".repeat(2 * HALF) }] });
                    let reply = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
                    let text = if events { format!("data: {reply}\n\n") } else { reply };
                    let kind = if events { "text/event-stream" } else { "application/json" };
                    call.head(
                        "200 OK",
                        &[&format!("Content-Type: {kind}"), &format!("Content-Length: {}", text.len())],
                    );
                    call.write(&text[..HALF]);
                    opened.wait();
                    call.write(&text[HALF..]);
                    call.keep();
                }
                _ => call.normal(),
            });
            let mut limits = Limits::default();
            // The buffer of a body grows to twice what it holds, and no further.
            limits.receiving = 3_000_000;
            let builder = client().mode(Mode::Legacy).limits(limits);
            let (client, driver) = builder.connect(server.transport()).await.unwrap();
            run.drive(driver, async {
                let calls = (0..12).map(|_| client.call_tool("half", ()));
                let mut calls: FuturesUnordered<_> = calls.collect();
                let first = calls.next().await.unwrap().unwrap_err();
                assert!(
                    matches!(first.kind(), ErrorKind::Limit(limit) if limit.limit() == 3_000_000),
                    "{first:#}"
                );
                gate.open();
                let results: Vec<_> = calls.collect().await;
                let fine = results.iter().filter(|result| result.is_ok()).count();
                assert!(fine >= 1, "one at a time may always grow");
                assert!(results.iter().flatten().all(|result| result.text().len() == 2 * HALF));
                // What was taken from the budget is given back.
                assert_eq!(client.call_tool("half", ()).await.unwrap().text().len(), 2 * HALF);
                client.close().await;
            })
            .await;
        }
    });
}
