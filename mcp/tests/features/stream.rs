//! The server's own stream (SES-11 to SES-15, HT-10, LIV-20), and answers that cannot be delivered
//! (LIV-21).

use crate::check::{on, story};
use crate::fault::clock::Clock;
use crate::fault::http::{Request, SESSION, Server};
use crate::fault::run::{everywhere, once};
use crate::fault::{Gate, text_result};
use crate::kit::{Feed, Log, ask, connect, http, is_answer, millis, reply, seconds, tell};
use futures::future::join;
use serde_json::json;
use shared_fate_mcp::types::{ElicitForm, Elicited, Json};
use shared_fate_mcp::{Limits, Timeouts};
use std::pin::pin;
use std::time::Duration;

fn is_get(request: &Request) -> bool {
    request.method == "GET"
}

fn gets(server: &Server) -> usize {
    server.requests().iter().filter(|request| is_get(request)).count()
}

#[test]
fn ses_11_12_the_stream_is_open_before_the_first_call_and_takes_requests() {
    everywhere(async |run| {
        let (feed, gate) = (Feed::new(), Gate::default());
        let (served, opened) = (feed.clone(), gate.clone());
        let server = Server::start(move |call| {
            if is_get(&call.request) {
                return served.serve(call);
            }
            if is_answer(&call.request.body, "ask-1") {
                opened.open();
            }
            if call.request.tool() == "asks" {
                served.say(&ask("ask-1", "elicitation/create", json!({
                    "message": "who?",
                    "requestedSchema": { "type": "object", "properties": { "name": { "type": "string" } } },
                })));
                opened.wait();
            }
            call.normal();
        });
        let clock = Clock::new();
        let builder = on(&clock).on_elicit_form(async |form: ElicitForm| {
            assert_eq!(form.message, "who?");
            Elicited::Accept(Json::new(&json!({ "name": "me" })).unwrap())
        });
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        let order: Vec<_> =
            server.requests().iter().map(|it| format!("{} {}", it.method, it.rpc())).collect();
        assert_eq!(order, ["POST initialize", "POST notifications/initialized", "GET "]);
        run.drive(driver, async {
            client.call_tool("asks", ()).await.unwrap();
            let requests = server.requests();
            let answers: Vec<_> = requests.iter().filter(|it| is_answer(&it.body, "ask-1")).collect();
            assert_eq!(answers.len(), 1, "there is just one answer (REV-01)");
            let answer = answers[0];
            assert_eq!(answer.body["result"], json!({ "action": "accept", "content": { "name": "me" } }));
            assert_eq!(answer.header("mcp-session-id"), Some(SESSION));
            assert_eq!(answer.header("mcp-protocol-version"), Some("2025-11-25"));
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
        let get = server.requests().into_iter().find(is_get).unwrap();
        assert_eq!(get.header("accept"), Some("text/event-stream"));
        assert_eq!((get.header("mcp-session-id"), get.header("last-event-id")), (Some(SESSION), None));
    });
}

#[test]
fn ini_04_ses_11_the_stream_is_not_opened_before_the_server_knows_that_the_handshake_is_over() {
    everywhere(async |run| {
        let log = Log::default();
        let noted = log.clone();
        let server = Server::start(move |call| match (is_get(&call.request), call.request.rpc()) {
            (true, _) => {
                noted.push("opened");
                call.normal();
            }
            (_, "notifications/initialized") => {
                // A client that opens the stream too early has the time to do so.
                (0..1_000).for_each(|_| std::thread::yield_now());
                noted.push("initialized");
                call.normal();
            }
            _ => call.normal(),
        });
        let (client, driver) = connect(&server, &Clock::new()).await;
        run.drive(driver, async { client.close().await }).await;
        assert_eq!(log.lines(), ["initialized", "opened"]);
    });
}

#[test]
fn ses_12_a_stream_whose_head_does_not_come_holds_nobody_up() {
    everywhere(async |run| {
        let server = Server::start(|call| match is_get(&call.request) {
            true => call.hold(),
            false => call.normal(),
        });
        for patience in [Timeouts::default().stream, seconds(2)] {
            let mut timeouts = Timeouts::default();
            timeouts.stream = patience;
            let clock = Clock::new();
            let connecting = on(&clock).timeouts(timeouts).connect(http(&server));
            let (connected, ()) = join(connecting, async {
                server.arrival(is_get).await;
                clock.asleep(patience).await;
                clock.advance(patience);
            })
            .await;
            let (client, driver) = connected.unwrap();
            let opened = gets(&server);
            run.drive(driver, async {
                client.ping().await.unwrap();
                assert_eq!(gets(&server), opened);
                client.close().await;
                server.deserted().await;
            })
            .await;
        }
    });
}

/// The server has agreed. So what there is not in time is the stream, and not the session.
#[test]
fn ses_12_a_stream_whose_head_does_not_come_within_the_handshake_is_no_reason_not_to_be_connected() {
    everywhere(async |run| {
        let server = Server::start(|call| match is_get(&call.request) {
            true => call.hold(),
            false => call.normal(),
        });
        let timeouts = Timeouts::default().handshake(seconds(5)).stream(seconds(10));
        let clock = Clock::new();
        let connecting = on(&clock).timeouts(timeouts).connect(http(&server));
        let late = async {
            server.arrival(is_get).await;
            clock.asleep(seconds(10)).await;
            clock.advance(seconds(5));
        };
        let (connected, ()) = join(connecting, late).await;
        let (client, driver) = connected.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn ses_12_without_patience_the_client_is_there_before_the_stream() {
    everywhere(async |run| {
        let feed = Feed::new();
        let (served, gate) = (feed.clone(), Gate::default());
        let opened = gate.clone();
        let server = Server::start(move |call| match is_get(&call.request) {
            true => {
                opened.wait();
                served.serve(call);
            }
            false => call.normal(),
        });
        let mut timeouts = Timeouts::default();
        timeouts.stream = Duration::ZERO;
        let (clock, log) = (Clock::new(), Log::default());
        let builder = log.events(on(&clock)).timeouts(timeouts);
        // The clock stands still.
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            gate.open();
            feed.say(&tell("notifications/tools/list_changed", json!({})));
            while log.count("ToolsChanged") == 0 {
                client.ping().await.unwrap();
            }
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn ses_13_a_server_without_a_stream_is_left_in_peace() {
    everywhere(async |run| {
        for (status, heard) in [
            ("400 Bad Request", 0),
            ("404 Not Found", 0),
            ("405 Method Not Allowed", 0),
            ("406 Not Acceptable", 0),
            ("409 Conflict", 0),
            ("501 Not Implemented", 0),
            // These statuses are failures.
            ("401 Unauthorized", 1),
            ("403 Forbidden", 1),
            ("200 OK", 1),
        ] {
            let server = Server::start(move |call| match is_get(&call.request) {
                true => call.respond(status, &["Content-Type: text/html"], "<p>no"),
                false => call.normal(),
            });
            let (clock, log) = (Clock::new(), Log::default());
            let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
            run.drive(driver, async {
                client.ping().await.unwrap();
                clock.advance(seconds(1_000));
                client.ping().await.unwrap();
                client.close().await;
            })
            .await;
            assert_eq!((gets(&server), log.lines().len()), (1, heard), "{status}: {:?}", log.lines());
            assert_eq!(log.count("StreamLost"), heard);
        }
    });
}

#[test]
fn liv_20_a_stream_that_fails_for_good_is_an_event_and_calls_go_on() {
    everywhere(async |run| {
        let server = Server::start(|call| match is_get(&call.request) {
            true => call.respond("503 Service Unavailable", &[], ""),
            false => call.normal(),
        });
        let mut limits = Limits::default();
        limits.resumptions = 2;
        let (clock, log) = (Clock::new(), Log::default());
        let builder = log.events(on(&clock)).limits(limits);
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let calls = async {
                for round in 1..=2 {
                    client.ping().await.unwrap();
                    clock.pass(seconds(round)).await;
                    server.arrival(is_get).await;
                }
            };
            calls.await;
            while log.count("StreamLost") == 0 {
                client.ping().await.unwrap();
            }
            clock.advance(seconds(1_000));
            client.ping().await.unwrap();
            assert_eq!((gets(&server), log.lines().len()), (3, 1));
            assert!(log.lines()[0].contains("status: 503"), "{:?}", log.lines());
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

#[test]
fn ses_14_a_stream_that_the_server_closes_is_opened_again_where_it_ended() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match is_get(&call.request) {
            true => served.serve(call),
            false => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            server.arrival(is_get).await;
            let list_changed = tell("notifications/tools/list_changed", json!({}));
            feed.write(format!("id: 77\nretry: 250\ndata: {list_changed}\n\n"));
            feed.write("");
            let calls = async {
                clock.asleep(millis(250)).await;
                client.ping().await.unwrap();
                clock.advance(millis(250));
            };
            let (again, ()) = join(server.arrival(is_get), calls).await;
            assert_eq!(again.header("last-event-id"), Some("77"));
            assert_eq!(again.header("mcp-session-id"), Some(SESSION));
            feed.say(&tell("notifications/tools/list_changed", json!({})));
            while log.count("ToolsChanged") < 2 {
                client.ping().await.unwrap();
            }
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
        assert_eq!(log.lines(), ["ToolsChanged", "ToolsChanged"]);
    });
}

#[test]
fn ses_14_liv_20_a_stream_that_a_proxy_closes_again_and_again_is_not_lost() {
    everywhere(async |run| {
        for breaks in [false, true] {
            let feed = Feed::new();
            let served = feed.clone();
            let server = Server::start(move |call| match is_get(&call.request) {
                true if breaks => {
                    call.head("200 OK", &["Content-Type: text/event-stream", "Content-Length: 1000"]);
                    served.wait();
                }
                true => served.serve(call),
                false => call.normal(),
            });
            let mut limits = Limits::default();
            limits.resumptions = 2;
            let (clock, log) = (Clock::new(), Log::default());
            let builder = log.events(on(&clock)).limits(limits);
            let (client, driver) = builder.connect(http(&server)).await.unwrap();
            run.drive(driver, async {
                let end = async |after: Duration, round: u64| {
                    server.arrival(is_get).await;
                    clock.advance(after);
                    feed.write("");
                    clock.pass(seconds(round)).await;
                };
                let lasting = async {
                    for _ in 0..10 {
                        end(seconds(20), 1).await;
                    }
                    // A stream that lasts a millisecond less counts as a failure, and so does one that ends at once.
                    end(millis(19_999), 2).await;
                    end(seconds(20), 1).await;
                    end(seconds(0), 2).await;
                    server.arrival(is_get).await;
                    feed.write("");
                };
                lasting.await;
                while log.count("StreamLost") == 0 {
                    client.ping().await.unwrap();
                }
                clock.advance(seconds(1_000));
                client.ping().await.unwrap();
                assert_eq!((gets(&server), log.lines().len()), (14, 1), "{:?}", log.lines());
                client.close().await;
                server.deserted().await;
            })
            .await;
        }
    });
}

#[test]
fn ses_15_ht_10_a_reply_on_the_servers_stream_finds_its_call() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match (is_get(&call.request), call.request.tool()) {
            (true, _) => served.serve(call),
            (_, "elsewhere" | "held") => call.hold(),
            _ => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let mut sibling = pin!(client.call_tool("held", ()));
            assert!(futures::poll!(&mut sibling).is_pending());
            let (result, ()) = join(client.call_tool("elsewhere", ()), async {
                let request = server.arrival(|request| request.tool() == "elsewhere").await;
                feed.say(&reply(&request.body["id"], text_result("from the stream")));
            })
            .await;
            assert_eq!(result.unwrap().text(), "from the stream");
            assert!(futures::poll!(&mut sibling).is_pending());
            assert_eq!(client.pending_calls(), 1);
            client.ping().await.unwrap();
            assert!(log.lines().is_empty(), "{:?}", log.lines());
            client.close().await;
            sibling.await.unwrap_err();
            feed.end();
            server.deserted().await;
        })
        .await;
        assert!(!server.requests().iter().any(|it| it.rpc() == "notifications/cancelled"));
    });
}

#[test]
fn ses_12_rubbish_on_the_servers_stream_is_an_event_and_harms_nobody() {
    once(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match is_get(&call.request) {
            true => served.serve(call),
            false => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            feed.write("data: not JSON\n\nevent: other\ndata: not ours\n\ndata:\n\n: comment\n\n");
            feed.say(&reply(&json!(4_711), json!({})));
            feed.say(&tell("notifications/prompts/list_changed", json!({})));
            while log.count("PromptsChanged") == 0 {
                client.ping().await.unwrap();
            }
            client.close().await;
            feed.end();
        })
        .await;
        assert_eq!((log.count("Stray"), log.lines().len()), (2, 3), "{:?}", log.lines());
    });
}

#[test]
fn liv_21_an_answer_that_fails_or_hangs_is_reported_and_nobody_waits_for_it() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| {
            let body = &call.request.body;
            if is_get(&call.request) {
                served.serve(call);
            } else if is_answer(body, "fails") {
                call.respond("500 Internal Server Error", &[], "no thanks");
            } else if is_answer(body, "hangs") {
                call.hold();
            } else {
                call.normal();
            }
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let hanging = async {
                feed.say(&ask("fails", "ping", json!({})));
                feed.say(&ask("hangs", "ping", json!({})));
                let hangs = server.arrival(|it| is_answer(&it.body, "hangs"));
                let calls = async {
                    while log.count("NotDelivered") == 0 {
                        client.ping().await.unwrap();
                    }
                };
                join(hangs, calls).await;
            };
            hanging.await;
            assert!(log.lines()[0].contains("no thanks"), "{:?}", log.lines());
            // The minute of the answer that hangs may begin after its arrival: the driver may be on another thread.
            while log.count("NotDelivered") < 2 {
                clock.advance(seconds(7));
                client.ping().await.unwrap();
            }
            assert!(log.lines()[1].contains("Timeout"), "{:?}", log.lines());
            assert!(!client.session().is_ended());
            client.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
        assert_eq!(log.lines().len(), 2);
    });
}

#[test]
fn sec_09_what_the_stream_says_of_its_loss_has_no_secrets() {
    once(async |run| {
        let server = Server::start(|call| match is_get(&call.request) {
            true => call.respond("403 Forbidden", &["Content-Type: text/plain"], "go away"),
            false => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let heard = log.clone();
        let builder = on(&clock).on_event(move |event| {
            if let shared_fate_mcp::Event::StreamLost(error) = event {
                heard.push(story(error));
            }
        });
        let transport = http(&server).bearer("t0ken").unwrap();
        let (client, driver) = builder.connect(transport).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
        assert_eq!(log.lines().len(), 1);
        assert!(log.lines()[0].contains("go away"));
    });
}
