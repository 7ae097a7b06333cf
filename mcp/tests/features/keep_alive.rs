//! Pings by the clock (PNG-02, PNG-03).

use crate::check::{cause, on, story};
use crate::fault::clock::Clock;
use crate::fault::http;
use crate::fault::lines::{Peer, normal, pair};
use crate::fault::run::{everywhere, once};
use crate::fault::{answer, tool};
use crate::kit::{millis, refusal, seconds};
use crate::modern::modern_answer;
use futures::future::join;
use serde_json::Value;
use shared_fate_mcp::{Builder, Error, ErrorKind, Memory, Mode, Timeouts};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

const INTERVAL: std::time::Duration = seconds(30);

fn pinging(clock: &Clock) -> Builder {
    let mut timeouts = Timeouts::default();
    timeouts.keep_alive = Some(INTERVAL);
    (timeouts.silence, timeouts.total) = (None, None);
    on(clock).timeouts(timeouts)
}

#[track_caller]
fn missed(error: &Error) -> &Error {
    story(error);
    let ErrorKind::PingMissed(why) = cause(error).kind() else { panic!("{error:#}") };
    why
}

#[test]
fn png_02_a_ping_that_is_missed_ends_the_session() {
    everywhere(async |run| {
        let mut pings = 0;
        let (stdio, server) = pair(move |peer: &Peer, message: &Value| {
            if message["method"] == "ping" {
                pings += 1;
                match pings {
                    // Any answer is a sign of life.
                    2 => peer.say(&refusal(&message["id"], -32601, "what?")),
                    4 => return,
                    _ => {}
                }
            }
            normal(peer, message);
        });
        let clock = Clock::new();
        let (client, driver) = pinging(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let (held, ()) = join(client.call_tool("held", ()), async {
                server.arrival(|it| tool(it) == "held").await;
                for _ in 0..4 {
                    clock.pass(INTERVAL).await;
                    server.arrival(|it| it["method"] == "ping").await;
                    // The answer to the ping comes before the answer to this call.
                    client.call_tool("echo", ()).await.unwrap();
                }
                // The fourth ping is not answered.
                clock.pass(INTERVAL).await;
            })
            .await;
            let error = held.unwrap_err();
            assert!(missed(&error).is_timeout(), "{error:#}");
            client.close().await;
        })
        .await;
        let received = server.received();
        assert_eq!(received.iter().filter(|it| it["method"] == "ping").count(), 4);
        assert!(!received.iter().any(|it| it["method"] == "notifications/cancelled"));
    });
}

#[test]
fn png_02_over_http_a_status_is_an_answer_and_a_broken_connection_is_none() {
    everywhere(async |run| {
        let pings = AtomicUsize::new(0);
        let server = http::Server::start(move |call| match call.request.rpc() {
            "ping" => match pings.fetch_add(1, Ordering::SeqCst) {
                0 => call.normal(),
                1 => call.respond("503 X", &[], "busy"),
                _ => call.reset(),
            },
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = pinging(&clock).connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            for last in [false, false, true] {
                assert!(!client.session().is_ended());
                clock.pass(INTERVAL).await;
                server.arrival(|it| it.rpc() == "ping").await;
                // Nothing else shows that the ping has been answered.
                while !last && client.pending_calls() > 0 {
                    smol::future::yield_now().await;
                }
            }
            client.session().ended().await;
            let error = client.ping().await.unwrap_err();
            assert!(matches!(missed(&error).kind(), ErrorKind::Io(_)), "{error:#}");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn png_02_png_03_nobody_is_pinged_unasked_nor_without_a_handshake() {
    everywhere(async |run| {
        for modern in [false, true] {
            let (stdio, server) = pair(move |peer: &Peer, message: &Value| match modern_answer(message) {
                Some(answer) if modern => peer.say(&answer),
                _ => normal(peer, message),
            });
            let clock = Clock::new();
            let builder = if modern { pinging(&clock).mode(Mode::Stateless) } else { on(&clock) };
            let (client, driver) = builder.connect(stdio).await.unwrap();
            run.drive(driver, async {
                clock.advance(seconds(3_000));
                client.call_tool("echo", ()).await.unwrap();
                clock.advance(seconds(3_000));
                client.call_tool("echo", ()).await.unwrap();
                client.close().await;
            })
            .await;
            assert!(!server.received().iter().any(|it| it["method"] == "ping"));
        }
    });
}

#[test]
fn png_02_nobody_is_pinged_during_the_handshake() {
    everywhere(async |run| {
        let (stdio, server) = pair(|peer: &Peer, message: &Value| match message["method"].as_str() {
            Some("initialize") => {}
            _ => normal(peer, message),
        });
        let clock = Clock::new();
        let connecting = pinging(&clock).connect(stdio);
        let (connected, ()) = join(connecting, async {
            let hello = server.arrival(|it| it["method"] == "initialize").await;
            clock.pass(INTERVAL).await;
            clock.asleep(INTERVAL).await;
            server.peer.normal(&hello);
        })
        .await;
        let (client, driver) = connected.unwrap();
        run.drive(driver, async {
            clock.pass(INTERVAL).await;
            server.arrival(|it| it["method"] == "ping").await;
            client.close().await;
        })
        .await;
        assert_eq!(server.received().iter().filter(|it| it["method"] == "ping").count(), 1);
    });
}

#[test]
fn png_02_an_interval_of_nothing_is_a_short_one() {
    everywhere(async |run| {
        let (stdio, server) = pair(|peer: &Peer, message: &Value| match message["method"].as_str() {
            Some("initialize") => {}
            _ => normal(peer, message),
        });
        let clock = Clock::new();
        let mut timeouts = Timeouts::default();
        timeouts.keep_alive = Some(seconds(0));
        let (connected, ()) = join(on(&clock).timeouts(timeouts).connect(stdio), async {
            let hello = server.arrival(|it| it["method"] == "initialize").await;
            clock.asleep(millis(10)).await;
            server.peer.normal(&hello);
        })
        .await;
        let (client, driver) = connected.unwrap();
        run.drive(driver, async {
            clock.pass(millis(10)).await;
            server.arrival(|it| it["method"] == "ping").await;
            client.close().await;
        })
        .await;
    });
}

/// A driver that has not been polled for long finds the answer and the end of the interval together.
#[test]
fn png_02_an_answer_that_was_not_read_in_time_is_not_missed() {
    once(async |_| {
        let (transport, server) = Memory::pair();
        let clock = Clock::new();
        let receive = async || -> Value { serde_json::from_slice(&server.receive().await.unwrap()).unwrap() };
        let answer = async |message: &Value| server.send(answer(message).unwrap().to_string()).await.unwrap();
        let (connected, ()) = join(pinging(&clock).connect(transport), async {
            answer(&receive().await).await;
            receive().await;
        })
        .await;
        let (client, driver) = connected.unwrap();
        let mut driver = pin!(driver);
        assert!(futures::poll!(&mut driver).is_pending());
        clock.advance(INTERVAL);
        assert!(futures::poll!(&mut driver).is_pending());
        answer(&receive().await).await;
        clock.advance(INTERVAL);
        assert!(futures::poll!(&mut driver).is_pending());
        assert!(!client.session().is_ended());
    });
}
