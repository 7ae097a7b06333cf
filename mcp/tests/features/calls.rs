//! Progress (PRG-01 to PRG-03), `_meta`, completion, resources, the server's log, and batches (M-11, M-14).

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http;
use crate::fault::lines::{Peer, Server, normal, pair};
use crate::fault::run::everywhere;
use crate::fault::{text_result, tool};
use crate::kit::{Log, ask, is_answer, refusal, reply, seconds, tell};
use futures::future::{join, join3};
use serde_json::{Value, json};
use shared_fate_mcp::types::{CompletionTarget, Progress};
use shared_fate_mcp::{CallOptions, Client, Driver, ErrorKind, Limits};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

async fn connect(
    clock: &Clock,
    handler: impl FnMut(&Peer, &Value) + Send + 'static,
) -> (Client, Driver, Server) {
    let (stdio, server) = pair(handler);
    let (client, driver) = on(clock).connect(stdio).await.unwrap();
    (client, driver, server)
}

fn progress(token: &Value, progress: Value) -> Value {
    let mut params = progress;
    params["progressToken"] = token.clone();
    tell("notifications/progress", params)
}

#[test]
fn prg_01_02_progress_is_asked_for_by_a_token_of_its_own_and_told() {
    everywhere(async |run| {
        let (client, driver, server) = connect(&Clock::new(), normal).await;
        run.drive(driver, async {
            let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
            let heard = Arc::clone(&told);
            let options =
                CallOptions::default().on_progress(move |it| heard.lock().unwrap().push(it.clone()));
            let client = client.with_options(options);
            let calls = join(client.call_tool("held", ()), client.call_tool("held", json!({ "b": 2 })));
            let serving = async {
                let one = server.arrival(|it| tool(it) == "held").await;
                let two = server.arrival(|it| tool(it) == "held").await;
                let token = |it: &Value| it["params"]["_meta"]["progressToken"].clone();
                assert_ne!(token(&one), token(&two));
                assert_eq!(two["params"]["arguments"], json!({ "b": 2 }));
                server.peer.say(&progress(&token(&one), json!({ "progress": 0.5, "total": 2 })));
                server.peer.say(&progress(&token(&one), json!({ "progress": 1.5, "message": "soon" })));
                for it in [one, two] {
                    server.peer.say(&reply(&it["id"], text_result("done")));
                    // Progress after the reply is told to nobody.
                    server.peer.say(&progress(&token(&it), json!({ "progress": 99 })));
                }
            };
            let ((one, two), ()) = join(calls, serving).await;
            one.and(two).unwrap();
            client.ping().await.unwrap();
            let told = std::mem::take(&mut *told.lock().unwrap());
            assert_eq!((told.len(), told[0].progress, told[0].total), (2, 0.5, Some(2.0)));
            assert_eq!((told[1].progress, told[1].message.as_deref()), (1.5, Some("soon")));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn prg_02_progress_that_does_not_grow_is_passed_on() {
    everywhere(async |run| {
        let (client, driver, server) = connect(&Clock::new(), normal).await;
        run.drive(driver, async {
            let told: Arc<Mutex<Vec<f64>>> = Arc::default();
            let heard = Arc::clone(&told);
            let options =
                CallOptions::default().on_progress(move |it| heard.lock().unwrap().push(it.progress));
            let watching = client.with_options(options);
            let (result, ()) = join(watching.call_tool("held", ()), async {
                let call = server.arrival(|it| tool(it) == "held").await;
                for value in [json!(2), json!(2), json!(1.5), json!(-1), json!("3")] {
                    let token = &call["params"]["_meta"]["progressToken"];
                    server.peer.say(&progress(token, json!({ "progress": value, "message": "still here" })));
                }
                server.peer.normal(&call);
            })
            .await;
            result.unwrap();
            assert_eq!(*told.lock().unwrap(), [2.0, 2.0, 1.5, -1.0]);
            client.close().await;
        })
        .await;
    });
}

/// There is no queue that could grow: the handler is called where the message is read.
#[test]
fn prg_03_a_flood_of_progress_is_told_and_kept_nowhere() {
    everywhere(async |run| {
        const FLOOD: usize = 2_000;
        let mut limits = Limits::default();
        limits.stray = 10;
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).limits(limits).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let told = Arc::new(AtomicUsize::new(0));
            let heard = Arc::clone(&told);
            let options = CallOptions::default().on_progress(move |_| {
                heard.fetch_add(1, Ordering::Relaxed);
            });
            let watching = client.with_options(options);
            let (result, ()) = join(watching.call_tool("held", ()), async {
                let call = server.arrival(|it| tool(it) == "held").await;
                let one = progress(&call["params"]["_meta"]["progressToken"], json!({ "progress": 1 }));
                let other = progress(&json!(4_711), json!({ "progress": 1 }));
                let writer = server.peer.clone();
                let flood = format!("{one}\n{other}\n").repeat(FLOOD);
                std::thread::spawn(move || {
                    writer.write(flood);
                    writer.normal(&call);
                });
            })
            .await;
            result.unwrap();
            assert_eq!(told.load(Ordering::Relaxed), FLOOD);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn prg_03_to_03_progress_puts_off_the_silence_and_nothing_else() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (client, driver, server) = connect(&clock, normal).await;
        run.drive(driver, async {
            let options = CallOptions::timeout(seconds(150))
                .silence(seconds(60))
                .on_progress(|_| panic!("a bug of the caller's"));
            let reporting = client.with_options(options);
            let mut held = pin!(reporting.call_tool("held", ()));
            assert!(futures::poll!(&mut held).is_pending());
            let request = server.arrival(|it| tool(it) == "held").await;
            let token = &request["params"]["_meta"]["progressToken"];
            for _ in 0..2 {
                clock.advance(seconds(59));
                server.peer.say(&progress(token, json!({ "progress": 1 })));
                client.ping().await.unwrap();
                assert!(futures::poll!(&mut held).is_pending());
            }
            // Progress of no call, without a token, and with a token of another type.
            for params in [json!({ "progressToken": 999_999 }), json!({}), json!({ "progressToken": "x" })] {
                server.peer.say(&tell("notifications/progress", params));
            }
            clock.advance(seconds(33));
            let error = held.await.unwrap_err();
            let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
            assert_eq!((timeout.after(), timeout.is_total()), (seconds(150), true), "LIV-29");
            let cancelled = server.arrival(|it| it["method"] == "notifications/cancelled").await;
            assert_eq!(cancelled["params"]["requestId"], request["id"]);
            assert!(!client.session().is_ended());
            client.close().await;
        })
        .await;
    });
}

#[test]
fn meta_01_trc_01_what_the_caller_adds_is_merged() {
    everywhere(async |run| {
        let (client, driver, server) = connect(&Clock::new(), normal).await;
        run.drive(driver, async {
            let options = CallOptions::default().meta("traceparent", &"00-ab-cd-01").unwrap();
            let traced = client.with_options(options.on_progress(|_| {}));
            let params = json!({ "name": "echo", "_meta": { "com.example/a": [1], "traceparent": "old" } });
            traced.request("tools/call", params).await.unwrap();
            let call = server.arrival(|it| tool(it) == "echo").await;
            let meta = &call["params"]["_meta"];
            assert_eq!((&meta["com.example/a"], &meta["traceparent"]), (&json!([1]), &json!("00-ab-cd-01")));
            assert_eq!(meta["progressToken"], call["id"]);
            traced.ping().await.unwrap();
            let ping = server.arrival(|it| it["method"] == "ping").await;
            assert_eq!(ping["params"]["_meta"]["traceparent"], "00-ab-cd-01");
            client.ping().await.unwrap();
            let ping = server.arrival(|it| it["method"] == "ping").await;
            assert_eq!(ping.get("params"), None, "M-10");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn the_small_methods_say_what_they_should() {
    everywhere(async |run| {
        let (client, driver, server) = connect(&Clock::new(), |peer, message| {
            let result = match message["method"].as_str().unwrap_or_default() {
                "completion/complete" => json!({ "completion": { "values": ["rust"], "total": 1 } }),
                "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" => json!({}),
                _ => return normal(peer, message),
            };
            peer.say(&reply(&message["id"], result));
        })
        .await;
        run.drive(driver, async {
            let target = CompletionTarget::Prompt { name: "p".to_owned() };
            let known = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
            let found = client.complete(&target, "language", "ru", &known).await.unwrap();
            assert_eq!(found.completion.values, ["rust"]);
            client.complete(&target, "language", "ru", &BTreeMap::new()).await.unwrap();
            client.subscribe_resource("file:///a").await.unwrap();
            client.unsubscribe_resource("file:///a").await.unwrap();
            client.set_logging_level("warning").await.unwrap();
            let received = server.received();
            let params =
                |method| received.iter().find(|it| it["method"] == method).unwrap()["params"].clone();
            assert_eq!(
                params("completion/complete"),
                json!({
                    "ref": { "type": "ref/prompt", "name": "p" },
                    "argument": { "name": "language", "value": "ru" },
                    "context": { "arguments": { "a": "b" } },
                })
            );
            assert_eq!(params("resources/subscribe"), json!({ "uri": "file:///a" }));
            assert_eq!(params("resources/unsubscribe"), json!({ "uri": "file:///a" }));
            assert_eq!(params("logging/setLevel"), json!({ "level": "warning" }));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn log_02_what_the_server_reports_becomes_events() {
    everywhere(async |run| {
        let log = Log::default();
        let (stdio, server) = pair(normal);
        let (client, driver) = log.events(on(&Clock::new())).connect(stdio).await.unwrap();
        run.drive(driver, async {
            for (method, params) in [
                ("notifications/message", json!({ "level": "error", "logger": "db", "data": { "x": 1 } })),
                ("notifications/message", json!({ "data": 1 })),
                ("notifications/resources/updated", json!({ "uri": "file:///a" })),
                ("notifications/resources/list_changed", json!({})),
                ("notifications/unheard/of", json!({})),
                ("notifications/elicitation/complete", json!({ "elicitationId": "none" })),
            ] {
                server.peer.say(&tell(method, params));
            }
            client.ping().await.unwrap();
            let lines = log.lines();
            assert_eq!(lines.len(), 6, "{lines:?}");
            assert!(lines[0].starts_with("Log(") && lines[0].contains("db"), "{lines:?}");
            assert!(
                lines[1].starts_with("Log("),
                "without a level it is a line of the log all the same: {lines:?}"
            );
            assert_eq!(lines[2], "ResourceUpdated { uri: \"file:///a\" }");
            assert_eq!(lines[3], "ResourcesChanged");
            assert!(lines[4].contains("unheard"));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn m_11_m_14_a_batch_settles_all_that_is_in_it() {
    everywhere(async |run| {
        let log = Log::default();
        let (stdio, server) = pair(normal);
        let (client, driver) = log.events(on(&Clock::new())).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let serving = async {
                let one = server.arrival(|it| tool(it) == "held").await;
                let two = server.arrival(|it| tool(it) == "held").await;
                server.peer.say(&json!([
                    refusal(&two["id"], -5, "no"),
                    tell("notifications/tools/list_changed", json!({})),
                    { "jsonrpc": "2.0", "rubbish": true },
                    ask("q", "ping", json!({})),
                    reply(&one["id"], text_result("one")),
                ]));
                server.arrival(|it| is_answer(it, "q")).await;
            };
            let (one, two, ()) =
                join3(client.call_tool("held", ()), client.call_tool("held", ()), serving).await;
            assert_eq!(one.unwrap().text(), "one");
            assert_eq!(two.unwrap_err().rpc().unwrap().code(), -5);
            assert_eq!((log.count("ToolsChanged"), log.count("Stray")), (1, 1), "{:?}", log.lines());
            server.peer.say(&json!([]));
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn m_11_m_14_batches_over_http_in_a_body_and_in_an_event() {
    everywhere(async |run| {
        let server = http::Server::start(|call| {
            let kind = call.request.tool().to_owned();
            let id = &call.request.body["id"];
            let batch = json!([tell("x", json!({})), reply(id, text_result(&kind))]).to_string();
            match &*kind {
                "body" => call.json(&[], &batch),
                "event" => {
                    call.events();
                    call.event(&batch);
                }
                _ => call.normal(),
            }
        });
        let (client, driver) = on(&Clock::new()).connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            for kind in ["body", "event"] {
                assert_eq!(client.call_tool(kind, ()).await.unwrap().text(), kind);
            }
            client.close().await;
        })
        .await;
    });
}
