//! Calls that are given up before a byte is written (CAN-02): they were not sent, and there is nothing to cancel.

use crate::check::{on, story};
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::lines::{normal, pair};
use crate::fault::run::everywhere;
use crate::kit::{http, seconds};
use futures::future::{join, select};
use serde_json::json;
use shared_fate_mcp::http::{AsyncIo, Connecting, Net};
use shared_fate_mcp::{CallOptions, Delivery, Limits};
use smol::channel::{self, Receiver, Sender};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::Duration;

/// A network that can be shut: connections then wait until it is opened again.
#[derive(Clone)]
struct Door {
    opened: Arc<Mutex<Option<Receiver<()>>>>,
    came: Sender<()>,
    comes: Receiver<()>,
}

impl Door {
    fn new() -> Self {
        let (came, comes) = channel::unbounded();
        Self { opened: Arc::default(), came, comes }
    }

    /// Shuts the door until the sender is dropped.
    fn shut(&self) -> Sender<()> {
        let (open, opened) = channel::bounded(1);
        *self.opened.lock().unwrap() = Some(opened);
        open
    }

    /// Resolves when one more connection waits at the door.
    async fn knock(&self) {
        self.comes.recv().await.unwrap();
    }
}

impl Net for Door {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        let opened = self.opened.lock().unwrap().clone();
        Box::pin(async move {
            if let Some(opened) = opened {
                let _ = self.came.try_send(());
                let _ = opened.recv().await;
            }
            AsyncIo.connect(host, port).await
        })
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn can_02_liv_18_a_call_that_still_connects_was_not_sent_and_is_not_cancelled() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            _ => call.normal(),
        });
        let (clock, door) = (Clock::new(), Door::new());
        let transport = http(&server).net(door.clone());
        let (client, driver) = on(&clock).connect(transport).await.unwrap();
        run.drive(driver, async {
            // The held call has the only connection.
            let mut held = Box::pin(client.call_tool("held", ()));
            select(&mut held, pin!(server.arrival(|it| it.tool() == "held"))).await;
            let open = door.shut();
            {
                let mut call = pin!(client.call_tool("echo", ()));
                select(&mut call, pin!(door.knock())).await;
            }
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let late = async {
                door.knock().await;
                clock.pass(seconds(5)).await;
            };
            let (result, ()) = join(hasty.call_tool("echo", ()), late).await;
            let error = result.unwrap_err();
            assert!(error.is_timeout() && error.is_retryable());
            assert_eq!(error.delivery(), Delivery::NotSent);
            story(&error);
            let late = async {
                door.knock().await;
                clock.pass(seconds(5)).await;
            };
            let (result, ()) = join(hasty.notify("notifications/x", ()), late).await;
            assert_eq!(result.unwrap_err().delivery(), Delivery::NotSent);
            assert_eq!(client.pending_calls(), 1);
            drop(open);
            drop(held);
            server.arrival(|it| it.rpc() == "notifications/cancelled").await;
            for _ in 0..3 {
                client.ping().await.unwrap();
            }
            let requests = server.requests();
            let cancelled = requests.iter().filter(|it| it.rpc() == "notifications/cancelled");
            let cancelled: Vec<_> = cancelled.map(|it| it.body["params"]["requestId"].clone()).collect();
            assert_eq!(cancelled, [json!(2)], "only the call that was sent is cancelled");
            assert!(requests.iter().all(|it| it.tool() != "echo" && it.rpc() != "notifications/x"));
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn can_02_a_call_that_still_connects_when_the_session_ends_was_not_sent() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            _ => call.normal(),
        });
        let (clock, door) = (Clock::new(), Door::new());
        let transport = http(&server).net(door.clone());
        let (client, driver) = on(&clock).connect(transport).await.unwrap();
        run.drive(driver, async {
            let held = client.call_tool("held", ());
            let echo = async {
                server.arrival(|it| it.tool() == "held").await;
                let open = door.shut();
                let calls = join(client.call_tool("echo", ()), async {
                    door.knock().await;
                    client.session().close();
                });
                let (result, ()) = calls.await;
                drop(open);
                result
            };
            let (held, echo) = join(held, echo).await;
            assert_eq!(held.unwrap_err().delivery(), Delivery::MaybeSent);
            assert_eq!(echo.unwrap_err().delivery(), Delivery::NotSent);
            assert!(server.requests().iter().all(|it| it.tool() != "echo"));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn to_04_a_notification_that_found_no_room_was_not_sent() {
    let (stdio, _server) = pair(normal);
    let mut limits = Limits::default();
    limits.outbox = 2;
    let (client, driver) = pollster::block_on(on(&Clock::new()).limits(limits).connect(stdio)).unwrap();
    let mut notify = pin!(client.notify("x", ()));
    // Nobody drives: after `initialized` there is room for one.
    pollster::block_on(client.notify("x", ())).unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(notify.as_mut().poll(&mut cx).is_pending());
    drop(driver);
    assert_eq!(pollster::block_on(notify).unwrap_err().delivery(), Delivery::NotSent);
}
