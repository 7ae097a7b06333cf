//! Lines that are no reply, too long, too many, or too late.

use crate::check::{limit, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, normal, pair};
use crate::fault::run::{Run, everywhere};
use crate::fault::{text_result, tool};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::{IoStage, Violation};
use shared_fate_mcp::{CallOptions, Client, Delivery, Driver, Error, ErrorKind, Event, Limits, Stdio};
use smol::channel;
use std::io;
use std::time::Duration;

/// The limit for the length of a line here.
const LINE: usize = 10_000;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.line = LINE;
    limits
}

async fn connect(stdio: Stdio, clock: &Clock) -> (Client, Driver) {
    on(clock).limits(limits()).connect(stdio).await.unwrap()
}

/// What the event hook was told of strays.
fn strays() -> (impl Fn(&Event<'_>) + Send + Sync + 'static, channel::Receiver<String>) {
    let (sender, receiver) = channel::unbounded();
    let hook = move |event: &Event<'_>| {
        if let Event::Stray { excerpt } = event {
            let _ = sender.try_send(excerpt.to_string());
        }
    };
    (hook, receiver)
}

/// Calls the tool `broken`, which is answered with `fault`: that call ends with what `check` says, a
/// call that waits goes on waiting, and a later one succeeds.
async fn meet(run: Run, fault: fn(&Peer, &Value), check: fn(Result<String, Error>)) {
    let (stdio, server) = pair(move |peer, message| match tool(message) {
        "broken" => fault(peer, message),
        _ => normal(peer, message),
    });
    let (client, driver) = connect(stdio, &Clock::new()).await;
    run.drive(driver, async {
        let broken = async {
            let held = server.arrival(|message| tool(message) == "held").await;
            let result = client.call_tool("broken", ()).await;
            assert_eq!(client.pending_calls(), 1, "only the sibling is pending");
            client.ping().await.unwrap();
            server.peer.normal(&held);
            result
        };
        let (sibling, result) = join(client.call_tool("held", ()), broken).await;
        assert_eq!(sibling.unwrap().text(), "fine");
        if let Err(error) = &result {
            story(error);
            assert_eq!(error.delivery(), Delivery::Answered);
        }
        check(result.map(|result| result.text()));
        assert_eq!(client.pending_calls(), 0);
        client.close().await;
        server.input_ended().await;
    })
    .await;
    assert!(server.received().iter().all(|message| message["method"] != "notifications/cancelled"));
}

macro_rules! replies {
    ($($name:ident: $fault:expr => $check:expr;)*) => { $(
        #[test]
        fn $name() {
            everywhere(async |run| meet(run, $fault, $check).await);
        }
    )* };
}

fn malformed(result: Result<String, Error>) {
    let error = result.unwrap_err();
    assert!(matches!(violation(&error), Violation::Malformed(_)), "{error:#}");
}

fn succeeds(result: Result<String, Error>) {
    assert_eq!(result.unwrap(), "fine");
}

/// A reply of exactly this length.
fn reply_of(length: usize, id: &Value) -> String {
    let reply = |text: &str| json!({ "id": id, "jsonrpc": "2.0", "result": text_result(text) }).to_string();
    let reply = reply(&"x".repeat(length - reply("").len()));
    assert_eq!(reply.len(), length);
    assert!(reply.starts_with("{\"id\""));
    reply
}

replies! {
    rmcp_1_3_1_a_reply_that_is_not_json_fails_its_call_at_once:
        |peer, message| peer.write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{oops}}}}\n", message["id"]))
        => malformed;
    rmcp_1_3_1_a_reply_that_is_not_utf_8_fails_its_call_at_once:
        |peer, message| {
            peer.write(format!("{{\"id\":{},\"result\":{{\"content\":[],\"x\":\"", message["id"]));
            peer.write(b"\xff\"}}\n");
        } => malformed;
    rmcp_1_3_2_an_error_without_a_message_is_an_error:
        |peer, message| peer.say(&json!({ "id": message["id"], "error": { "code": -3 } }))
        => |result| assert_eq!(result.unwrap_err().rpc().unwrap().code(), -3);
    rmcp_1_3_2_an_error_that_is_a_string_is_an_error:
        |peer, message| peer.say(&json!({ "id": message["id"], "error": "boom" }))
        => |result| assert_eq!(result.unwrap_err().rpc().unwrap().message(), "boom");
    rmcp_1_3_2_a_result_and_an_error_fail_the_call_at_once:
        |peer, message| peer.say(&json!({ "id": message["id"], "result": {}, "error": { "code": 1 } }))
        => malformed;
    rmcp_1_3_2_neither_result_nor_error_fails_the_call_at_once:
        |peer, message| peer.say(&json!({ "jsonrpc": "2.0", "id": message["id"] }))
        => malformed;
    rmcp_1_3_5_a_reply_at_the_limit_is_taken:
        |peer, message| peer.write(reply_of(LINE, &message["id"]) + "\n")
        => |result| assert!(result.unwrap().len() > LINE - 100);
    rmcp_1_3_5_a_reply_one_past_the_limit_fails_its_call_at_once:
        |peer, message| peer.write(reply_of(LINE + 1, &message["id"]) + "\n")
        => |result| assert_eq!(limit(&result.unwrap_err()), ("the length of a reply", LINE));
    rmcp_1_3_5_a_reply_far_past_the_limit_fails_its_call_before_it_ends:
        |peer, message| {
            let reply = reply_of(20 * LINE, &message["id"]);
            peer.write(&reply[..2 * LINE]);
            peer.write(&reply[2 * LINE..]);
            peer.write("\n");
        } => |result| assert_eq!(limit(&result.unwrap_err()).1, LINE);
    io_05_liv_14_an_oversized_reply_that_names_its_call_at_the_end_fails_it_at_once:
        |peer, message| {
            let result = json!({ "content": [], "x": [[{ "id": 99 }], "y".repeat(3 * LINE)] });
            peer.write(format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},"));
            peer.write(format!("\"id\":{}}}\n", message["id"]));
        } => |result| assert_eq!(limit(&result.unwrap_err()), ("the length of a reply", LINE));
    a_result_of_another_form_fails_at_once:
        |peer, message| peer.say(&json!({ "id": message["id"], "result": "text" }))
        => |result| assert_eq!(*violation(&result.unwrap_err()), Violation::Result);
    content_that_is_a_mere_string_is_text:
        |peer, message| peer.say(&json!({ "id": message["id"], "result": { "content": "text" } }))
        => |result| assert_eq!(result.unwrap(), "text");
    an_id_that_comes_back_as_a_string_is_ours:
        |peer, message| peer.say(&json!({ "id": message["id"].to_string(), "result": text_result("fine") }))
        => succeeds;
    liv_14_garbage_around_the_reply_is_skipped:
        |peer, message| {
            peer.write("npm warn deprecated\n\n\r\n   \n42\n\"x\"\n[]\nContent-Length: 7\r\n");
            peer.write(b"\xff\xfe\x00\n");
            peer.write(json!({ "jsonrpc": "2.0", "method": "x" }).to_string() + "\r\n");
            peer.normal(message);
            peer.write("bye\n");
        } => succeeds;
    liv_14_a_giant_line_is_skipped:
        |peer, message| {
            peer.write("x".repeat(5 * LINE));
            peer.write("\n");
            peer.normal(message);
        } => succeeds;
    liv_14_a_reply_may_come_in_pieces:
        |peer, message| {
            let reply = json!({ "id": message["id"], "result": text_result("fine") }).to_string();
            for byte in reply.bytes() {
                peer.write([byte]);
            }
            peer.write("\n");
        } => succeeds;
    liv_14_a_reply_may_be_in_a_batch:
        |peer, message| {
            let reply = json!({ "id": message["id"], "result": text_result("fine") });
            peer.say(&json!([{ "method": "x" }, 7, reply, { "id": "foreign", "result": 1 }]));
        } => succeeds;
    liv_16_of_two_replies_the_second_is_dropped:
        |peer, message| {
            peer.normal(message);
            peer.say(&json!({ "id": message["id"], "result": text_result("again") }));
        } => succeeds;
    liv_16_an_error_after_the_reply_is_dropped:
        |peer, message| {
            peer.normal(message);
            peer.say(&json!({ "id": message["id"], "error": { "code": 1, "message": "no" } }));
        } => succeeds;
}

/// A call is answered with `fault`, which names no call: that is reported, and the call ends at its deadline.
async fn unattributable(run: Run, fault: fn(&Peer, &Value), reported: &str) {
    let (stdio, server) = pair(move |peer, message| match tool(message) {
        "broken" => fault(peer, message),
        _ => normal(peer, message),
    });
    let clock = Clock::new();
    let (hook, strays) = strays();
    let (client, driver) = on(&clock).limits(limits()).on_event(hook).connect(stdio).await.unwrap();
    run.drive(driver, async {
        let waiting = async {
            assert!(strays.recv().await.unwrap().contains(reported));
            client.ping().await.unwrap();
            clock.pass(Duration::from_secs(60)).await;
        };
        let (result, ()) = join(client.call_tool("broken", ()), waiting).await;
        let error = result.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.delivery(), Delivery::MaybeSent);
        let call = server.received().into_iter().find(|message| tool(message) == "broken").unwrap();
        let cancelled = server.arrival(|message| message["method"] == "notifications/cancelled").await;
        assert_eq!(cancelled["params"]["requestId"], call["id"]);
        // Nobody waits for a late reply (LIV-16).
        server.peer.normal(&call);
        client.ping().await.unwrap();
        client.close().await;
    })
    .await;
}

#[test]
fn liv_15_rmcp_1_3_3_an_error_that_names_nobody_is_reported_and_the_call_ends_at_its_deadline() {
    everywhere(async |run| {
        let fault = |peer: &Peer, _: &Value| {
            peer.say(
                &json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32700, "message": "what?" } }),
            );
        };
        unattributable(run, fault, "what? (code -32700)").await;
    });
}

#[test]
fn rmcp_1_3_4_a_foreign_id_is_reported_and_the_call_ends_at_its_deadline() {
    everywhere(async |run| {
        let fault = |peer: &Peer, _: &Value| peer.say(&json!({ "id": "zebra", "result": {} }));
        unattributable(run, fault, "a reply that nobody waits for").await;
    });
}

#[test]
fn liv_14_garbage_in_place_of_a_reply_is_reported_and_the_call_ends_at_its_deadline() {
    everywhere(async |run| {
        unattributable(run, |peer, _| peer.write("Traceback (most recent call last):\n"), "Traceback").await;
    });
}

#[test]
fn liv_14_a_reply_without_a_line_end_before_the_end_is_a_reply_and_half_of_one_is_none() {
    everywhere(async |run| {
        for is_whole in [true, false] {
            let (stdio, server) = pair(move |peer, message| match tool(message) {
                "broken" => {
                    let reply = json!({ "id": message["id"], "result": text_result("fine") }).to_string();
                    peer.write(&reply[..reply.len() - usize::from(!is_whole)]);
                    peer.hang_up();
                }
                _ => normal(peer, message),
            });
            let (client, driver) = connect(stdio, &Clock::new()).await;
            run.drive(driver, async {
                let (one, two) = join(client.call_tool("held", ()), client.call_tool("broken", ())).await;
                let lost = match two {
                    Ok(result) if is_whole => {
                        assert_eq!(result.text(), "fine");
                        vec![one]
                    }
                    two => vec![one, two],
                };
                assert_eq!(lost.len(), if is_whole { 1 } else { 2 });
                for result in lost {
                    let error = result.unwrap_err();
                    let cause = crate::check::cause(&error);
                    assert!(matches!(cause.kind(), ErrorKind::Io(io) if io.stage() == IoStage::Read));
                    assert_eq!(error.io_kind(), Some(io::ErrorKind::UnexpectedEof));
                    assert_eq!(error.delivery(), Delivery::MaybeSent);
                }
                client.close().await;
                server.input_ended().await;
            })
            .await;
        }
    });
}

#[test]
fn liv_11_the_end_of_a_byte_stream_ends_the_session() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = connect(stdio, &Clock::new()).await;
        run.drive(driver, async {
            let (held, ()) = join(client.call_tool("held", ()), async {
                server.arrival(|message| tool(message) == "held").await;
                server.peer.hang_up();
            })
            .await;
            let error = held.unwrap_err();
            assert_eq!(
                story(&error),
                "the session ended: reading from the server failed: unexpected end of file"
            );
            let error = client.ping().await.unwrap_err();
            assert_eq!(
                (error.io_kind(), error.delivery()),
                (Some(io::ErrorKind::UnexpectedEof), Delivery::NotSent)
            );
            client.close().await;
            server.input_ended().await;
        })
        .await;
    });
}

#[test]
fn liv_15_an_error_that_names_nobody_answers_the_handshake() {
    everywhere(async |_| {
        for id in [r#""id":null,"#, ""] {
            let (stdio, server) = pair(move |peer, _| {
                peer.write(format!(
                    "{{\"jsonrpc\":\"2.0\",{id}\"error\":{{\"code\":-32600,\"message\":\"old\"}}}}\n"
                ));
            });
            let error = on(&Clock::new()).connect(stdio).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Rpc(rpc) if rpc.message() == "old"), "{error:#}");
            assert_eq!(error.delivery(), Delivery::Answered);
            server.input_ended().await;
            assert_eq!(server.received().len(), 1);
        }
    });
}

#[test]
fn liv_27_a_byte_stream_that_ends_before_the_handshake_is_the_cause() {
    everywhere(async |_| {
        let (stdio, server) = pair(|peer, _| peer.hang_up());
        let error = on(&Clock::new()).connect(stdio).await.unwrap_err();
        assert_eq!(error.io_kind(), Some(io::ErrorKind::UnexpectedEof));
        server.input_ended().await;
    });
}

#[test]
fn liv_21_requests_of_the_server_are_answered() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = connect(stdio, &Clock::new()).await;
        run.drive(driver, async {
            server.peer.say(&json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" }));
            let answer = server.arrival(|message| message["id"] == "p").await;
            assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
            server.peer.say(&json!({ "jsonrpc": "2.0", "id": 7.5, "method": "no/such" }));
            let answer = server.arrival(|message| message["id"] == 7.5).await;
            assert_eq!(answer["error"]["code"], -32601);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn liv_16_a_reply_after_the_deadline_is_dropped_and_ids_are_never_used_again() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let clock = Clock::new();
        let (hook, strays) = strays();
        let (client, driver) = on(&clock).on_event(hook).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(Duration::from_secs(5)));
            let late = async {
                let held = server.arrival(|message| tool(message) == "held").await;
                clock.pass(Duration::from_secs(5)).await;
                held
            };
            let (result, held) = join(hasty.call_tool("held", ()), late).await;
            assert!(result.unwrap_err().is_timeout());
            server.peer.normal(&held);
            assert_eq!(strays.recv().await.unwrap(), "a reply that nobody waits for");
            client.ping().await.unwrap();
            client.close().await;
            let mut ids: Vec<_> =
                server.received().iter().filter_map(|message| message["id"].as_u64()).collect();
            let calls = ids.len();
            ids.dedup();
            assert_eq!((calls, ids.is_sorted()), (ids.len(), true));
        })
        .await;
    });
}
