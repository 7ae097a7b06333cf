//! Hooks around calls: each beginning has one end, and what a hook adds travels with the request.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Server, transport};
use crate::fault::lines::{Peer, normal, pair};
use crate::fault::run::{Run, everywhere, once};
use crate::fault::tool;
use crate::kit::{Log, refusal, seconds};
use crate::modern::{META, modern, modern_answer};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::{
    Builder, CallEnd, CallOptions, CallStart, Client, Delivery, Driver, ErrorKind, Mode, Sse,
};
use std::pin::pin;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Writes down what begins and how it ends.
fn watching(builder: Builder, log: &Log) -> Builder {
    let log = log.clone();
    builder.on_call(move |call: &mut CallStart<'_>| {
        let name = format!("{} {}", call.method(), call.id());
        log.push(format!("> {name}"));
        let log = log.clone();
        move |end: &CallEnd<'_>| {
            let how = match (end.error(), end.is_dropped()) {
                (Some(error), false) => error.to_string(),
                (None, true) => "dropped".to_owned(),
                (None, false) => "ok".to_owned(),
                (Some(_), true) => unreachable!("one or the other"),
            };
            log.push(format!("< {name} {:?} {:?} {how}", end.elapsed(), end.delivery()));
        }
    })
}

/// Adds a trace's context to every request.
fn tracing(builder: Builder) -> Builder {
    builder.on_call(|call: &mut CallStart<'_>| {
        call.meta("traceparent", PARENT).unwrap();
        call.header("traceparent", PARENT);
        |_: &CallEnd<'_>| {}
    })
}

async fn lines(builder: Builder) -> (Client, Driver, crate::fault::lines::Server) {
    let (stdio, server) = pair(|peer: &Peer, message: &Value| match tool(message) {
        "held" => {}
        "refused" => peer.say(&refusal(&message["id"], -32602, "no such tool")),
        _ => peer.normal(message),
    });
    let (client, driver) = builder.connect(stdio).await.unwrap();
    (client, driver, server)
}

#[test]
fn each_beginning_has_one_end() {
    everywhere(async |run| {
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver, server) = lines(watching(on(&clock), &log)).await;
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            client.call_tool("refused", ()).await.unwrap_err();
            let hasty = client.with_options(CallOptions::timeout(seconds(3)));
            let passing = async {
                server.arrival(|it| tool(it) == "held").await;
                clock.pass(seconds(3)).await;
            };
            join(hasty.call_tool("held", ()), passing).await.0.unwrap_err();
            {
                let mut call = pin!(client.call_tool("held", ()));
                assert!(futures::poll!(&mut call).is_pending());
                server.arrival(|it| tool(it) == "held").await;
                clock.advance(seconds(1));
            }
            // Where there is no request, nothing begins.
            client.call_tool("echo", [1]).await.unwrap_err();
            client.notify("x", ()).await.unwrap();
            let held = client.call_tool("held", ());
            let closing = async {
                server.arrival(|it| tool(it) == "held").await;
                client.close().await;
            };
            join(held, closing).await.0.unwrap_err();
            client.ping().await.unwrap_err();
        })
        .await;
        let lines = log.lines();
        assert_eq!(
            lines[..9],
            [
                "> initialize 1",
                "< initialize 1 0ns Answered ok",
                "> tools/call 2",
                "< tools/call 2 0ns Answered ok",
                "> tools/call 3",
                "< tools/call 3 0ns Answered the server answered with an error: no such tool (code -32602)",
                "> tools/call 4",
                "< tools/call 4 3.001s MaybeSent no reply within 3s",
                "> tools/call 5",
            ]
            .map(str::to_owned),
            "{lines:#?}"
        );
        assert_eq!(lines[9], "< tools/call 5 1s MaybeSent dropped");
        assert_eq!(lines[10], "> tools/call 6");
        assert!(lines[11].starts_with("< tools/call 6 0ns MaybeSent the session was closed"), "{lines:#?}");
        assert_eq!(lines.len(), 12, "a dead session sends nothing: {lines:#?}");
    });
}

/// The end of a call that is dropped says whether its request was written.
#[test]
fn the_end_of_what_was_taken_back_says_not_sent() {
    once(async |_| {
        let log = Log::default();
        let (client, driver, _server) = lines(watching(on(&Clock::new()), &log)).await;
        let mut driver = pin!(driver);
        assert!(futures::poll!(&mut driver).is_pending());
        {
            let mut call = pin!(client.call_tool("echo", ()));
            // The driver has no turn.
            assert!(futures::poll!(&mut call).is_pending());
        }
        assert!(log.lines().last().unwrap().ends_with("NotSent dropped"), "{:?}", log.lines());
    });
}

async fn traced(run: Run, stateless: bool) {
    let mode = if stateless { Mode::Stateless } else { Mode::Legacy };
    let server = Server::start(move |call| match (stateless, &*call.request.method) {
        (true, _) => modern(call),
        (false, _) => call.normal(),
    });
    let builder = tracing(on(&Clock::new())).mode(mode);
    let (client, driver) = builder.clone().connect(transport(&server.url())).await.unwrap();
    run.drive(driver, async {
        client.call_tool("echo", json!({ "a": 1 })).await.unwrap();
        client.list_tools().await.unwrap();
        let own = CallOptions::default().meta("traceparent", &"own").unwrap();
        client.with_options(own).call_tool("own", ()).await.unwrap();
        client.close().await;
    })
    .await;
    let requests = server.requests();
    let requests: Vec<_> = requests.iter().filter(|it| it.body.get("id").is_some()).collect();
    assert_eq!(requests.len(), 4);
    for request in requests {
        let meta = &request.body["params"]["_meta"];
        let expected = if request.tool() == "own" { "own" } else { PARENT };
        assert_eq!(meta["traceparent"], expected, "{request:?}");
        assert_eq!(request.header("traceparent"), Some(PARENT), "{request:?}");
        assert_eq!(meta.get(format!("{META}protocolVersion")).is_some(), stateless);
    }
    // Over a pipe there are no headers.
    let (stdio, server) = pair(move |peer: &Peer, message: &Value| match stateless {
        true => drop(modern_answer(message).map(|answer| peer.say(&answer))),
        false => normal(peer, message),
    });
    let (client, driver) = builder.connect(stdio).await.unwrap();
    run.drive(driver, async {
        client.call_tool("echo", ()).await.unwrap();
        client.close().await;
    })
    .await;
    let call = server.received().into_iter().find(|it| tool(it) == "echo").unwrap();
    assert_eq!(call["params"]["_meta"]["traceparent"], PARENT);
}

#[test]
fn every_request_carries_what_is_added_with_a_handshake() {
    everywhere(async |run| traced(run, false).await);
}

#[test]
fn every_request_carries_what_is_added_without_a_handshake() {
    everywhere(async |run| traced(run, true).await);
}

#[test]
fn over_http_and_sse_there_are_headers_too() {
    once(async |_| {
        let feed = crate::kit::Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match &*call.request.method {
            "GET" => {
                served.write("event: endpoint\ndata: /post\n\n");
                served.serve(call);
            }
            _ => {
                if let Some(answer) = crate::fault::answer(&call.request.body) {
                    served.say(&answer);
                }
                call.respond("202 Accepted", &[], "");
            }
        });
        let builder = tracing(on(&Clock::new()));
        let (client, driver) = builder.connect(Sse::new(&server.url()).unwrap()).await.unwrap();
        driver.run_until(client.call_tool("echo", ())).await.unwrap();
        let requests = server.requests();
        let call = requests.iter().find(|it| it.tool() == "echo").unwrap();
        assert_eq!(call.header("traceparent"), Some(PARENT));
        feed.end();
    });
}

/// A hook may add the headers that the transport may add. Any other fails its call before a byte is sent.
#[test]
fn a_header_that_is_not_allowed_fails_its_call() {
    everywhere(async |run| {
        let server = Server::start(|call| call.normal());
        let log = Log::default();
        let builder = on(&Clock::new()).on_call({
            let log = log.clone();
            move |call: &mut CallStart<'_>| {
                if call.method() == "ping" {
                    call.header("mcp-session-id", "mine");
                }
                if call.method() == "tools/list" {
                    call.header("x-trace", "a\r\nb");
                }
                let log = log.clone();
                move |end: &CallEnd<'_>| log.push(format!("{:?} {}", end.delivery(), end.error().is_some()))
            }
        });
        let (client, driver) = builder.connect(transport(&server.url())).await.unwrap();
        run.drive(driver, async {
            for error in [client.ping().await.unwrap_err(), client.list_tools().await.map(drop).unwrap_err()]
            {
                assert!(
                    matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Header(_))),
                    "{error:#}"
                );
                assert_eq!(error.delivery(), Delivery::NotSent);
            }
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
        })
        .await;
        assert_eq!(log.lines(), ["Answered false", "NotSent true", "NotSent true", "Answered false"]);
        assert!(server.requests().iter().all(|it| it.rpc() != "ping" && it.rpc() != "tools/list"));
    });
}

/// A panic in a hook harms neither its own call nor another one.
#[test]
fn a_panic_in_a_hook_goes_no_further() {
    everywhere(async |run| {
        let builder = on(&Clock::new()).on_call(|call: &mut CallStart<'_>| {
            assert!(call.method() != "ping", "a bug in the hook");
            let is_call = call.method() == "tools/call";
            move |_: &CallEnd<'_>| assert!(!is_call, "a bug at the end")
        });
        let (client, driver, _server) = lines(builder).await;
        run.drive(driver, async {
            client.ping().await.unwrap();
            assert_eq!(client.call_tool("echo", ()).await.unwrap().text(), "fine");
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
        })
        .await;
    });
}

/// Each round of a call that the server answers with questions has a beginning and an end.
#[test]
fn a_round_is_a_request_of_its_own() {
    once(async |_| {
        let log = Log::default();
        let server = Server::start(move |call| {
            let first = call.request.body["params"].get("inputResponses").is_none();
            if call.request.tool() != "ask" || !first {
                return modern(call);
            }
            let result = json!({
                "resultType": "input_required",
                "inputRequests": { "r": { "method": "roots/list", "params": {} } },
            });
            call.json(&[], &crate::kit::reply(&call.request.body["id"], result).to_string());
        });
        let builder = watching(on(&Clock::new()), &log).roots([]).mode(Mode::Stateless);
        let (client, driver) = builder.connect(transport(&server.url())).await.unwrap();
        driver.run_until(client.call_tool("ask", ())).await.unwrap();
        assert_eq!((log.count("> tools/call"), log.count("< tools/call")), (2, 2), "{:?}", log.lines());
        assert_eq!(log.count("> server/discover"), 1);
    });
}

#[test]
fn what_a_hook_adds_is_in_no_error_and_no_event() {
    const KEY: &str = "k3y-of-the-h00k";
    once(async |_| {
        for (status, media, body) in [
            (
                "200 OK",
                "application/json",
                r#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"not KEY"}}"#,
            ),
            ("200 OK", "text/plain", "KEY is not welcome"),
            ("200 OK", "x/KEY", "no"),
            ("200 OK", "application/json", "KEY"),
            ("403 Forbidden", "text/plain", "KEY is not welcome"),
            ("200 OK", "text/event-stream", "data: {\"id\":77,\"result\":\"KEY\"}\n\ndata: KEY\n\n"),
        ] {
            let server = Server::start(move |call| match call.request.rpc() {
                "ping" => {
                    let media = format!("Content-Type: {}", media.replace("KEY", KEY));
                    call.respond(status, &[&media], &body.replace("KEY", KEY));
                }
                _ => call.normal(),
            });
            let log = Log::default();
            let builder = log.events(on(&Clock::new())).on_call(|call: &mut CallStart<'_>| {
                call.header("x-api-key", KEY);
                |_: &CallEnd<'_>| {}
            });
            let (client, driver) = builder.connect(server.transport()).await.unwrap();
            driver
                .run_until(async {
                    let error = client.ping().await.unwrap_err();
                    let told = format!("{error:#} {error:?} {:?}", log.lines());
                    assert!(!told.contains(KEY), "{media}: {told}");
                    client.close().await;
                })
                .await;
        }
    });
}

#[test]
fn the_end_has_the_error_that_the_caller_gets() {
    once(async |_| {
        let log = Log::default();
        let told = log.clone();
        let builder = on(&Clock::new()).on_call(move |_: &mut CallStart<'_>| {
            let told = told.clone();
            move |end: &CallEnd<'_>| {
                if let Some(error) = end.error() {
                    told.push(format!("{error:#}"));
                }
            }
        });
        let server = Server::start(|call| match call.request.rpc() {
            "ping" => call.respond("500 X", &[], "no"),
            _ => call.normal(),
        });
        let (client, driver) = builder.connect(server.transport()).await.unwrap();
        driver
            .run_until(async {
                let error = client.ping().await.unwrap_err();
                assert!(error.server().is_some());
                assert_eq!(log.lines(), [format!("{error:#}")]);
                client.close().await;
            })
            .await;
    });
}
