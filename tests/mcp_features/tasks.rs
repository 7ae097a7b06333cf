//! Tasks of revision 2025-11-25 (TSK-01 to TSK-04, TSK-09).

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, Server, normal, pair};
use crate::fault::run::everywhere;
use crate::fault::{text_result, tool};
use crate::kit::{ask, is_answer, millis, reply, seconds, tell};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate::mcp::types::TaskStatus;
use shared_fate::mcp::{Client, Delivery, Driver, ErrorKind, InvalidInput};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

async fn connect(
    clock: &Clock,
    handler: impl FnMut(&Peer, &Value) + Send + 'static,
) -> (Client, Driver, Server) {
    let (stdio, server) = pair(handler);
    let (client, driver) = on(clock).connect(stdio).await.unwrap();
    (client, driver, server)
}

fn task(id: &str, status: &str) -> Value {
    json!({ "taskId": id, "status": status, "createdAt": "2026-01-01T00:00:00Z", "ttl": 60_000, "pollInterval": 250 })
}

/// Tasks that are done when they were asked after three times.
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
                assert!(result.as_str().contains("at last"));
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
            let waiting = client.wait_task("t", millis(25));
            let (task, ()) = join(waiting, async {
                clock.asleep(millis(10)).await;
                clock.advance(millis(10));
                clock.asleep(millis(10)).await;
                clock.advance(millis(10));
                clock.asleep(millis(5)).await;
                clock.advance(millis(5));
            })
            .await;
            assert_eq!(task.unwrap().status, TaskStatus::Working);
            let asked = server.received().iter().filter(|it| it["method"] == "tasks/get").count();
            assert_eq!(asked, 4);
            // The end of the session ends the waiting.
            let (lost, ()) = join(client.wait_task("t", seconds(30)), async {
                clock.asleep(millis(10)).await;
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
