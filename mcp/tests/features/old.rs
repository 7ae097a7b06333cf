//! HTTP+SSE, the transport of revision 2024-11-05 (OLD-01 to OLD-09, LIV-22), and how a client falls
//! back on it.

use crate::check::{cause, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Request, Server};
use crate::fault::run::{everywhere, once};
use crate::fault::{answer, tool};
use crate::kit::{Feed, Log, ask, http, is_answer, refusal, seconds, tell};
use futures::future::{join, join3};
use serde_json::json;
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{Client, Delivery, Driver, ErrorKind, Mode, Sse, Timeouts};

fn is_stream(request: &Request) -> bool {
    request.method == "GET"
}

/// A server of the old kind: a stream that begins with `endpoint`, and POSTs that are answered there.
pub(crate) fn old(feed: &Feed, call: &mut Call) {
    if is_stream(&call.request) {
        return feed.serve(call);
    }
    match tool(&call.request.body) {
        "refused" => call.respond("400 Bad Request", &[], "no such session"),
        "broken" => call.respond("500 Internal Server Error", &[], ""),
        "held" => call.respond("202 Accepted", &[], "Accepted"),
        _ => {
            if let Some(answer) = answer(&call.request.body) {
                feed.write(format!("event: message\ndata: {answer}\n\n"));
            }
            call.respond("202 Accepted", &[], "Accepted");
        }
    }
}

fn start() -> (Server, Feed) {
    let feed = Feed::new();
    let served = feed.clone();
    (Server::start(move |call| old(&served, call)), feed)
}

async fn connect(server: &Server, feed: &Feed, clock: &Clock) -> (Client, Driver) {
    feed.write(": welcome\n\nevent: endpoint\ndata: /messages?session_id=qu3ry\n\n");
    on(clock).connect(Sse::new(&server.url()).unwrap()).await.unwrap()
}

#[test]
fn old_01_02_04_05_everything_goes_to_the_endpoint_and_comes_on_the_stream() {
    everywhere(async |run| {
        let (server, feed) = start();
        let (client, driver) = connect(&server, &feed, &Clock::new()).await;
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            // These are no messages: an event without data, one of another kind, and a second endpoint.
            feed.write("data:\n\nevent: other\ndata: {}\n\nevent: endpoint\ndata: http://evil/\n\n");
            feed.say(&ask("p", "ping", json!({})));
            server.arrival(|it| is_answer(&it.body, "p")).await;
            client.ping().await.unwrap();
            let requests = server.requests();
            assert_eq!((&*requests[0].method, &*requests[0].target), ("GET", "/mcp"));
            assert_eq!(requests[0].header("accept"), Some("text/event-stream"));
            for request in &requests[1..] {
                assert_eq!((&*request.method, &*request.target), ("POST", "/messages?session_id=qu3ry"));
                assert_eq!(request.header("content-type"), Some("application/json"));
                assert_eq!(request.header("mcp-session-id"), None);
            }
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
        assert!(server.requests().iter().all(|it| it.method != "DELETE"));
    });
}

#[test]
fn old_05_a_reply_is_taken_from_an_event_of_any_type_and_the_text_of_an_error_is_quoted() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| {
            let said = match call.request.tool() {
                "reply" => format!("event: response\ndata: {}", call.answer()),
                "refused" => {
                    format!("event: error\ndata: {}", refusal(&call.request.body["id"], -1, "no space left"))
                }
                "text" => {
                    let [one, other] = ["a message", "none"].map(|id| ask(id, "ping", json!({})));
                    let text = "event: error\ndata: the disk is full\n\nevent: ping\ndata: 12:00";
                    format!("{text}\n\nevent: other\ndata: {other}\n\ndata: {one}")
                }
                _ => return old(&served, call),
            };
            served.write(said + "\n\n");
            call.respond("202 Accepted", &[], "");
        });
        feed.write("event: endpoint\ndata: /messages\n\n");
        let (clock, log) = (Clock::new(), Log::default());
        let sse = Sse::new(&server.url()).unwrap();
        let (client, driver) = log.events(on(&clock)).connect(sse).await.unwrap();
        run.drive(driver, async {
            assert_eq!(client.call_tool("reply", ()).await.unwrap().text(), "fine");
            let error = client.call_tool("refused", ()).await.unwrap_err();
            assert_eq!(error.rpc().map(|it| it.message()), Some("no space left"), "{error:#}");
            let (error, ()) = join(client.call_tool("text", ()), async {
                server.arrival(|it| is_answer(&it.body, "a message")).await;
                clock.pass(seconds(60)).await;
            })
            .await;
            assert!(story(&error.unwrap_err()).contains("the disk is full"));
            assert_eq!((log.count("the disk is full"), log.count("Stray")), (1, 1), "{:?}", log.lines());
            assert!(!server.requests().iter().any(|it| is_answer(&it.body, "none")));
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn old_08_liv_22_a_post_that_fails_fails_its_call_at_once_and_no_other() {
    everywhere(async |run| {
        let (server, feed) = start();
        let (client, driver) = connect(&server, &feed, &Clock::new()).await;
        run.drive(driver, async {
            let (refused, broken, fine) = join3(
                client.call_tool("refused", ()),
                client.call_tool("broken", ()),
                client.call_tool("echo", ()),
            )
            .await;
            for (result, status) in [(refused, 400), (broken, 500)] {
                let error = result.unwrap_err();
                assert_eq!((error.http().unwrap().status(), error.delivery()), (status, Delivery::Answered));
                story(&error);
            }
            fine.unwrap();
            client.ping().await.unwrap();
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn old_07_liv_22_the_end_of_the_stream_ends_everything() {
    everywhere(async |run| {
        let (server, feed) = start();
        let (client, driver) = connect(&server, &feed, &Clock::new()).await;
        run.drive(driver, async {
            let calls = join(client.call_tool("held", ()), client.call_tool("held", ()));
            let ((one, two), ()) = join(calls, async {
                for _ in 0..2 {
                    server.arrival(|request| request.tool() == "held").await;
                }
                feed.end();
            })
            .await;
            for result in [one, two] {
                let error = result.unwrap_err();
                assert_eq!(*violation(cause(&error)), Violation::StreamEnded);
                assert_eq!(error.delivery(), Delivery::MaybeSent);
                assert!(!error.is_retryable());
                story(&error);
            }
            let error = client.ping().await.unwrap_err();
            assert_eq!((error.delivery(), client.pending_calls()), (Delivery::NotSent, 0));
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn old_07_a_last_message_without_its_blank_line_is_quoted() {
    everywhere(async |run| {
        let list_changed = tell("notifications/tools/list_changed", json!({})).to_string();
        let half = &list_changed[..list_changed.len() - 1];
        for last in [format!("{list_changed}\n"), list_changed.clone(), half.to_owned()] {
            let (server, feed) = start();
            let log = Log::default();
            feed.write("event: endpoint\ndata: /messages\n\n");
            let builder = log.events(on(&Clock::new()));
            let (client, driver) = builder.connect(Sse::new(&server.url()).unwrap()).await.unwrap();
            run.drive(driver, async {
                let (held, ()) = join(client.call_tool("held", ()), async {
                    server.arrival(|request| request.tool() == "held").await;
                    feed.write(format!("data: {last}"));
                    feed.end();
                })
                .await;
                let error = held.unwrap_err();
                assert_eq!(*violation(cause(&error)), Violation::StreamEnded);
                assert_eq!(log.count("ToolsChanged"), 0, "{last}");
                assert!(story(&error).contains("list_changed"), "{error:#}");
                client.close().await;
                server.deserted().await;
            })
            .await;
        }
    });
}

#[test]
fn old_06_liv_22_an_endpoint_that_never_comes_has_a_deadline_of_its_own() {
    everywhere(async |_| {
        // Without a limit of its own, the wait is half of the handshake's.
        for (own, expected) in [(Some(seconds(30)), 30), (Some(seconds(7)), 7), (None, 30)] {
            let (server, feed) = start();
            let clock = Clock::new();
            feed.write(": wait for it\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n");
            let mut timeouts = Timeouts::default();
            assert_eq!(timeouts.endpoint, Some(seconds(30)), "the default");
            assert_eq!(timeouts.handshake, Some(seconds(60)));
            timeouts.endpoint = own;
            let connecting = on(&clock).timeouts(timeouts).connect(Sse::new(&server.url()).unwrap());
            let (result, ()) = join(connecting, clock.pass(seconds(expected))).await;
            let error = result.unwrap_err();
            let story = story(&error);
            assert!(story.contains(&format!("no reply within {expected}s")), "{story}");
            assert!(matches!(violation(cause(&error)), Violation::Endpoint(_)), "{story}");
            feed.end();
            server.deserted().await;
            assert!(server.requests().iter().all(is_stream));
        }
    });
}

#[test]
fn old_06_old_09_a_fallback_to_a_stream_that_says_nothing_tells_what_was_refused_first() {
    everywhere(async |_| {
        let server = Server::start(|call| match is_stream(&call.request) {
            true => {
                call.events();
                call.write(": this is a stream of another kind\n\n");
                call.hold();
            }
            false => call.respond("405 Method Not Allowed", &["Content-Type: text/plain"], "no post here"),
        });
        let clock = Clock::new();
        let (result, ()) = join(on(&clock).connect(http(&server)), clock.pass(seconds(30))).await;
        let error = result.unwrap_err();
        let ErrorKind::NoEndpoint(refused, sse) = cause(&error).kind() else { panic!("{error:#}") };
        assert_eq!(refused.status(), 405);
        assert!(matches!(violation(sse), Violation::Endpoint(_)));
        let story = story(&error);
        assert!(story.contains("no post here") && story.contains("no reply within 30s"), "{story}");
        server.deserted().await;
    });
}

#[test]
fn ini_09_old_01_the_old_transport_says_what_was_negotiated() {
    everywhere(async |run| {
        for fallback in [false, true] {
            let feed = Feed::new();
            let served = feed.clone();
            let server = Server::start(move |call| match &*call.request.target {
                "/mcp" if !is_stream(&call.request) => call.respond("404 Not Found", &[], "not here"),
                _ => old(&served, call),
            });
            feed.write("event: endpoint\ndata: messages\n\n");
            let builder = on(&Clock::new());
            let connected = match fallback {
                true => builder.connect(http(&server)).await,
                false => builder.connect(Sse::new(&server.url()).unwrap()).await,
            };
            let (client, driver) = connected.unwrap();
            run.drive(driver, async {
                client.call_tool("echo", ()).await.unwrap();
                client.close().await;
                feed.end();
                server.deserted().await;
            })
            .await;
            let requests = server.requests();
            let version = |rpc: &str| -> Vec<_> {
                let posts = requests.iter().filter(|it| it.target == "/messages" && it.rpc() == rpc);
                posts.map(|it| it.header("mcp-protocol-version").map(str::to_owned)).collect()
            };
            let negotiated = [Some("2025-11-25".to_owned())];
            assert_eq!(version("initialize"), [None]);
            assert_eq!(version("notifications/initialized"), negotiated);
            assert_eq!(version("tools/call"), negotiated);
        }
    });
}

#[test]
fn old_01_old_03_a_stream_that_is_none_or_leads_elsewhere_is_refused_at_once() {
    everywhere(async |_| {
        for first in [
            "",
            "event: endpoint\ndata: /messages?session_id=qu3ry\n",
            "<h1>Please log in</h1>",
            "event: endpoint\ndata: http://127.0.0.1:1/x\n\n",
            "event: endpoint\ndata: http://u:passw0rd@h/\n\n",
        ] {
            let (server, feed) = start();
            feed.write(first);
            feed.write("");
            let error = on(&Clock::new()).connect(Sse::new(&server.url()).unwrap()).await.unwrap_err();
            match violation(cause(&error)) {
                Violation::StreamEnded => assert!(!first.ends_with("\n\n"), "{first}"),
                Violation::Endpoint(_) => assert!(first.ends_with("\n\n"), "{first}"),
                _ => panic!("{error:#}"),
            }
            assert_eq!(error.delivery(), Delivery::NotSent, "there was no endpoint to send to");
            // An unfinished endpoint may be half a secret.
            let story = story(&error);
            assert_eq!(story.contains("log in"), first.contains("log in"), "{story}");
            assert!(!story.contains("qu3ry"), "{story}");
            feed.end();
            server.deserted().await;
            assert_eq!(server.requests().len(), 1);
        }
        for (status, kind) in [("404 Not Found", "text/plain"), ("200 OK", "text/html")] {
            let server = Server::start(move |call| {
                call.respond(status, &[&format!("Content-Type: {kind}")], "<p>hi");
            });
            let error = on(&Clock::new()).connect(Sse::new(&server.url()).unwrap()).await.unwrap_err();
            match cause(&error).kind() {
                ErrorKind::Http(http) => assert_eq!(http.status(), 404),
                _ => assert!(matches!(violation(cause(&error)), Violation::ContentType(Some(_)))),
            }
            server.deserted().await;
        }
    });
}

#[test]
fn old_02_a_relative_endpoint_is_beside_the_stream_that_a_redirect_has_led_to() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match &*call.request.target {
            "/mcp" => call.respond("307 Temporary Redirect", &["Location: /deep/sse"], ""),
            "/deep/sse" | "/deep/messages" => old(&served, call),
            _ => call.respond("404 Not Found", &[], ""),
        });
        feed.write("event: endpoint\ndata: messages\n\n");
        let sse = Sse::new(&server.url()).unwrap();
        let (client, driver) = on(&Clock::new()).connect(sse).await.unwrap();
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn old_09_the_client_falls_back_and_works() {
    everywhere(async |run| {
        for status in ["400 Bad Request", "404 Not Found", "405 Method Not Allowed"] {
            let feed = Feed::new();
            let served = feed.clone();
            let server = Server::start(move |call| match &*call.request.target {
                "/mcp" if !is_stream(&call.request) => call.respond(status, &[], "not here"),
                _ => old(&served, call),
            });
            feed.write("event: endpoint\ndata: messages\n\n");
            let log = Log::default();
            let (client, driver) = log.events(on(&Clock::new())).connect(http(&server)).await.unwrap();
            run.drive(driver, async {
                client.call_tool("echo", ()).await.unwrap();
                client.close().await;
                feed.end();
                server.deserted().await;
            })
            .await;
            let requests = server.requests();
            assert_eq!(requests.iter().filter(|it| is_stream(it)).count(), 1, "{status}");
            assert_eq!(requests.iter().filter(|it| it.rpc() == "initialize").count(), 2);
            assert!(log.lines().is_empty());
        }
    });
}

#[test]
fn old_09_when_both_fail_both_are_told() {
    everywhere(async |_| {
        let server = Server::start(|call| match is_stream(&call.request) {
            true => call.respond("410 Gone", &["Content-Type: text/plain"], "no stream here"),
            false => call.respond("404 Not Found", &["Content-Type: text/plain"], "no post here"),
        });
        let error = on(&Clock::new()).connect(http(&server)).await.unwrap_err();
        let root = cause(&error);
        let ErrorKind::NoEndpoint(refused, sse) = root.kind() else { panic!("{error:#}") };
        assert_eq!((refused.status(), sse.http().unwrap().status()), (404, 410));
        let story = story(&error);
        for part in ["no post here", "no stream here", "404", "410"] {
            assert!(story.contains(part), "{part} in {story}");
        }
        server.deserted().await;
        assert_eq!(server.requests().len(), 2);
    });
}

#[test]
fn old_09_other_answers_are_no_reason_to_fall_back() {
    once(async |_| {
        for status in [401, 403, 406, 410, 415, 429, 500, 503] {
            let server = Server::start(move |call| call.respond(&format!("{status} Hm"), &[], "no"));
            let error = on(&Clock::new()).connect(http(&server)).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Http(http) if http.status() == status), "{error:#}");
            server.deserted().await;
            assert_eq!(server.requests().len(), 1, "{status}");
        }
        let server = Server::start(|call| call.respond("404 Not Found", &[], "no"));
        let transport = http(&server).legacy_fallback(false);
        let error = on(&Clock::new()).connect(transport).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Http(http) if http.status() == 404), "{error:#}");
        assert_eq!(server.requests().len(), 1);
    });
}

#[test]
fn old_09_era_14_a_server_of_unknown_kind_is_asked_in_order() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match &*call.request.target {
            "/mcp" if !is_stream(&call.request) => call.respond("405 Method Not Allowed", &[], ""),
            _ => old(&served, call),
        });
        feed.write("event: endpoint\ndata: messages\n\n");
        let builder = on(&Clock::new()).mode(Mode::Auto);
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
        let requests = server.requests();
        let told: Vec<_> = requests[..4].iter().map(|it| format!("{} {}", it.method, it.rpc())).collect();
        assert_eq!(told, ["POST server/discover", "POST initialize", "GET ", "POST initialize"]);
        assert_eq!(requests[3].target, "/messages");
        for request in &requests[1..] {
            assert_eq!((request.header("mcp-method"), request.body["params"].get("_meta")), (None, None));
        }
    });
}

#[test]
fn old_01_era_03_the_old_transport_is_probed_like_a_pipe() {
    everywhere(async |run| {
        let (server, feed) = start();
        feed.write("event: endpoint\ndata: messages\n\n");
        let builder = on(&Clock::new()).mode(Mode::Auto);
        let (client, driver) = builder.connect(Sse::new(&server.url()).unwrap()).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
        let requests = server.requests();
        let told: Vec<_> = requests[..3].iter().map(|it| it.rpc().to_owned()).collect();
        assert_eq!(told, ["", "server/discover", "initialize"]);
    });
}

#[test]
fn old_01_what_waits_for_the_endpoint_of_the_old_transport_was_not_sent() {
    once(async |_| {
        let server = Server::start(|call| call.respond("503 Busy", &[], "warming up"));
        let sse = Sse::new(&server.url()).unwrap();
        let error = on(&Clock::new()).connect(sse).await.unwrap_err();
        assert!(server.requests().iter().all(|request| request.method == "GET"));
        assert_eq!(error.delivery(), Delivery::NotSent);
    });
}
