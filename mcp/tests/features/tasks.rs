//! Tasks of revision 2025-11-25 (TSK-01 to TSK-04, TSK-09).

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http;
use crate::fault::lines::{Peer, Server, normal, pair};
use crate::fault::run::everywhere;
use crate::fault::{text_result, tool};
use crate::kit::{ask, is_answer, millis, reply, seconds, tell};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::types::TaskStatus;
use shared_fate_mcp::{Client, Delivery, Driver, ErrorKind, Limits};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) async fn connect(
    clock: &Clock,
    handler: impl FnMut(&Peer, &Value) + Send + 'static,
) -> (Client, Driver, Server) {
    let (stdio, server) = pair(handler);
    let (client, driver) = on(clock).connect(stdio).await.unwrap();
    (client, driver, server)
}

pub(crate) fn task(id: &str, status: &str) -> Value {
    json!({ "taskId": id, "status": status, "createdAt": "2026-01-01T00:00:00Z", "ttl": 60_000, "pollInterval": 250 })
}

/// A server with a task that is in the state `last` when it is asked after for the third time. `polls` counts.
fn tasks(polls: Arc<AtomicUsize>, last: &'static str) -> impl FnMut(&Peer, &Value) + Send + 'static {
    move |peer, message| {
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tasks": { "requests": { "tools": { "call": {} } } } },
            }),
            "tools/call" if message["params"].get("task").is_some() => {
                json!({ "task": task("t", "working") })
            }
            "tasks/get" => match polls.fetch_add(1, Ordering::SeqCst) {
                0..2 => task("t", "working"),
                _ => task("t", last),
            },
            "tasks/result" => text_result("at last"),
            "tasks/cancel" => task("t", "cancelled"),
            "tasks/list" => json!({ "tasks": [task("t", "working")] }),
            _ => return normal(peer, message),
        };
        peer.say(&reply(&message["id"], result));
    }
}

#[test]
fn tsk_01_02_03_a_tool_as_a_task() {
    everywhere(async |run| {
        for (last, status) in [
            ("completed", TaskStatus::Completed),
            ("failed", TaskStatus::Failed),
            ("cancelled", TaskStatus::Cancelled),
            ("input_required", TaskStatus::InputRequired),
        ] {
            let (clock, polls) = (Clock::new(), Arc::new(AtomicUsize::new(0)));
            let (client, driver, server) = connect(&clock, tasks(Arc::clone(&polls), last)).await;
            run.drive(driver, async {
                let task =
                    client.call_tool_as_task("slow", json!({ "a": 1 }), Some(seconds(60))).await.unwrap();
                assert_eq!((&*task.id, &task.status), ("t", &TaskStatus::Working));
                let call = server.arrival(|it| tool(it) == "slow").await;
                assert_eq!(call["params"]["task"], json!({ "ttl": 60_000 }));
                assert_eq!(call["params"]["arguments"], json!({ "a": 1 }));
                let waiting = client.wait_task(&task.id, seconds(30));
                let (done, ()) = join(waiting, async {
                    clock.pass(millis(250)).await;
                    clock.pass(millis(250)).await;
                })
                .await;
                assert_eq!((done.unwrap().status, polls.load(Ordering::SeqCst)), (status, 3));
                let result = client.task_result(&task.id).await.unwrap();
                assert!(result.text().contains("at last"));
                assert_eq!(client.list_tasks().await.unwrap().len(), 1);
                assert_eq!(client.cancel_task(&task.id).await.unwrap().status, TaskStatus::Cancelled);
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn tsk_09_waiting_for_a_task_is_bounded() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (client, driver, server) = connect(&clock, |peer, message| match message["method"].as_str() {
            Some("tasks/get") => {
                let mut task = task("t", "working");
                task["pollInterval"] = json!(0);
                peer.say(&reply(&message["id"], task));
            }
            _ => normal(peer, message),
        })
        .await;
        run.drive(driver, async {
            let waiting = client.wait_task("t", millis(250));
            let (task, ()) = join(waiting, async {
                clock.asleep(millis(100)).await;
                clock.advance(millis(100));
                clock.asleep(millis(100)).await;
                clock.advance(millis(100));
                clock.asleep(millis(100)).await;
                clock.advance(millis(50));
            })
            .await;
            assert_eq!(task.unwrap().status, TaskStatus::Working);
            let asked = server.received().iter().filter(|it| it["method"] == "tasks/get").count();
            assert_eq!(asked, 3);
            // The end of the session ends the waiting.
            let (lost, ()) = join(client.wait_task("t", seconds(30)), async {
                clock.asleep(millis(100)).await;
                client.close().await;
            })
            .await;
            assert!(lost.unwrap_err().is_session_ended());
            client.close().await;
        })
        .await;
    });
}

#[test]
fn tsk_04_a_tasks_messages_come_on_any_stream() {
    everywhere(async |run| {
        let polls = Arc::new(AtomicUsize::new(0));
        let (client, driver, server) = connect(&Clock::new(), tasks(polls, "completed")).await;
        run.drive(driver, async {
            server.peer.say(&tell("notifications/tasks/status", task("t", "working")));
            server.peer.say(&ask(
                "q",
                "roots/list",
                json!({
                    "_meta": { "io.modelcontextprotocol/related-task": { "taskId": "t" } },
                }),
            ));
            let answer = server.arrival(|it| is_answer(it, "q")).await;
            assert_eq!(answer["error"]["code"], -32601);
            client.get_task("t").await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn tsk_01_a_server_that_would_not_make_a_task_of_it_is_not_asked() {
    everywhere(async |run| {
        let polls = Arc::new(AtomicUsize::new(0));
        let (client, driver, server) = connect(&Clock::new(), tasks(polls, "completed")).await;
        run.drive(driver, async {
            client.call_tool_as_task("slow", (), None).await.unwrap();
            let error = client.request_as_task("prompts/get", json!({}), None).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Method(_))), "{error:#}");
            client.close().await;
        })
        .await;
        assert!(!server.received().iter().any(|it| it["method"] == "prompts/get"));
        let (client, driver, server) = connect(&Clock::new(), normal).await;
        run.drive(driver, async {
            let error = client.call_tool_as_task("slow", (), None).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Method(_))), "{error:#}");
            assert_eq!(error.delivery(), Delivery::NotSent);
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        assert!(!server.received().iter().any(|it| tool(it) == "slow"));
    });
}

/// Answers the first `answered` questions after the task, and no more.
fn silent(answered: usize) -> impl FnMut(&Peer, &Value) + Send + 'static {
    let mut asked = 0;
    move |peer, message| match message["method"].as_str() {
        Some("tasks/get") => {
            asked += 1;
            if asked <= answered {
                peer.say(&reply(&message["id"], task("t", "working")));
            }
        }
        _ => normal(peer, message),
    }
}

#[test]
fn tsk_09_a_question_that_is_not_answered_makes_the_waiting_no_longer() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (client, driver, server) = connect(&clock, silent(1)).await;
        run.drive(driver, async {
            let (task, ()) = join(client.wait_task("t", seconds(20)), async {
                clock.pass(millis(250)).await;
                for _ in 0..2 {
                    server.arrival(|it| it["method"] == "tasks/get").await;
                }
                clock.advance(seconds(20));
            })
            .await;
            assert_eq!(task.unwrap().status, TaskStatus::Working, "the last known state is returned");
            server.arrival(|it| it["method"] == "notifications/cancelled").await;
            assert_eq!(client.pending_calls(), 0);
            let (result, ()) = join(client.wait_task("t", seconds(20)), clock.pass(seconds(20))).await;
            let error = result.unwrap_err();
            let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
            assert_eq!((timeout.after(), timeout.is_total()), (seconds(20), true));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn tsk_09_asking_may_fail_in_passing_but_not_for_ever() {
    everywhere(async |run| {
        for (limit, failures) in [(3, 3), (3, 4), (1, 1), (1, 2)] {
            let asked = AtomicUsize::new(0);
            let server = http::Server::start(move |call| match call.request.rpc() {
                "tasks/get" => match asked.fetch_add(1, Ordering::SeqCst) {
                    it if it < failures => call.respond("503 X", &[], "busy"),
                    _ => {
                        let answer = reply(&call.request.body["id"], task("t", "completed"));
                        call.json(&[], &answer.to_string());
                    }
                },
                _ => call.normal(),
            });
            let clock = Clock::new();
            let mut limits = Limits::default();
            assert_eq!(limits.task_failures, 3);
            limits.task_failures = limit;
            let builder = on(&clock).limits(limits);
            let (client, driver) = builder.connect(crate::kit::http(&server)).await.unwrap();
            run.drive(driver, async {
                let (result, ()) = join(client.wait_task("t", seconds(60)), async {
                    for _ in 0..limit {
                        clock.pass(seconds(1)).await;
                    }
                })
                .await;
                match failures <= limit {
                    true => assert_eq!(result.unwrap().status, TaskStatus::Completed),
                    false => assert_eq!(result.unwrap_err().http().unwrap().status(), 503),
                }
                client.close().await;
            })
            .await;
        }
        // What is no passing failure is told at once.
        let (client, driver, _server) = connect(&Clock::new(), normal).await;
        run.drive(driver, async {
            let error = client.wait_task("t", seconds(60)).await.unwrap_err();
            assert_eq!(error.rpc().unwrap().code(), -32601);
            client.close().await;
        })
        .await;
    });
}
