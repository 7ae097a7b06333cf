//! Subscriptions (SUB-01 to SUB-12, LIV-25).

use crate::check::{cause, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http;
use crate::fault::lines::{Peer, Server, pair};
use crate::fault::run::everywhere;
use crate::fault::tool;
use crate::kit::{Feed, Log, refusal, reply, seconds, tell};
use crate::modern::{META, connect, modern, modern_answer};
use futures::StreamExt;
use futures::future::join;
use futures::stream::FusedStream;
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::TaskStatus;
use shared_fate_mcp::{
    CallOptions, Change, Client, Delivery, Driver, ErrorKind, Interest, Limits, Mode, Subscription,
};

const LISTEN: &str = "subscriptions/listen";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

fn of(id: &Value, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({ format!("{META}subscriptionId"): id });
    tell(method, params)
}

fn acknowledgement(id: &Value) -> Value {
    of(id, ACKNOWLEDGED, json!({ "notifications": { "toolsListChanged": true } }))
}

fn interest() -> Interest {
    let mut interest = Interest::default();
    interest.tools_list_changed = true;
    interest.resource_subscriptions = vec!["file:///a".to_owned()];
    interest
}

/// A server over a pipe that leaves subscriptions and the tool `held` to the test.
async fn lines(clock: &Clock, limits: Limits, log: &Log) -> (Client, Driver, Server) {
    let (stdio, server) = pair(|peer: &Peer, message: &Value| {
        if message["method"] != LISTEN && tool(message) != "held" {
            if let Some(answer) = modern_answer(message) {
                peer.say(&answer);
            }
        }
    });
    let builder = log.events(on(clock)).limits(limits).mode(Mode::Stateless);
    let (client, driver) = builder.connect(stdio).await.unwrap();
    (client, driver, server)
}

async fn listen(client: &Client, server: &Server) -> (Subscription, Value) {
    let acknowledging = async {
        let id = server.arrival(|it| it["method"] == LISTEN).await["id"].clone();
        server.peer.say(&acknowledgement(&id));
        id
    };
    let (subscription, id) = join(client.listen(&interest()), acknowledging).await;
    (subscription.unwrap(), id)
}

#[test]
fn sub_01_to_05_12_changes_come_to_their_own_subscription() {
    everywhere(async |run| {
        let log = Log::default();
        let (client, driver, server) = lines(&Clock::new(), Limits::default(), &log).await;
        run.drive(driver, async {
            let traced = client.with_options(CallOptions::default().meta("traceparent", &"00").unwrap());
            let (mut one, first) = listen(&traced, &server).await;
            let (mut two, second) = listen(&client, &server).await;
            assert_ne!(first, second);
            let asked = server.received().into_iter().find(|it| it["method"] == LISTEN).unwrap();
            assert_eq!(
                asked["params"]["notifications"],
                json!({
                    "toolsListChanged": true, "resourceSubscriptions": ["file:///a"],
                })
            );
            assert!(asked["params"]["_meta"][format!("{META}protocolVersion")].is_string());
            assert_eq!(asked["params"]["_meta"]["traceparent"], "00", "TRC-01");
            let agreed: Value = one.acknowledged().parse().unwrap();
            assert_eq!(agreed["notifications"], json!({ "toolsListChanged": true }), "SUB-03");
            for message in [
                of(&second, "notifications/prompts/list_changed", json!({})),
                of(&first, "notifications/tools/list_changed", json!({})),
                of(&first, "notifications/resources/updated", json!({ "uri": "file:///a/b" })),
                of(&first, "notifications/resources/list_changed", json!({})),
                of(&first, "notifications/news", json!({ "x": 1 })),
                of(&json!(4_711), "notifications/tools/list_changed", json!({})),
                tell("notifications/tools/list_changed", json!({})),
            ] {
                server.peer.say(&message);
            }
            client.call_tool("echo", ()).await.unwrap();
            let mut changes = Vec::new();
            for _ in 0..4 {
                changes.push(one.next().await.unwrap().unwrap());
            }
            assert_eq!(
                changes[..3],
                [Change::Tools, Change::Resource { uri: "file:///a/b".to_owned() }, Change::Resources,]
            );
            assert!(matches!(&changes[3], Change::Other { method, .. } if method == "notifications/news"));
            assert_eq!(two.next().await.unwrap().unwrap(), Change::Prompts);
            assert!(futures::poll!(one.next()).is_pending());
            assert!(futures::poll!(two.next()).is_pending());
            assert_eq!(log.count("ToolsChanged"), 2, "what is nobody's is an event: {:?}", log.lines());
            drop((one, two));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sub_01_sub_03_tsk_08_tasks_are_reported_and_what_is_not_agreed_to_is_known() {
    everywhere(async |run| {
        let (client, driver, server) = lines(&Clock::new(), Limits::default(), &Log::default()).await;
        run.drive(driver, async {
            let mut wish = interest();
            wish.prompts_list_changed = true;
            wish.resource_subscriptions.push("file:///b".to_owned());
            wish.task_ids = vec!["t".to_owned(), "u".to_owned()];
            let acknowledging = async |agreed: Value| {
                let asked = server.arrival(|it| it["method"] == LISTEN).await;
                server.peer.say(&of(&asked["id"], ACKNOWLEDGED, agreed));
                asked
            };
            let agreed = json!({ "notifications": {
                "toolsListChanged": true, "resourceSubscriptions": ["file:///a"], "taskIds": ["t"],
            } });
            let (subscription, asked) = join(client.listen(&wish), acknowledging(agreed)).await;
            let mut subscription = subscription.unwrap();
            assert_eq!(asked["params"]["notifications"]["taskIds"], json!(["t", "u"]));
            assert_eq!(*subscription.interest(), wish);
            let mut missing = Interest::default();
            missing.prompts_list_changed = true;
            missing.resource_subscriptions = vec!["file:///b".to_owned()];
            missing.task_ids = vec!["u".to_owned()];
            assert_eq!(subscription.missing(), missing);
            assert!(!missing.is_empty());
            let task = json!({ "taskId": "t", "status": "completed", "result": { "content": [] } });
            server.peer.say(&of(&asked["id"], "notifications/tasks", task.clone()));
            server.peer.say(&of(&asked["id"], "notifications/tasks", json!({ "status": "working" })));
            let Change::Task { id, status, state } = subscription.next().await.unwrap().unwrap() else {
                panic!("no task")
            };
            assert_eq!((&*id, &status), ("t", &TaskStatus::Completed));
            assert_eq!(state.parse::<Value>().unwrap()["result"], task["result"]);
            assert!(matches!(subscription.next().await.unwrap().unwrap(), Change::Other { .. }));
            drop(subscription);
            let all = json!({ "notifications": wish });
            let (subscription, _) = join(client.listen(&wish), acknowledging(all)).await;
            assert!(subscription.unwrap().missing().is_empty());
            for odd in [json!({}), json!({ "notifications": true })] {
                let (subscription, _) = join(client.listen(&wish), acknowledging(odd)).await;
                assert_eq!(subscription.unwrap().missing(), wish);
            }
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sub_06_dropping_a_subscription_tells_the_server() {
    everywhere(async |run| {
        let (client, driver, server) = lines(&Clock::new(), Limits::default(), &Log::default()).await;
        run.drive(driver, async {
            let (one, first) = listen(&client, &server).await;
            let (mut two, second) = listen(&client, &server).await;
            drop(one);
            let cancelled = server.arrival(|it| it["method"] == "notifications/cancelled").await;
            assert_eq!(cancelled["params"]["requestId"], first);
            server.peer.say(&of(&second, "notifications/tools/list_changed", json!({})));
            assert_eq!(two.next().await.unwrap().unwrap(), Change::Tools);
            assert_eq!(client.pending_calls(), 1);
            // A subscription that is given up before it is acknowledged is cancelled.
            let asked = async {
                server.arrival(|it| it["method"] == LISTEN).await;
                None
            };
            let interest = interest();
            assert!(smol::future::or(async { Some(client.listen(&interest).await) }, asked).await.is_none());
            server.arrival(|it| it["method"] == "notifications/cancelled").await;
            drop(two);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sub_07_the_server_may_end_a_subscription_by_a_result_or_a_cancellation() {
    everywhere(async |run| {
        for by_result in [true, false] {
            let (client, driver, server) = lines(&Clock::new(), Limits::default(), &Log::default()).await;
            run.drive(driver, async {
                let (mut subscription, id) = listen(&client, &server).await;
                server.peer.say(&of(&id, "notifications/tools/list_changed", json!({})));
                server.peer.say(&match by_result {
                    true => reply(&id, json!({ "resultType": "complete" })),
                    false => tell("notifications/cancelled", json!({ "requestId": id })),
                });
                assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Tools, "told first");
                assert!(subscription.next().await.is_none());
                assert!(subscription.is_terminated());
                assert!(subscription.next().await.is_none());
                assert_eq!(client.pending_calls(), 0);
                client.call_tool("echo", ()).await.unwrap();
                assert!(!server.received().iter().any(|it| it["method"] == "notifications/cancelled"));
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn sub_08_liv_25_only_the_acknowledgement_has_a_deadline() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (client, driver, server) = lines(&clock, Limits::default(), &Log::default()).await;
        run.drive(driver, async {
            let (result, ()) = join(client.listen(&interest()), async {
                server.arrival(|it| it["method"] == LISTEN).await;
                clock.pass(seconds(60)).await;
            })
            .await;
            let error = result.unwrap_err();
            assert_eq!((error.is_timeout(), error.delivery()), (true, Delivery::MaybeSent));
            server.arrival(|it| it["method"] == "notifications/cancelled").await;
            assert_eq!(client.pending_calls(), 0);
            let (mut subscription, id) = listen(&client, &server).await;
            clock.advance(seconds(100_000));
            assert!(futures::poll!(subscription.next()).is_pending());
            server.peer.say(&of(&id, "notifications/tools/list_changed", json!({})));
            assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Tools);
            drop(subscription);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sub_08_liv_25_a_refusal_is_told_at_once() {
    everywhere(async |run| {
        let (client, driver, server) = lines(&Clock::new(), Limits::default(), &Log::default()).await;
        run.drive(driver, async {
            let (result, ()) = join(client.listen(&interest()), async {
                let id = server.arrival(|it| it["method"] == LISTEN).await["id"].clone();
                server.peer.say(&refusal(&id, -32601, "no"));
            })
            .await;
            assert_eq!(result.unwrap_err().rpc().unwrap().code(), -32601);
            let (result, ()) = join(client.listen(&interest()), async {
                let id = server.arrival(|it| it["method"] == LISTEN).await["id"].clone();
                server.peer.say(&reply(&id, json!({})));
            })
            .await;
            assert_eq!(*violation(&result.unwrap_err()), Violation::StreamEnded);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sub_09_liv_25_a_subscription_that_is_lost_tells_the_cause_and_ends() {
    everywhere(async |run| {
        let (client, driver, server) = lines(&Clock::new(), Limits::default(), &Log::default()).await;
        run.drive(driver, async {
            let (mut subscription, id) = listen(&client, &server).await;
            server.peer.say(&of(&id, "notifications/tools/list_changed", json!({})));
            server.peer.hang_up();
            assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Tools);
            let error = subscription.next().await.unwrap().unwrap_err();
            assert!(matches!(cause(&error).kind(), ErrorKind::Io(_)));
            story(&error);
            assert!(subscription.next().await.is_none());
            client.close().await;
        })
        .await;
        let (client, driver, server) = lines(&Clock::new(), Limits::default(), &Log::default()).await;
        run.drive(driver, async {
            let (mut subscription, _) = listen(&client, &server).await;
            let (lost, ()) = join(subscription.next(), client.close()).await;
            assert!(matches!(lost.unwrap().unwrap_err().session_cause(), Some(Cause::Closed)));
            assert!(subscription.next().await.is_none());
        })
        .await;
    });
}

#[test]
fn sub_09_a_reader_that_lags_is_told_so() {
    everywhere(async |run| {
        let mut limits = Limits::default();
        limits.changes = 3;
        let (client, driver, server) = lines(&Clock::new(), limits, &Log::default()).await;
        run.drive(driver, async {
            let (mut subscription, id) = listen(&client, &server).await;
            let update =
                |n: usize| of(&id, "notifications/resources/updated", json!({ "uri": n.to_string() }));
            let expected = |n: usize| Change::Resource { uri: n.to_string() };
            (0..3).for_each(|n| server.peer.say(&update(n)));
            client.call_tool("echo", ()).await.unwrap();
            for n in 0..3 {
                assert_eq!(subscription.next().await.unwrap().unwrap(), expected(n), "at the limit");
            }
            (0..5).for_each(|n| server.peer.say(&update(n)));
            client.call_tool("echo", ()).await.unwrap();
            assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Lagged);
            for n in 2..5 {
                assert_eq!(subscription.next().await.unwrap().unwrap(), expected(n));
            }
            assert!(futures::poll!(subscription.next()).is_pending());
            drop(subscription);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn limits_change_bytes() {
    everywhere(async |run| {
        let mut limits = Limits::default();
        limits.change_bytes = 30;
        let (client, driver, server) = lines(&Clock::new(), limits, &Log::default()).await;
        run.drive(driver, async {
            let (mut subscription, id) = listen(&client, &server).await;
            let uri = |n: usize, length: usize| format!("{n:0length$}");
            let say = |uri: &str| {
                server.peer.say(&of(&id, "notifications/resources/updated", json!({ "uri": uri })));
            };
            // The URIs are just at the limit, and again once they are fetched. A change without a URI costs nothing.
            for _ in 0..2 {
                (0..3).for_each(|n| say(&uri(n, 10)));
                server.peer.say(&of(&id, "notifications/tools/list_changed", json!({})));
                client.call_tool("echo", ()).await.unwrap();
                for n in 0..3 {
                    let expected = Change::Resource { uri: uri(n, 10) };
                    assert_eq!(subscription.next().await.unwrap().unwrap(), expected);
                }
                assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Tools);
            }
            // One byte too many costs the oldest change.
            [uri(0, 10), uri(1, 10), uri(2, 11)].iter().for_each(|uri| say(uri));
            client.call_tool("echo", ()).await.unwrap();
            assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Lagged);
            for expected in [uri(1, 10), uri(2, 11)] {
                let expected = Change::Resource { uri: expected };
                assert_eq!(subscription.next().await.unwrap().unwrap(), expected);
            }
            say(&uri(0, 31));
            client.call_tool("echo", ()).await.unwrap();
            assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Lagged);
            assert!(futures::poll!(subscription.next()).is_pending());
            drop(subscription);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sub_02_06_07_09_over_http_the_stream_is_the_subscription() {
    everywhere(async |run| {
        for end in ["result", "break", "404"] {
            let feed = Feed::new();
            let served = feed.clone();
            let server = http::Server::start(move |call| match call.request.rpc() {
                LISTEN if end == "404" => call.respond("404 Not Found", &[], "no"),
                LISTEN => served.serve(call),
                _ => modern(call),
            });
            let (client, driver) = connect(on(&Clock::new()), &server).await;
            run.drive(driver, async {
                let acknowledging = async {
                    let request = server.arrival(|it| it.rpc() == LISTEN).await;
                    assert_eq!(request.header("mcp-method"), Some(LISTEN));
                    feed.write(": keep-alive\n\n");
                    feed.say(&acknowledgement(&request.body["id"]));
                    request.body["id"].clone()
                };
                let (subscription, id) = join(client.listen(&interest()), acknowledging).await;
                if end == "404" {
                    assert_eq!(subscription.unwrap_err().http().unwrap().status(), 404);
                    return client.close().await;
                }
                let mut subscription = subscription.unwrap();
                feed.write(format!(
                    "id: 9\nretry: 1\ndata: {}\n\n",
                    of(&id, "notifications/tools/list_changed", json!({}))
                ));
                assert_eq!(subscription.next().await.unwrap().unwrap(), Change::Tools);
                client.call_tool("echo", ()).await.unwrap();
                match end {
                    "result" => feed.say(&reply(&id, json!({}))),
                    _ => feed.end(),
                }
                if end == "break" {
                    let error = subscription.next().await.unwrap().unwrap_err();
                    assert_eq!(*violation(&error), Violation::StreamEnded);
                    assert!(!client.session().is_ended(), "nothing else is lost (RES-12)");
                }
                assert!(subscription.next().await.is_none());
                client.call_tool("echo", ()).await.unwrap();
                drop(subscription);
                assert_eq!(client.pending_calls(), 0);
                client.close().await;
                feed.end();
                server.deserted().await;
            })
            .await;
            assert!(server.requests().iter().all(|it| it.method == "POST" && it.body.get("id").is_some()));
        }
    });
}

#[test]
fn sub_06_over_http_dropping_a_subscription_closes_the_stream_and_posts_nothing() {
    everywhere(async |run| {
        let closed = Log::default();
        let noted = closed.clone();
        let server = http::Server::start(move |call| match call.request.rpc() {
            LISTEN => {
                call.events();
                call.event(&acknowledgement(&call.request.body["id"]).to_string());
                call.hold();
                noted.push("closed");
            }
            _ => modern(call),
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, async {
            let one = client.listen(&interest()).await.unwrap();
            let two = client.listen(&interest()).await.unwrap();
            assert_eq!(client.pending_calls(), 2);
            for (closings, subscription) in [(1, one), (2, two)] {
                drop(subscription);
                while closed.lines().len() < closings {
                    client.call_tool("echo", ()).await.unwrap();
                }
            }
            assert_eq!((client.pending_calls(), closed.lines().len()), (0, 2));
            client.close().await;
            server.deserted().await;
        })
        .await;
        assert!(server.requests().iter().all(|it| it.body.get("id").is_some()));
    });
}
