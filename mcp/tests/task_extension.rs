//! The tasks extension of revision 2026-07-28 (TSK-05 to TSK-10), against a server in memory.

#[path = "fault/clock.rs"]
#[allow(dead_code, reason = "one test moves the clock")]
mod clock;

use clock::Clock;
use futures::future::{Either, join, select};
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::testing::{MockServer, Reply};
use shared_fate_mcp::types::{CallToolResult, Elicited, Json};
use shared_fate_mcp::{Builder, CallOptions, Client, Error, ErrorKind, Mode, RpcError};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A server whose tool makes a task. `state` says how the task stands, by how often the server was asked for it before.
fn server(state: impl Fn(usize) -> Value + Send + Sync + 'static) -> MockServer {
    let asked = AtomicUsize::new(0);
    let task = || json!({"taskId": "t", "status": "working", "ttlMs": null, "pollIntervalMs": 1});
    MockServer::new()
        .method("tools/call", move |_: Value| {
            let mut task = task();
            task["resultType"] = json!("task");
            task
        })
        .method("tasks/get", move |_: Value| {
            let mut task = task();
            for (name, value) in state(asked.fetch_add(1, Ordering::SeqCst)).as_object().unwrap() {
                task[name] = value.clone();
            }
            task
        })
        .method("tasks/update", |_: Value| json!({}))
        .method("tasks/cancel", |_: Value| json!({}))
}

fn offering() -> Builder {
    Client::builder().mode(Mode::Stateless).task_extension()
}

/// One call of the tool.
fn call(builder: Builder, server: &MockServer) -> Result<CallToolResult, Error> {
    pollster::block_on(async {
        let (client, driver) = builder.connect(server.transport()).await?;
        driver.run_until(client.call_tool("slow", json!({}))).await
    })
}

fn violation(error: &Error) -> &Violation {
    let ErrorKind::Protocol(error) = error.kind() else { panic!("{error:#}") };
    error.violation()
}

#[test]
fn tsk_06_a_task_is_followed_to_its_result() {
    let result = call(
        offering(),
        &server(|asked| match asked {
            0 | 1 => json!({}),
            _ => json!({"status": "completed", "result": {"content": [{"type": "text", "text": "done"}]}}),
        }),
    );
    assert_eq!(result.unwrap().text(), "done");
}

#[test]
fn tsk_06_what_fails_and_what_is_cancelled_is_an_error() {
    let failed =
        call(offering(), &server(|_| json!({"status": "failed", "error": {"code": -7, "message": "no"}})));
    assert_eq!(failed.unwrap_err().rpc().unwrap().code(), -7);
    let cancelled = call(offering(), &server(|_| json!({"status": "cancelled"}))).unwrap_err();
    assert_eq!(violation(&cancelled), &Violation::TaskCancelled);
    let empty = call(offering(), &server(|_| json!({"status": "completed"}))).unwrap_err();
    assert_eq!(violation(&empty), &Violation::Result);
}

#[test]
fn tsk_10_a_task_that_was_not_offered_is_no_result() {
    let error = call(Client::builder().mode(Mode::Stateless), &server(|_| json!({}))).unwrap_err();
    assert_eq!(violation(&error), &Violation::ResultType);
}

#[test]
fn tsk_05_tsk_06_input_is_given_once_and_the_extension_is_declared_with_every_request() {
    let server = server(|asked| match asked {
        // The server has not taken note of the answer yet when it is asked the second time.
        0 | 1 => json!({"status": "input_required", "inputRequests": {"k": {
            "method": "elicitation/create",
            "params": {"message": "?", "requestedSchema": {"properties": {"a": {"default": 1}}}}}}}),
        _ => json!({"status": "completed", "result": {}}),
    });
    let answered = Arc::new(AtomicUsize::new(0));
    let times = answered.clone();
    let builder = offering().on_elicit_form(move |_| {
        times.fetch_add(1, Ordering::SeqCst);
        async { Elicited::Accept(Json::new(&json!({})).unwrap()) }
    });
    call(builder, &server).unwrap();
    let [call] = &*server.received("tools/call") else { panic!("one call") };
    let declared = &call.params["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
    assert_eq!(declared, &json!({ TASKS: {} }));
    let [update] = &*server.received("tasks/update") else { panic!("one update") };
    assert_eq!(update.params["taskId"], "t");
    assert_eq!(update.params["inputResponses"]["k"], json!({"action": "accept", "content": {"a": 1}}));
    assert_eq!(answered.load(Ordering::SeqCst), 1);
}

/// What the server says of a task that it has forgotten is more than that its time is over.
#[test]
fn tsk_06_an_error_after_the_time_of_a_task_is_told() {
    let task = json!({"resultType": "task", "taskId": "t", "status": "working", "ttlMs": 150, "pollIntervalMs": 100});
    let server = server(|_| json!({}))
        .method("tools/call", move |_: Value| task.clone())
        .method("tasks/get", |_: Value| {
            Reply::error(RpcError::new(-32602, "task t failed: the disk is full"))
        });
    pollster::block_on(async {
        let clock = Clock::new();
        let (client, driver) = offering().timer(clock.clone()).connect(server.transport()).await.unwrap();
        let app = async {
            let late = async {
                clock.asleep(Duration::from_millis(100)).await;
                clock.advance(Duration::from_millis(200));
            };
            join(client.call_tool("slow", json!({})), late).await.0
        };
        let error = driver.run_until(app).await.unwrap_err();
        assert!(format!("{error:#}").contains("the disk is full"), "{error:#}");
    });
}

/// Each key is kept, as it is answered once. So a server that asks for ever must not make us keep keys without end.
#[test]
fn tsk_06_the_keys_of_input_have_a_limit() {
    const KEYS: usize = 64 * 1024;
    for (past, ends) in [(0, false), (1, true)] {
        let server = server(move |asked| {
            let key = |length| format!("{asked}{}", "k".repeat(length - 1));
            let length = match asked {
                0 | 1 => KEYS / 2,
                2 if past > 0 => past,
                _ => return json!({"status": "completed", "result": {}}),
            };
            let request = json!({"method": "elicitation/create",
                "params": {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}});
            json!({"status": "input_required", "inputRequests": {key(length): request}})
        });
        let builder = offering().on_elicit_form(async |_| Elicited::Accept(Json::new(&json!({})).unwrap()));
        match call(builder, &server) {
            Ok(_) => assert!(!ends),
            Err(error) => {
                assert!(
                    ends && matches!(error.kind(), ErrorKind::Limit(limit) if limit.limit() == KEYS),
                    "{error}"
                );
            }
        }
        assert_eq!(server.received("tasks/update").len(), 2);
    }
}

#[test]
fn tsk_07_tsk_09_a_call_that_is_given_up_or_out_of_time_cancels_its_task() {
    for out_of_time in [false, true] {
        let server = server(|_| json!({}));
        pollster::block_on(async {
            let clock = Clock::new();
            let builder = offering().timer(clock.clone());
            let (client, driver) = builder.connect(server.transport()).await.unwrap();
            let limit = Duration::from_secs(5);
            let client = client.with_options(CallOptions::timeout(limit));
            let app = async {
                let call = Box::pin(client.call_tool("slow", json!({})));
                let asked = async {
                    clock.pass(Duration::from_millis(100)).await;
                    server.arrival("tasks/get").await
                };
                let Either::Right((_, call)) = select(call, pin!(asked)).await else {
                    panic!("the task never ends");
                };
                match out_of_time {
                    true => {
                        clock.advance(limit);
                        assert!(call.await.unwrap_err().is_timeout());
                    }
                    false => drop(call),
                }
                assert_eq!(server.arrival("tasks/cancel").await.params["taskId"], "t");
                assert_eq!(client.pending_calls(), 0);
            };
            driver.run_until(app).await;
        });
    }
}
