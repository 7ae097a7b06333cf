//! Drivers that are not polled, are dropped, or panic (LIV-17).

use crate::check::{cause, on, story};
use crate::fault::clock::Clock;
use crate::fault::lines::{normal, pair};
use crate::fault::run::{everywhere, once};
use crate::fault::{answer, http, tool};
use futures::future::{join, select};
use serde_json::Value;
use shared_fate::Cause;
use shared_fate_mcp::error::IoStage;
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::transport::{Inbox, Outgoing, Sending, Sent, Tracking};
use shared_fate_mcp::{Client, Delivery, Driver, Error, ErrorKind, Event, Transport};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

#[test]
fn liv_17_a_driver_that_is_never_polled_keeps_no_call_from_its_deadline() {
    everywhere(async |_| {
        let (stdio, server) = pair(normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        let (result, ()) = join(client.ping(), clock.pass(Duration::from_secs(60))).await;
        let error = result.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert_eq!(client.pending_calls(), 0);
        drop(driver);
        client.close().await;
        server.input_ended().await;
    });
}

#[test]
fn liv_17_calls_over_http_need_no_driver() {
    everywhere(async |_| {
        let server = http::Server::start(http::Call::normal);
        let (client, driver) = on(&Clock::new()).connect(server.transport()).await.unwrap();
        client.ping().await.unwrap();
        drop(driver);
        client.close().await;
        server.deserted().await;
    });
}

fn dropped(error: &Error, delivery: Delivery) {
    assert!(matches!(error.session_cause(), Some(Cause::Dropped)), "{error:#}");
    assert_eq!(error.delivery(), delivery);
    story(error);
}

#[test]
fn liv_17_dropping_the_driver_fails_all_calls_at_once() {
    everywhere(async |_| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        let dropping = async {
            // The driver is dropped at the end of this block.
            select(pin!(driver), pin!(server.arrival(|message| tool(message) == "held"))).await;
        };
        let (held, ()) = join(client.call_tool("held", ()), dropping).await;
        dropped(&held.unwrap_err(), Delivery::MaybeSent);
        dropped(&client.ping().await.unwrap_err(), Delivery::NotSent);
        dropped(&client.notify("notifications/x", ()).await.unwrap_err(), Delivery::NotSent);
        assert_eq!(client.pending_calls(), 0);
        client.close().await;
        server.input_ended().await;
    });
}

#[test]
fn liv_17_a_request_that_was_not_written_when_the_driver_goes_was_not_sent() {
    everywhere(async |_| {
        let (stdio, _server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        let mut call = pin!(client.ping());
        assert!(futures::poll!(&mut call).is_pending());
        drop(driver);
        dropped(&call.await.unwrap_err(), Delivery::NotSent);
    });
}

#[test]
fn liv_17_dropping_the_driver_fails_calls_over_http_at_once() {
    everywhere(async |_| {
        let server = http::Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(server.transport()).await.unwrap();
        let dropping = async {
            server.arrival(|request| request.tool() == "held").await;
            drop(driver);
        };
        let (held, ()) = join(client.call_tool("held", ()), dropping).await;
        dropped(&held.unwrap_err(), Delivery::MaybeSent);
        dropped(&client.ping().await.unwrap_err(), Delivery::NotSent);
        client.close().await;
        server.deserted().await;
    });
}

#[test]
fn liv_17_an_executor_that_shuts_down_fails_all_calls_at_once() {
    once(async |_| {
        for start in [
            (|driver: Driver| {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
                drop(runtime.spawn(driver));
                Box::new(runtime) as Box<dyn std::any::Any>
            }) as fn(Driver) -> Box<dyn std::any::Any>,
            |driver| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                drop(runtime.spawn(driver));
                runtime.block_on(tokio::task::yield_now());
                Box::new(runtime)
            },
            |driver| {
                let executor = smol::Executor::new();
                executor.spawn(driver).detach();
                executor.try_tick();
                Box::new(executor)
            },
        ] {
            let (stdio, server) = pair(normal);
            let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
            let mut call = pin!(client.call_tool("held", ()));
            assert!(futures::poll!(&mut call).is_pending());
            let executor = start(driver);
            server.arrival(|message| tool(message) == "held").await;
            drop(executor);
            dropped(&call.await.unwrap_err(), Delivery::MaybeSent);
            dropped(&client.ping().await.unwrap_err(), Delivery::NotSent);
            client.close().await;
            server.input_ended().await;
        }
    });
}

/// A transport whose `run` does something on command. It answers all but the tool `held`, and has no way to the
/// tool `unplugged`.
#[derive(Clone, Default)]
struct Scripted {
    state: Arc<Mutex<(Option<Act>, Option<Waker>)>>,
    aborts: Arc<AtomicUsize>,
    closes: Arc<AtomicUsize>,
    /// Whether the transport answers nothing.
    silent: Arc<AtomicBool>,
}

#[derive(Clone, Copy)]
enum Act {
    Panic,
    End,
    Fail,
}

impl Scripted {
    fn act(&self, act: Act) {
        let mut state = self.state.lock().unwrap();
        state.0 = Some(act);
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Transport for Scripted {
    fn send<'a>(&'a self, message: Outgoing<'a>, _: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        Sending::later(async move {
            let message: Value = serde_json::from_slice(message.body()).unwrap();
            if tool(&message) == "unplugged" {
                return Err(Error::io(IoStage::Connect, "no cable", Delivery::NotSent));
            }
            if tool(&message) != "held" && !self.silent.load(Ordering::SeqCst) {
                if let Some(answer) = answer(&message) {
                    inbox.deliver(answer.to_string().as_bytes());
                }
            }
            Ok(Sent::accepted())
        })
    }

    fn run<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            state.1 = Some(cx.waker().clone());
            let act = state.0;
            drop(state);
            match act {
                None => Poll::Pending,
                Some(Act::End) => Poll::Ready(Ok(())),
                Some(Act::Fail) => {
                    let error = io::Error::from(io::ErrorKind::ConnectionReset);
                    Poll::Ready(Err(Error::io(IoStage::Read, error, Delivery::MaybeSent)))
                }
                Some(Act::Panic) => panic!("the transport has a bug"),
            }
        }))
    }

    fn close<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, ()> {
        self.closes.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }

    fn abort(&self) {
        self.aborts.fetch_add(1, Ordering::SeqCst);
    }
}

fn panicked(error: &Error, delivery: Delivery) {
    let Some(Cause::Panicked(message)) = error.session_cause() else { panic!("{error:#}") };
    assert_eq!(message.as_str(), "the transport has a bug");
    assert_eq!(error.delivery(), delivery);
    assert!(story(error).contains("the transport has a bug"));
}

async fn panics(client: Client, transport: &Scripted) {
    let (one, two, ()) =
        futures::future::join3(client.call_tool("held", ()), client.call_tool("held", ()), async {
            assert_eq!(client.pending_calls(), 2);
            transport.act(Act::Panic);
        })
        .await;
    panicked(&one.unwrap_err(), Delivery::MaybeSent);
    panicked(&two.unwrap_err(), Delivery::MaybeSent);
    panicked(&client.ping().await.unwrap_err(), Delivery::NotSent);
    assert_eq!(client.pending_calls(), 0);
    client.close().await;
}

#[test]
fn liv_17_a_driver_that_panics_fails_all_calls_and_unwinds_nowhere() {
    once(async |_| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let transport = Scripted::default();
        let (client, driver) = on(&Clock::new()).connect(transport.clone()).await.unwrap();
        let task = runtime.spawn(driver);
        panics(client, &transport).await;
        runtime.block_on(task).expect("the task does not panic");
        assert!(transport.aborts.load(Ordering::SeqCst) >= 1);
    });
}

#[test]
fn liv_17_a_driver_that_panics_beside_the_application_does_not_take_it_along() {
    once(async |_| {
        let transport = Scripted::default();
        let (client, driver) = on(&Clock::new()).connect(transport.clone()).await.unwrap();
        driver.run_until(panics(client, &transport)).await;
        assert!(transport.aborts.load(Ordering::SeqCst) >= 1);
    });
}

#[test]
fn liv_17_a_transport_that_panics_during_the_handshake_is_the_cause() {
    once(async |_| {
        let transport = Scripted::default();
        transport.silent.store(true, Ordering::SeqCst);
        transport.act(Act::Panic);
        panicked(&on(&Clock::new()).connect(transport.clone()).await.unwrap_err(), Delivery::MaybeSent);
        assert!(transport.aborts.load(Ordering::SeqCst) >= 1);
    });
}

#[test]
fn liv_17_a_panic_in_the_event_hook_hurts_nobody() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let hook = move |event: &Event<'_>| {
            if matches!(event, Event::Notification { .. }) {
                count.fetch_add(1, Ordering::SeqCst);
                panic!("the application has a bug");
            }
        };
        let (client, driver) = on(&Clock::new()).on_event(hook).connect(stdio).await.unwrap();
        run.drive(driver, async {
            for _ in 0..2 {
                server.peer.write("{\"method\":\"x\"}\n");
                client.ping().await.unwrap();
            }
            assert_eq!(told.load(Ordering::SeqCst), 2);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn a_transport_that_ends_normally_finishes_the_session() {
    everywhere(async |run| {
        let transport = Scripted::default();
        let (client, driver) = on(&Clock::new()).connect(transport.clone()).await.unwrap();
        run.drive(driver, async {
            let (held, ()) = join(client.call_tool("held", ()), async { transport.act(Act::End) }).await;
            assert!(matches!(held.unwrap_err().session_cause(), Some(Cause::Finished)));
            client.close().await;
            assert!(client.session().cause().unwrap().is_finished(), "the first cause stays");
        })
        .await;
        assert_eq!(transport.closes.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_transport_of_ones_own_reports_what_failed() {
    everywhere(async |run| {
        let transport = Scripted::default();
        let (client, driver) = on(&Clock::new()).connect(transport.clone()).await.unwrap();
        run.drive(driver, async {
            let error = client.call_tool("unplugged", ()).await.unwrap_err();
            assert_eq!(format!("{error:#}"), "connecting to the server failed: no cable");
            assert!(error.is_retryable() && error.delivery() == Delivery::NotSent);
            client.ping().await.unwrap();
            let (held, ()) = join(client.call_tool("held", ()), async { transport.act(Act::Fail) }).await;
            let error = held.unwrap_err();
            assert!(matches!(cause(&error).kind(), ErrorKind::Io(io) if io.stage() == IoStage::Read));
            assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionReset));
            assert_eq!(error.delivery(), Delivery::MaybeSent);
        })
        .await;
        assert!(transport.aborts.load(Ordering::SeqCst) >= 1);
    });
}

#[test]
fn a_panic_of_the_application_is_its_own_and_closes_the_session() {
    let (stdio, server) = pair(normal);
    let (client, driver) = pollster::block_on(on(&Clock::new()).connect(stdio)).unwrap();
    let app = async { panic!("the application has a bug") };
    let result = catch_unwind(AssertUnwindSafe(|| pollster::block_on(driver.run_until(app))));
    result.unwrap_err();
    assert!(matches!(client.session().cause(), Some(Cause::Dropped)));
    pollster::block_on(server.input_ended());
}
