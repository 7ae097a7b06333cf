//! Deadlines, on a clock that the test turns.

use crate::check::{on, story};
use crate::fault::clock::Clock;
use crate::fault::http;
use crate::fault::lines::{normal, pair};
use crate::fault::run::{everywhere, in_parallel, once};
use crate::fault::{Gate, tool};
use futures::FutureExt;
use futures::future::join;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use shared_fate_mcp::runtime::{BoxFuture, Timer};
use shared_fate_mcp::{CallOptions, Client, Error, ErrorKind, Event, Mode};
use smol::channel;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn options(silence: Option<Duration>, total: Option<Duration>) -> CallOptions {
    CallOptions::default().silence(silence).total(total)
}

/// Whether the limit for the whole call ran out, and what it was.
fn timeout(error: &Error) -> (bool, Duration) {
    story(error);
    assert!(error.is_timeout() && error.is_retryable() && !error.is_session_ended());
    match error.kind() {
        ErrorKind::Timeout(timeout) => (timeout.is_total(), timeout.after()),
        _ => unreachable!(),
    }
}

fn progress(token: u64) -> Value {
    let params = json!({ "progressToken": token, "progress": 1 });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

#[test]
fn liv_06_a_stream_of_comments_ends_at_the_silence_limit_and_is_cancelled() {
    everywhere(async |run| {
        let gate = Gate::default();
        let opened = gate.clone();
        let server = http::Server::start(move |call| match call.request.tool() {
            "held" => {
                call.events();
                opened.wait();
                call.write(": keep-alive\n\n: keep-alive\n\n");
                call.event(r#"{"jsonrpc":"2.0","method":"x"}"#);
                call.hold();
            }
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (tell, told) = channel::unbounded();
        let builder = on(&clock).on_event(move |event| {
            if matches!(event, Event::Notification { .. }) {
                tell.try_send(()).unwrap();
            }
        });
        let (client, driver) = builder.connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            let waiting = async {
                server.arrival(|request| request.tool() == "held").await;
                clock.asleep(60 * SECOND).await;
                clock.advance(30 * SECOND);
                gate.open();
                // The notification comes after the comments, so those have been read.
                told.recv().await.unwrap();
                clock.advance(30 * SECOND + MILLISECOND);
            };
            let (result, ()) = join(client.call_tool("held", ()), waiting).await;
            assert_eq!(timeout(&result.unwrap_err()), (false, 60 * SECOND));
            let cancelled = server.arrival(|request| request.rpc() == "notifications/cancelled").await;
            assert_eq!(cancelled.body["params"]["requestId"], 2);
            client.ping().await.unwrap();
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn liv_06_progress_is_news_and_other_peoples_progress_is_none() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let patient = client.with_options(options(Some(10 * SECOND), None));
            // The call has the id 2: `initialize` had 1.
            let params = json!({ "name": "held", "_meta": { "progressToken": 2 } });
            let progressing = async {
                server.arrival(|message| tool(message) == "held").await;
                for round in 0..5 {
                    clock.advance(8 * SECOND);
                    // A token comes back as an id does: in any form of the same value.
                    let token = if round % 2 == 0 { json!(2) } else { json!("2") };
                    server.peer.say(&json!({
                        "method": "notifications/progress",
                        "params": { "progressToken": token, "progress": 1 },
                    }));
                    client.ping().await.unwrap();
                }
                clock.advance(8 * SECOND);
                server.peer.say(&progress(77));
                server
                    .peer
                    .say(&json!({ "method": "notifications/progress", "params": { "progressToken": "02" } }));
                client.ping().await.unwrap();
                assert_eq!(client.pending_calls(), 1);
                clock.advance(2 * SECOND + 2 * MILLISECOND);
            };
            let (result, ()) = join(patient.request("tools/call", &params), progressing).await;
            assert_eq!(timeout(&result.unwrap_err()), (false, 10 * SECOND));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn liv_29_progress_for_ever_ends_at_the_total_limit() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let patient = client.with_options(options(Some(10 * SECOND), Some(25 * SECOND)));
            let params = json!({ "name": "held", "_meta": { "progressToken": 2 } });
            let progressing = async {
                server.arrival(|message| tool(message) == "held").await;
                for _ in 0..3 {
                    clock.advance(8 * SECOND);
                    server.peer.say(&progress(2));
                    client.ping().await.unwrap();
                    assert_eq!(client.pending_calls(), 1);
                }
                clock.advance(SECOND + 2 * MILLISECOND);
            };
            let (result, ()) = join(patient.request("tools/call", &params), progressing).await;
            assert_eq!(timeout(&result.unwrap_err()), (true, 25 * SECOND));
            let cancelled = server.arrival(|message| message["method"] == "notifications/cancelled").await;
            assert_eq!(cancelled["params"]["requestId"], 2);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn no_limit_is_no_limit() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let patient = client.with_options(options(None, None));
            let waiting = async {
                let held = server.arrival(|message| tool(message) == "held").await;
                clock.advance(1_000_000 * SECOND);
                client.ping().await.unwrap();
                server.peer.normal(&held);
            };
            let (result, ()) = join(patient.call_tool("held", ()), waiting).await;
            result.unwrap();
            client.close().await;
        })
        .await;
    });
}

/// A thousand calls with a thousand deadlines: each fails at its own.
async fn thousand(client: &Client, clock: &Clock) {
    const CALLS: u32 = 1000;
    let mut calls = FuturesUnordered::new();
    for n in 1..=CALLS {
        let client = client.with_options(CallOptions::timeout(n * SECOND));
        calls.push(async move { (n, client.call_tool("held", ()).await) });
    }
    assert!(calls.next().now_or_never().is_none());
    clock.advance(MILLISECOND);
    for n in 1..=CALLS {
        clock.advance(SECOND);
        let (which, result) = calls.next().await.unwrap();
        assert_eq!(which, n);
        assert_eq!(timeout(&result.unwrap_err()), (true, n * SECOND));
        assert!(n == CALLS || calls.next().now_or_never().is_none());
        assert_eq!(client.pending_calls(), calls.len());
    }
}

#[test]
fn a_thousand_deadlines_each_at_its_own_time() {
    let body = async |run: crate::fault::run::Run| {
        let (stdio, _server) = pair(normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            thousand(&client, &clock).await;
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
    };
    once(body);
    in_parallel(body);
}

#[test]
fn a_thousand_calls_one_after_another_arm_no_timer_of_their_own() {
    everywhere(async |run| {
        let (stdio, _server) = pair(normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            // The timer that the handshake has armed serves all calls.
            let before = clock.begun();
            for _ in 0..1000 {
                client.ping().await.unwrap();
            }
            assert_eq!(clock.begun(), before);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn a_thousand_calls_over_http_arm_no_timer_of_their_own() {
    in_parallel(async |run| {
        let server = http::Server::start(http::Call::normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            // The timer that the handshake has armed serves all calls.
            let before = clock.begun();
            for _ in 0..1000 {
                client.ping().await.unwrap();
            }
            assert_eq!(clock.begun(), before);
            assert_eq!(server.connections(), 1);
            client.close().await;
        })
        .await;
    });
}

/// A timer whose first sleeps are over at once, though no time has passed.
struct Early {
    clock: Clock,
    early: AtomicUsize,
}

impl Timer for Early {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let early = self.early.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match early {
            Ok(_) => Box::pin(std::future::ready(())),
            Err(_) => self.clock.sleep(duration),
        }
    }

    /// An `Instant` is monotonic: no jump of the system's time shows here.
    fn now(&self) -> Instant {
        self.clock.now()
    }
}

#[test]
fn liv_30_a_timer_that_goes_off_early_fails_no_call_early() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let clock = Clock::new();
        let mut timeouts = shared_fate_mcp::Timeouts::default();
        // The handshake has a timer of its own, and relies on it.
        timeouts.handshake = None;
        let timer = Early { clock: clock.clone(), early: AtomicUsize::new(10) };
        let (client, driver) = Client::builder()
            .mode(Mode::Legacy)
            .timeouts(timeouts)
            .timer(timer)
            .connect(stdio)
            .await
            .unwrap();
        run.drive(driver, async {
            let waiting = async {
                server.arrival(|message| tool(message) == "held").await;
                clock.pass(60 * SECOND).await;
            };
            let (result, ()) = join(client.call_tool("held", ()), waiting).await;
            assert_eq!(timeout(&result.unwrap_err()), (false, 60 * SECOND));
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn a_deadline_of_nothing_fails_and_a_reply_in_time_wins() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(Duration::ZERO));
            let (result, ()) = join(hasty.call_tool("held", ()), clock.pass(Duration::ZERO)).await;
            assert_eq!(timeout(&result.unwrap_err()), (true, Duration::ZERO));
            // The reply arrives in time, and the deadline passes before the call is polled.
            let soon = client.with_options(CallOptions::timeout(SECOND));
            let mut call = std::pin::pin!(soon.call_tool("held", ()));
            assert!(futures::poll!(&mut call).is_pending());
            let held = server.arrival(|message| message["id"] == 3).await;
            server.peer.normal(&held);
            client.ping().await.unwrap();
            clock.advance(2 * SECOND);
            assert_eq!(call.await.unwrap().text(), "fine");
            client.close().await;
        })
        .await;
    });
}
