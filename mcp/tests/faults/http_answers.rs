//! Answers over HTTP that are no reply: each fails its own call, at once, and nothing else.

use crate::check::{SECRETS, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, SESSION, Server, transport};
use crate::fault::run::{everywhere, once};
use crate::fault::{Gate, text_result};
use futures::future::join;
use serde_json::json;
use shared_fate_mcp::error::{HttpError, Violation};
use shared_fate_mcp::{Delivery, Error, ErrorKind};
use std::io;
use std::time::Duration;

/// Calls the tool `broken`, to which the server does `fault`: the call fails at once, and `check`
/// says with what. A call that was on its way before it succeeds, so does a later one, and when the
/// client is closed nothing is left.
async fn meet(run: crate::fault::run::Run, fault: fn(&mut Call), check: fn(&Error)) {
    let gate = Gate::default();
    let held = gate.clone();
    let server = Server::start(move |call| match call.request.tool() {
        "broken" => fault(call),
        "held" => {
            held.wait();
            call.normal();
        }
        _ => call.normal(),
    });
    let http = transport(&(server.url() + "?qu3ry")).bearer("t0ken").unwrap();
    let (client, driver) = on(&Clock::new()).connect(http).await.unwrap();
    run.drive(driver, async {
        let broken = async {
            server.arrival(|request| request.tool() == "held").await;
            let error = client.call_tool("broken", json!({ "n": 1 })).await.unwrap_err();
            assert_eq!(client.pending_calls(), 1, "only the sibling is pending");
            gate.open();
            error
        };
        let (sibling, error) = join(client.call_tool("held", ()), broken).await;
        assert_eq!(sibling.unwrap().text(), "fine");
        story(&error);
        check(&error);
        assert!(!error.is_session_ended());
        if error.delivery() == Delivery::MaybeSent {
            // The server may be at work on the call.
            server.arrival(|request| request.rpc() == "notifications/cancelled").await;
        }
        client.ping().await.unwrap();
        assert_eq!(client.pending_calls(), 0);
        assert!(!client.session().is_ended());
        client.close().await;
        server.deserted().await;
        let requests = server.requests();
        assert_eq!(requests.iter().filter(|request| request.tool() == "broken").count(), 1, "sent twice");
        let delete = requests.iter().find(|request| request.method == "DELETE").unwrap();
        assert_eq!(delete.header("mcp-session-id"), Some(SESSION));
        let cancelled = requests.iter().any(|request| request.rpc() == "notifications/cancelled");
        assert_eq!(cancelled, error.delivery() == Delivery::MaybeSent);
    })
    .await;
}

/// One test for each fault.
macro_rules! faults {
    ($($name:ident: $fault:expr => $check:expr;)*) => { $(
        #[test]
        fn $name() {
            everywhere(async |run| meet(run, $fault, $check).await);
        }
    )* };
}

fn http(error: &Error) -> &HttpError {
    assert_eq!(error.delivery(), Delivery::Answered);
    match error.kind() {
        ErrorKind::Http(http) => http,
        _ => panic!("no HTTP status: {error:#}"),
    }
}

fn broke(error: &Error, expected: Violation) {
    assert_eq!(*violation(error), expected, "{error:#}");
    assert_eq!(error.delivery(), Delivery::Answered);
    assert!(!error.is_retryable());
}

fn malformed(error: &Error) {
    assert!(matches!(violation(error), Violation::Malformed(_)), "{error:#}");
}

fn io_error(error: &Error, kind: io::ErrorKind, delivery: Delivery) {
    assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error:#}");
    assert_eq!(error.io_kind(), Some(kind), "{error:#}");
    assert_eq!(error.delivery(), delivery);
}

faults! {
    liv_01_accepted_without_a_reply_fails_at_once:
        |call| call.respond("202 Accepted", &[], "")
        => |error| broke(error, Violation::NoReply { status: 202 });
    liv_01_accepted_with_a_json_body_fails_at_once:
        |call| call.respond("202 Accepted", &["Content-Type: application/json"], "{}")
        => |error| broke(error, Violation::NoReply { status: 202 });
    liv_01_no_content_fails_at_once:
        |call| call.respond("204 No Content", &[], "")
        => |error| broke(error, Violation::NoReply { status: 204 });
    liv_01_an_empty_body_fails_at_once:
        |call| call.respond("200 OK", &[], "")
        => |error| broke(error, Violation::NoReply { status: 200 });
    liv_01_an_empty_json_body_fails_at_once:
        |call| call.json(&[], "")
        => |error| broke(error, Violation::NoReply { status: 200 });
    liv_01_an_empty_chunked_body_fails_at_once:
        |call| {
            call.head("200 OK", &["Transfer-Encoding: chunked"]);
            call.write("0\r\n\r\n");
        } => |error| broke(error, Violation::NoReply { status: 200 });
    liv_01_html_fails_at_once:
        |call| call.respond("200 OK", &["Content-Type: Text/HTML; charset=utf-8"], "<p>Log in</p>")
        => |error| broke(error, Violation::ContentType(Some("text/html".into())));
    liv_01_a_body_without_a_type_fails_at_once:
        |call| call.respond("200 OK", &[], "try again")
        => |error| {
            broke(error, Violation::ContentType(None));
            assert!(story(error).contains("\"try again\""));
        };
    liv_01_a_page_that_repeats_the_token_is_quoted_without_it:
        |call| call.respond("200 OK", &["Content-Type: text/html"], "<p>t0ken is not known</p>")
        => |error| {
            broke(error, Violation::ContentType(Some("text/html".into())));
            assert!(story(error).contains("<p>*** is not known</p>"));
        };
    sec_09_a_content_type_that_repeats_the_token_is_shown_without_it:
        |call| call.respond("200 OK", &["Content-Type: text/t0ken"], "no")
        => |error| broke(error, Violation::ContentType(Some("text/***".into())));
    sec_09_an_encoding_that_repeats_the_token_is_shown_without_it:
        |call| call.respond("200 OK", &["Content-Type: application/json", "Content-Encoding: t0ken"], "no")
        => |error| broke(error, Violation::ContentEncoding("***".into()));
    sec_09_a_place_that_repeats_the_token_is_shown_without_it:
        |call| call.respond("302 Found", &["Location: /login/t0ken"], "")
        => |error| assert_eq!(http(error).location(), Some("/login/***"));
    sec_09_the_query_is_not_shown_on_the_usual_page_of_a_404:
        |call| {
            let page = format!("Cannot POST {}", call.request.target);
            call.respond("405 X", &[], &page);
        } => |error| assert_eq!(http(error).body_excerpt(), "Cannot POST /mcp?***");
    sec_09_an_error_that_repeats_secrets_is_shown_without_them:
        |call| {
            let id = call.request.body["id"].clone();
            let text = format!(r#"{{"id":{id},"error":{{"code":1,"message":"\u0074\u0030ken of {SESSION}","data":["qu\u0033ry"]}}}}"#);
            call.json(&[], &text);
        } => |error| {
            assert_eq!(error.rpc().unwrap().message(), "*** of ***");
            assert_eq!(error.rpc().unwrap().data(), Some(r#"["***"]"#));
        };
    sec_09_a_refusal_with_escapes_is_shown_without_secrets:
        |call| call.respond("400 X", &["Content-Type: application/json"], r#"{"why":"\u0074\u0030ken"}"#)
        => |error| assert_eq!(http(error).body_excerpt(), r#"{"why":"***"}"#);
    liv_01_a_body_that_is_no_message_is_quoted:
        |call| call.json(&[], "\u{202e}{nonsense")
        => |error| {
            malformed(error);
            assert!(story(error).contains("{nonsense"));
        };
    liv_01_a_length_beyond_the_limit_fails_at_the_head:
        |call| {
            call.head("200 OK", &["Content-Type: application/json", "Content-Length: 1099511627776"]);
            call.hold();
        } => |error| assert!(matches!(error.kind(), ErrorKind::Limit(_)), "{error:#}");

    liv_02_a_plain_500_fails_at_once_with_status_and_body:
        |call| call.respond("500 Oh No", &["Content-Type: text/plain"], "database\tis down")
        => |error| {
            assert_eq!(http(error).status(), 500);
            assert_eq!(http(error).body_excerpt(), "database\u{fffd}is down");
            assert!(story(error).contains("database"));
            assert!(error.is_retryable());
            assert!(error.rpc().is_none());
        };
    liv_02_a_503_says_when_to_come_back:
        |call| call.respond("503 Service Unavailable", &["Retry-After: 30"], "")
        => |error| {
            assert_eq!(http(error).retry_after(), Some(Duration::from_secs(30)));
            assert!(error.is_retryable());
        };
    liv_02_a_429_says_when_to_come_back:
        |call| call.respond("429 Too Many Requests", &["Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"], "")
        => |error| {
            assert_eq!((http(error).status(), http(error).retry_after()), (429, Some(Duration::ZERO)));
            assert!(error.is_retryable());
        };
    liv_02_a_401_shows_its_challenge:
        |call| call.respond("401 Unauthorized", &[
            "WWW-Authenticate: Bearer resource_metadata=\"https://a.example/m\"",
            "WWW-Authenticate: Basic",
        ], "")
        => |error| {
            let challenges = ["Bearer resource_metadata=\"https://a.example/m\"", "Basic"];
            assert_eq!(http(error).www_authenticate(), challenges);
            assert!(!error.is_retryable());
        };
    oa_00_a_401_with_a_long_challenge_and_a_body_of_oauths:
        |call| {
            let scope = "files:read ".repeat(200);
            let challenge = format!("WWW-Authenticate: Bearer scope=\"{scope}\", resource_metadata=\"https://a.example/m\"");
            call.respond("401 Unauthorized", &[&challenge], r#"{"error":"invalid_token","error_description":"gone"}"#);
        } => |error| {
            let challenges = http(error).challenges();
            assert_eq!(challenges[0].param("resource_metadata"), Some("https://a.example/m"));
            assert!(http(error).www_authenticate()[0].len() <= 1024 && error.rpc().is_none());
            assert!(story(error).contains("HTTP status 401") && !story(error).contains("code 0"));
        };
    liv_02_400_with_an_error_of_ours:
        |call| {
            let error = json!({ "code": -32602, "message": "bad n", "data": [1] });
            let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": error });
            call.respond("400 Bad Request", &["Content-Type: application/json"], &body.to_string());
        } => |error| {
            assert_eq!(http(error).status(), 400);
            let rpc = error.rpc().unwrap();
            assert_eq!((rpc.code(), rpc.message(), rpc.data()), (-32602, "bad n", Some("[1]")));
            assert!(story(error).contains("bad n") && story(error).contains("HTTP status 400"));
        };
    liv_02_400_with_an_error_without_id:
        |call| call.respond("400 Bad Request", &[], r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"who"}}"#)
        => |error| assert_eq!((http(error).status(), error.rpc().unwrap().message()), (400, "who"));
    liv_02_500_with_an_error_whose_id_is_null:
        |call| call.respond("500 X", &[], r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"who"}}"#)
        => |error| assert_eq!((http(error).status(), error.rpc().unwrap().code()), (500, -1));
    liv_02_422_with_an_error_whose_id_is_foreign:
        |call| call.respond("422 X", &[], r#"{"id":"server-error","error":{"code":-5,"message":"who"}}"#)
        => |error| assert_eq!((http(error).status(), error.rpc().unwrap().code()), (422, -5));
    liv_02_a_403_is_told_apart:
        |call| call.respond("403 Forbidden", &[], "bad origin")
        => |error| assert_eq!((http(error).status(), http(error).body_excerpt()), (403, "bad origin"));
    liv_02_a_405_is_told_apart:
        |call| call.respond("405 Method Not Allowed", &[], "")
        => |error| assert_eq!(http(error).status(), 405);
    liv_02_a_410_is_told_apart:
        |call| call.respond("410 Gone", &[], "")
        => |error| assert_eq!(http(error).status(), 410);
    liv_02_a_413_is_told_apart:
        |call| call.respond("413 Content Too Large", &["Connection: close"], "")
        => |error| assert_eq!(http(error).status(), 413);
    liv_02_a_status_whose_body_breaks_off_is_still_told:
        |call| {
            call.head("502 Bad Gateway", &["Content-Length: 100"]);
            call.write("upstream");
        } => |error| assert_eq!((http(error).status(), http(error).body_excerpt()), (502, "upstream"));
    liv_02_a_redirect_that_would_become_a_get_is_not_followed:
        |call| call.respond("302 Found", &["Location: https://me:passw0rd@a.example/login?qu3ry#t0ken"], "")
        => |error| {
            assert_eq!((http(error).status(), http(error).location()), (302, Some("https://a.example/login")));
            assert!(story(error).contains("HTTP status 302") && story(error).contains("https://a.example/login"));
        };
    st_05_a_status_that_is_no_redirect_leads_nowhere:
        |call| call.respond("500 X", &["Location: /elsewhere"], "")
        => |error| assert_eq!((http(error).status(), http(error).location()), (500, None));
    st_09_sec_04_a_403_says_which_scope_is_wanted:
        |call| call.respond("403 Forbidden", &[concat!(
            "WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"files:read files:write\", ",
            "resource_metadata=\"https://a.example/m\", error_description=\"more, please\"",
        )], "")
        => |error| {
            let challenges = http(error).challenges();
            let wanted = ["error", "scope", "resource_metadata", "error_description"];
            let wanted = wanted.map(|name| challenges[0].param(name).unwrap());
            assert_eq!(wanted, ["insufficient_scope", "files:read files:write", "https://a.example/m", "more, please"]);
            assert_eq!((http(error).status(), challenges.len(), error.is_retryable()), (403, 1, false));
        };
    liv_02_an_unknown_status_is_told:
        |call| call.respond("799 What", &[], "")
        => |error| assert_eq!(http(error).status(), 799);

    liv_03_a_truncated_body_fails_at_once:
        |call| {
            call.head("200 OK", &["Content-Type: application/json", "Content-Length: 1000"]);
            call.write(r#"{"jsonrpc":"2.0","#);
        } => |error| io_error(error, io::ErrorKind::UnexpectedEof, Delivery::Answered);
    liv_03_a_body_that_ends_with_the_connection_but_too_early_fails_at_once:
        |call| {
            call.head("200 OK", &["Content-Type: application/json"]);
            let answer = call.answer();
            call.write(&answer[..answer.len() - 1]);
        } => malformed;
    liv_03_a_body_reset_in_the_middle_fails_at_once:
        |call| call.reset_after("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        => |error| io_error(error, io::ErrorKind::ConnectionReset, Delivery::Answered);
    liv_03_a_bad_chunk_fails_at_once:
        |call| {
            call.head("200 OK", &["Content-Type: application/json", "Transfer-Encoding: chunked"]);
            call.write("zz\r\n");
        } => |error| {
            assert!(matches!(error.kind(), ErrorKind::Io(_) | ErrorKind::Protocol(_)));
            assert!(!error.is_retryable(), "a server that sends bad chunks sends them again");
        };
    liv_03_not_json_fails_at_once:
        |call| call.json(&[], "Internal error")
        => malformed;
    liv_03_not_utf_8_fails_at_once:
        |call| {
            call.head("200 OK", &["Content-Type: application/json"]);
            call.write(b"{\"id\":2,\"result\":\"\xff\"}");
        } => malformed;
    liv_03_a_number_fails_at_once:
        |call| call.json(&[], "42")
        => malformed;
    liv_03_neither_result_nor_error_fails_at_once:
        |call| { let id = &call.request.body["id"]; let body = json!({ "id": id }); call.json(&[], &body.to_string()); }
        => malformed;
    liv_03_a_wrong_id_fails_at_once:
        |call| call.json(&[], &json!({ "jsonrpc": "2.0", "id": 999_999, "result": {} }).to_string())
        => |error| broke(error, Violation::ForeignId);
    liv_03_a_foreign_id_fails_at_once:
        |call| call.json(&[], &json!({ "jsonrpc": "2.0", "id": "abc", "result": {} }).to_string())
        => |error| broke(error, Violation::ForeignId);
    liv_03_a_result_without_id_fails_at_once:
        |call| call.json(&[], r#"{"jsonrpc":"2.0","id":null,"result":{}}"#)
        => |error| broke(error, Violation::ForeignId);
    liv_03_an_error_that_names_nobody_is_the_answer:
        |call| call.json(&[], r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"hm"}}"#)
        => |error| {
            assert!(matches!(error.kind(), ErrorKind::Rpc(rpc) if rpc.code() == -32600));
            assert_eq!(error.delivery(), Delivery::Answered);
        };
    liv_03_a_notification_fails_at_once:
        |call| call.json(&[], r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#)
        => |error| broke(error, Violation::NotAReply);
    liv_03_a_request_fails_at_once:
        |call| call.json(&[], r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#)
        => |error| broke(error, Violation::NotAReply);
    liv_03_an_array_without_our_id_fails_at_once:
        |call| call.json(&[], r#"[{"jsonrpc":"2.0","id":999999,"result":{}}]"#)
        => |error| broke(error, Violation::ForeignId);
    liv_03_an_empty_array_fails_at_once:
        |call| call.json(&[], "[]")
        => malformed;
    liv_03_an_error_without_message_is_an_error_all_the_same:
        |call| {
            let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": { "code": "-7" } });
            call.json(&[], &body.to_string());
        } => |error| assert_eq!(error.rpc().unwrap().code(), -7);
    liv_03_a_result_of_another_form_fails_at_once:
        |call| {
            let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "result": ["fine"] });
            call.json(&[], &body.to_string());
        } => |error| {
            broke(error, Violation::Result);
            assert!(story(error).contains("expected an object"), "{error:#}");
            assert_eq!(error.result_text(), Some(r#"["fine"]"#));
        };

    liv_04_a_stream_that_ends_empty_fails_at_once:
        |call| call.events()
        => |error| broke(error, Violation::StreamEnded);
    liv_04_a_stream_that_ends_after_other_messages_fails_at_once:
        |call| {
            call.events();
            call.write(": hello\n\n");
            call.event(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"x","progress":1}}"#);
            call.write("event: other\ndata: {}\n\n");
        } => |error| broke(error, Violation::StreamEnded);
    liv_04_a_stream_that_ends_within_the_reply_fails_at_once:
        |call| {
            call.events();
            let answer = call.answer();
            call.write(format!("data: {answer}\n"));
        } => |error| {
            broke(error, Violation::StreamEnded);
            assert!(story(error).contains("fine"));
        };
    liv_04_a_stream_whose_reply_is_somebody_elses_fails_when_it_ends:
        |call| {
            call.events();
            call.event(&json!({ "jsonrpc": "2.0", "id": 999_999, "result": text_result("no") }).to_string());
        } => |error| broke(error, Violation::StreamEnded);
    liv_04_a_stream_cut_off_fails_at_once:
        |call| {
            call.head("200 OK", &["Content-Type: text/event-stream", "Transfer-Encoding: chunked"]);
            call.write("6\r\ndata: \r\n");
        } => |error| io_error(error, io::ErrorKind::UnexpectedEof, Delivery::Answered);
    liv_04_a_stream_reset_fails_at_once:
        |call| call.reset_after("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n")
        => |error| io_error(error, io::ErrorKind::ConnectionReset, Delivery::Answered);

    liv_08_an_event_that_is_not_json_fails_when_the_stream_ends:
        |call| { call.events(); call.event("{nonsense"); }
        => |error| { malformed(error); assert!(story(error).contains("{nonsense")); };
    liv_08_an_event_that_is_no_message_fails_when_the_stream_ends:
        |call| { call.events(); call.event("[]"); }
        => malformed;
    liv_08_an_event_that_is_our_reply_and_damaged_fails_at_once_though_the_stream_goes_on:
        |call| {
            call.events();
            let answer = call.answer();
            call.event(&answer[..answer.len() - 1]);
            call.hold();
        } => malformed;
    liv_08_plain_words_in_another_event_are_quoted_when_the_stream_ends:
        |call| { call.events(); call.write("event: error\ndata: the disk is full\n\n"); }
        => |error| {
            broke(error, Violation::StreamEnded);
            assert!(story(error).contains("the disk is full"));
        };
    liv_08_an_error_in_another_event_is_the_answer:
        |call| {
            call.events();
            let id = call.request.body["id"].clone();
            let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -5, "message": "eh" } });
            call.write(format!("event: error\ndata: {error}\n\n"));
            call.hold();
        } => |error| assert_eq!(error.rpc().unwrap().code(), -5);
    liv_08_an_error_event_that_names_nobody_is_the_answer:
        |call| { call.events(); call.event(r#"{"error":{"code":-32700,"message":"eh"}}"#); call.hold(); }
        => |error| assert_eq!(error.rpc().unwrap().code(), -32700);

    // The connection ends without an answer.
    liv_02_a_connection_closed_before_the_head_fails_at_once:
        |call| call.take()
        => |error| {
            io_error(error, io::ErrorKind::UnexpectedEof, Delivery::MaybeSent);
            assert!(error.is_retryable());
        };
    liv_02_a_connection_closed_within_the_head_fails_at_once:
        |call| { call.take(); call.write("HTTP/1.1 200 OK\r\nContent-Ty"); }
        => |error| io_error(error, io::ErrorKind::UnexpectedEof, Delivery::MaybeSent);
    liv_02_a_connection_reset_before_the_head_fails_at_once:
        |call| call.reset()
        => |error| io_error(error, io::ErrorKind::ConnectionReset, Delivery::MaybeSent);
    liv_02_an_answer_that_is_not_http_fails_at_once:
        |call| { call.take(); call.write("SSH-2.0-OpenSSH_9.6\r\n"); }
        => |error| assert_eq!(*violation(error), Violation::NotHttp);
    liv_02_a_head_without_an_end_fails_at_its_limit:
        |call| { call.take(); call.write(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(64 * 1024))); call.hold(); }
        => |error| {
            broke(error, Violation::NotHttp);
            assert!(story(error).contains("head is too large"));
        };
    liv_02_a_bad_content_length_fails_at_once:
        |call| call.head("200 OK", &["Content-Type: application/json", "Content-Length: many"])
        => |error| assert_eq!(*violation(error), Violation::NotHttp);
}

#[test]
fn liv_02_a_status_whose_body_never_comes_is_told_soon() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "broken" => {
                call.take();
                call.write("HTTP/1.1 503 Busy\r\nContent-Length: 10\r\nRetry-After: 1\r\n\r\nbusy");
                call.hold();
            }
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = on(&clock).connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            let patience = clock.pass(Duration::from_millis(500));
            let (error, ()) = join(client.call_tool("broken", ()), patience).await;
            let error = error.unwrap_err();
            assert_eq!((http(&error).status(), http(&error).body_excerpt()), (503, "busy"));
            assert_eq!(http(&error).retry_after(), Some(Duration::from_secs(1)));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn no_secret_is_in_any_debug_output() {
    once(async |run| {
        let server = Server::start(Call::normal);
        let http = transport(&(server.url() + "?qu3ry=5ecre7")).bearer("t0ken").unwrap();
        let mut texts = vec![format!("{http:?}")];
        let builder = on(&Clock::new());
        texts.push(format!("{builder:?}"));
        let (client, driver) = builder.connect(http).await.unwrap();
        texts.push(format!("{driver:?} {client:?} {:?} {:?}", client.session(), client.server()));
        run.drive(driver, async {
            client.close().await;
        })
        .await;
        let sent = server.requests();
        assert!(sent.iter().all(|request| request.header("authorization") == Some("Bearer t0ken")));
        for text in texts {
            for secret in SECRETS {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    });
}
