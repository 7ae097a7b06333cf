//! The in-memory transport (MEM-01 to MEM-04).

use crate::check::{cause, on, story};
use crate::fault::clock::Clock;
use crate::fault::lines::{normal, pair};
use crate::fault::run::{everywhere, once};
use crate::fault::{answer, tool};
use crate::kit::{ask, is_answer, seconds, tell};
use futures::future::{LocalBoxFuture, join, join_all, join3};
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::{CallOptions, Client, Delivery, Driver, ErrorKind, Memory, MemoryServer};

async fn receive(server: &MemoryServer) -> Option<Value> {
    Some(serde_json::from_slice(&server.receive().await?).unwrap())
}

async fn say(server: &MemoryServer, message: &Value) {
    server.send(message.to_string()).await.unwrap();
}

/// Answers everything until the tool `stop` is called, and returns that call.
async fn serve(server: &MemoryServer) -> Option<Value> {
    while let Some(message) = receive(server).await {
        if tool(&message) == "stop" {
            return Some(message);
        }
        if let Some(answer) = answer(&message) {
            say(server, &answer).await;
        }
    }
    None
}

async fn connect(clock: &Clock) -> (Client, Driver, MemoryServer) {
    let (transport, server) = Memory::pair();
    let connecting = on(clock).connect(transport);
    let shaking = async {
        for _ in 0..2 {
            let message = receive(&server).await.unwrap();
            if let Some(answer) = answer(&message) {
                say(&server, &answer).await;
            }
        }
    };
    let (connected, ()) = join(connecting, shaking).await;
    let (client, driver) = connected.unwrap();
    (client, driver, server)
}

#[test]
fn mem_01_mem_02_both_ends_speak_as_over_a_pipe() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (client, driver, server) = connect(&clock).await;
        run.drive(driver, async {
            let (result, message) = join(client.call_tool("echo", ()), async {
                let message = receive(&server).await.unwrap();
                say(&server, &ask("p", "ping", json!({}))).await;
                say(&server, &answer(&message).unwrap()).await;
                let pong = receive(&server).await.unwrap();
                assert!(is_answer(&pong, "p"));
                message
            })
            .await;
            result.unwrap();
            assert_eq!((&message["jsonrpc"], &message["method"]), (&json!("2.0"), &json!("tools/call")));
            // A call that is given up is cancelled by a notification.
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let (result, held) = join(hasty.call_tool("held", ()), async {
                let held = receive(&server).await.unwrap();
                clock.pass(seconds(5)).await;
                held
            })
            .await;
            let error = result.unwrap_err();
            assert_eq!((error.is_timeout(), error.delivery()), (true, Delivery::MaybeSent));
            let cancelled = receive(&server).await.unwrap();
            assert_eq!(cancelled["params"]["requestId"], held["id"]);
            client.close().await;
            assert!(receive(&server).await.is_none(), "the client is gone");
            assert!(server.send("{}").await.is_err());
        })
        .await;
    });
}

#[test]
fn mem_03_a_server_that_does_not_read_costs_each_call_its_deadline() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (client, driver, server) = connect(&clock).await;
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            // There is room for 64 messages, and the rest wait.
            let calls = join_all((0..80).map(|_| hasty.call_tool("held", ())));
            let (results, ()) = join(calls, clock.pass(seconds(5))).await;
            let mut unsent = 0;
            for result in results {
                let error = result.unwrap_err();
                assert!(error.is_timeout(), "{error:#}");
                story(&error);
                unsent += usize::from(error.delivery() == Delivery::NotSent);
            }
            assert_eq!((unsent, client.pending_calls()), (16, 0));
            // The server reads again: 64 calls, their cancellations, and the ping.
            let mut calls = 0;
            let mut cancelled = 0;
            let (pong, ()) = join(client.ping(), async {
                loop {
                    let message = receive(&server).await.unwrap();
                    match message["method"].as_str().unwrap() {
                        "tools/call" => calls += 1,
                        "notifications/cancelled" => cancelled += 1,
                        _ => {
                            say(&server, &answer(&message).unwrap()).await;
                            break;
                        }
                    }
                }
            })
            .await;
            pong.unwrap();
            while cancelled < 64 {
                let message = receive(&server).await.unwrap();
                assert_eq!(message["method"], "notifications/cancelled");
                cancelled += 1;
            }
            assert_eq!(calls, 64);
            client.close().await;
            assert!(receive(&server).await.is_none());
        })
        .await;
    });
}

#[test]
fn mem_03_both_sides_send_and_nobody_is_stuck() {
    everywhere(async |run| {
        let (client, driver, server) = connect(&Clock::new()).await;
        run.drive(driver, async {
            let calls = join_all((0..300).map(|_| client.call_tool("echo", ())));
            let talk = async {
                for _ in 0..1_000 {
                    say(&server, &tell("notifications/x", json!({ "padding": "x" }))).await;
                }
            };
            // `stop` is called last: a message that finds room may overtake those that wait for room.
            let all = async { (calls.await, client.call_tool("stop", ()).await) };
            let ((results, stop), (), ()) = join3(all, talk, async {
                let stop = serve(&server).await.unwrap();
                say(&server, &answer(&stop).unwrap()).await;
            })
            .await;
            stop.unwrap();
            for result in results {
                result.unwrap();
            }
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mem_03_mem_04_when_the_server_goes_all_calls_go_as_over_a_pipe() {
    everywhere(async |run| {
        let mut stories = Vec::new();
        for memory in [true, false] {
            let clock = Clock::new();
            // The server ends when its two calls have come.
            let (client, driver, end): (_, _, LocalBoxFuture<'_, ()>) = match memory {
                true => {
                    let (client, driver, server) = connect(&clock).await;
                    let end = async move {
                        for _ in 0..2 {
                            receive(&server).await.unwrap();
                        }
                    };
                    (client, driver, Box::pin(end))
                }
                false => {
                    let (stdio, server) = pair(normal);
                    let (client, driver) = on(&clock).connect(stdio).await.unwrap();
                    let end = async move {
                        for _ in 0..2 {
                            server.arrival(|it| tool(it) == "held").await;
                        }
                        server.peer.hang_up();
                    };
                    (client, driver, Box::pin(end))
                }
            };
            run.drive(driver, async {
                let calls = join(client.call_tool("held", ()), client.call_tool("held", ()));
                let ((one, two), ()) = join(calls, end).await;
                for result in [one, two] {
                    let error = result.unwrap_err();
                    cause(&error);
                    assert_eq!(error.delivery(), Delivery::MaybeSent);
                    stories.push((story(&error), error.io_kind()));
                }
                let error = client.ping().await.unwrap_err();
                assert_eq!((error.delivery(), client.pending_calls()), (Delivery::NotSent, 0));
                let error = client.reconnect().await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Transport)));
                client.close().await;
            })
            .await;
        }
        assert_eq!(stories[0], stories[1]);
        assert_eq!(stories[0], stories[2], "over memory as over a pipe");
    });
}

#[test]
fn mem_03_a_server_that_goes_while_calls_wait_for_room_leaves_them_unsent() {
    once(async |run| {
        let (client, driver, server) = connect(&Clock::new()).await;
        run.drive(driver, async {
            let calls = join_all((0..70).map(|_| client.call_tool("held", ())));
            let mut calls = std::pin::pin!(calls);
            assert!(futures::poll!(&mut calls).is_pending());
            drop(server);
            let mut unsent = 0;
            for result in calls.await {
                unsent += usize::from(result.unwrap_err().delivery() == Delivery::NotSent);
            }
            assert_eq!(unsent, 6);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn mem_03_mem_04_the_clients_end_closed_or_dropped() {
    everywhere(async |run| {
        let (client, driver, server) = connect(&Clock::new()).await;
        run.drive(driver, async {
            let (held, ()) = join(client.call_tool("held", ()), async {
                receive(&server).await.unwrap();
                client.close().await;
            })
            .await;
            assert!(matches!(held.unwrap_err().session_cause(), Some(Cause::Closed)));
        })
        .await;
        assert!(server.receive().await.is_none());
        let (client, driver, server) = connect(&Clock::new()).await;
        drop(driver);
        assert!(matches!(client.ping().await.unwrap_err().session_cause(), Some(Cause::Dropped)));
        assert!(server.receive().await.is_none());
        let (client, driver, server) = connect(&Clock::new()).await;
        drop(client);
        driver.await;
        assert!(server.receive().await.is_none());
        // A handshake that is given up half-way ends the server's side, too.
        let (transport, server) = Memory::pair();
        let connecting = Box::pin(on(&Clock::new()).connect(transport));
        let early = async {
            receive(&server).await.unwrap();
            None
        };
        assert!(smol::future::or(async { Some(connecting.await.map(drop)) }, early).await.is_none());
        assert!(server.receive().await.is_none());
    });
}
