//! Clients, sessions and drivers end whoever is polled, and leave nothing behind.

use crate::check::on;
use crate::fault::child;
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::lines::{exists, normal, pair, process, process_as};
use crate::fault::run::once;
use crate::fault::{Gate, tool};
use crate::kit::{http, seconds};
use futures::future::{join, select};
use shared_fate_mcp::{Client, Delivery, Limits, Mode, Reconnecting};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// A waker that does nothing; its references can be counted.
struct Idle;

impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn liv_19_liv_26_a_close_does_not_depend_on_another_one_that_is_not_polled() {
    once(async |_| {
        let (stdio, server) = process(normal);
        let server_process = server.process().await;
        let builder = Client::builder().mode(Mode::Legacy);
        let (client, driver) = builder.connect(stdio).await.unwrap();
        // The first close is like the branch of a `select!` that has lost and is kept for later.
        let mut first = pin!(client.close());
        driver
            .run_until(async {
                assert!(futures::poll!(&mut first).is_pending());
                client.close().await;
            })
            .await;
        server_process.gone().await;
    });
}

#[test]
fn liv_10_reconnecting_does_not_depend_on_who_began_and_is_not_polled() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "gone" => call.respond("404 Not Found", &[], ""),
            _ => call.normal(),
        });
        let builder = Client::builder().mode(Mode::Legacy);
        let (clients, driver) = Reconnecting::connect(builder, http(&server)).await.unwrap();
        driver
            .run_until(async {
                clients.client().await.unwrap().call_tool("gone", ()).await.unwrap_err();
                let mut first = pin!(clients.client());
                assert!(futures::poll!(&mut first).is_pending());
                clients.client().await.unwrap().ping().await.unwrap();
            })
            .await;
    });
}

#[test]
fn liv_19_dropping_all_handles_of_a_reconnecting_client_closes_it() {
    once(async |_| {
        let (stdio, server) = process(normal);
        let builder = Client::builder().mode(Mode::Legacy);
        let (clients, driver) = Reconnecting::connect(builder, stdio).await.unwrap();
        let server_process = server.process().await;
        drop(clients);
        driver.await;
        server_process.gone().await;
    });
}

#[test]
fn liv_19_a_client_keeps_its_session_when_nobody_will_replace_it() {
    once(async |_| {
        for loses in [false, true] {
            let (stdio, server) = pair(normal);
            let (clients, mut driver) = Reconnecting::connect(on(&Clock::new()), stdio).await.unwrap();
            let client = clients.client().await.unwrap();
            drop(clients);
            let app = async {
                client.ping().await.unwrap();
                if loses {
                    server.peer.hang_up();
                    client.session().ended().await;
                }
                drop(client);
            };
            join(app, &mut driver).await;
        }
    });
}

#[test]
fn liv_19_a_driver_resolves_when_the_transport_is_released() {
    once(async |_| {
        let mut command = child::command();
        command.env(child::STUBBORN, "1");
        let (stdio, server) = process_as(command, normal);
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        let server_process = server.process().await;
        let mut close = pin!(client.close());
        assert!(futures::poll!(&mut close).is_pending());
        let mut driver = pin!(driver);
        assert!(futures::poll!(&mut driver).is_pending());
        // Nobody polls `close`: the driver carries it on.
        let turning = async {
            clock.pass(seconds(2)).await;
            // The next line may wait for ever: the process may be gone before anybody begins to wait for its end.
            clock.pass(seconds(2)).await;
            std::future::pending::<()>().await;
        };
        select(driver, pin!(turning)).await;
        assert!(!exists(server_process.id));
        close.await;
    });
}

#[test]
fn mem_04_a_notification_that_was_taken_is_written_before_the_close() {
    once(async |_| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                client.notify("notifications/goodbye", ()).await.unwrap();
                client.close().await;
            })
            .await;
        server.input_ended().await;
        let received = server.received();
        assert_eq!(received.last().unwrap()["method"], "notifications/goodbye", "{received:?}");
    });
}

#[test]
fn mem_04_a_request_that_was_not_begun_is_not_written_at_the_close() {
    once(async |_| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let mut call = pin!(client.call_tool("pay", ()));
                assert!(futures::poll!(&mut call).is_pending());
                client.notify("notifications/goodbye", ()).await.unwrap();
                client.close().await;
                let error = call.await.unwrap_err();
                assert!(error.is_session_ended() && error.delivery() == Delivery::NotSent, "{error:#}");
            })
            .await;
        server.input_ended().await;
        let received = server.received();
        assert_eq!(received.last().unwrap()["method"], "notifications/goodbye", "{received:?}");
        assert!(received.iter().all(|message| tool(message) != "pay"));
    });
}

#[test]
fn mem_04_liv_19_a_server_that_does_not_read_holds_a_close_up_no_longer_than_its_grace() {
    once(async |_| {
        let gate = Gate::default();
        let held = gate.clone();
        let (stdio, server) = pair(move |peer, message| match message["method"].as_str() {
            Some("notifications/wait") => held.wait(),
            _ => normal(peer, message),
        });
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                client.notify("notifications/wait", ()).await.unwrap();
                // The message is longer than any socket's buffer.
                let long = serde_json::json!({ "x": "y".repeat(8 << 20) });
                client.notify("notifications/long", long).await.unwrap();
                server.arrival(|message| message["method"] == "notifications/wait").await;
                let mut close = pin!(client.close());
                assert!(futures::poll!(&mut close).is_pending());
                join(close, clock.pass(seconds(2))).await;
            })
            .await;
        gate.open();
    });
}

#[test]
fn liv_18_a_notification_that_is_dropped_leaves_no_waker() {
    let (stdio, _server) = pair(normal);
    let mut limits = Limits::default();
    limits.outbox = 2;
    let (client, driver) = pollster::block_on(on(&Clock::new()).limits(limits).connect(stdio)).unwrap();
    // Nobody drives: after `initialized` there is room for one.
    pollster::block_on(client.notify("x", ())).unwrap();
    let wakers: Vec<_> = (0..100).map(|_| Arc::new(Idle)).collect();
    for idle in &wakers {
        let waker = Waker::from(Arc::clone(idle));
        let mut notify = pin!(client.notify("x", ()));
        assert!(notify.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(wakers.iter().filter(|idle| Arc::strong_count(idle) > 1).count(), 0);
    drop(driver);
}

#[test]
fn liv_17_a_driver_that_is_dropped_leaves_no_waker() {
    let (stdio, _server) = pair(normal);
    let (client, mut driver) = pollster::block_on(on(&Clock::new()).connect(stdio)).unwrap();
    let idle = Arc::new(Idle);
    let waker = Waker::from(Arc::clone(&idle));
    assert!(Pin::new(&mut driver).poll(&mut Context::from_waker(&waker)).is_pending());
    drop((waker, driver));
    assert_eq!(Arc::strong_count(&idle), 1);
    drop(client);
}

#[test]
fn liv_27_a_handshake_that_is_given_up_with_its_runtime_leaves_nothing() {
    once(async |_| {
        let (stdio, server) = process(|_, _| {});
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.spawn(Client::connect(stdio));
        let server_process = server.process().await;
        server.arrival(|message| message["method"] == "server/discover").await;
        drop(runtime);
        server_process.gone().await;
    });
}
