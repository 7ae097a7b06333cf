//! How a client finds out over HTTP which kind of server it has (ERA-01 to ERA-23).

use crate::check::{on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::run::{everywhere, once};
use crate::kit::{ask, http, refusal, reply, seconds};
use crate::modern::{DISCOVER, VERSION, discovered, dual, modern};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{Client, Driver, Error, ErrorKind, Mode, Revision};
use std::sync::Mutex;

async fn connect(server: &Server, clock: &Clock, mode: Mode) -> Result<(Client, Driver), Error> {
    on(clock).mode(mode).connect(http(server).legacy_fallback(false)).await
}

fn methods(server: &Server) -> Vec<String> {
    let requests = server.requests();
    requests.iter().filter(|it| it.method == "POST").map(|it| it.rpc().to_owned()).collect()
}

/// A server that answers probes with these `answers`, one after the other, and the last one for ever. Otherwise it is of both
/// kinds.
fn answering(mut answers: Vec<(&'static str, Value)>) -> Server {
    answers.reverse();
    let answers = Mutex::new(answers);
    Server::start(move |call| {
        if call.request.rpc() != DISCOVER {
            return dual(call);
        }
        let mut answers = answers.lock().unwrap();
        let (status, mut body) = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
        drop(answers);
        let id = call.request.body["id"].clone();
        if body["id"] == "ours" {
            body["id"] = id;
        }
        match body {
            Value::Null => call.respond(status, &["Content-Type: text/html"], "<p>hello"),
            body => call.respond(status, &["Content-Type: application/json"], &body.to_string()),
        }
    })
}

fn unsupported(supported: &[&str]) -> Value {
    let mut refusal = refusal(&json!("ours"), -32022, "Unsupported protocol version");
    refusal["error"]["data"] = json!({ "supported": supported, "requested": VERSION });
    refusal
}

#[test]
fn era_07_10_11_12_14_what_the_answer_to_the_probe_says() {
    let ours = json!("ours");
    let legacy = Some(Revision::V2025_11_25);
    type Row = (&'static str, Vec<(&'static str, Value)>, Option<Revision>);
    let table: Vec<Row> = vec![
        ("ERA-07", vec![("200 OK", reply(&ours, discovered(&[VERSION])))], Some(Revision::V2026_07_28)),
        (
            "ERA-07",
            vec![("200 OK", reply(&ours, discovered(&["2099-01-01", VERSION, "2025-06-18"])))],
            Some(Revision::V2026_07_28),
        ),
        ("ERA-10", vec![("200 OK", reply(&ours, discovered(&["2025-06-18"])))], legacy),
        ("ERA-10", vec![("400 Bad Request", unsupported(&["2025-03-26", "2025-06-18"]))], legacy),
        ("ERA-11", vec![("200 OK", reply(&ours, json!({})))], legacy),
        ("ERA-12", vec![("200 OK", refusal(&ours, -32601, "no"))], legacy),
        ("ERA-12", vec![("404 Not Found", refusal(&ours, -32601, "no"))], legacy),
        ("ERA-12", vec![("500 Internal Server Error", refusal(&ours, -32601, "no"))], legacy),
        ("ERA-06", vec![("400 Bad Request", refusal(&Value::Null, -32000, "Unsupported version"))], legacy),
        ("ERA-06", vec![("400 Bad Request", Value::Null)], legacy),
        ("ERA-14", vec![("404 Not Found", Value::Null)], legacy),
        ("ERA-14", vec![("405 Method Not Allowed", Value::Null)], legacy),
        ("ERA-14", vec![("406 Not Acceptable", Value::Null)], legacy),
        ("ERA-14", vec![("415 Unsupported Media Type", Value::Null)], legacy),
        ("ERA-03", vec![("200 OK", refusal(&ours, -32602, "Invalid request parameters"))], legacy),
        // The client asks once more, at a version that the server has named (ERA-08, ERA-09).
        (
            "ERA-09",
            vec![
                ("400 Bad Request", unsupported(&[VERSION])),
                ("200 OK", reply(&ours, discovered(&[VERSION]))),
            ],
            Some(Revision::V2026_07_28),
        ),
        (
            "ERA-08",
            vec![
                ("200 OK", unsupported(&[VERSION, "2025-06-18"])),
                ("200 OK", reply(&ours, discovered(&[VERSION]))),
            ],
            Some(Revision::V2026_07_28),
        ),
    ];
    everywhere(async move |run| {
        for (row, answers, expected) in &table {
            let (probes, server) = (answers.len(), answering(answers.clone()));
            let clock = Clock::new();
            let (client, driver) = connect(&server, &clock, Mode::Auto).await.unwrap();
            assert_eq!(Some(client.revision()), *expected, "{row}");
            run.drive(driver, async {
                client.call_tool("echo", ()).await.unwrap();
                client.close().await;
            })
            .await;
            let sent = methods(&server);
            assert!(sent[..probes].iter().all(|it| it == DISCOVER), "{row}: {sent:?}");
            match expected {
                Some(Revision::V2026_07_28) => assert!(!sent.contains(&"initialize".to_owned()), "{row}"),
                _ => assert_eq!(sent[probes..][..2], ["initialize", "notifications/initialized"], "{row}"),
            }
        }
    });
}

#[test]
fn era_13_15_16_22_what_says_nothing_is_an_error_and_no_reason_to_fall_back() {
    let table: Vec<(&str, &str, Value)> = vec![
        ("ERA-13", "401 Unauthorized", Value::Null),
        ("ERA-13", "403 Forbidden", Value::Null),
        ("ERA-13", "403 Forbidden", refusal(&Value::Null, -32000, "forbidden")),
        ("ERA-13", "429 Too Many Requests", Value::Null),
        ("ERA-13", "408 Request Timeout", Value::Null),
        ("ERA-13", "502 Bad Gateway", refusal(&Value::Null, -32000, "down")),
        ("ERA-13", "503 Service Unavailable", Value::Null),
        ("ERA-13", "504 Gateway Timeout", Value::Null),
        ("ERA-13", "301 Moved Permanently", Value::Null),
        ("ERA-15", "400 Bad Request", refusal(&json!("ours"), -32020, "header mismatch")),
        ("ERA-15", "400 Bad Request", refusal(&json!("ours"), -32021, "capability missing")),
        ("ERA-08", "400 Bad Request", unsupported(&["2099-01-01"])),
        ("ERA-08", "400 Bad Request", refusal(&json!("ours"), -32022, "no list")),
    ];
    once(async move |_| {
        for (row, status, body) in &table {
            let server = answering(vec![(status, body.clone())]);
            for mode in [Mode::Auto, Mode::Stateless] {
                let before = server.requests().len();
                let error = connect(&server, &Clock::new(), mode).await.unwrap_err();
                let story = story(&error);
                match (error.kind(), error.rpc()) {
                    (ErrorKind::Http(http), _) => assert!(status.starts_with(&http.status().to_string())),
                    (ErrorKind::Protocol(_), _) => {}
                    (_, Some(rpc)) => assert!(story.contains(rpc.message())),
                    _ => panic!("{row}: {story}"),
                }
                assert_eq!(server.requests().len() - before, 1, "{row} {status}");
            }
            server.deserted().await;
        }
    });
}

#[test]
fn era_15_mod_08_a_probe_that_cannot_be_corrected_is_reported_with_what_is_missing() {
    once(async |_| {
        // The client makes the probe's headers from its body, and declares every capability that has a handler: there is
        // nothing to send in another way, so the caller gets the refusal.
        for (code, data) in [
            (-32020, json!({ "header": "Mcp-Method" })),
            (-32021, json!({ "requiredCapabilities": { "sampling": {} } })),
        ] {
            let mut body = refusal(&json!("ours"), code, "no");
            body["error"]["data"] = data.clone();
            let server = answering(vec![("400 Bad Request", body)]);
            for mode in [Mode::Auto, Mode::Stateless] {
                let error = connect(&server, &Clock::new(), mode).await.unwrap_err();
                let rpc = error.rpc().unwrap();
                let found: Value = serde_json::from_str(rpc.data().unwrap()).unwrap();
                assert_eq!((rpc.code(), found, error.http().unwrap().status()), (code, data.clone(), 400));
            }
            assert_eq!(methods(&server), [DISCOVER, DISCOVER], "one probe for each mode, and no handshake");
        }
    });
}

#[test]
fn era_09_liv_24_a_second_refusal_is_final() {
    once(async |_| {
        let server = answering(vec![("400 Bad Request", unsupported(&[VERSION]))]);
        let error = connect(&server, &Clock::new(), Mode::Auto).await.unwrap_err();
        assert_eq!(error.rpc().unwrap().code(), -32022);
        assert_eq!(methods(&server), [DISCOVER, DISCOVER]);
        let server = answering(vec![("400 Bad Request", unsupported(&["2099-01-01", "2100-01-01"]))]);
        let error = connect(&server, &Clock::new(), Mode::Auto).await.unwrap_err();
        assert!(story(&error).contains("2099-01-01, 2100-01-01"), "both versions are told: {error:#}");
    });
}

#[test]
fn era_04_a_client_of_the_new_kind_alone_does_not_shake_hands() {
    once(async |_| {
        for (status, body) in [
            ("404 Not Found", Value::Null),
            ("200 OK", refusal(&json!("ours"), -32601, "no")),
            ("200 OK", reply(&json!("ours"), json!({}))),
            ("400 Bad Request", unsupported(&["2025-06-18"])),
        ] {
            let server = answering(vec![(status, body)]);
            let error = connect(&server, &Clock::new(), Mode::Stateless).await.unwrap_err();
            story(&error);
            assert_eq!(methods(&server), [DISCOVER]);
        }
    });
}

#[test]
fn era_10_21_initialize_names_the_newest_that_both_speak_and_none_of_the_new_kind() {
    once(async |run| {
        for (supported, offer) in
            [(&["2024-11-05", "2025-06-18", "2099-01-01"][..], "2025-06-18"), (&["2025-03-26"], "2025-03-26")]
        {
            let server = answering(vec![("400 Bad Request", unsupported(supported))]);
            let (client, driver) = connect(&server, &Clock::new(), Mode::Auto).await.unwrap();
            run.drive(driver, async { client.close().await }).await;
            assert_eq!(server.requests()[1].body["params"]["protocolVersion"], offer);
        }
    });
}

#[test]
fn era_16_a_server_that_does_not_answer_the_probe_costs_its_deadline() {
    everywhere(async |_| {
        let server = Server::start(|call| match call.request.rpc() {
            DISCOVER => call.hold(),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (result, ()) = join(connect(&server, &clock, Mode::Auto), async {
            server.arrival(|it| it.rpc() == DISCOVER).await;
            clock.pass(seconds(10)).await;
        })
        .await;
        let error = result.unwrap_err();
        let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
        assert_eq!(timeout.after(), seconds(10));
        story(&error);
        server.deserted().await;
        assert_eq!(methods(&server), [DISCOVER]);
    });
}

#[test]
fn era_19_20_mod_11_the_probe_leaves_no_traces() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            DISCOVER => {
                let id = &call.request.body["id"];
                let refusal = refusal(id, -32601, "what?").to_string();
                call.head("200 OK", &["Content-Type: text/event-stream", "Mcp-Session-Id: pr0be"]);
                call.event(&ask("p", "ping", json!({})).to_string());
                call.event(&ask("r", "roots/list", json!({})).to_string());
                call.event(&refusal);
            }
            _ => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new(), Mode::Auto).await.unwrap();
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
        })
        .await;
        let requests = server.requests();
        assert_eq!(requests[0].header("mcp-protocol-version"), Some(VERSION));
        let initialize = &requests[1];
        assert_eq!(initialize.rpc(), "initialize", "nothing is written before it (ERA-19)");
        assert_eq!(initialize.body["params"]["protocolVersion"], "2025-11-25");
        assert_eq!(initialize.body["params"].get("_meta"), None);
        assert_eq!(initialize.header("mcp-protocol-version"), None);
        for request in &requests[1..] {
            assert_eq!((request.header("mcp-method"), request.header("mcp-name")), (None, None));
            assert_ne!(request.header("mcp-session-id"), Some("pr0be"));
            assert_eq!(request.body["params"].get("_meta"), None, "{request:?}");
        }
        assert!(!requests.iter().any(|it| it.body["id"] == "p" || it.body["id"] == "r"));
    });
}

#[test]
fn era_18_a_server_that_wants_no_handshake_after_all_is_asked_once_more() {
    everywhere(async |run| {
        for status in ["200 OK", "400 Bad Request"] {
            let first = Mutex::new(true);
            let server = Server::start(move |call| match call.request.rpc() {
                DISCOVER if std::mem::take(&mut *first.lock().unwrap()) => {
                    call.respond("404 Not Found", &[], "warming up");
                }
                "initialize" => {
                    let mut refusal = unsupported(&[VERSION]);
                    refusal["id"] = call.request.body["id"].clone();
                    call.respond(status, &["Content-Type: application/json"], &refusal.to_string());
                }
                _ => modern(call),
            });
            // The fallback to the older transport is allowed here, and is not used.
            let connecting = on(&Clock::new()).mode(Mode::Auto).connect(http(&server));
            let (client, driver) = connecting.await.unwrap();
            assert_eq!(client.revision(), Revision::LATEST, "{status}");
            run.drive(driver, async {
                client.call_tool("echo", ()).await.unwrap();
                client.close().await;
            })
            .await;
            assert!(server.requests().iter().all(|it| it.method == "POST"));
        }
    });
}

#[test]
fn era_22_ini_03_what_initialize_is_refused_with_is_told() {
    once(async |_| {
        let server = Server::start(|call| match call.request.rpc() {
            "initialize" => {
                let mut refusal = refusal(&call.request.body["id"], -32602, "Unsupported protocol version");
                refusal["error"]["data"] = json!({ "supported": ["1999-01-01"] });
                call.json(&[], &refusal.to_string());
            }
            DISCOVER => call.respond("404 Not Found", &[], ""),
            _ => call.normal(),
        });
        let error = connect(&server, &Clock::new(), Mode::Auto).await.unwrap_err();
        let rpc = error.rpc().unwrap();
        assert_eq!((rpc.code(), rpc.message()), (-32602, "Unsupported protocol version"));
        assert!(rpc.data().unwrap().contains("1999-01-01"), "INI-14");
        let server = Server::start(|call| match call.request.rpc() {
            "initialize" => {
                let result = json!({ "protocolVersion": VERSION, "capabilities": {} });
                let reply = reply(&call.request.body["id"], result).to_string();
                call.json(&[], &reply);
            }
            _ => call.respond("404 Not Found", &[], ""),
        });
        let error = connect(&server, &Clock::new(), Mode::Auto).await.unwrap_err();
        assert_eq!(*violation(&error), Violation::Version(VERSION.to_owned()));
    });
}

#[test]
fn era_01_23_what_is_known_stays_known() {
    everywhere(async |run| {
        let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let legacy = std::sync::Arc::clone(&gone);
        let server = Server::start(move |call| match legacy.load(std::sync::atomic::Ordering::SeqCst) {
            false => modern(call),
            true if call.request.rpc() == DISCOVER => call.respond("404 Not Found", &[], ""),
            true => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new(), Mode::Auto).await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        gone.store(true, std::sync::atomic::Ordering::SeqCst);
        let error = client.reconnect().await.unwrap_err();
        assert_eq!(error.http().unwrap().status(), 404);
        assert!(!methods(&server).contains(&"initialize".to_owned()));
        let (client, driver) = connect(&server, &Clock::new(), Mode::Auto).await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        let before = methods(&server).len();
        let (client, driver) = client.reconnect().await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        assert_eq!(methods(&server)[before], "initialize", "there is no probe");
    });
}
