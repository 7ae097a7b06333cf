//! How a client finds out over a pipe which kind of server it has (ERA-02, ERA-03, ERA-16 to ERA-20, LIV-15), and revision
//! 2026-07-28 over a pipe.

use crate::check::{cause, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, Server, normal, pair, process};
use crate::fault::run::{everywhere, once};
use crate::fault::tool;
use crate::kit::{Log, ask, is_answer, refusal, reply, seconds, tell};
use crate::modern::{DISCOVER, META, VERSION, discovered, modern_answer};
use crate::script::script;
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{CallOptions, Delivery, ErrorKind, Mode, Revision, Timeouts};
use std::pin::pin;

fn modern(peer: &Peer, message: &Value) {
    if tool(message) != "held" {
        if let Some(answer) = modern_answer(message) {
            peer.say(&answer);
        }
    }
}

fn methods(server: &Server) -> Vec<Value> {
    server.received().iter().map(|it| it["method"].clone()).collect()
}

const HANDSHAKE: [&str; 3] = [DISCOVER, "initialize", "notifications/initialized"];

#[test]
fn era_02_the_probe_comes_first_and_says_everything() {
    everywhere(async |run| {
        let (stdio, server) = pair(modern);
        let (client, driver) = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap();
        assert_eq!(client.revision(), Revision::LATEST);
        run.drive(driver, async {
            client.call_tool("echo", json!({ "a": 1 })).await.unwrap();
            let received = server.received();
            assert_eq!(methods(&server), [DISCOVER, "tools/call"], "a pipe needs no list of tools");
            for message in &received {
                let meta = message["params"]["_meta"].as_object().unwrap();
                assert_eq!(meta[&format!("{META}protocolVersion")], VERSION);
                assert_eq!(meta[&format!("{META}clientCapabilities")], json!({}));
                assert_eq!(meta.len(), 3);
            }
            assert_eq!(received[0]["params"].as_object().unwrap().len(), 1, "DIS-02");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn era_03_liv_15_any_other_answer_means_a_handshake() {
    everywhere(async |run| {
        let ours = json!("ours");
        for answer in [
            refusal(&ours, -32601, "no"),
            refusal(&ours, -32602, "Invalid request parameters"),
            refusal(&ours, -32000, "not initialized"),
            refusal(&ours, 0, "expected initialize request"),
            refusal(&Value::Null, -32600, "who are you?"),
            json!({ "jsonrpc": "2.0", "error": { "code": -1, "message": "?" } }),
            reply(&ours, json!({})),
            reply(&ours, json!(null)),
            reply(&ours, discovered(&["2025-11-25"])),
            json!({ "jsonrpc": "2.0", "id": "ours" }),
            json!({ "jsonrpc": "2.0", "id": "ours", "result": {}, "error": { "code": 1, "message": "both" } }),
        ] {
            let (stdio, server) = pair(move |peer: &Peer, message: &Value| {
                if message["method"] != DISCOVER {
                    return normal(peer, message);
                }
                let mut answer = answer.clone();
                if answer["id"] == "ours" {
                    answer["id"] = message["id"].clone();
                }
                peer.say(&answer);
            });
            let (client, driver) = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap();
            assert_eq!(client.revision(), Revision::LATEST_WITH_HANDSHAKE);
            run.drive(driver, async {
                client.ping().await.unwrap();
                client.close().await;
            })
            .await;
            assert_eq!(methods(&server)[..3], HANDSHAKE);
            assert_eq!(server.received()[1]["params"].get("_meta"), None, "ERA-20");
        }
    });
}

#[test]
fn era_08_09_15_what_only_a_new_server_says_is_no_reason_to_fall_back() {
    once(async |_| {
        for (code, data, probes) in [
            (-32020, Value::Null, 1),
            (-32021, json!({ "requiredCapabilities": {} }), 1),
            (-32022, json!({ "supported": ["2099-01-01"] }), 1),
            (-32022, Value::Null, 1),
            (-32022, json!({ "supported": [VERSION] }), 2),
        ] {
            let (stdio, server) = pair(move |peer: &Peer, message: &Value| {
                let mut refusal = refusal(&message["id"], code, "no");
                refusal["error"]["data"] = data.clone();
                peer.say(&refusal);
            });
            let error = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap_err();
            story(&error);
            server.input_ended().await;
            assert_eq!(methods(&server), vec![DISCOVER; probes], "{code}");
        }
    });
}

#[test]
fn era_16_18_19_20_silence_means_a_handshake_and_a_late_answer_nothing() {
    everywhere(async |run| {
        let mut probe = Value::Null;
        let (stdio, server) = pair(move |peer: &Peer, message: &Value| match message["method"].as_str() {
            Some(DISCOVER) => {
                probe = message["id"].clone();
                peer.say(&ask("p", "ping", json!({})));
                peer.say(&tell("notifications/message", json!({ "level": "info", "data": "starting" })));
            }
            Some("initialize") => {
                peer.say(&ask("p2", "ping", json!({})));
                peer.say(&reply(&probe, discovered(&[VERSION])));
                peer.normal(message);
            }
            _ => normal(peer, message),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let connecting = log.events(on(&clock)).mode(Mode::Auto).connect(stdio);
        let (connected, ()) = join(connecting, async {
            while log.count("starting") == 0 {
                smol::future::yield_now().await;
            }
            clock.pass(seconds(10)).await;
        })
        .await;
        let (client, driver) = connected.unwrap();
        assert_eq!(client.revision(), Revision::LATEST_WITH_HANDSHAKE);
        run.drive(driver, async {
            server.arrival(|it| is_answer(it, "p2")).await;
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        let calls: Vec<_> = methods(&server).into_iter().filter(|it| !it.is_null()).collect();
        assert_eq!(calls[..3], HANDSHAKE, "there is no cancellation in between");
        assert!(!server.received().iter().any(|it| is_answer(it, "p")), "ERA-19");
        assert_eq!(log.count("a reply that nobody waits for"), 1, "{:?}", log.lines());
    });
}

#[test]
fn era_04_16_a_client_of_the_new_kind_alone_reports_the_silence() {
    everywhere(async |_| {
        let (stdio, server) = pair(|_: &Peer, _: &Value| {});
        let clock = Clock::new();
        let connecting = on(&clock).mode(Mode::Stateless).connect(stdio);
        let (result, ()) = join(connecting, clock.pass(seconds(10))).await;
        let error = result.unwrap_err();
        assert!(error.is_timeout(), "{error:#}");
        server.input_ended().await;
        assert_eq!(methods(&server), [DISCOVER]);
    });
}

#[test]
fn liv_27_a_server_that_answers_nothing_at_all_costs_the_handshakes_time() {
    everywhere(async |_| {
        let (stdio, server) = pair(|_: &Peer, _: &Value| {});
        let clock = Clock::new();
        let connecting = on(&clock).mode(Mode::Auto).connect(stdio);
        let (result, ()) = join(connecting, async {
            clock.pass(seconds(10)).await;
            server.arrival(|it| it["method"] == "initialize").await;
            clock.advance(seconds(50));
        })
        .await;
        let error = result.unwrap_err();
        let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
        assert_eq!(timeout.after(), seconds(60));
        server.input_ended().await;
        assert_eq!(methods(&server), HANDSHAKE[..2]);
    });
}

/// However little time there is, the probe must leave some for the handshake.
#[test]
fn era_16_liv_27_a_silent_server_is_reached_when_the_handshake_has_no_more_time_than_the_probe() {
    everywhere(async |run| {
        for (handshake, probe, silent) in [
            (seconds(10), Some(seconds(10)), seconds(5)),
            (seconds(4), Some(seconds(10)), seconds(2)),
            (seconds(4), None, seconds(2)),
            (seconds(4), Some(seconds(1)), seconds(1)),
        ] {
            let (stdio, server) = pair(|peer: &Peer, message: &Value| match message["method"].as_str() {
                Some(DISCOVER) => {}
                _ => normal(peer, message),
            });
            let clock = Clock::new();
            let mut timeouts = Timeouts::default();
            (timeouts.handshake, timeouts.probe) = (Some(handshake), probe);
            let connecting = on(&clock).timeouts(timeouts).mode(Mode::Auto).connect(stdio);
            let (connected, ()) = join(connecting, async {
                server.arrival(|it| it["method"] == DISCOVER).await;
                clock.pass(silent).await;
            })
            .await;
            let (client, driver) = connected.unwrap();
            assert_eq!(client.revision(), Revision::LATEST_WITH_HANDSHAKE);
            run.drive(driver, client.close()).await;
        }
        // Where there is nothing to fall back on, the probe has all the time that there is.
        let (stdio, _server) = pair(|_: &Peer, _: &Value| {});
        let clock = Clock::new();
        let mut timeouts = Timeouts::default();
        (timeouts.handshake, timeouts.probe) = (Some(seconds(4)), None);
        let connecting = on(&clock).timeouts(timeouts).mode(Mode::Stateless).connect(stdio);
        let (result, ()) = join(connecting, clock.pass(seconds(4))).await;
        assert!(result.unwrap_err().is_timeout());
    });
}

#[test]
#[cfg(unix)] // a shell script
fn era_17_a_child_that_quits_when_asked_is_started_again_once() {
    everywhere(async |run| {
        let (stdio, notes) = script("*server/discover*) exit 3 ;;");
        let (client, driver) = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap();
        assert_eq!(client.revision(), Revision::LATEST_WITH_HANDSHAKE);
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        let processes = notes.processes();
        let told =
            |process: usize| processes[process].iter().map(|it| it["method"].clone()).collect::<Vec<_>>();
        assert_eq!((processes.len(), told(0)), (2, vec![json!(DISCOVER)]));
        assert_eq!(told(1), ["initialize", "notifications/initialized", "ping"]);
    });
}

#[test]
#[cfg(unix)] // a shell script
fn era_17_liv_24_a_child_that_quits_again_is_given_up() {
    everywhere(async |_| {
        let (stdio, notes) =
            script("*server/discover*) exit 3 ;; *initialize*) echo 'no license' >&2; exit 4 ;;");
        let error = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap_err();
        let ErrorKind::ServerExited(exited) = cause(&error).kind() else { panic!("{error:#}") };
        assert_eq!(exited.status().unwrap().code(), Some(4));
        assert!(story(&error).contains("no license"));
        assert_eq!(notes.processes().len(), 2);
    });
}

#[test]
#[cfg(unix)] // a shell script
fn era_17_era_23_only_a_client_that_does_not_know_its_server_starts_a_child_again() {
    everywhere(async |run| {
        let (stdio, notes) = script("*server/discover*) exit 3 ;;");
        let error = on(&Clock::new()).mode(Mode::Stateless).connect(stdio).await.unwrap_err();
        assert!(matches!(cause(&error).kind(), ErrorKind::ServerExited(_)), "{error:#}");
        assert_eq!(notes.processes().len(), 1, "a stateless client does not try a handshake");
        let found = discovered(&[VERSION]);
        let (stdio, notes) =
            script(&format!("*server/discover*) [ $starts = 1 ] || exit 3; say '\"result\":{found}' ;;"));
        let (client, driver) = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        let error = client.reconnect().await.unwrap_err();
        assert!(matches!(cause(&error).kind(), ErrorKind::ServerExited(_)), "{error:#}");
        assert_eq!(notes.processes().len(), 2);
        assert!(!notes.processes()[1].iter().any(|it| it["method"] == "initialize"));
    });
}

#[test]
fn era_17_streams_cannot_be_had_again() {
    everywhere(async |_| {
        let (stdio, server) = pair(|peer: &Peer, _: &Value| peer.hang_up());
        let error = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap_err();
        assert!(matches!(cause(&error).kind(), ErrorKind::Io(_)), "{error:#}");
        server.input_ended().await;
        assert_eq!(methods(&server), [DISCOVER]);
    });
}

#[test]
fn era_21_with_a_handshake_alone_there_is_no_probe() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).mode(Mode::Legacy).connect(stdio).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        assert_eq!(methods(&server)[..2], HANDSHAKE[1..]);
        assert_eq!(server.received()[0]["params"]["protocolVersion"], "2025-11-25");
    });
}

#[test]
fn can_01_m_17_a_call_that_is_given_up_is_cancelled_by_a_notification() {
    everywhere(async |run| {
        let (stdio, server) = pair(modern);
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).mode(Mode::Stateless).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let mut sibling = pin!(client.call_tool("held", json!({ "sibling": true })));
            assert!(futures::poll!(&mut sibling).is_pending());
            server.arrival(|it| tool(it) == "held").await;
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let (result, held) = join(hasty.call_tool("held", ()), async {
                let held = server.arrival(|it| tool(it) == "held").await;
                clock.pass(seconds(5)).await;
                held
            })
            .await;
            assert_eq!(result.unwrap_err().delivery(), Delivery::MaybeSent);
            let cancelled = server.arrival(|it| it["method"] == "notifications/cancelled").await;
            assert_eq!(cancelled["params"]["requestId"], held["id"]);
            // A late reply (CAN-03, M-15) and a request (M-17) are dropped.
            server.peer.say(&reply(&held["id"], json!({ "content": [] })));
            server.peer.say(&ask("q", "ping", json!({})));
            client.call_tool("echo", ()).await.unwrap();
            assert!(!server.received().iter().any(|it| is_answer(it, "q")), "M-17");
            assert_eq!(log.count("Stray"), 2, "{:?}", log.lines());
            assert!(futures::poll!(&mut sibling).is_pending());
            client.close().await;
            sibling.await.unwrap_err();
        })
        .await;
    });
}

#[test]
fn ini_03_a_server_that_answers_with_a_revision_of_its_own_is_refused() {
    once(async |_| {
        let (stdio, server) = pair(|peer: &Peer, message: &Value| {
            if message["method"] == "initialize" {
                let result = json!({ "protocolVersion": "1999-01-01", "capabilities": {} });
                peer.say(&reply(&message["id"], result));
            } else {
                normal(peer, message);
            }
        });
        let error = on(&Clock::new()).mode(Mode::Auto).connect(stdio).await.unwrap_err();
        assert_eq!(*violation(&error), Violation::Version("1999-01-01".to_owned()));
        server.input_ended().await;
        assert_eq!(methods(&server), HANDSHAKE[..2]);
    });
}

/// The limit of the handshake is for both attempts together.
#[test]
fn era_17_a_child_that_quits_late_leaves_the_next_one_the_rest_of_the_time() {
    once(async |_| {
        let clock = Clock::new();
        let moving = clock.clone();
        let (stdio, _server) = process(move |peer: &Peer, message: &Value| {
            if message["method"] == DISCOVER {
                moving.advance(seconds(9));
                peer.exit(3);
            }
        });
        let connecting = on(&clock).mode(Mode::Auto).connect(stdio);
        let (connected, ()) = join(connecting, clock.pass(seconds(51))).await;
        let error = connected.unwrap_err();
        let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
        assert_eq!(timeout.after(), seconds(60));
    });
}
