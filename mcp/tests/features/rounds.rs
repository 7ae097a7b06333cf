//! Servers that ask for input before they answer (MR-01 to MR-10).

use crate::check::{limit, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::run::{everywhere, once};
use crate::fault::text_result;
use crate::kit::{Flag, millis, reply, seconds};
use crate::modern::{connect, modern};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::{ElicitForm, Elicited, Extra, Json, Root};
use shared_fate_mcp::{Builder, CallOptions, Delivery, ErrorKind, Limits, RpcError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A state with everything that an eager client might change.
const STATE: &str = r#"{ "b":1.0,  "a":"\u00e9","n":12345678901234567890, "l":[ ] }"#;

fn form(message: &str) -> Value {
    json!({ "method": "elicitation/create", "params": {
        "message": message,
        "requestedSchema": { "type": "object", "properties": { "n": { "type": "integer", "default": 7 } } },
    } })
}

/// The answer of a server that asks. It is text, since its state must come back byte for byte.
fn asks(id: &Value, requests: &Value, state: Option<&str>) -> String {
    let state = state.map_or(String::new(), |state| format!(r#","requestState":{state}"#));
    let requests = match requests {
        Value::Null => String::new(),
        requests => format!(r#","inputRequests":{requests}"#),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required"{requests}{state}}}}}"#)
}

fn forms(builder: Builder) -> Builder {
    builder.on_elicit_form(async |form: ElicitForm| match &*form.message {
        "decline" => Elicited::Decline,
        "list" => Elicited::Accept(Json::new(&json!([1])).unwrap()),
        "panic" => panic!("a bug"),
        "stuck" => std::future::pending().await,
        _ => Elicited::Accept(Json::new(&json!({ "said": form.message })).unwrap()),
    })
}

#[test]
fn mr_02_03_04_05_08_the_call_is_repeated_with_the_answers() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let params = &call.request.body["params"];
            match (call.request.tool(), params.get("inputResponses")) {
                ("asks", None) => {
                    let requests =
                        json!({ "z": form("first"), "a": form("decline"), "r": { "method": "roots/list" } });
                    let text = asks(&call.request.body["id"], &requests, Some(STATE));
                    call.json(&[], &text);
                }
                ("asks", Some(answers)) if answers.get("again").is_none() => {
                    let text = asks(&call.request.body["id"], &json!({ "again": form("second") }), None);
                    call.json(&[], &text);
                }
                _ => modern(call),
            }
        });
        let builder = forms(on(&Clock::new())).roots([Root::new("file:///a")]);
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            client.list_tools().await.unwrap();
            let options = CallOptions::default().on_progress(|_| {}).meta("x", &1).unwrap();
            let asking = client.with_options(options);
            let (asked, other) =
                join(asking.call_tool("asks", json!({ "a": 1 })), client.call_tool("echo", ())).await;
            asked.and(other).unwrap();
            let requests = server.requests();
            let calls: Vec<_> = requests.iter().filter(|it| it.tool() == "asks").map(|it| &it.body).collect();
            assert_eq!(calls.len(), 3);
            assert_eq!(
                calls[1]["params"]["inputResponses"],
                json!({
                    "z": { "action": "accept", "content": { "said": "first", "n": 7 } },
                    "a": { "action": "decline" },
                    "r": { "roots": [{ "uri": "file:///a" }] },
                })
            );
            assert_eq!(calls[1]["params"]["requestState"], serde_json::from_str::<Value>(STATE).unwrap());
            let answers = &calls[2]["params"]["inputResponses"];
            assert_eq!(answers.as_object().unwrap().len(), 1, "the answers are those of this round alone");
            assert_eq!(calls[2]["params"].get("requestState"), None, "no state is made up (MR-03)");
            let mut ids = Vec::new();
            for call in &calls {
                assert_eq!(call["params"]["arguments"], json!({ "a": 1 }));
                assert_eq!(call["params"]["_meta"]["x"], 1);
                assert_eq!(call["params"]["_meta"]["progressToken"], call["id"], "the token is a fresh one");
                ids.push(call["id"].as_u64().unwrap());
            }
            ids.dedup();
            assert_eq!(ids.len(), 3, "MR-04");
            for other in requests.iter().filter(|it| it.tool() != "asks") {
                assert_eq!(other.body["params"].get("inputResponses"), None, "MR-05");
                assert_eq!(other.body["params"].get("requestState"), None);
            }
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mr_03_the_state_comes_back_byte_for_byte() {
    everywhere(async |run| {
        let (transport, server) = shared_fate_mcp::Memory::pair();
        let clock = Clock::new();
        let connecting = on(&clock).mode(shared_fate_mcp::Mode::Stateless).connect(transport);
        let receive = async || String::from_utf8(server.receive().await.unwrap()).unwrap();
        let id = |text: &str| serde_json::from_str::<Value>(text).unwrap()["id"].clone();
        let discovering = async {
            let probe = receive().await;
            let found = crate::modern::discovered(&[crate::modern::VERSION]);
            server.send(reply(&id(&probe), found).to_string()).await.unwrap();
        };
        let (connected, ()) = join(connecting, discovering).await;
        let (client, driver) = connected.unwrap();
        run.drive(driver, async {
            let serving = async {
                let call = receive().await;
                server.send(asks(&id(&call), &Value::Null, Some(STATE))).await.unwrap();
                // The client waits for a moment before it asks again (MR-06).
                clock.pass(millis(50)).await;
                let again = receive().await;
                assert!(again.contains(&format!(r#""requestState":{STATE}"#)), "{again}");
                assert!(!again.contains("inputResponses"), "{again}");
                server.send(reply(&id(&again), text_result("done")).to_string()).await.unwrap();
            };
            let (result, ()) = join(client.call_tool("asks", ()), serving).await;
            assert_eq!(result.unwrap().text(), "done");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mr_09_liv_24_rounds_are_bounded() {
    everywhere(async |run| {
        for (rounds, succeeds) in [(3, true), (4, false)] {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let server = Server::start(move |call| match call.request.tool() {
                "asks" if count.fetch_add(1, Ordering::SeqCst) < rounds => {
                    let text = asks(&call.request.body["id"], &json!({ "a": form("x") }), None);
                    call.json(&[], &text);
                }
                _ => modern(call),
            });
            let mut limits = Limits::default();
            limits.rounds = 3;
            let (client, driver) = connect(forms(on(&Clock::new())).limits(limits), &server).await;
            run.drive(driver, async {
                let result = client.call_tool("asks", ()).await;
                if succeeds {
                    result.unwrap();
                } else {
                    let error = result.unwrap_err();
                    assert_eq!(limit(&error), ("rounds of input", 3));
                    assert_eq!(error.delivery(), Delivery::Answered);
                }
                assert_eq!((asked.load(Ordering::SeqCst), client.pending_calls()), (4, 0));
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn mr_01_mr_07_what_may_not_be_asked_is_a_violation() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let id = &call.request.body["id"];
            let text = match (call.request.rpc(), call.request.tool()) {
                ("prompts/list", _) => asks(id, &json!({ "a": form("x") }), None),
                (_, "nothing") => asks(id, &Value::Null, None),
                (_, "empty") => asks(id, &json!({}), None),
                (_, "sampling") => {
                    asks(id, &json!({ "a": { "method": "sampling/createMessage", "params": {} } }), None)
                }
                (_, "mixed") => asks(id, &json!({ "a": { "method": "x/y" }, "b": form("x") }), None),
                _ => return modern(call),
            };
            call.json(&[], &text);
        });
        let (client, driver) = connect(forms(on(&Clock::new())), &server).await;
        run.drive(driver, async {
            assert_eq!(*violation(&client.list_prompts().await.unwrap_err()), Violation::ResultType);
            for tool in ["nothing", "empty", "sampling", "mixed"] {
                let error = client.call_tool(tool, ()).await.unwrap_err();
                match (tool, violation(&error)) {
                    ("sampling", Violation::InputNotOffered(it)) => assert_eq!(it, "sampling/createMessage"),
                    ("mixed", Violation::InputNotOffered(it)) => assert_eq!(it, "x/y"),
                    ("nothing" | "empty", Violation::ResultType) => {}
                    _ => panic!("{tool}: {error:#}"),
                }
                assert_eq!(error.delivery(), Delivery::Answered);
                assert_eq!(server.requests().iter().filter(|it| it.tool() == tool).count(), 1);
            }
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mr_08_a_handler_that_fails_fails_the_call() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            kind @ ("list" | "panic" | "refused") => {
                let request = match kind {
                    "refused" => json!({ "method": "sampling/createMessage", "params": {} }),
                    _ => form(kind),
                };
                let text = asks(&call.request.body["id"], &json!({ "a": request }), None);
                call.json(&[], &text);
            }
            _ => modern(call),
        });
        let builder =
            forms(on(&Clock::new())).on_sampling(async |_| Err(RpcError::new(-1, "the user refused")));
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            for (tool, code) in [("list", -32603), ("panic", -32603), ("refused", -1)] {
                let error = client.call_tool(tool, ()).await.unwrap_err();
                let ErrorKind::Handler(refused) = error.kind() else { panic!("{error:#}") };
                assert_eq!((refused.code(), error.delivery()), (code, Delivery::Answered));
                story(&error);
                assert_eq!(server.requests().iter().filter(|it| it.tool() == tool).count(), 1);
            }
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mr_09_to_03_the_calls_time_goes_over_all_rounds() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            match (call.request.tool(), call.request.body["params"].get("inputResponses")) {
                ("slow", None) => {
                    let text = asks(&call.request.body["id"], &json!({ "a": form("x") }), None);
                    call.json(&[], &text);
                }
                ("slow", Some(_)) => call.hold(),
                ("stuck", _) => {
                    let text = asks(&call.request.body["id"], &json!({ "a": form("stuck") }), None);
                    call.json(&[], &text);
                }
                ("polls", _) => {
                    let text = asks(&call.request.body["id"], &Value::Null, Some("\"s\""));
                    call.json(&[], &text);
                }
                _ => modern(call),
            }
        });
        let (flag, dropped) = Flag::new();
        let flag = std::sync::Mutex::new(Some(flag));
        let (begun, begins) = smol::channel::unbounded();
        let clock = Clock::new();
        let builder = on(&clock).on_elicit_form(move |form: ElicitForm| {
            begun.try_send(()).unwrap();
            let flag = if form.message == "stuck" { flag.lock().unwrap().take() } else { None };
            async move {
                if form.message == "stuck" {
                    let _flag = flag;
                    return std::future::pending().await;
                }
                Elicited::Cancel
            }
        });
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            client.list_tools().await.unwrap();
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            for tool in ["slow", "stuck", "polls"] {
                let (result, ()) = join(hasty.call_tool(tool, ()), async {
                    match tool {
                        "polls" => {
                            for wait in [50, 100, 200, 250, 250] {
                                clock.pass(millis(wait)).await;
                            }
                            clock.asleep(millis(250)).await;
                            clock.advance(seconds(5));
                        }
                        tool => {
                            begins.recv().await.unwrap();
                            if tool == "slow" {
                                for _ in 0..2 {
                                    server.arrival(|it| it.tool() == tool).await;
                                }
                            }
                            clock.pass(seconds(5)).await;
                        }
                    }
                })
                .await;
                let error = result.unwrap_err();
                let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{tool}: {error:#}") };
                assert!(timeout.is_total());
                assert_ne!(error.delivery(), Delivery::NotSent, "{tool}");
                assert_eq!(client.pending_calls(), 0);
            }
            dropped.wait().await;
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mr_09_the_end_of_the_session_ends_a_handler() {
    once(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "stuck" => {
                let text = asks(&call.request.body["id"], &json!({ "a": form("stuck") }), None);
                call.json(&[], &text);
            }
            _ => modern(call),
        });
        let begun = smol::channel::unbounded();
        let begins = begun.1.clone();
        let builder = on(&Clock::new()).on_elicit_form(move |_| {
            begun.0.try_send(()).unwrap();
            std::future::pending()
        });
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            let (result, ()) = join(client.call_tool("stuck", ()), async {
                begins.recv().await.unwrap();
                client.close().await;
            })
            .await;
            let error = result.unwrap_err();
            assert!(error.is_session_ended());
            assert_ne!(error.delivery(), Delivery::NotSent, "the server has got the call");
        })
        .await;
    });
}

#[test]
fn mr_11_a_caller_may_take_what_is_no_result_yet() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let (id, params) = (call.request.body["id"].clone(), &call.request.body["params"]);
            match (call.request.tool(), params.get("inputResponses")) {
                ("asks", None) => {
                    let text = asks(&id, &json!({ "a": form("x") }), Some(STATE));
                    call.json(&[], &text);
                }
                ("task", _) => {
                    let task = json!({ "resultType": "task", "taskId": "t", "status": "working" });
                    call.json(&[], &reply(&id, task).to_string());
                }
                _ => modern(call),
            }
        });
        let builder = on(&Clock::new()).task_extension().on_elicit_form(async |_| panic!("nobody is asked"));
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            #[derive(serde::Serialize)]
            #[serde(rename_all = "camelCase")]
            struct Again<'a> {
                name: &'a str,
                input_responses: Value,
                request_state: &'a Json,
            }
            let by_hand = client.with_options(CallOptions::default().interim_results());
            let result = by_hand.request("tools/call", json!({ "name": "asks" })).await.unwrap();
            let result: Extra = result.parse().unwrap();
            assert_eq!(result.get("resultType").unwrap().text(), "\"input_required\"");
            let input_responses = json!({ "a": { "action": "decline" } });
            let request_state = result.get("requestState").unwrap();
            assert_eq!(request_state.text(), STATE);
            let again = Again { name: "asks", input_responses, request_state };
            assert!(by_hand.request("tools/call", again).await.unwrap().text().contains("fine"));
            let task = by_hand.request("tools/call", json!({ "name": "task" })).await.unwrap();
            assert!(task.text().contains("taskId"), "{task}");
            client.close().await;
        })
        .await;
        let requests = server.requests();
        let calls: Vec<_> = requests.iter().filter(|it| it.tool() == "asks").collect();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[1].body["params"]["requestState"], serde_json::from_str::<Value>(STATE).unwrap());
        assert!(!requests.iter().any(|it| it.rpc().starts_with("tasks/")), "nobody follows the task");
    });
}
