//! Calls that are given up by their callers (LIV-18).

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::lines::{normal, pair};
use crate::fault::run::everywhere;
use crate::fault::{Gate, http, tool};
use futures::future::{join_all, select};
use serde_json::json;
use std::pin::pin;

#[test]
fn liv_18_a_dropped_call_is_forgotten_and_cancelled() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            {
                let call = pin!(client.call_tool("held", ()));
                let arrived = pin!(server.arrival(|message| tool(message) == "held"));
                select(call, arrived).await;
                assert_eq!(client.pending_calls(), 1);
            }
            assert_eq!(client.pending_calls(), 0);
            let cancelled = server.arrival(|message| message["method"] == "notifications/cancelled").await;
            let expected =
                json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 2 } });
            assert_eq!(cancelled, expected);
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn liv_18_a_dropped_call_over_http_closes_its_connection_and_is_cancelled() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            "stream" => {
                call.events();
                call.write(": on it\n\n");
                call.hold();
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            for (tool, id) in [("held", 2), ("stream", 3)] {
                {
                    let call = pin!(client.call_tool(tool, ()));
                    select(call, pin!(server.arrival(|request| request.tool() == tool))).await;
                }
                assert_eq!(client.pending_calls(), 0);
                let cancelled = server.arrival(|request| request.rpc() == "notifications/cancelled").await;
                assert_eq!(cancelled.body["params"]["requestId"], id);
                assert_eq!(cancelled.header("mcp-session-id"), Some(http::SESSION));
            }
            client.ping().await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn liv_18_a_call_that_was_never_polled_sends_nothing() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            drop(client.call_tool("held", ()));
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        server.input_ended().await;
        assert_eq!(server.received().len(), 3);
    });
}

#[test]
fn liv_18_a_call_that_was_never_written_is_taken_back() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        {
            // Nobody polls the driver, so no call can be written.
            let calls = (0..100).map(|_| Box::pin(client.call_tool("held", ())));
            let mut calls = pin!(join_all(calls));
            assert!(futures::poll!(&mut calls).is_pending());
            assert_eq!(client.pending_calls(), 100);
        }
        assert_eq!(client.pending_calls(), 0);
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        server.input_ended().await;
        let methods: Vec<_> = server.received().iter().map(|message| message["method"].clone()).collect();
        assert_eq!(methods, ["initialize", "notifications/initialized", "ping"]);
    });
}

#[test]
fn liv_18_a_call_dropped_in_the_middle_of_a_write_leaves_a_whole_line() {
    everywhere(async |run| {
        let gate = Gate::default();
        let held = gate.clone();
        let (stdio, server) = pair(move |peer, message| {
            if tool(message) == "first" {
                held.wait();
            }
            normal(peer, message);
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            {
                // The server reads no further than the first, and no socket holds the second.
                let big = json!({ "text": "x".repeat(5_000_000) });
                let first = pin!(client.call_tool("first", ()));
                select(first, pin!(server.arrival(|message| tool(message) == "first"))).await;
                let second = pin!(client.call_tool("held", &big));
                select(second, pin!(server.stalled())).await;
            }
            gate.open();
            client.ping().await.unwrap();
            assert_eq!(client.pending_calls(), 0);
            // Closing waits for no cancellation.
            for _ in 0..2 {
                server.arrival(|message| message["method"] == "notifications/cancelled").await;
            }
            client.close().await;
        })
        .await;
        server.input_ended().await;
        // The server takes no line that is not JSON.
        assert!(server.received().iter().any(|message| tool(message) == "held"));
    });
}

#[test]
fn liv_18_a_hundred_dropped_calls_leave_nothing() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            {
                let calls = pin!(join_all((0..100).map(|_| client.call_tool("held", ()))));
                let arrived = pin!(async {
                    for _ in 0..100 {
                        server.arrival(|message| tool(message) == "held").await;
                    }
                });
                select(calls, arrived).await;
            }
            assert_eq!(client.pending_calls(), 0);
            for _ in 0..100 {
                server.arrival(|message| message["method"] == "notifications/cancelled").await;
            }
            client.close().await;
        })
        .await;
    });
}
