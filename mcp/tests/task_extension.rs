//! The tasks extension of revision 2026-07-28 (TSK-05 to TSK-10), against a server in memory.

use futures::future::{Either, select};
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::Elicited;
use shared_fate_mcp::types::{CallToolResult, Json};
use shared_fate_mcp::{Builder, CallOptions, Client, Error, ErrorKind, Memory, MemoryServer, Mode};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A server whose tool is a task; `state` says how the task stands, by how often it was asked.
struct Server {
    end: MemoryServer,
    state: fn(usize) -> Value,
    asked: AtomicUsize,
}

impl Server {
    /// Serves until a request of the method `until` has come, and returns its parameters.
    async fn serve(&self, until: &str) -> Value {
        loop {
            let message = self.end.receive().await.expect("the client is there");
            let message: Value = serde_json::from_slice(&message).unwrap();
            let method = message["method"].as_str().unwrap_or_default();
            let task =
                |status: &str| json!({"taskId": "t", "status": status, "ttlMs": null, "pollIntervalMs": 1});
            let result = match method {
                "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": {}}),
                "tools/call" => {
                    let mut task = task("working");
                    task["resultType"] = json!("task");
                    task
                }
                "tasks/get" => {
                    let state = (self.state)(self.asked.fetch_add(1, Ordering::SeqCst));
                    let mut task = task("working");
                    for (name, value) in state.as_object().unwrap() {
                        task[name] = value.clone();
                    }
                    task
                }
                _ => json!({}),
            };
            if let Some(id) = message.get("id") {
                let reply = json!({"jsonrpc": "2.0", "id": id, "result": result});
                self.end.send(reply.to_string()).await.unwrap();
            }
            if method == until {
                return message["params"].clone();
            }
        }
    }
}

fn pair(state: fn(usize) -> Value) -> (Memory, Server) {
    let (transport, end) = Memory::pair();
    (transport, Server { end, state, asked: AtomicUsize::new(0) })
}

fn offering() -> Builder {
    Client::builder().mode(Mode::Stateless).task_extension()
}

/// One call of the tool, with its server beside it.
fn call(builder: Builder, state: fn(usize) -> Value) -> Result<CallToolResult, Error> {
    let (transport, server) = pair(state);
    pollster::block_on(async {
        let app = async {
            let (client, driver) = builder.connect(transport).await?;
            driver.run_until(client.call_tool("slow", json!({}))).await
        };
        match select(pin!(app), pin!(server.serve("none"))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => unreachable!("it serves for ever"),
        }
    })
}

fn violation(error: &Error) -> &Violation {
    let ErrorKind::Protocol(error) = error.kind() else { panic!("{error:#}") };
    error.violation()
}

#[test]
fn tsk_06_a_task_is_followed_to_its_result() {
    let result = call(offering(), |asked| match asked {
        0 | 1 => json!({}),
        _ => json!({"status": "completed", "result": {"content": [{"type": "text", "text": "done"}]}}),
    });
    assert_eq!(result.unwrap().text(), "done");
}

#[test]
fn tsk_06_what_fails_and_what_is_cancelled_is_an_error() {
    let failed = call(offering(), |_| json!({"status": "failed", "error": {"code": -7, "message": "no"}}));
    assert_eq!(failed.unwrap_err().rpc().unwrap().code(), -7);
    let cancelled = call(offering(), |_| json!({"status": "cancelled"})).unwrap_err();
    assert_eq!(violation(&cancelled), &Violation::TaskCancelled);
    let empty = call(offering(), |_| json!({"status": "completed"})).unwrap_err();
    assert_eq!(violation(&empty), &Violation::Result);
}

#[test]
fn tsk_10_a_task_that_was_not_offered_is_no_result() {
    let error = call(Client::builder().mode(Mode::Stateless), |_| json!({})).unwrap_err();
    assert_eq!(violation(&error), &Violation::ResultType);
}

#[test]
fn tsk_05_tsk_06_input_is_given_once_and_the_extension_is_declared_with_every_request() {
    let (transport, server) = pair(|asked| match asked {
        // The server has not taken note of the answer yet when it is asked the second time.
        0 | 1 => json!({"status": "input_required", "inputRequests": {"k": {
            "method": "elicitation/create",
            "params": {"message": "?", "requestedSchema": {"properties": {"a": {"default": 1}}}}}}}),
        _ => json!({"status": "completed", "result": {}}),
    });
    let answered = std::sync::Arc::new(AtomicUsize::new(0));
    let times = answered.clone();
    let builder = offering().on_elicit_form(move |_| {
        times.fetch_add(1, Ordering::SeqCst);
        async { Elicited::Accept(Json::new(&json!({})).unwrap()) }
    });
    pollster::block_on(async {
        let app = async {
            let (client, driver) = builder.connect(transport).await.unwrap();
            driver.run_until(client.call_tool("slow", json!({}))).await.unwrap();
        };
        let serve = async {
            let call = server.serve("tools/call").await;
            let declared = &call["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
            assert_eq!(declared, &json!({ TASKS: {} }));
            let update = server.serve("tasks/update").await;
            assert_eq!(update["taskId"], "t");
            assert_eq!(update["inputResponses"]["k"], json!({"action": "accept", "content": {"a": 1}}));
            server.serve("none").await;
        };
        match select(pin!(app), pin!(serve)).await {
            Either::Left(((), _)) => {}
            Either::Right(_) => unreachable!("it serves for ever"),
        }
    });
    assert_eq!(answered.load(Ordering::SeqCst), 1);
}

#[test]
fn tsk_07_tsk_09_a_call_that_is_given_up_or_out_of_time_cancels_its_task() {
    for out_of_time in [false, true] {
        let (transport, server) = pair(|_| json!({}));
        pollster::block_on(async {
            let connect = offering().connect(transport);
            let serve = Box::pin(server.serve("none"));
            let Either::Left((connected, _)) = select(Box::pin(connect), serve).await else {
                unreachable!("it serves for ever")
            };
            let (client, driver) = connected.unwrap();
            let limit = Duration::from_millis(30);
            let options = if out_of_time { CallOptions::timeout(limit) } else { CallOptions::default() };
            let client = client.with_options(options);
            let app = async {
                let call = Box::pin(client.call_tool("slow", json!({})));
                let asked = Box::pin(server.serve(if out_of_time { "none" } else { "tasks/get" }));
                match select(call, asked).await {
                    Either::Left((result, _)) => assert!(out_of_time && result.unwrap_err().is_timeout()),
                    Either::Right((_, call)) => drop(call),
                }
                let cancelled = server.serve("tasks/cancel").await;
                assert_eq!(cancelled["taskId"], "t");
                assert_eq!(client.pending_calls(), 0);
            };
            driver.run_until(app).await;
        });
    }
}
