//! Tasks from their creation to their result, and their reports on the way (TSK-02 to TSK-04, TSK-07, PRG-04, CAN-05).

use crate::check::{on, violation};
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, Server, normal, pair};
use crate::fault::run::{everywhere, once};
use crate::fault::{text_result, tool};
use crate::kit::{Log, ask, is_answer, millis, refusal, reply, seconds, tell};
use crate::modern::modern_answer;
use crate::tasks::{connect, task};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::{ElicitForm, ElicitUrl, Elicited, Json, Task, TaskStatus};
use shared_fate_mcp::{Builder, CallOptions, Client, Driver, ErrorKind, Event, Limits, Mode};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Makes a task of each call, named after its tool. All other messages are left to `rest`.
fn making_tasks(
    mut rest: impl FnMut(&Peer, &Value) + Send + 'static,
) -> impl FnMut(&Peer, &Value) + Send + 'static {
    move |peer, message| {
        let params = &message["params"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tasks": { "requests": {
                    "tools": { "call": {} }, "resources": { "read": {} }, "prompts": { "get": {} },
                } } },
            }),
            _ if params.get("task").is_some() => {
                let name = params["name"].as_str().or_else(|| params["uri"].as_str());
                json!({ "task": task(name.unwrap(), "working") })
            }
            _ => return rest(peer, message),
        };
        peer.say(&reply(&message["id"], result));
    }
}

/// A server whose tasks go through these `states`, and have this `result`.
fn states(
    states: &[&'static str],
    result: fn(&Value) -> Value,
) -> impl FnMut(&Peer, &Value) + Send + 'static {
    let mut states: VecDeque<_> = states.iter().copied().collect();
    making_tasks(move |peer, message| {
        let id = message["params"]["taskId"].as_str().unwrap_or_default();
        match message["method"].as_str().unwrap_or_default() {
            "tasks/get" => {
                let state = if states.len() > 1 { states.pop_front() } else { states.front().copied() };
                peer.say(&reply(&message["id"], task(id, state.unwrap())));
            }
            "tasks/result" => peer.say(&result(&message["id"])),
            "tasks/cancel" => peer.say(&reply(&message["id"], task(id, "cancelled"))),
            _ => normal(peer, message),
        }
    })
}

fn methods(server: &Server) -> Vec<Value> {
    let received = server.received();
    received.iter().map(|it| it["method"].clone()).skip_while(|it| it != "tools/call").collect()
}

#[test]
fn tsk_02_03_a_tool_is_run_as_a_task_to_its_result() {
    everywhere(async |run| {
        let clock = Clock::new();
        let fine = |id: &Value| reply(id, text_result("at last"));
        let (client, driver, server) =
            connect(&clock, states(&["working", "working", "completed"], fine)).await;
        run.drive(driver, async {
            let running = client.run_tool_as_task("slow", json!({ "a": 1 }), Some(seconds(60)));
            let (result, ()) = join(running, async {
                clock.pass(millis(250)).await;
                clock.pass(millis(250)).await;
            })
            .await;
            assert_eq!(result.unwrap().text(), "at last");
            client.ping().await.unwrap();
            let told = methods(&server);
            assert_eq!(told, ["tools/call", "tasks/get", "tasks/get", "tasks/get", "tasks/result", "ping"]);
            let call = server.received().into_iter().find(|it| tool(it) == "slow").unwrap();
            assert_eq!(call["params"]["task"], json!({ "ttl": 60_000 }));
            assert_eq!(call["params"]["arguments"], json!({ "a": 1 }));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn tsk_03_tsk_04_what_a_task_needs_is_asked_for_in_its_name() {
    everywhere(async |run| {
        let related = json!({ "io.modelcontextprotocol/related-task": { "taskId": "slow" } });
        let mut waiting = Value::Null;
        let handler = making_tasks(move |peer, message| match message["method"].as_str() {
            Some("tasks/get") => peer.say(&reply(&message["id"], task("slow", "input_required"))),
            Some("tasks/result") => {
                waiting = message["id"].clone();
                peer.say(&ask(
                    "form",
                    "elicitation/create",
                    json!({ "message": "?", "requestedSchema": {}, "_meta": related }),
                ));
                peer.say(&ask("page", "elicitation/create", json!({
                    "mode": "url", "message": "?", "url": "https://x/", "elicitationId": "e", "_meta": related,
                })));
            }
            None if is_answer(message, "page") => {
                let log = json!({ "level": "info", "data": 1, "_meta": related });
                peer.say(&tell("notifications/message", log));
                peer.say(&reply(&waiting, text_result("thanks")));
            }
            _ => normal(peer, message),
        });
        let (stdio, server) = pair(handler);
        let log = Log::default();
        let (forms, pages) = (log.clone(), log.clone());
        let builder = log
            .events(on(&Clock::new()))
            .on_elicit_form(move |form: ElicitForm| {
                forms.push(format!("form of {:?}", form.task()));
                async { Elicited::Accept(Json::new(&json!({})).unwrap()) }
            })
            .on_elicit_url(move |page: ElicitUrl| {
                pages.push(format!("page of {:?}", page.task()));
                async { Elicited::Decline }
            });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            let result = client.run_tool_as_task("slow", (), None).await.unwrap();
            assert_eq!(result.text(), "thanks");
            for told in ["form of Some(\"slow\")", "page of Some(\"slow\")", "\"taskId\":\"slow\""] {
                assert_eq!(log.count(told), 1, "{:?}", log.lines());
            }
            client.close().await;
        })
        .await;
        assert!(!server.received().iter().any(|it| it["method"] == "tasks/cancel"));
    });
}

#[test]
fn tsk_02_a_task_that_fails_or_is_cancelled_is_an_error() {
    everywhere(async |run| {
        let refused = |id: &Value| refusal(id, -7, "no");
        let (client, driver, server) = connect(&Clock::new(), states(&["failed"], refused)).await;
        run.drive(driver, async {
            let error = client.run_tool_as_task("slow", (), None).await.unwrap_err();
            assert_eq!(error.rpc().unwrap().code(), -7, "the error is the one that the call would have got");
            client.close().await;
        })
        .await;
        assert_eq!(methods(&server), ["tools/call", "tasks/get", "tasks/result"]);
        let (client, driver, server) = connect(&Clock::new(), states(&["cancelled"], refused)).await;
        run.drive(driver, async {
            let error = client.run_tool_as_task("slow", (), None).await.unwrap_err();
            assert_eq!(*violation(&error), Violation::TaskCancelled);
            client.close().await;
        })
        .await;
        assert_eq!(methods(&server), ["tools/call", "tasks/get"]);
    });
}

#[test]
fn can_05_tsk_09_a_task_that_is_given_up_or_out_of_time_is_cancelled() {
    everywhere(async |run| {
        for out_of_time in [false, true] {
            let clock = Clock::new();
            let fine = |id: &Value| reply(id, text_result("fine"));
            let (client, driver, server) = connect(&clock, states(&["working"], fine)).await;
            run.drive(driver, async {
                let hasty = client.with_options(CallOptions::timeout(seconds(5)));
                let running = hasty.run_tool_as_task("slow", (), None);
                if out_of_time {
                    let (result, ()) = join(running, async {
                        clock.pass(millis(250)).await;
                        clock.asleep(millis(250)).await;
                        clock.advance(seconds(5));
                    })
                    .await;
                    let error = result.unwrap_err();
                    let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
                    assert_eq!((timeout.after(), timeout.is_total()), (seconds(5), true));
                } else {
                    let asleep = async {
                        clock.asleep(millis(250)).await;
                        None
                    };
                    assert!(smol::future::or(async { Some(running.await) }, asleep).await.is_none());
                }
                let cancelled = server.arrival(|it| it["method"] == "tasks/cancel").await;
                assert_eq!(cancelled["params"]["taskId"], "slow");
                assert_eq!(client.pending_calls(), 0);
                client.close().await;
            })
            .await;
            // The call is not cancelled. A `tasks/get` may be, if the time runs out on it.
            let received = server.received();
            let call = received.iter().find(|it| tool(it) == "slow").unwrap();
            assert!(!received.iter().any(|it| it["params"]["requestId"] == call["id"]), "CAN-02");
        }
    });
}

/// A result may take longer than the silence that is allowed: the client asks after the task instead.
#[test]
fn tsk_03_tsk_09_waiting_for_the_result_may_take_longer_than_silence() {
    once(async |run| {
        let mut asked = 0;
        let handler = making_tasks(move |peer, message| match message["method"].as_str() {
            Some("tasks/get") => {
                asked += 1;
                let state = if asked == 2 { "working" } else { "input_required" };
                peer.say(&reply(&message["id"], task("slow", state)));
            }
            Some("tasks/result") => {}
            _ => normal(peer, message),
        });
        let clock = Clock::new();
        let (client, driver, server) = connect(&clock, handler).await;
        run.drive(driver, async {
            let patient = client.with_options(CallOptions::default().silence(seconds(60)).total(None));
            let (result, ()) = join(patient.run_tool_as_task("slow", (), None), async {
                for round in 0..5 {
                    server.arrival(|it| it["method"] == "tasks/result").await;
                    clock.pass(seconds(60)).await;
                    for _ in 0..[2, 1, 1, 1, 0][round] {
                        clock.pass(millis(250)).await;
                    }
                }
            })
            .await;
            // The result was asked for once before the task was at work again, and four times after that.
            assert!(result.unwrap_err().is_timeout());
            client.close().await;
        })
        .await;
        assert_eq!(methods(&server).iter().filter(|it| *it == "tasks/result").count(), 5);
    });
}

#[test]
fn tsk_02_with_newer_servers_the_server_decides() {
    once(async |run| {
        let (stdio, server) = pair(|peer: &Peer, message: &Value| {
            if let Some(answer) = modern_answer(message) {
                peer.say(&answer);
            }
        });
        let (client, driver) = on(&Clock::new()).mode(Mode::Stateless).connect(stdio).await.unwrap();
        run.drive(driver, async {
            assert_eq!(client.run_tool_as_task("echo", (), None).await.unwrap().text(), "fine");
            client.close().await;
        })
        .await;
        assert_eq!(methods(&server), ["tools/call"]);
    });
}

#[test]
fn tsk_01_resources_and_prompts_as_tasks() {
    everywhere(async |run| {
        let (client, driver, server) = connect(&Clock::new(), making_tasks(normal)).await;
        run.drive(driver, async {
            let read = client.read_resource_as_task("file:///a", Some(millis(7))).await.unwrap();
            let got = client.get_prompt_as_task("greet", json!({ "who": "me" }), None).await.unwrap();
            assert_eq!((&*read.id, &*got.id), ("file:///a", "greet"));
            let params = |method: &str| {
                let received = server.received();
                received.iter().find(|it| it["method"] == method).unwrap()["params"].clone()
            };
            assert_eq!(params("resources/read"), json!({ "uri": "file:///a", "task": { "ttl": 7 } }));
            let greet = json!({ "name": "greet", "arguments": { "who": "me" }, "task": {} });
            assert_eq!(params("prompts/get"), greet);
            client.close().await;
        })
        .await;
    });
}

fn progress(of: &Value, progress: u32) -> Value {
    let token = &of["params"]["_meta"]["progressToken"];
    assert!(token.is_number());
    tell("notifications/progress", json!({ "progressToken": token, "progress": progress }))
}

/// What a handler was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<f64>>>);

impl Told {
    fn options(&self) -> CallOptions {
        let told = self.clone();
        CallOptions::default().on_progress(move |it| told.0.lock().unwrap().push(it.progress))
    }

    fn take(&self) -> Vec<f64> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

async fn reporting(builder: Builder) -> (Client, Driver, Server) {
    let handler = making_tasks(|peer, message| {
        let id = message["params"]["taskId"].as_str().unwrap_or_default();
        match message["method"].as_str().unwrap_or_default() {
            "tasks/get" if id == "open" => peer.say(&reply(&message["id"], task(id, "working"))),
            "tasks/get" => peer.say(&reply(&message["id"], task(id, "completed"))),
            "tasks/cancel" => peer.say(&reply(&message["id"], task(id, "cancelled"))),
            "tasks/list" => peer.say(&reply(&message["id"], json!({ "tasks": [task("listed", "failed")] }))),
            "tasks/result" => peer.say(&reply(&message["id"], text_result("fine"))),
            _ => normal(peer, message),
        }
    });
    let (stdio, server) = pair(handler);
    let (client, driver) = builder.connect(stdio).await.unwrap();
    (client, driver, server)
}

#[test]
fn prg_04_a_task_reports_until_it_has_ended() {
    everywhere(async |run| {
        let (client, driver, server) = reporting(on(&Clock::new())).await;
        run.drive(driver, async {
            let told = Told::default();
            let watching = client.with_options(told.options());
            for end in ["get", "cancel", "listed", "result", "status"] {
                let task = watching.call_tool_as_task(end, (), None).await.unwrap();
                let call = server.arrival(|it| tool(it) == end).await;
                let open = watching.call_tool_as_task("open", (), None).await.unwrap();
                let other = server.arrival(|it| tool(it) == "open").await;
                server.peer.say(&progress(&call, 1));
                client.get_task(&open.id).await.unwrap();
                server.peer.say(&progress(&other, 2));
                client.ping().await.unwrap();
                assert_eq!(told.take(), [1.0, 2.0], "{end}");
                match end {
                    "get" => drop(client.wait_task(&task.id, seconds(9)).await.unwrap()),
                    "cancel" => drop(client.cancel_task(&task.id).await.unwrap()),
                    "listed" => drop(client.list_tasks().await.unwrap()),
                    "result" => drop(client.task_result(&task.id).await.unwrap()),
                    _ => server
                        .peer
                        .say(&tell("notifications/tasks/status", crate::tasks::task(end, "failed"))),
                }
                server.peer.say(&progress(&call, 3));
                server.peer.say(&progress(&other, 4));
                client.ping().await.unwrap();
                assert_eq!(told.take(), [4.0], "{end}");
                client.cancel_task(&open.id).await.unwrap();
            }
            client.close().await;
        })
        .await;
    });
}

#[test]
fn prg_04_where_no_task_comes_of_it_nobody_is_told_any_more() {
    everywhere(async |run| {
        let (stdio, server) = pair(|peer: &Peer, message: &Value| match tool(message) {
            "refused" => peer.say(&refusal(&message["id"], -1, "no")),
            "odd" => peer.say(&reply(&message["id"], json!({}))),
            _ => making_tasks(normal)(peer, message),
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let told = Told::default();
            let watching = client.with_options(told.options());
            for tool_name in ["refused", "odd"] {
                watching.call_tool_as_task(tool_name, (), None).await.unwrap_err();
                let call = server.arrival(|it| tool(it) == tool_name).await;
                server.peer.say(&progress(&call, 1));
                client.ping().await.unwrap();
                assert_eq!(told.take(), [0.0; 0]);
            }
            client.close().await;
        })
        .await;
    });
}

#[test]
fn prg_04_sec_08_of_too_many_tasks_the_oldest_is_told_of_no_more() {
    once(async |run| {
        let mut limits = Limits::default();
        limits.reported_tasks = 2;
        let (client, driver, server) = reporting(on(&Clock::new()).limits(limits)).await;
        run.drive(driver, async {
            let told = Told::default();
            let watching = client.with_options(told.options());
            let mut calls = Vec::new();
            for (count, expected) in [(1, vec![1.0]), (2, vec![1.0, 2.0]), (3, vec![2.0, 3.0])] {
                watching.call_tool_as_task(&count.to_string(), (), None).await.unwrap();
                calls.push(server.arrival(|it| !tool(it).is_empty()).await);
                for (call, number) in calls.iter().zip(1..) {
                    server.peer.say(&progress(call, number));
                }
                client.ping().await.unwrap();
                assert_eq!(told.take(), expected);
            }
            client.close().await;
        })
        .await;
    });
}

/// Otherwise a handler that holds a client would keep it for ever.
#[test]
fn prg_04_the_end_of_the_session_lets_go_of_the_handlers() {
    once(async |run| {
        for closed in [true, false] {
            let (client, driver, _server) = reporting(on(&Clock::new())).await;
            let (flag, dropped) = crate::kit::Flag::new();
            run.drive(driver, async {
                let held = (client.clone(), flag);
                let options = CallOptions::default().on_progress(move |_| {
                    let _ = &held;
                });
                client.with_options(options).call_tool_as_task("open", (), None).await.unwrap();
                if closed {
                    client.close().await;
                }
            })
            .await;
            dropped.wait().await;
        }
    });
}

#[test]
fn tsk_03_how_a_task_stands_is_an_event() {
    everywhere(async |run| {
        let told: Arc<Mutex<Vec<Task>>> = Arc::default();
        let heard = Arc::clone(&told);
        let log = Log::default();
        let other = log.clone();
        let builder = on(&Clock::new()).on_event(move |event: &Event<'_>| match event {
            Event::Task(task) => heard.lock().unwrap().push(task.clone().into_owned()),
            event => other.push(format!("{event:?}")),
        });
        let (client, driver, server) = reporting(builder).await;
        run.drive(driver, async {
            server.peer.say(&tell("notifications/tasks/status", task("t", "working")));
            server.peer.say(&tell("notifications/tasks/status", json!({ "no": "task" })));
            client.ping().await.unwrap();
            let told = std::mem::take(&mut *told.lock().unwrap());
            assert_eq!((told.len(), &*told[0].id, &told[0].status), (1, "t", &TaskStatus::Working));
            assert_eq!(log.count("notifications/tasks/status"), 1, "{:?}", log.lines());
            client.close().await;
        })
        .await;
    });
}
