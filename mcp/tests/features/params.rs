//! Arguments that are repeated as headers (PAR-01 to PAR-11).

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Request, Server};
use crate::fault::run::{everywhere, once};
use crate::header_list::{lists, refuse};
use crate::kit::{Feed, Log, http, reply, seconds, tell};
use crate::modern::{connect, modern};
use futures::StreamExt;
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::{Change, Client, ErrorKind, Interest, Mode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
            client.list_tools().await.unwrap();
            let evil = "a\r\nX-Evil: 1";
            for (arguments, expected) in [
                (json!({ "region": "eu west", "count": -5, "dry": true, "inner": { "id": "" }, "plain": "p" }), ["eu west", "-5", "true", "", "-"]),
                (json!({ "region": null, "inner": {} }), ["-", "-", "-", "-", "-"]),
                (json!({ "region": evil, "count": 9_007_199_254_740_991_i64, "dry": false }), ["=?base64?YQ0KWC1FdmlsOiAx?=", "9007199254740991", "false", "-", "-"]),
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
            assert_eq!(lists(&server), 1, "PAR-09: what the application has read is kept");
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
            let lists_so_far = AtomicUsize::new(0);
            let server = Server::start(move |call| {
                let id = call.request.body["id"].clone();
                match call.request.rpc() {
                    "tools/list" => {
                        let schema = match lists_so_far.fetch_add(1, Ordering::SeqCst) {
                            0 => json!({ "type": "object" }),
                            _ => annotated(),
                        };
                        call.json(&[], &reply(&id, tools(&[("t", schema)])).to_string());
                    }
                    "tools/call" if !corrected || call.request.header("mcp-param-region").is_none() => {
                        refuse(call);
                    }
                    _ => modern(call),
                }
            });
            let (client, driver) = connect(on(&Clock::new()), &server).await;
            run.drive(driver, async {
                client.list_tools().await.unwrap();
                let result = client.call_tool("t", json!({ "region": "eu" })).await;
                assert_eq!(lists(&server), 2);
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

/// A server whose tool asks for a header from the server's second list on. Its lists are good for `ttl`. While `strict` is
/// set, it refuses calls without the header. It leaves subscriptions to `feed`.
fn changing(ttl: Value, strict: &Arc<AtomicBool>, feed: &Feed) -> Server {
    let (lists, strict, served) = (AtomicUsize::new(0), Arc::clone(strict), feed.clone());
    Server::start(move |call| match call.request.rpc() {
        "tools/list" => {
            let mut result = match lists.fetch_add(1, Ordering::SeqCst) {
                0 => tools(&[("t", json!({ "type": "object" }))]),
                _ => tools(&[("t", annotated())]),
            };
            result["ttlMs"] = ttl.clone();
            let reply = reply(&call.request.body["id"], result);
            call.json(&[], &reply.to_string());
        }
        "tools/call"
            if strict.load(Ordering::SeqCst) && call.request.header("mcp-param-region").is_none() =>
        {
            refuse(call);
        }
        "subscriptions/listen" => served.serve(call),
        _ => modern(call),
    })
}

/// Calls the tool. What the header of the last request says of the argument.
async fn region(client: &Client, server: &Server) -> Option<String> {
    client.call_tool("t", json!({ "region": "eu" })).await.unwrap();
    let last = server.requests().into_iter().rfind(|it| it.tool() == "t").unwrap();
    last.header("mcp-param-region").map(str::to_owned)
}

#[test]
fn par_09_cch_01_a_list_of_tools_whose_time_is_over_serves_until_a_call_is_refused() {
    everywhere(async |run| {
        for ttl in [json!(5_000), json!(0.5), json!(0), json!(-5), json!("5"), Value::Null] {
            let (clock, strict) = (Clock::new(), Arc::new(AtomicBool::new(false)));
            let server = changing(ttl.clone(), &strict, &Feed::new());
            let (client, driver) = connect(on(&clock), &server).await;
            run.drive(driver, async {
                client.list_tools().await.unwrap();
                clock.advance(seconds(100_000));
                for _ in 0..2 {
                    assert_eq!((region(&client, &server).await, lists(&server)), (None, 1), "{ttl}");
                }
                strict.store(true, Ordering::SeqCst);
                for _ in 0..2 {
                    assert_eq!((region(&client, &server).await.as_deref(), lists(&server)), (Some("eu"), 2));
                    clock.advance(seconds(100_000));
                }
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn par_09_cch_03_a_list_of_tools_that_has_changed_serves_until_a_call_is_refused() {
    everywhere(async |run| {
        let (feed, strict) = (Feed::new(), Arc::new(AtomicBool::new(false)));
        let (server, log) = (changing(Value::Null, &strict, &feed), Log::default());
        let (client, driver) = connect(log.events(on(&Clock::new())), &server).await;
        run.drive(driver, async {
            client.list_tools().await.unwrap();
            assert_eq!((region(&client, &server).await, lists(&server)), (None, 1));
            let mut interest = Interest::default();
            interest.tools_list_changed = true;
            let acknowledging = async {
                let id = server.arrival(|it| it.rpc() == "subscriptions/listen").await.body["id"].clone();
                let of = json!({ "_meta": { "io.modelcontextprotocol/subscriptionId": id } });
                feed.say(&tell("notifications/subscriptions/acknowledged", of.clone()));
                of
            };
            let (subscription, of) = join(client.listen(&interest), acknowledging).await;
            let mut subscription = subscription.unwrap();
            feed.say(&tell("notifications/tools/list_changed", of));
            assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Tools);
            assert_eq!((region(&client, &server).await, lists(&server)), (None, 1));
            // A list that the application has requested by itself is not kept.
            client.request("tools/list", ()).await.unwrap();
            assert_eq!((region(&client, &server).await, lists(&server)), (None, 2));
            strict.store(true, Ordering::SeqCst);
            for _ in 0..2 {
                assert_eq!((region(&client, &server).await.as_deref(), lists(&server)), (Some("eu"), 3));
            }
            drop(subscription);
            feed.end();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn par_09_a_list_that_cannot_be_fetched_again_is_tried_once_and_serves_on() {
    once(async |run| {
        let (lists_so_far, strict) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(true)));
        let refuses = Arc::clone(&strict);
        let server = Server::start(move |call| match call.request.rpc() {
            "tools/list" if lists_so_far.fetch_add(1, Ordering::SeqCst) == 0 => {
                let reply = reply(&call.request.body["id"], tools(&[("t", annotated())]));
                call.json(&[], &reply.to_string());
            }
            "tools/list" => call.respond("500 X", &[], "no"),
            "tools/call" if refuses.load(Ordering::SeqCst) => refuse(call),
            _ => modern(call),
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, async {
            client.list_tools().await.unwrap();
            for _ in 0..3 {
                let error = client.call_tool("t", json!({ "region": "eu" })).await.unwrap_err();
                assert_eq!((error.rpc().unwrap().code(), lists(&server)), (-32020, 2));
            }
            strict.store(false, Ordering::SeqCst);
            assert_eq!((region(&client, &server).await.as_deref(), lists(&server)), (Some("eu"), 2));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn par_03_a_tool_with_more_annotated_arguments_than_the_limit_is_left_out() {
    once(async |_| {
        let server = Server::start(|call| {
            let result = match call.request.rpc() {
                "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
                _ => {
                    let annotated = |n| json!({ "type": "string", "x-mcp-header": format!("a{n:05}") });
                    let tool = |arguments: usize| {
                        let properties = (0..arguments).map(|n| (n.to_string(), annotated(n)));
                        let schema = json!({ "type": "object", "properties": properties.collect::<Value>() });
                        json!({ "name": arguments.to_string(), "inputSchema": schema })
                    };
                    json!({ "tools": [tool(64), tool(65), tool(8000)] })
                }
            };
            call.json(&[], &reply(&call.request.body["id"], result).to_string());
        });
        let log = Log::default();
        let builder = log.events(Client::builder().mode(Mode::Stateless).timer(Clock::new()));
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        let tools = driver.run_until(client.list_tools()).await.unwrap();
        let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!((names, log.count("ToolLeftOut")), (vec!["64"], 2));
    });
}

#[test]
fn par_03_an_annotation_or_a_path_of_more_than_4_kib_leaves_its_tool_out() {
    once(async |run| {
        let tool = |header: usize, path: usize| {
            let argument = json!({ "type": "string", "x-mcp-header": "h".repeat(header) });
            json!({ "properties": { "p".repeat(path): argument } })
        };
        // A path would have the name of 10 MB once for each argument below it.
        let below =
            (0..64).map(|n| (n.to_string(), json!({ "type": "string", "x-mcp-header": format!("h{n}") })));
        let heavy =
            json!({ "properties": { "p".repeat(10_000_000): { "properties": below.collect::<Value>() } } });
        let list = tools(&[
            ("fine", tool(96, 4_000)),
            ("name", tool(97, 4_000)),
            ("header", tool(70_000, 1)),
            ("heavy", heavy),
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
            assert_eq!((names, log.count("longer than 4 KiB")), (vec!["fine".to_owned()], 3));
            client.close().await;
        })
        .await;
    });
}
