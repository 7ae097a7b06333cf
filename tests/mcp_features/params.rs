//! Arguments that are repeated as headers (PAR-01 to PAR-11).

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Request, Server};
use crate::fault::run::{everywhere, once};
use crate::kit::{Log, refusal, reply, seconds};
use crate::modern::{connect, modern};
use futures::future::join;
use serde_json::{Map, Value, json};
use shared_fate::mcp::{CallOptions, Delivery, ErrorKind, InvalidInput};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A tool's schema that asks for headers.
fn annotated() -> Value {
    json!({ "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
        "count": { "type": "integer", "x-mcp-header": "Count" },
        "dry": { "type": "boolean", "x-mcp-header": "Method" },
        "plain": { "type": "string" },
        "inner": { "type": "object", "properties": { "id": { "type": "string", "x-mcp-header": "Id" } } },
    } })
}

fn tools(names: &[(&str, Value)]) -> Value {
    let tools: Vec<_> =
        names.iter().map(|(name, schema)| json!({ "name": name, "inputSchema": schema })).collect();
    json!({ "tools": tools })
}

fn params(request: &Request) -> Vec<String> {
    let value = |name: &str| request.header(&format!("mcp-param-{name}")).unwrap_or("-").to_owned();
    ["region", "count", "method", "id", "plain"].map(value).into()
}

#[test]
fn par_01_04_to_07_09_to_11_arguments_are_repeated_as_headers() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            "tools/list" => {
                let reply = reply(&call.request.body["id"], tools(&[("t", annotated())]));
                call.json(&[], &reply.to_string());
            }
            _ => modern(call),
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, async {
            let long = "a\r\nX-Evil: 1";
            for (arguments, expected) in [
                (json!({ "region": "eu west", "count": -5, "dry": true, "inner": { "id": "" }, "plain": "p" }), ["eu west", "-5", "true", "", "-"]),
                (json!({ "region": null, "inner": {} }), ["-", "-", "-", "-", "-"]),
                (json!({ "region": long, "count": 9_007_199_254_740_991_i64, "dry": false }), ["=?base64?YQ0KWC1FdmlsOiAx?=", "9007199254740991", "false", "-", "-"]),
                (json!({ "region": "a\tb" }), ["=?base64?YQli?=", "-", "-", "-", "-"]),
                (json!({ "region": "=?base64?eA==?=" }), ["=?base64?PT9iYXNlNjQ/ZUE9PT89?=", "-", "-", "-", "-"]),
            ] {
                client.call_tool("t", &arguments).await.unwrap();
                let call = server.arrival(|it| it.tool() == "t").await;
                assert_eq!(params(&call), expected, "{arguments}");
                assert_eq!(call.header("mcp-method"), Some("tools/call"), "PAR-10");
                assert_eq!(call.body["params"]["arguments"], arguments);
                assert_eq!(call.header("x-evil"), None);
            }
            let before = server.requests().len();
            let error = client.call_tool("t", json!({ "count": 9_007_199_254_740_992_i64 })).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Params(_))), "PAR-07");
            assert_eq!(server.requests().len(), before);
            let lists = server.requests().iter().filter(|it| it.rpc() == "tools/list").count();
            assert_eq!(lists, 1, "PAR-09: fetched on demand, and kept");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn par_02_03_a_tool_with_an_invalid_header_is_left_out() {
    once(async |run| {
        let invalid = |annotation: Value, kind: &str| json!({ "type": "object", "properties": { "a": { "type": kind, "x-mcp-header": annotation } } });
        let list = tools(&[
            ("fine", annotated()),
            ("empty", invalid(json!(""), "string")),
            ("no token", invalid(json!("a b"), "string")),
            ("line", invalid(json!("a\r\nb"), "string")),
            ("number", invalid(json!("N"), "number")),
            ("no string", invalid(json!(7), "string")),
            (
                "twice",
                json!({ "properties": {
                "a": { "type": "string", "x-mcp-header": "A" }, "b": { "type": "string", "x-mcp-header": "a" },
            } }),
            ),
            (
                "items",
                json!({ "properties": { "a": { "type": "array", "items": { "type": "string", "x-mcp-header": "A" } } } }),
            ),
        ]);
        let server = Server::start(move |call| match call.request.rpc() {
            "tools/list" => {
                let reply = reply(&call.request.body["id"], list.clone());
                call.json(&[], &reply.to_string());
            }
            _ => modern(call),
        });
        let log = Log::default();
        let (client, driver) = connect(log.events(on(&Clock::new())), &server).await;
        run.drive(driver, async {
            let names: Vec<_> = client.list_tools().await.unwrap().into_iter().map(|it| it.name).collect();
            assert_eq!(names, ["fine"]);
            assert_eq!((log.count("ToolLeftOut"), log.lines().len()), (7, 7));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn par_08_wrong_headers_are_corrected_once_from_a_fresh_list() {
    everywhere(async |run| {
        for corrected in [true, false] {
            let lists = AtomicUsize::new(0);
            let server = Server::start(move |call| {
                let id = call.request.body["id"].clone();
                match call.request.rpc() {
                    "tools/list" => {
                        let schema = match lists.fetch_add(1, Ordering::SeqCst) {
                            0 => json!({ "type": "object" }),
                            _ => annotated(),
                        };
                        call.json(&[], &reply(&id, tools(&[("t", schema)])).to_string());
                    }
                    "tools/call" if !corrected || call.request.header("mcp-param-region").is_none() => {
                        let refusal = refusal(&id, -32020, "header mismatch").to_string();
                        call.respond("400 Bad Request", &["Content-Type: application/json"], &refusal);
                    }
                    _ => modern(call),
                }
            });
            let (client, driver) = connect(on(&Clock::new()), &server).await;
            run.drive(driver, async {
                let result = client.call_tool("t", json!({ "region": "eu" })).await;
                let calls: Vec<_> = server.requests().into_iter().filter(|it| it.tool() == "t").collect();
                assert_eq!(calls.len(), 2);
                assert_ne!(calls[0].body["id"], calls[1].body["id"]);
                match corrected {
                    true => drop(result.unwrap()),
                    false => assert_eq!(result.unwrap_err().rpc().unwrap().code(), -32020),
                }
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn to_03_par_09_the_list_of_tools_counts_towards_the_calls_time() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            "tools/list" => call.hold(),
            _ => modern(call),
        });
        let clock = Clock::new();
        let (client, driver) = connect(on(&clock), &server).await;
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let (result, ()) = join(hasty.call_tool("t", ()), async {
                server.arrival(|it| it.rpc() == "tools/list").await;
                clock.pass(seconds(5)).await;
            })
            .await;
            let error = result.unwrap_err();
            let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
            assert_eq!((timeout.after(), timeout.is_total()), (seconds(5), true));
            assert_eq!((error.delivery(), client.pending_calls()), (Delivery::NotSent, 0));
            assert!(!server.requests().iter().any(|it| it.tool() == "t"));
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

/// It would take minutes if each header were looked for among all the others.
#[test]
fn par_03_many_headers_take_no_longer_than_they_are() {
    once(async |run| {
        let annotated =
            |n: u32| (n.to_string(), json!({ "type": "string", "x-mcp-header": format!("h{n}") }));
        let properties: Map<_, _> = (0..100_000).map(annotated).collect();
        let list = tools(&[("t", json!({ "properties": properties }))]);
        let server = Server::start(move |call| match call.request.rpc() {
            "tools/list" => {
                let reply = reply(&call.request.body["id"], list.clone());
                call.json(&[], &reply.to_string());
            }
            _ => modern(call),
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, async {
            assert_eq!(client.list_tools().await.unwrap().len(), 1);
            client.close().await;
        })
        .await;
    });
}
