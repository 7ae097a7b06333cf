//! Revision 2026-07-28 on the wire (MOD-01 to MOD-12, SES-10, RES-12, PNG-03, M-17,
//! M-19, CAN-01).

use crate::check::{on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Request, Server};
use crate::fault::lines::{normal, pair};
use crate::fault::run::everywhere;
use crate::fault::{answer, text_result};
use crate::kit::{Log, ask, http, millis, reply, seconds, tell};
use futures::future::{join, select};
use serde_json::{Value, json};
use shared_fate_mcp::error::{InvalidInput, Violation};
use shared_fate_mcp::types::Root;
use shared_fate_mcp::{Builder, CallOptions, Client, Delivery, Driver, ErrorKind, Mode};
use std::pin::pin;

pub(crate) const VERSION: &str = "2026-07-28";
pub(crate) const DISCOVER: &str = "server/discover";
pub(crate) const META: &str = "io.modelcontextprotocol/";

pub(crate) fn discovered(versions: &[&str]) -> Value {
    json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": { "tools": {} },
        "instructions": "be kind",
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "modern", "version": "1" } },
    })
}

/// What a well-behaved server without a handshake answers.
pub(crate) fn modern_answer(message: &Value) -> Option<Value> {
    match message["method"].as_str() {
        Some(DISCOVER) => Some(reply(&message["id"], discovered(&[VERSION]))),
        _ => answer(message),
    }
}

/// Answers over HTTP like [`modern_answer`]. Headers and metadata must agree.
pub(crate) fn modern(call: &mut Call) {
    let Request { method, body, .. } = &call.request;
    assert_eq!(method, "POST", "SES-10");
    let meta = &body["params"]["_meta"];
    let version = meta[format!("{META}protocolVersion")].as_str();
    assert_eq!((call.request.header("mcp-protocol-version"), version), (Some(VERSION), Some(VERSION)));
    assert_eq!(call.request.header("mcp-method"), body["method"].as_str());
    assert_eq!(call.request.header("mcp-session-id"), None);
    let answer = modern_answer(body).unwrap().to_string();
    call.json(&["Mcp-Session-Id: not-for-us"], &answer);
}

/// A server of both kinds.
pub(crate) fn dual(call: &mut Call) {
    match call.request.header("mcp-method") {
        Some(_) => modern(call),
        None => call.normal(),
    }
}

pub(crate) async fn connect(builder: Builder, server: &Server) -> (Client, Driver) {
    builder.mode(Mode::Stateless).connect(http(server)).await.unwrap()
}

#[test]
fn mod_01_to_05_dis_02_03_ses_10_every_request_says_what_it_is() {
    everywhere(async |run| {
        let server = Server::start(modern);
        let builder = on(&Clock::new()).identity("me", "7").roots([Root::new("file:///a")]);
        let (client, driver) = connect(builder, &server).await;
        assert_eq!(client.server().server_info.as_ref().unwrap().name, "modern");
        assert_eq!(client.server().instructions.as_deref(), Some("be kind"));
        run.drive(driver, async {
            let options = CallOptions::default().meta("traceparent", &"00-a-b-01").unwrap();
            client.with_options(options).call_tool("echo", json!({ "a": 1 })).await.unwrap();
            client.list_tools().await.unwrap();
            for (method, params) in [
                ("prompts/get", json!({ "name": "prompt é" })),
                ("resources/read", json!({ "uri": "file:///x y" })),
                ("prompts/get", json!({ "name": " padded" })),
            ] {
                client.request(method, params).await.unwrap_err();
            }
            client.close().await;
            server.deserted().await;
        })
        .await;
        let requests = server.requests();
        let meta = &requests[0].body["params"];
        let capabilities = json!({ "roots": { "listChanged": true } });
        assert_eq!(
            *meta,
            json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": capabilities,
            "io.modelcontextprotocol/clientInfo": { "name": "me", "version": "7" },
        } })
        );
        for request in &requests {
            let meta = &request.body["params"]["_meta"];
            assert_eq!(meta[format!("{META}clientCapabilities")], capabilities);
            assert_eq!((request.header("last-event-id"), request.header("origin")), (None, None));
        }
        let echo = requests.iter().find(|it| it.tool() == "echo").unwrap();
        assert_eq!(echo.header("mcp-name"), Some("echo"));
        assert_eq!(echo.body["params"]["arguments"], json!({ "a": 1 }));
        assert_eq!(echo.body["params"]["_meta"]["traceparent"], "00-a-b-01");
        let name = |method: &str| -> Vec<_> {
            let named = requests.iter().filter(|it| it.rpc() == method);
            named.map(|it| it.header("mcp-name").map(str::to_owned)).collect()
        };
        let encoded = |text: &str| Some(text.to_owned());
        assert_eq!(
            name("prompts/get"),
            [encoded("=?base64?cHJvbXB0IMOp?="), encoded("=?base64?IHBhZGRlZA==?=")]
        );
        assert_eq!(name("resources/read"), [encoded("file:///x y")]);
        assert!(name("tools/list").iter().chain(&name(DISCOVER)).all(Option::is_none));
        assert!(requests.iter().all(|it| it.method == "POST"));
    });
}

#[test]
fn png_03_rev_06_what_is_gone_is_not_sent() {
    everywhere(async |run| {
        let server = Server::start(modern);
        let builder = on(&Clock::new()).roots([]);
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            let before = server.requests().len();
            let arguments = json!({});
            let results = [
                client.request("ping", ()).await.unwrap_err(),
                client.subscribe_resource("x:").await.unwrap_err(),
                client.unsubscribe_resource("x:").await.unwrap_err(),
                client.list_tasks().await.unwrap_err(),
                client.task_result("t").await.unwrap_err(),
                client.call_tool_as_task("echo", arguments, None).await.unwrap_err(),
                client.request("initialize", ()).await.unwrap_err(),
            ];
            for error in results {
                assert!(
                    matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Method(_))),
                    "{error:#}"
                );
                assert_eq!(error.delivery(), Delivery::NotSent);
            }
            client.set_roots([Root::new("file:///b")]).await.unwrap();
            assert_eq!(server.requests().len(), before);
            client.ping().await.unwrap();
            assert_eq!(server.requests()[before..].iter().map(Request::rpc).collect::<Vec<_>>(), [DISCOVER]);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn can_01_ht_12_a_call_that_is_given_up_closes_its_stream_and_posts_nothing() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            "stream" => {
                call.events();
                call.event(&tell("notifications/message", json!({})).to_string());
                call.hold();
            }
            _ => modern(call),
        });
        let clock = Clock::new();
        let (client, driver) = connect(on(&clock), &server).await;
        run.drive(driver, async {
            client.list_tools().await.unwrap();
            for tool in ["held", "stream"] {
                let hasty = client.with_options(CallOptions::timeout(seconds(5)));
                let (result, ()) = join(hasty.call_tool(tool, ()), async {
                    server.arrival(|it| it.tool() == tool).await;
                    clock.pass(seconds(5)).await;
                })
                .await;
                assert_eq!(result.unwrap_err().delivery(), Delivery::MaybeSent);
                let gone = async {
                    server.arrival(|it| it.tool() == tool).await;
                    None
                };
                let call = async { Some(client.call_tool(tool, ()).await) };
                assert!(smol::future::or(call, gone).await.is_none());
            }
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
        assert!(server.requests().iter().all(|it| it.body.get("id").is_some() && it.method == "POST"));
    });
}

#[test]
fn res_12_a_stream_that_breaks_loses_its_call_and_is_not_resumed() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "breaks" => {
                call.events();
                call.write("id: 1\nretry: 1\ndata:\n\n");
            }
            _ => modern(call),
        });
        let clock = Clock::new();
        let (client, driver) = connect(on(&clock), &server).await;
        run.drive(driver, async {
            let error = client.call_tool("breaks", ()).await.unwrap_err();
            assert_eq!(*violation(&error), Violation::StreamEnded);
            story(&error);
            client.call_tool("echo", ()).await.unwrap();
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
        })
        .await;
        assert_eq!(server.requests().iter().filter(|it| it.tool() == "breaks").count(), 1, "RES-13");
        assert!(server.requests().iter().all(|it| it.method == "POST"));
    });
}

#[test]
fn m_17_m_18_m_19_requests_are_not_answered_and_unknown_results_are_not_guessed() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let id = call.request.body["id"].clone();
            let mut result = text_result("hm");
            match call.request.tool() {
                "asks" => {
                    call.events();
                    call.event(&ask("q", "ping", json!({})).to_string());
                    call.event(&ask("r", "roots/list", json!({})).to_string());
                    call.event(&reply(&id, result).to_string());
                }
                kind @ ("task" | "complete" | "7") => {
                    result["resultType"] = if kind == "7" { json!(7) } else { json!(kind) };
                    call.json(&[], &reply(&id, result).to_string());
                }
                _ => modern(call),
            }
        });
        let log = Log::default();
        let (client, driver) = connect(log.events(on(&Clock::new())).roots([]), &server).await;
        run.drive(driver, async {
            client.call_tool("asks", ()).await.unwrap();
            assert_eq!(log.count("Stray"), 2, "{:?}", log.lines());
            client.call_tool("complete", ()).await.unwrap();
            for kind in ["task", "7"] {
                let error = client.call_tool(kind, ()).await.unwrap_err();
                assert_eq!(*violation(&error), Violation::ResultType);
                assert_eq!(error.delivery(), Delivery::Answered);
            }
            client.close().await;
        })
        .await;
        assert!(server.requests().iter().all(|it| it.body.get("method").is_some()), "nothing is answered");
    });
}

#[test]
fn mod_06_mod_07_every_request_about_a_task_names_it() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let id = call.request.body["id"].clone();
            let mut task = json!({ "taskId": "täsk 1", "status": "working", "pollIntervalMs": 250 });
            match call.request.rpc() {
                "tools/call" => {
                    task["resultType"] = json!("task");
                    task["status"] = json!("input_required");
                    task["inputRequests"] = json!({ "k": { "method": "roots/list" } });
                }
                "tasks/get" | "tasks/update" | "tasks/cancel" => {}
                _ => return modern(call),
            }
            call.json(&[], &reply(&id, task).to_string());
        });
        let clock = Clock::new();
        let builder = on(&clock).roots([]).task_extension();
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            {
                let call = pin!(client.call_tool("slow", ()));
                let polled = pin!(async {
                    clock.pass(millis(250)).await;
                    server.arrival(|it| it.rpc() == "tasks/get").await;
                });
                select(call, polled).await;
            }
            server.arrival(|it| it.rpc() == "tasks/cancel").await;
            for method in ["tasks/update", "tasks/get", "tasks/cancel"] {
                let requests = server.requests();
                let about: Vec<_> = requests.iter().filter(|it| it.rpc() == method).collect();
                assert_eq!(about.len(), 1, "{method}");
                assert_eq!(about[0].body["params"]["taskId"], "täsk 1");
                assert_eq!(about[0].header("mcp-name"), Some("=?base64?dMOkc2sgMQ==?="), "{method}");
                assert_eq!(about[0].header("mcp-method"), Some(method));
            }
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mod_09_mod_10_extensions_are_offered_and_may_have_notifications() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            "notifications/com.example/x" => call.respond("202 Accepted", &[], ""),
            _ => modern(call),
        });
        let builder = on(&Clock::new())
            .extension("com.example/x", &json!({ "depth": 3 }))
            .unwrap()
            .extension("io.modelcontextprotocol/tasks", &json!({}))
            .unwrap();
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            client.notify("notifications/com.example/x", json!({ "y": 1 })).await.unwrap();
            client.close().await;
        })
        .await;
        let requests = server.requests();
        let offered = json!({ "com.example/x": { "depth": 3 }, "io.modelcontextprotocol/tasks": {} });
        for request in requests.iter().filter(|it| it.body.get("id").is_some()) {
            let capabilities = &request.body["params"]["_meta"][format!("{META}clientCapabilities")];
            assert_eq!(capabilities["extensions"], offered);
        }
        let told = requests.iter().find(|it| it.rpc() == "notifications/com.example/x").unwrap();
        assert_eq!(told.header("mcp-protocol-version"), Some(VERSION));
        // Older servers are offered no extension (MOD-11).
        let (stdio, server) = pair(normal);
        let builder = on(&Clock::new()).extension("com.example/x", &json!({})).unwrap();
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, client.close()).await;
        assert_eq!(server.received()[0]["params"]["capabilities"], json!({}));
    });
}

#[test]
fn mod_09_an_extension_that_cannot_be_offered_is_refused() {
    for (key, settings) in [("x", json!({})), ("com.example/x", json!([])), ("com.example/", json!({}))] {
        let error = Client::builder().extension(key, &settings).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Extension(_))), "{error:#}");
        story(&error);
    }
}

#[test]
fn log_01_a_request_asks_for_its_log() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let level = call.request.body["params"]["_meta"][format!("{META}logLevel")].clone();
            if level.is_null() {
                return modern(call);
            }
            call.events();
            let line = json!({ "level": level, "data": "working on it" });
            call.event(&tell("notifications/message", line).to_string());
            call.event(&modern_answer(&call.request.body).unwrap().to_string());
        });
        let log = Log::default();
        let (client, driver) = connect(log.events(on(&Clock::new())), &server).await;
        run.drive(driver, async {
            let talkative = client.with_options(CallOptions::default().log_level("warning"));
            talkative.call_tool("echo", ()).await.unwrap();
            assert_eq!((log.count("working on it"), log.count("level: Warning")), (1, 1));
            client.call_tool("echo", ()).await.unwrap();
            assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
            client.close().await;
        })
        .await;
        // Older servers are not told the level (MOD-11).
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            client.with_options(CallOptions::default().log_level("warning")).ping().await.unwrap();
            client.close().await;
        })
        .await;
        let ping = server.received().into_iter().find(|it| it["method"] == "ping").unwrap();
        assert_eq!(ping.get("params"), None);
    });
}
