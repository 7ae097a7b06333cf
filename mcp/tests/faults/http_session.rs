//! HTTP sessions: how they end, and what does not end them.

use crate::check::{cause, on, story};
use crate::fault::Gate;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, SESSION, Server};
use crate::fault::run::{everywhere, once};
use futures::future::{join, join_all, join3};
use serde_json::json;
use shared_fate::Cause;
use shared_fate_mcp::{Client, Delivery, Driver, ErrorKind, Event, Timeouts};
use smol::channel;
use std::time::Duration;

async fn connect(server: &Server, clock: &Clock) -> (Client, Driver) {
    on(clock).connect(server.transport()).await.unwrap()
}

#[test]
fn liv_09_a_404_for_the_session_ends_it_for_all() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "late" => call.respond("404 Not Found", &["Content-Type: text/plain"], "Session not found"),
            "held" => call.hold(),
            "stream" => {
                call.events();
                call.write(": on it\n\n");
                call.hold();
            }
            _ => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new()).await;
        run.drive(driver, async {
            let late = async {
                for _ in ["held", "stream"] {
                    server.arrival(|request| ["held", "stream"].contains(&request.tool())).await;
                }
                client.call_tool("late", ()).await
            };
            let (held, stream, late) =
                join3(client.call_tool("held", ()), client.call_tool("stream", ()), late).await;
            for (result, delivery) in
                [(held, Delivery::MaybeSent), (stream, Delivery::MaybeSent), (late, Delivery::Answered)]
            {
                let error = result.unwrap_err();
                assert!(matches!(cause(&error).kind(), ErrorKind::SessionExpired(_)));
                assert_eq!(error.http().unwrap().status(), 404);
                assert_eq!(error.delivery(), delivery);
                assert!(!error.is_retryable());
                assert!(story(&error).contains("Session not found"), "{error:#}");
            }
            let sent = server.requests().len();
            let error = client.ping().await.unwrap_err();
            assert!(matches!(cause(&error).kind(), ErrorKind::SessionExpired(_)));
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert_eq!(server.requests().len(), sent);
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn st_11_a_404_without_a_session_costs_one_call() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            "initialize" => {
                let answer = call.answer();
                call.json(&[], &answer);
            }
            "tools/list" => call.respond("404 Not Found", &[], ""),
            _ => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new()).await;
        run.drive(driver, async {
            let error = client.list_tools().await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Http(http) if http.status() == 404));
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        assert!(server.requests().iter().all(|request| request.method != "DELETE"));
    });
}

#[test]
fn ses_02_everything_carries_the_session_and_the_revision() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            // A session id on another answer is ignored (SES-01).
            "ping" => {
                let answer = call.answer();
                call.json(&["Mcp-Session-Id: another"], &answer);
            }
            _ => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new()).await;
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.list_tools().await.unwrap();
            client.close().await;
        })
        .await;
        let requests = server.requests();
        assert_eq!(requests[0].header("mcp-session-id"), None);
        assert_eq!(requests[0].header("mcp-protocol-version"), None);
        for request in &requests[1..] {
            assert_eq!(request.header("mcp-session-id"), Some(SESSION), "{request:?}");
            assert_eq!(request.header("mcp-protocol-version"), Some("2025-11-25"));
            assert_eq!(request.header("origin"), None);
        }
        for request in requests.iter().filter(|request| request.method == "POST") {
            assert_eq!(request.header("accept"), Some("application/json, text/event-stream"));
            assert_eq!(request.header("content-type"), Some("application/json"));
        }
        assert_eq!(server.connections(), 1, "connections are used again");
    });
}

#[test]
fn liv_19_close_during_calls_call_after_close_and_two_closes() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "held" => call.hold(),
            _ => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new()).await;
        run.drive(driver, async {
            let closing = async {
                server.arrival(|request| request.tool() == "held").await;
                join(client.close(), client.close()).await;
            };
            let (held, ()) = join(client.call_tool("held", ()), closing).await;
            let error = held.unwrap_err();
            assert!(matches!(error.session_cause(), Some(Cause::Closed)), "{error:#}");
            assert_eq!(error.delivery(), Delivery::MaybeSent);
            let error = client.ping().await.unwrap_err();
            assert!(matches!(error.session_cause(), Some(Cause::Closed)));
            assert_eq!(error.delivery(), Delivery::NotSent);
            let error = client.notify("notifications/x", ()).await.unwrap_err();
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
            server.deserted().await;
            let deletes = server.requests().iter().filter(|request| request.method == "DELETE").count();
            assert_eq!(deletes, 1);
        })
        .await;
    });
}

#[test]
fn liv_19_dropping_all_clients_deletes_the_session() {
    everywhere(async |run| {
        let server = Server::start(Call::normal);
        let (client, driver) = connect(&server, &Clock::new()).await;
        run.drive(driver, async {
            let clone = client.clone();
            drop(client);
            clone.ping().await.unwrap();
            drop(clone);
            server.arrival(|request| request.method == "DELETE").await;
        })
        .await;
        server.deserted().await;
    });
}

#[test]
fn liv_26_a_delete_that_hangs_does_not_hold_up_close() {
    everywhere(async |run| {
        let server = Server::start(|call| match &*call.request.method {
            "DELETE" => call.hold(),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let mut timeouts = Timeouts::default();
        timeouts.close = Duration::from_secs(3);
        let http = server.transport();
        let (client, driver) = on(&clock).timeouts(timeouts).connect(http).await.unwrap();
        run.drive(driver, async {
            join(client.close(), clock.pass(Duration::from_secs(3))).await;
            server.deserted().await;
        })
        .await;
        assert!(clock.sleeping() <= 1, "the alarm at most");
    });
}

#[test]
fn liv_26_a_delete_that_fails_is_as_good() {
    everywhere(async |run| {
        for fault in [
            (|call| call.respond("405 X", &[], "")) as fn(&mut Call),
            |call| call.respond("404 X", &[], ""),
            |call| call.respond("500 X", &["Content-Type: text/html"], "<p>"),
            |call| call.take(),
            |call| call.write("nonsense"),
        ] {
            let server = Server::start(move |call| match &*call.request.method {
                "DELETE" => fault(call),
                _ => call.normal(),
            });
            let (client, driver) = connect(&server, &Clock::new()).await;
            run.drive(driver, async {
                client.close().await;
                assert!(matches!(client.session().cause(), Some(Cause::Closed)));
                server.deserted().await;
            })
            .await;
        }
    });
}

/// What the event hook was told of messages that were not delivered.
fn undelivered() -> (impl Fn(&Event<'_>) + Send + Sync + 'static, channel::Receiver<String>) {
    let (sender, receiver) = channel::unbounded();
    let hook = move |event: &Event<'_>| {
        if let Event::NotDelivered(error) = event {
            let _ = sender.try_send(story(error));
        }
    };
    (hook, receiver)
}

#[test]
fn liv_21_an_answer_that_cannot_be_delivered_is_reported_and_costs_nothing() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let is_answer = call.request.body.get("result").is_some();
            match call.request.tool() {
                _ if is_answer => call.respond("500 X", &[], "cannot take it"),
                "asks" => {
                    call.events();
                    call.event(r#"{"jsonrpc":"2.0","id":"q","method":"ping"}"#);
                    let answer = call.answer();
                    call.event(&answer);
                }
                _ => call.normal(),
            }
        });
        let (hook, reports) = undelivered();
        let http = server.transport();
        let (client, driver) = on(&Clock::new()).on_event(hook).connect(http).await.unwrap();
        run.drive(driver, async {
            client.call_tool("asks", ()).await.unwrap();
            let answer = server.arrival(|request| request.body.get("result").is_some()).await;
            assert_eq!(answer.body, json!({ "jsonrpc": "2.0", "id": "q", "result": {} }));
            assert!(reports.recv().await.unwrap().contains("cannot take it"));
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn liv_21_answers_that_hang_hold_up_nobody_and_time_out() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let is_answer = call.request.body.get("result").is_some();
            match call.request.tool() {
                _ if is_answer => call.hold(),
                "asks" => {
                    call.events();
                    call.event(r#"{"jsonrpc":"2.0","id":"q","method":"ping"}"#);
                    let answer = call.answer();
                    call.event(&answer);
                }
                _ => call.normal(),
            }
        });
        let (hook, reports) = undelivered();
        let clock = Clock::new();
        let http = server.transport();
        let (client, driver) = on(&clock).on_event(hook).connect(http).await.unwrap();
        run.drive(driver, async {
            for _ in 0..5 {
                client.call_tool("asks", ()).await.unwrap();
            }
            for _ in 0..5 {
                server.arrival(|request| request.body.get("result").is_some()).await;
            }
            client.ping().await.unwrap();
            clock.asleep(Duration::from_secs(60)).await;
            clock.advance(Duration::from_secs(61));
            for _ in 0..5 {
                assert!(reports.recv().await.unwrap().starts_with("no reply within 60s"));
            }
            client.ping().await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn ht_15_streams_that_stay_open_block_nobody() {
    everywhere(async |run| {
        let gate = Gate::default();
        let held = gate.clone();
        let server = Server::start(move |call| match call.request.tool() {
            "stream" => {
                call.events();
                call.write(": hi\n\n");
                held.wait();
                let answer = call.answer();
                call.event(&answer);
            }
            _ => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new()).await;
        run.drive(driver, async {
            let streams = join_all((0..40).map(|_| client.call_tool("stream", ())));
            let others = async {
                for _ in 0..40 {
                    server.arrival(|request| request.tool() == "stream").await;
                }
                assert_eq!(client.pending_calls(), 40);
                client.ping().await.unwrap();
                gate.open();
            };
            let (streams, ()) = join(streams, others).await;
            assert!(streams.iter().all(Result::is_ok));
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn liv_19_an_answer_that_ends_after_the_close_leaves_no_connection() {
    everywhere(async |run| {
        let gate = Gate::default();
        let held = gate.clone();
        let (wrote, written) = channel::unbounded();
        let server = Server::start(move |call| match call.request.tool() {
            "stream" => {
                let event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n";
                call.head("200 OK", &["Content-Type: text/event-stream", "Transfer-Encoding: chunked"]);
                call.write(format!("{:x}\r\n{event}\r\n", event.len()));
                held.wait();
                call.write("0\r\n\r\n");
                wrote.try_send(()).unwrap();
                call.hold();
            }
            _ => call.normal(),
        });
        let (tell, told) = channel::unbounded();
        let builder = on(&Clock::new()).on_event(move |event| {
            if matches!(event, Event::Notification { .. }) {
                tell.try_send(()).unwrap();
            }
        });
        let (client, driver) = builder.connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            let mut call = std::pin::pin!(client.call_tool("stream", ()));
            // The call has read what there is of its answer.
            futures::future::select(call.as_mut(), std::pin::pin!(told.recv())).await;
            gate.open();
            written.recv().await.unwrap();
            client.close().await;
            // The rest of the answer is there, so the connection could be used again.
            call.set(client.call_tool("never", ()));
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn ini_11_ses_08_a_handshake_that_fails_deletes_the_session_it_was_given() {
    once(async |_| {
        let server = Server::start(|call| match call.request.rpc() {
            "notifications/initialized" => call.respond("503 Busy", &[], ""),
            _ => call.normal(),
        });
        let error = on(&Clock::new()).connect(server.transport()).await.unwrap_err();
        assert_eq!(error.http().unwrap().status(), 503);
        server.deserted().await;
        let deletes = server.requests().into_iter().filter(|request| request.method == "DELETE");
        let sessions: Vec<_> = deletes.map(|it| it.header("mcp-session-id").map(str::to_owned)).collect();
        assert_eq!(sessions, [Some(SESSION.to_owned())]);
    });
}
