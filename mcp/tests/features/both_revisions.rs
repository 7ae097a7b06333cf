//! What a caller asks for in one way, and the protocol in a way of its own for each revision: changes, and the level of the
//! log.

use crate::check::{cause, on};
use crate::fault::clock::Clock;
use crate::fault::http::{Server as HttpServer, transport};
use crate::fault::lines::{Peer, Server, pair};
use crate::fault::run::{everywhere, once};
use crate::fault::{answer, tool};
use crate::kit::{Feed, Log, refusal, reply, tell};
use crate::modern::META;
use futures::StreamExt;
use futures::future::join;
use futures::stream::FusedStream;
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate_mcp::types::LoggingLevel;
use shared_fate_mcp::{Builder, Change, Client, Driver, ErrorKind, Interest, Limits, Mode, Subscription};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const UPDATED: &str = "notifications/resources/updated";
pub(crate) const TOOLS: &str = "notifications/tools/list_changed";

/// The answers of a server of 2025-11-25 that tells of changes of everything but its prompts, and has a log.
pub(crate) fn talkative(message: &Value) -> Option<Value> {
    match message["method"].as_str()? {
        "initialize" => {
            let capabilities = json!({
                "tools": { "listChanged": true },
                "resources": { "listChanged": true, "subscribe": true },
                "prompts": {},
                "logging": {},
            });
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities });
            Some(reply(&message["id"], result))
        }
        "resources/subscribe" if message["params"]["uri"] == "file:///secret" => {
            Some(refusal(&message["id"], -32602, "not that one"))
        }
        "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" => {
            Some(reply(&message["id"], json!({})))
        }
        _ => answer(message),
    }
}

async fn connect(builder: Builder) -> (Client, Driver, Server) {
    let (stdio, server) = pair(|peer: &Peer, message: &Value| {
        if let Some(answer) = talkative(message).filter(|_| tool(message) != "held") {
            peer.say(&answer);
        }
    });
    let (client, driver) = builder.connect(stdio).await.unwrap();
    (client, driver, server)
}

pub(crate) fn everything() -> Interest {
    Interest::default().tools().prompts().resources().resource("file:///a").resource("file:///b")
}

fn uris(server: &Server, method: &str) -> Vec<Value> {
    let received = server.received().into_iter().filter(|it| it["method"] == method);
    received.map(|it| it["params"]["uri"].clone()).collect()
}

pub(crate) async fn next(subscription: &mut Subscription) -> Change {
    subscription.next().await.unwrap().unwrap()
}

#[test]
fn a_server_with_a_handshake_is_listened_to_like_one_without() {
    everywhere(async |run| {
        let log = Log::default();
        let (client, driver, server) = connect(log.events(on(&Clock::new()))).await;
        run.drive(driver, async {
            let mut all = client.listen(&everything()).await.unwrap();
            let mut tools = client.listen(&Interest::default().tools()).await.unwrap();
            assert_eq!(uris(&server, "resources/subscribe"), ["file:///a", "file:///b"]);
            assert_eq!(all.missing(), Interest::default().prompts());
            assert!(tools.missing().is_empty());
            let agreed: Value = all.acknowledged().parse().unwrap();
            let resources = json!(["file:///a", "file:///b"]);
            assert_eq!(
                agreed["notifications"],
                json!({
                    "toolsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": resources,
                })
            );
            server.peer.say(&tell(UPDATED, json!({ "uri": "file:///a/part" })));
            server.peer.say(&tell("notifications/resources/list_changed", json!({})));
            server.peer.say(&tell("notifications/prompts/list_changed", json!({})));
            server.peer.say(&tell("notifications/message", json!({ "level": "info", "data": 1 })));
            server.peer.say(&tell(TOOLS, json!({})));
            assert_eq!(next(&mut all).await, Change::Resource { uri: "file:///a/part".to_owned() });
            assert_eq!(next(&mut all).await, Change::Resources);
            assert_eq!(next(&mut all).await, Change::Tools);
            assert_eq!(next(&mut tools).await, Change::Tools);
            assert!(futures::poll!(all.next()).is_pending());
            assert!(futures::poll!(tools.next()).is_pending());
            // The five messages are events of the session, too.
            client.ping().await.unwrap();
            assert_eq!(log.lines().len(), 5, "{:?}", log.lines());
            client.close().await;
            let lost = all.next().await.unwrap().unwrap_err();
            assert!(matches!(lost.session_cause(), Some(Cause::Closed)), "{lost:#}");
            assert!(all.next().await.is_none());
            assert!(all.is_terminated());
        })
        .await;
    });
}

#[test]
fn over_http_changes_come_on_the_servers_own_stream() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = HttpServer::start(move |call| match &*call.request.method {
            "GET" => served.serve(call),
            _ => match talkative(&call.request.body) {
                Some(answer) => call.json(&[], &answer.to_string()),
                None => call.normal(),
            },
        });
        let (client, driver) = on(&Clock::new()).connect(transport(&server.url())).await.unwrap();
        run.drive(driver, async {
            let mut changes = client.listen(&Interest::default().resource("file:///a")).await.unwrap();
            feed.say(&tell(UPDATED, json!({ "uri": "file:///a" })));
            assert_eq!(next(&mut changes).await, Change::Resource { uri: "file:///a".to_owned() });
            drop(changes);
            let end = server.arrival(|it| it.rpc() == "resources/unsubscribe").await;
            assert_eq!(end.body["params"]["uri"], "file:///a");
            client.close().await;
            feed.end();
        })
        .await;
    });
}

#[test]
fn the_last_one_to_go_takes_the_subscription_to_a_resource_back() {
    everywhere(async |run| {
        let (client, driver, server) = connect(on(&Clock::new())).await;
        run.drive(driver, async {
            let one = client.listen(&everything()).await.unwrap();
            let two = client.listen(&Interest::default().resource("file:///b")).await.unwrap();
            drop(one);
            client.ping().await.unwrap();
            server.arrival(|it| it["method"] == "resources/unsubscribe").await;
            assert_eq!(uris(&server, "resources/unsubscribe"), ["file:///a"]);
            drop(two);
            let end = server.arrival(|it| it["method"] == "resources/unsubscribe").await;
            assert_eq!(end["params"]["uri"], "file:///b");
            // No call is left behind.
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
        })
        .await;
    });
}

/// Only the part of the application that has subscribed by itself takes that back.
#[test]
fn an_application_that_subscribes_by_itself_stays_subscribed_when_a_listener_goes() {
    everywhere(async |run| {
        let answered = AtomicBool::new(false);
        let (stdio, server) = pair(move |peer: &Peer, message: &Value| {
            let unanswered =
                message["params"]["uri"] == "file:///slow" && !answered.swap(true, Ordering::Relaxed);
            if let Some(answer) = talkative(message).filter(|_| !unanswered) {
                peer.say(&answer);
            }
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let a = Interest::default().resource("file:///a");
            client.subscribe_resource("file:///a").await.unwrap();
            drop(client.listen(&a).await.unwrap());
            client.ping().await.unwrap();
            assert_eq!(uris(&server, "resources/unsubscribe").len(), 0);
            // The last of those that share a subscription takes it back.
            let listening = client.listen(&a).await.unwrap();
            client.unsubscribe_resource("file:///a").await.unwrap();
            client.ping().await.unwrap();
            assert_eq!(uris(&server, "resources/unsubscribe").len(), 0);
            drop(listening);
            server.arrival(|it| it["method"] == "resources/unsubscribe").await;
            client.unsubscribe_resource("file:///a").await.unwrap();
            assert_eq!(uris(&server, "resources/unsubscribe").len(), 2);
            // A refusal leaves nothing behind, and a request counts while it is under way.
            client.subscribe_resource("file:///secret").await.unwrap_err();
            client.unsubscribe_resource("file:///secret").await.unwrap();
            assert_eq!(uris(&server, "resources/unsubscribe").len(), 3);
            let slow = Interest::default().resource("file:///slow");
            let mut asking = Box::pin(client.subscribe_resource("file:///slow"));
            assert!(futures::poll!(&mut asking).is_pending());
            drop(client.listen(&slow).await.unwrap());
            client.ping().await.unwrap();
            assert_eq!(uris(&server, "resources/unsubscribe").len(), 3);
            drop(asking);
            drop(client.listen(&slow).await.unwrap());
            let slow = |it: &Value| it["params"]["uri"] == "file:///slow";
            server.arrival(|it| it["method"] == "resources/unsubscribe" && slow(it)).await;
            client.close().await;
        })
        .await;
    });
}

/// The driver sends the end of the first subscription, and the second one is sent at once: the end might come last.
#[test]
fn a_second_subscription_at_once_stays() {
    once(async |_| {
        let (client, driver, server) = connect(on(&Clock::new())).await;
        driver
            .run_until(async {
                let interest = Interest::default().resource("file:///a");
                let first = client.listen(&interest).await.unwrap();
                drop(first);
                let _second = client.listen(&interest).await.unwrap();
                client.ping().await.unwrap();
                assert_eq!(uris(&server, "resources/subscribe").len(), 2);
                assert_eq!(uris(&server, "resources/unsubscribe").len(), 0);
                client.close().await;
            })
            .await;
    });
}

#[test]
fn a_resource_that_the_server_refuses_is_an_error_and_leaves_nothing_behind() {
    everywhere(async |run| {
        let (client, driver, server) = connect(on(&Clock::new())).await;
        run.drive(driver, async {
            let interest = Interest::default().resource("file:///a").resource("file:///secret");
            let error = client.listen(&interest).await.map(drop).unwrap_err();
            assert!(error.rpc().is_some_and(|rpc| rpc.message() == "not that one"), "{error:#}");
            server.arrival(|it| it["method"] == "resources/unsubscribe").await;
            client.close().await;
        })
        .await;
    });
}

#[test]
fn the_end_of_the_session_is_told_with_its_cause() {
    everywhere(async |run| {
        let (client, driver, server) = connect(on(&Clock::new())).await;
        run.drive(driver, async {
            let mut changes = client.listen(&Interest::default().tools()).await.unwrap();
            server.peer.say(&tell(TOOLS, json!({})));
            let _ = join(client.call_tool("held", ()), async {
                server.arrival(|it| tool(it) == "held").await;
                server.peer.hang_up();
            })
            .await;
            // A change that came before the end is told first.
            assert_eq!(next(&mut changes).await, Change::Tools);
            let lost = changes.next().await.unwrap().unwrap_err();
            assert!(matches!(cause(&lost).kind(), ErrorKind::Io(_)), "{lost:#}");
            assert!(changes.next().await.is_none());
            // Dropping it sends nothing to a server that is gone.
            drop(changes);
        })
        .await;
    });
}

/// At the limit everything is kept. One past it the oldest change is lost, and the loss is told.
#[test]
fn limits_changes_holds_for_notifications_too() {
    once(async |_| {
        let limits = Limits::default().changes(2);
        let (client, driver, server) = connect(on(&Clock::new()).limits(limits)).await;
        driver
            .run_until(async {
                let mut changes = client.listen(&everything()).await.unwrap();
                let say = async |count| {
                    for number in 0..count {
                        server.peer.say(&tell(UPDATED, json!({ "uri": number.to_string() })));
                    }
                    client.ping().await.unwrap();
                };
                let uri = |uri: &str| Change::Resource { uri: uri.to_owned() };
                say(2).await;
                assert_eq!([next(&mut changes).await, next(&mut changes).await], [uri("0"), uri("1")]);
                say(3).await;
                let told = [next(&mut changes).await, next(&mut changes).await, next(&mut changes).await];
                assert_eq!(told, [Change::Lagged, uri("1"), uri("2")]);
                client.close().await;
            })
            .await;
    });
}

/// In the newest revision each request says the level; in the older ones a request sets it for the session.
#[test]
fn the_level_of_the_log_is_set_in_one_way() {
    everywhere(async |run| {
        let builder = on(&Clock::new()).log_level(LoggingLevel::Warning);
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.set_logging_level("debug").await.unwrap();
            client.close().await;
        })
        .await;
        let received = server.received();
        let levels = received.iter().filter(|it| it["method"] == "logging/setLevel");
        let levels: Vec<_> = levels.map(|it| it["params"]["level"].clone()).collect();
        assert_eq!(levels, ["warning", "debug"]);
        assert_eq!(received[2]["method"], "logging/setLevel", "the level is set before any call");

        let (stdio, server) = pair(|peer: &Peer, message: &Value| {
            if let Some(answer) = crate::modern::modern_answer(message) {
                peer.say(&answer);
            }
        });
        let builder = on(&Clock::new()).mode(Mode::Stateless).log_level(LoggingLevel::Warning);
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            client.call_tool("one", ()).await.unwrap();
            client.set_logging_level("debug").await.unwrap();
            client.call_tool("two", ()).await.unwrap();
            let options = shared_fate_mcp::CallOptions::default().log_level("error");
            client.with_options(options).call_tool("three", ()).await.unwrap();
            client.close().await;
        })
        .await;
        let level = |it: &Value| it["params"]["_meta"][format!("{META}logLevel")].clone();
        let received = server.received();
        let levels: Vec<_> = received.iter().filter(|it| !tool(it).is_empty()).map(level).collect();
        assert_eq!(levels, ["warning", "debug", "error"]);
        assert!(received.iter().all(|it| it["method"] != "logging/setLevel"));
    });
}

#[test]
fn a_server_without_a_log_or_that_refuses_is_connected_to_all_the_same() {
    everywhere(async |run| {
        let log = Log::default();
        let (stdio, server) = pair(crate::fault::lines::normal);
        let builder = log.events(on(&Clock::new())).log_level(LoggingLevel::Warning);
        let (client, driver) = builder.clone().connect(stdio).await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        assert!(server.received().iter().all(|it| it["method"] != "logging/setLevel"));
        assert!(log.lines().is_empty());
        let (stdio, _server) = pair(|peer: &Peer, message: &Value| match message["method"].as_str() {
            Some("logging/setLevel") => peer.say(&refusal(&message["id"], -32603, "no log today")),
            _ => drop(talkative(message).map(|answer| peer.say(&answer))),
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        assert_eq!(log.count("NotDelivered"), 1, "{:?}", log.lines());
        assert_eq!(log.count("no log today"), 1);
    });
}

/// The probe does not ask for a log: the client does not know the kind of the server yet.
#[test]
fn the_probe_says_nothing_of_a_log() {
    once(async |_| {
        let server = HttpServer::start(crate::modern::modern);
        let builder = on(&Clock::new()).mode(Mode::Auto).log_level(LoggingLevel::Info);
        let (client, driver) = builder.connect(transport(&server.url())).await.unwrap();
        driver.run_until(client.list_tools()).await.unwrap();
        let requests = server.requests();
        let level = |index: usize| &requests[index].body["params"]["_meta"][format!("{META}logLevel")];
        assert_eq!((level(0), level(1)), (&Value::Null, &json!("info")));
    });
}
