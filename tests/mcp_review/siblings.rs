//! Calls that are given up, and what that does to the others.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use crate::fault::tool;
use crate::kit::{Feed, http, tell};
use futures::future::{join_all, select};
use serde_json::json;
use shared_fate::mcp::{Client, Limits, Mode};
use std::pin::pin;

#[test]
fn m_15_can_03_late_replies_to_many_calls_that_were_given_up_hurt_nobody() {
    const MANY: usize = 100;
    once(async |_| {
        let (stdio, server) = pair(normal);
        let mut limits = Limits::default();
        // The default is 10 000, and of pending calls 65 536.
        limits.stray = MANY - 1;
        let (client, driver) = on(&Clock::new()).limits(limits).connect(stdio).await.unwrap();
        driver
            .with(async {
                let mut late = Vec::new();
                {
                    let calls = pin!(join_all((0..MANY).map(|_| client.call_tool("held", ()))));
                    let arrived = pin!(async {
                        for _ in 0..MANY {
                            late.push(server.arrival(|message| tool(message) == "held").await);
                        }
                    });
                    select(calls, arrived).await;
                }
                // It was at work on them, and may answer (CAN-03).
                for message in &late {
                    server.peer.normal(message);
                }
                client.ping().await.unwrap();
                // A reply that came in the same go as the end is a reply all the same.
                assert!(!client.session().is_ended());
                client.close().await;
            })
            .await;
    });
}

/// So many calls that reach the server and are dropped then.
async fn give_up(client: &Client, server: &Server, calls: usize) {
    let called = pin!(join_all((0..calls).map(|_| client.call_tool("held", ()))));
    let arrived = pin!(async {
        for _ in 0..calls {
            server.arrival(|request| request.tool() == "held").await;
        }
    });
    select(called, arrived).await;
}

#[test]
fn png_01_cancellations_that_wait_leave_room_for_answers() {
    once(async |_| {
        let feed = Feed::new();
        let events = feed.clone();
        let server = Server::start(move |call| match (call.request.tool(), call.request.rpc()) {
            ("held", _) | (_, "notifications/cancelled") => call.hold(),
            _ if call.request.method == "GET" => events.serve(call),
            _ => call.normal(),
        });
        let mut limits = Limits::default();
        // The default is 1024.
        limits.outbox = 10;
        let (client, driver) = on(&Clock::new()).limits(limits).connect(http(&server)).await.unwrap();
        driver
            .with(async {
                for _ in 0..3 {
                    give_up(&client, &server, 10).await;
                    client.ping().await.unwrap();
                }
                feed.say(&json!({ "jsonrpc": "2.0", "id": "q", "method": "ping" }));
                feed.say(&tell("notifications/tools/list_changed", json!({})));
                for _ in 0..20 {
                    client.ping().await.unwrap();
                }
                feed.end();
            })
            .await;
    });
}

#[test]
#[ignore = "fails: the server keeps the session that it gave"]
fn ini_11_ses_08_a_handshake_that_fails_deletes_the_session_it_was_given() {
    once(async |_| {
        let server = Server::start(|call| match call.request.rpc() {
            "notifications/initialized" => call.respond("503 Busy", &[], ""),
            _ => call.normal(),
        });
        let builder = Client::builder().mode(Mode::Legacy);
        builder.connect(http(&server)).await.unwrap_err();
        server.deserted().await;
        assert!(server.requests().iter().any(|request| request.method == "DELETE"));
    });
}
