//! How long a subscription is waited for, how it is lost while its session lives, and what an application does then.

use crate::both_revisions::{TOOLS, everything, next, talkative};
use crate::check::{on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{SESSION, Server};
use crate::fault::lines::{Peer, pair};
use crate::fault::run::everywhere;
use crate::fault::{Gate, tool};
use crate::kit::{Feed, Log, http, millis, reply, seconds, tell};
use crate::modern::{META, modern, modern_answer};
use futures::future::join;
use futures::stream::FusedStream;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{
    CallOptions, Change, Delivery, Error, ErrorKind, Interest, Limits, Mode, Reconnecting, Timeouts,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LISTEN: &str = "subscriptions/listen";

fn tools() -> Interest {
    Interest::default().tools()
}

fn timeout(error: &Error) -> (Duration, bool) {
    match error.kind() {
        ErrorKind::Timeout(timeout) => (timeout.after(), timeout.is_total()),
        _ => panic!("{error:#}"),
    }
}

/// A server of 2025-11-25 with a stream of its own, which breaks and cannot be opened again.
#[test]
fn sub_09_with_the_servers_own_stream_a_subscription_is_lost() {
    everywhere(async |run| {
        for refusal in ["404 Not Found", "503 Service Unavailable", "200 OK"] {
            let (feed, opened) = (Feed::new(), AtomicBool::new(false));
            let served = feed.clone();
            let server = Server::start(move |call| match &*call.request.method {
                "GET" if !opened.swap(true, Ordering::Relaxed) => served.serve(call),
                // With 200 this is a stream that has ended.
                "GET" => call.respond(refusal, &["Content-Type: text/event-stream"], ""),
                _ => match talkative(&call.request.body) {
                    Some(answer) => call.json(&[], &answer.to_string()),
                    None => call.normal(),
                },
            });
            let (clock, log) = (Clock::new(), Log::default());
            let builder = log.events(on(&clock)).limits(Limits::default().resumptions(1));
            let (client, driver) = builder.connect(http(&server)).await.unwrap();
            run.drive(driver, async {
                let mut changes = client.listen(&tools()).await.unwrap();
                let mut others = client.listen(&everything()).await.unwrap();
                feed.say(&tell(TOOLS, json!({})));
                assert_eq!(
                    (next(&mut changes).await, next(&mut others).await),
                    (Change::Tools, Change::Tools)
                );
                feed.end();
                let (lost, ()) = join(changes.next(), clock.pass(seconds(1))).await;
                for lost in [lost, others.next().await] {
                    let lost = lost.unwrap().unwrap_err();
                    assert_eq!(*violation(&lost), Violation::OwnStreamLost);
                    let status = lost.http().map(|http| http.status().to_string());
                    assert_eq!(status, Some(refusal[..3].to_owned()).filter(|status| status != "200"));
                    assert_eq!(story(&lost).matches("the server's own event stream is lost").count(), 1);
                    assert!(lost.server().is_some() && !client.session().is_ended());
                }
                assert!(changes.next().await.is_none() && changes.is_terminated());
                // A new subscription would hear nothing.
                let asked =
                    || server.requests().iter().filter(|it| it.rpc() == "resources/subscribe").count();
                let error = client.listen(&everything()).await.unwrap_err();
                assert_eq!(*violation(&error), Violation::OwnStreamLost);
                assert_eq!(asked(), 2, "no more than before");
                client.ping().await.unwrap();
                client.close().await;
                let error = client.listen(&tools()).await.unwrap_err();
                assert!(matches!(error.session_cause(), Some(Cause::Closed)), "{error:#}");
                assert_eq!(error.delivery(), Delivery::NotSent);
            })
            .await;
            assert_eq!(log.count("StreamLost"), 1, "{:?}", log.lines());
        }
    });
}

#[test]
fn ses_13_a_server_without_a_stream_of_its_own_agrees_to_nothing() {
    everywhere(async |run| {
        let server = Server::start(|call| match talkative(&call.request.body) {
            Some(answer) => call.json(&[], &answer.to_string()),
            None => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let mut changes = client.listen(&everything()).await.unwrap();
            assert_eq!(changes.missing(), everything());
            assert!(server.requests().iter().all(|it| it.rpc() != "resources/subscribe"));
            // No changes were promised, so none are lost.
            assert!(!changes.is_terminated());
            client.close().await;
            assert!(changes.next().await.unwrap().unwrap_err().is_session_ended());
        })
        .await;
    });
}

#[test]
fn ses_12_13_a_subscription_hears_late_that_there_is_no_stream() {
    everywhere(async |run| {
        let gate = Gate::default();
        let asked = gate.clone();
        let server = Server::start(move |call| match talkative(&call.request.body) {
            Some(answer) => call.json(&[], &answer.to_string()),
            None => {
                if call.request.method == "GET" {
                    asked.wait();
                }
                call.normal();
            }
        });
        let builder = on(&Clock::new()).timeouts(Timeouts::default().stream(Duration::ZERO));
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let mut changes = client.listen(&tools()).await.unwrap();
            assert!(changes.missing().is_empty());
            gate.open();
            let lost = changes.next().await.unwrap().unwrap_err();
            assert!(story(&lost).ends_with("the server has no stream of its own"), "{lost:#}");
            assert!(changes.next().await.is_none());
            assert_eq!(client.listen(&tools()).await.unwrap().missing(), tools());
            client.close().await;
        })
        .await;
    });
}

/// The acknowledgement has the limits of a call: the one that is over first counts.
#[test]
fn sub_08_to_02_the_acknowledgement_comes_within_silence_and_total() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (stdio, server) = pair(|peer: &Peer, message: &Value| {
            if let Some(answer) = modern_answer(message).filter(|_| message["method"] != LISTEN) {
                peer.say(&answer);
            }
        });
        let (client, driver) = on(&clock).mode(Mode::Stateless).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let options = CallOptions::default;
            for (options, after, total) in [
                (options().total(seconds(5)), 5, true),
                (options().total(seconds(5)).silence(seconds(4)), 4, false),
                (CallOptions::timeout(seconds(100)), 100, true),
                (options().total(None), 60, false),
            ] {
                let client = client.with_options(options);
                let interest = tools();
                let waiting = async {
                    server.arrival(|it| it["method"] == LISTEN).await;
                    clock.asleep(seconds(after)).await;
                    clock.advance(seconds(after));
                };
                let (error, ()) = join(client.listen(&interest), waiting).await;
                assert_eq!(timeout(&error.unwrap_err()), (seconds(after), total));
            }
            client.close().await;
        })
        .await;
    });
}

/// An older server gets a request for each resource.
#[test]
fn to_02_the_total_limit_is_for_all_resources_together() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (stdio, server) = pair(|peer: &Peer, message: &Value| {
            let is_held = message["method"] == "resources/subscribe" || tool(message) == "held";
            if let Some(answer) = talkative(message).filter(|_| !is_held) {
                peer.say(&answer);
            }
        });
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let client = client.with_options(CallOptions::timeout(seconds(5)));
            let interest = everything();
            let asked = async || server.arrival(|it| it["method"] == "resources/subscribe").await;
            for in_time in [true, false] {
                let serving = async {
                    let first = asked().await;
                    clock.advance(seconds(3));
                    server.peer.say(&reply(&first["id"], json!({})));
                    let second = asked().await;
                    clock.advance(if in_time { millis(1_999) } else { millis(2_001) });
                    if in_time {
                        server.peer.say(&reply(&second["id"], json!({})));
                    }
                };
                match join(client.listen(&interest), serving).await.0 {
                    Ok(changes) => assert!(in_time && changes.missing() == Interest::default().prompts()),
                    Err(error) => {
                        assert!(!in_time);
                        assert_eq!(timeout(&error), (seconds(5), true));
                    }
                }
            }
            client.close().await;
        })
        .await;
    });
}

/// The example of `Subscription`.
async fn watch(clients: &Reconnecting, interest: &Interest, log: &Log) {
    loop {
        if let Err(lost) = follow(clients, interest, log).await {
            if lost.session_cause().is_some_and(|cause| cause.is_orderly() || cause.is_dropped()) {
                return;
            }
            log.push("lost");
        }
        smol::future::yield_now().await;
    }
}

async fn follow(clients: &Reconnecting, interest: &Interest, log: &Log) -> Result<(), Error> {
    let client = clients.client().await?;
    client.ping().await?;
    let mut changes = client.listen(interest).await?;
    log.push("begun");
    while let Some(change) = changes.next().await {
        log.push(format!("{:?}", change?));
    }
    Ok(())
}

/// As if the server had been started again: streams break, and sessions are unknown.
#[test]
fn sub_11_over_http_the_example_watches_a_server_through_a_restart() {
    everywhere(async |_| {
        for mode in [Mode::Stateless, Mode::Legacy] {
            let (feed, restarted) = (Feed::new(), Arc::new(AtomicBool::new(false)));
            let (served, forgetful) = (feed.clone(), Arc::clone(&restarted));
            let server = Server::start(move |call| match (&*call.request.method, call.request.rpc()) {
                (_, LISTEN) => {
                    let id = call.request.body["id"].clone();
                    let acknowledged = json!({
                        "notifications": { "toolsListChanged": true },
                        "_meta": { format!("{META}subscriptionId"): id },
                    });
                    served.say(&tell("notifications/subscriptions/acknowledged", acknowledged));
                    let changed = json!({ "_meta": { format!("{META}subscriptionId"): id } });
                    served.say(&tell(TOOLS, changed));
                    served.serve(call);
                }
                (_, "initialize") => {
                    forgetful.store(false, Ordering::SeqCst);
                    let answer = talkative(&call.request.body).unwrap().to_string();
                    call.json(&[&format!("Mcp-Session-Id: {SESSION}")], &answer);
                }
                ("GET" | "POST", _) if forgetful.load(Ordering::SeqCst) => {
                    call.respond("404 Not Found", &[], "who?");
                }
                ("GET", _) => served.serve(call),
                _ if call.request.header("mcp-method").is_some() => modern(call),
                _ => call.normal(),
            });
            let clock = Clock::new();
            let builder = on(&clock).mode(mode);
            let (clients, driver) = Reconnecting::connect(builder, http(&server)).await.unwrap();
            let log = Log::default();
            let app = async {
                let (interest, changed) = (tools(), tell(TOOLS, json!({})));
                let told = async |count: usize| {
                    while log.lines().len() < count {
                        smol::future::yield_now().await;
                    }
                };
                let restarting = async {
                    let has_handshake = mode == Mode::Legacy;
                    told(1).await;
                    if has_handshake {
                        feed.say(&changed);
                    }
                    told(2).await;
                    restarted.store(has_handshake, Ordering::SeqCst);
                    feed.write("");
                    if has_handshake {
                        clock.pass(seconds(1)).await;
                    }
                    told(4 + usize::from(has_handshake)).await;
                    if has_handshake {
                        feed.say(&changed);
                    }
                    told(5 + usize::from(has_handshake)).await;
                    clients.close().await;
                };
                join(watch(&clients, &interest, &log), restarting).await;
            };
            driver.run_until(app.boxed_local()).await;
            let mut lines = log.lines();
            // With a handshake, losing the stream and losing the session are told one after the other.
            lines.dedup();
            assert_eq!(lines, ["begun", "Tools", "lost", "begun", "Tools"], "{mode:?}");
            feed.end();
        }
    });
}
