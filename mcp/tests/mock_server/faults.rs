//! The faults that a test can ask the mock server for.

use crate::kit::{BOTH, Polled, anything, connect, run};
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate_mcp::error::{IoStage, Violation};
use shared_fate_mcp::testing::{Gate, MockServer, Reply};
use shared_fate_mcp::{CallOptions, Client, Delivery, Error, ErrorKind, Mode, Reconnecting, RpcError};
use std::io;
use std::time::Duration;

fn reset() -> Error {
    Error::io(IoStage::Read, io::Error::from(io::ErrorKind::ConnectionReset), Delivery::MaybeSent)
}

/// A server whose tool `t` gives that reply, and whose tool `fine` works.
fn with(reply: impl Fn() -> Reply + Send + Sync + 'static) -> MockServer {
    MockServer::new().tool("t", anything(), move |_: Value| reply()).tool(
        "fine",
        anything(),
        |_: Value| "fine",
    )
}

/// The error of a call of `t` in a session that goes on.
fn error(mode: Mode, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Error {
    run(mode, &with(reply), async |client| {
        let error = client.call_tool("t", ()).await.unwrap_err();
        assert_eq!(client.call_tool("fine", ()).await.unwrap().text(), "fine", "the session goes on");
        assert_eq!(client.pending_calls(), 0);
        error
    })
}

#[test]
fn a_reply_that_never_comes() {
    for mode in BOTH {
        let server = with(Reply::never);
        let (client, mut driver) = connect(mode, &server);
        let mut call = Polled::new(client.call_tool("t", ()));
        call.pending();
        driver.pending();
        call.pending();
        let mut fine = Polled::new(client.call_tool("fine", ()));
        fine.pending();
        driver.pending();
        fine.ready().unwrap();
        assert_eq!((call.wakes(), client.pending_calls()), (0, 1));
        // The deadline is the client's own.
        let hasty = client.with_options(CallOptions::timeout(Duration::ZERO));
        let late = pollster::block_on(hasty.call_tool("t", ())).unwrap_err();
        assert_eq!((late.is_timeout(), late.delivery()), (true, Delivery::MaybeSent));
        drop(call);
        assert_eq!(client.pending_calls(), 0);
    }
}

#[test]
fn a_reply_that_waits_for_gates_of_the_test() {
    for mode in BOTH {
        let (gate, second) = (Gate::new(), Gate::new());
        let gates = (gate.clone(), second.clone());
        let log = json!({ "level": "info", "data": "half" });
        let server = with(move || {
            let reply = Reply::text("late").after(&gates.0);
            reply.after_notification("notifications/message", &log).after(&gates.1)
        });
        let (client, mut driver) = connect(mode, &server);
        let mut calls = [Polled::new(client.call_tool("t", ())), Polled::new(client.call_tool("t", ()))];
        calls.iter_mut().for_each(Polled::pending);
        driver.pending();
        let before = driver.wakes();
        second.open();
        assert_eq!(driver.wakes(), before, "the reply waits for both gates");
        gate.open();
        assert!(driver.wakes() > before);
        driver.pending();
        for call in &mut calls {
            assert!(call.wakes() > 0);
            assert_eq!(call.ready().unwrap().text(), "late");
        }
        // A gate stays open.
        let mut call = Polled::new(client.call_tool("t", ()));
        call.pending();
        driver.pending();
        call.ready().unwrap();
    }
}

#[test]
fn a_gate_that_opens_for_nobody() {
    let gate = Gate::new();
    let gates = gate.clone();
    let server = with(move || Reply::text("late").after(&gates));
    let (client, mut driver) = connect(Mode::Legacy, &server);
    let mut call = Polled::new(client.call_tool("t", ()));
    call.pending();
    drop(call);
    driver.pending();
    gate.open();
    driver.pending();
    assert!(!client.session().is_ended(), "a late reply is stray");
    // A gate may also open when the driver is gone.
    let gate = Gate::new();
    let gates = gate.clone();
    let server = with(move || Reply::text("late").after(&gates));
    let (client, driver) = connect(Mode::Legacy, &server);
    let mut call = Polled::new(client.call_tool("t", ()));
    call.pending();
    drop(driver);
    assert!(matches!(call.ready().unwrap_err().session_cause(), Some(Cause::Dropped)));
    gate.open();
}

#[test]
fn a_session_that_ends_with_the_error_of_the_tests_choice() {
    for mode in BOTH {
        for late in [false, true] {
            let gate = Gate::new();
            let gates = gate.clone();
            let server = with(move || Reply::end_session(reset()).after(&gates)).tool(
                "hangs",
                anything(),
                |_: Value| Reply::never(),
            );
            let (client, mut driver) = connect(mode, &server);
            if !late {
                gate.open();
            }
            let mut calls =
                [Polled::new(client.call_tool("hangs", ())), Polled::new(client.call_tool("t", ()))];
            calls.iter_mut().for_each(Polled::pending);
            if late {
                driver.pending();
                gate.open();
            }
            driver.ready();
            for call in &mut calls {
                assert!(call.wakes() > 0);
                let error = call.ready().unwrap_err();
                assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionReset));
                assert!(error.is_session_ended());
                assert_eq!(error.delivery(), Delivery::MaybeSent);
            }
            let error = Polled::new(client.ping()).ready().unwrap_err();
            assert_eq!((error.is_session_ended(), error.delivery()), (true, Delivery::NotSent));
        }
    }
}

#[test]
fn a_session_that_ends_at_any_time() {
    let server = with(Reply::never);
    assert!(!server.end_session(reset()), "nobody is there");
    let (client, mut driver) = connect(Mode::Legacy, &server);
    let mut call = Polled::new(client.call_tool("t", ()));
    call.pending();
    assert!(server.end_session(reset()));
    driver.ready();
    assert_eq!(call.ready().unwrap_err().io_kind(), Some(io::ErrorKind::ConnectionReset));
    assert!(!server.end_session(reset()), "the client is gone");
}

#[test]
fn a_server_that_exits_as_a_process_does() {
    let server = with(|| Reply::exit(7, "fatal: disk full"));
    let error = run(Mode::Legacy, &server, async |client| client.call_tool("t", ()).await.unwrap_err());
    let text = "the session ended: the server process ended with exit status 7; its last words: \"fatal: disk full\"";
    assert_eq!(format!("{error:#}"), text);
    let cause = error.session_cause().and_then(Cause::error).unwrap();
    let ErrorKind::ServerExited(exited) = cause.kind() else { panic!("{cause:#}") };
    assert_eq!(exited.status().and_then(|status| status.code()), Some(7));
}

#[test]
fn a_server_that_ended_can_be_connected_to_again() {
    for mode in BOTH {
        let server = with(|| "fine".into()).once("tools/call", Reply::exit(1, "bye"));
        run(mode, &server, async |client| {
            client.call_tool("t", ()).await.unwrap_err();
            let (client, driver) = client.reconnect().await.unwrap();
            driver.run_until(async { client.call_tool("t", ()).await.map(drop) }).await
        })
        .unwrap();
        assert_eq!(server.received("tools/call").len(), 2);
    }
}

#[test]
fn http_500() {
    for mode in BOTH {
        let error = error(mode, || Reply::http_status(500, "out of memory"));
        assert_eq!(error.to_string(), "the server answered with HTTP status 500: \"out of memory\"");
        assert_eq!(error.http().map(|http| http.status()), Some(500));
        assert_eq!((error.delivery(), error.is_retryable()), (Delivery::Answered, true));
    }
}

#[test]
fn a_failure_of_the_tests_choice_also_when_a_gate_opens_or_the_client_has_answered() {
    let refused =
        || Error::io(IoStage::Connect, io::Error::from(io::ErrorKind::ConnectionRefused), Delivery::NotSent);
    for mode in BOTH {
        let error = error(mode, move || Reply::failure(refused()));
        assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!((error.delivery(), error.is_retryable()), (Delivery::NotSent, true));
    }
    let gate = Gate::new();
    let gates = gate.clone();
    let server = with(move || Reply::ask("ping", (), |_| Reply::http_status(503, "")).after(&gates));
    let (client, mut driver) = connect(Mode::Legacy, &server);
    let mut call = Polled::new(client.call_tool("t", ()));
    call.pending();
    driver.pending();
    gate.open();
    while call.wakes() == 0 {
        driver.pending();
    }
    assert_eq!(call.ready().unwrap_err().http().map(|http| http.status()), Some(503));
}

#[test]
fn a_json_rpc_error_with_data() {
    let error = error(Mode::Legacy, || Reply::error(RpcError::new(-32000, "busy")));
    let rpc = error.rpc().unwrap();
    assert_eq!((rpc.code(), rpc.message(), rpc.data()), (-32000, "busy", None));
}

fn violation(error: &Error) -> &Violation {
    match error.kind() {
        ErrorKind::Protocol(error) => error.violation(),
        _ => panic!("{error:#}"),
    }
}

#[test]
fn half_a_line() {
    for mode in BOTH {
        for reply in [
            || Reply::text("a text").cut_short(),
            || Reply::result(json!({})).cut_short(),
            || Reply::text("ä€🦀").cut_short(),
            || Reply::error(RpcError::new(-1, "no")).cut_short(),
        ] {
            let error = error(mode, reply);
            assert!(matches!(violation(&error), Violation::Malformed(_)), "{error:#}");
            assert_eq!(error.delivery(), Delivery::Answered);
        }
    }
}

#[test]
fn a_malformed_reply() {
    let error = error(Mode::Legacy, || Reply::raw(r#"{"jsonrpc":"2.0","id":$id}"#));
    assert!(matches!(violation(&error), Violation::Malformed(_)), "{error:#}");
    // A reply that names no call is stray, and the calls wait on.
    let server = with(|| Reply::raw("panic: at the disco"));
    let (client, mut driver) = connect(Mode::Legacy, &server);
    let mut calls = [Polled::new(client.call_tool("t", ())), Polled::new(client.call_tool("t", ()))];
    calls.iter_mut().for_each(Polled::pending);
    driver.pending();
    calls.iter_mut().for_each(Polled::pending);
    assert!(!client.session().is_ended());
}

#[test]
fn a_client_that_reconnects_by_itself() {
    let server = with(|| "fine".into()).once("tools/call", Reply::exit(1, "bye"));
    let test = async {
        let (clients, driver) = Reconnecting::connect(Client::builder(), server.transport()).await?;
        driver
            .run_until(async {
                clients.client().await?.call_tool("t", ()).await.unwrap_err();
                clients.client().await?.call_tool("t", ()).await.map(|result| result.text())
            })
            .await
    };
    assert_eq!(pollster::block_on(test).unwrap(), "fine");
}
