//! What a server asks of the client: REV-01 to REV-11, LIV-21, LIV-23, PNG-01.

use crate::check::{cause, limit, on};
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, Server, normal, pair};
use crate::fault::run::{everywhere, once};
use crate::fault::tool;
use crate::kit::{Dropped, Flag, Log, ask, is_answer, reply, seconds, tell};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate_mcp::types::{CreateMessageParams, CreateMessageResult, Json, Root};
use shared_fate_mcp::{
    Builder, CallOptions, Client, Driver, ErrorKind, Limits, RpcError, Timeouts, WeakClient,
};
use smol::channel;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};

async fn connect(builder: Builder) -> (Client, Driver, Server) {
    let (stdio, server) = pair(normal);
    let (client, driver) = builder.connect(stdio).await.unwrap();
    (client, driver, server)
}

/// The answer to a request of the server's.
async fn answered(server: &Server, id: &str, method: &str, params: Value) -> Value {
    server.peer.say(&ask(id, method, params));
    server.arrival(|message| is_answer(message, id)).await
}

fn answers(server: &Server, id: &str) -> usize {
    server.received().iter().filter(|message| is_answer(message, id)).count()
}

fn root(name: &str) -> Root {
    Root { name: Some(name.to_owned()), ..Root::new(format!("file:///{name}")) }
}

/// A handler that never answers; it says when it has begun, and when it is dropped.
fn stuck(builder: Builder) -> (Builder, channel::Receiver<()>, Dropped) {
    let (begun, begins) = channel::unbounded();
    let (flag, dropped) = Flag::new();
    let flag = Arc::new(Mutex::new(Some(flag)));
    let builder = builder.on_request("stuck", move |_| {
        let flag = flag.lock().unwrap().take();
        begun.try_send(()).unwrap();
        async move {
            let _flag = flag;
            std::future::pending().await
        }
    });
    (builder, begins, dropped)
}

#[test]
fn rev_01_rev_06_roots_are_listed_and_changes_are_told() {
    everywhere(async |run| {
        let (client, driver, server) = connect(on(&Clock::new()).roots([root("a")])).await;
        run.drive(driver, async {
            let init = &server.received()[0];
            assert_eq!(init["params"]["capabilities"], json!({ "roots": { "listChanged": true } }));
            let first = answered(&server, "r1", "roots/list", json!({})).await;
            assert_eq!(first["result"], json!({ "roots": [{ "uri": "file:///a", "name": "a" }] }));
            assert_eq!(first["jsonrpc"], "2.0");
            let mut nameless = root("b");
            nameless.name = None;
            client.set_roots([nameless]).await.unwrap();
            server.arrival(|it| it["method"] == "notifications/roots/list_changed").await;
            let second = answered(&server, "r2", "roots/list", json!({})).await;
            assert_eq!(second["result"], json!({ "roots": [{ "uri": "file:///b" }] }));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_02_rev_06_without_roots_there_are_none() {
    everywhere(async |run| {
        let (client, driver, server) = connect(on(&Clock::new())).await;
        run.drive(driver, async {
            assert_eq!(server.received()[0]["params"]["capabilities"], json!({}));
            for method in ["roots/list", "sampling/createMessage", "elicitation/create", "x/y"] {
                let answer = answered(&server, method, method, json!({})).await;
                assert_eq!(answer["error"]["code"], -32601, "{method}");
            }
            let error = client.set_roots([root("a")]).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)), "{error:#}");
            client.ping().await.unwrap();
            let told = |it: &Value| it["method"] == "notifications/roots/list_changed";
            assert!(!server.received().iter().any(told));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_01_rev_02_sampling() {
    everywhere(async |run| {
        let builder =
            on(&Clock::new()).on_sampling(async |params: CreateMessageParams| match params.max_tokens {
                Some(0) => Err(RpcError::new(-1, "the user refused")),
                tokens => Ok(CreateMessageResult::new("m", format!("{tokens:?}"))),
            });
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            assert_eq!(server.received()[0]["params"]["capabilities"], json!({ "sampling": {} }));
            let method = "sampling/createMessage";
            let answer = answered(&server, "1", method, json!({ "messages": [], "maxTokens": 9 })).await;
            let content = json!({ "type": "text", "text": "Some(9)" });
            let wanted =
                json!({ "role": "assistant", "content": content, "model": "m", "stopReason": "endTurn" });
            assert_eq!(answer["result"], wanted);
            let answer = answered(&server, "2", method, json!({ "maxTokens": 0 })).await;
            assert_eq!(answer["error"], json!({ "code": -1, "message": "the user refused" }));
            server.peer.say(&json!({ "jsonrpc": "2.0", "id": "3", "method": method }));
            let answer = server.arrival(|it| is_answer(it, "3")).await;
            assert_eq!(answer["error"]["code"], -32602);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn png_01_pings_are_answered_during_the_handshake() {
    everywhere(async |run| {
        let mut waiting = None;
        let (stdio, server) = pair(move |peer: &Peer, message: &Value| {
            if message["method"] == "initialize" {
                peer.say(&ask("early", "ping", json!({})));
                peer.say(&tell("notifications/message", json!({ "level": "info", "data": "hello" })));
                waiting = Some(message.clone());
            } else if is_answer(message, "early") {
                peer.normal(&waiting.take().unwrap());
            } else {
                normal(peer, message);
            }
        });
        let log = Log::default();
        let (client, driver) = log.events(on(&Clock::new())).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let received = server.received();
            assert_eq!(received[1], reply(&json!("early"), json!({})));
            assert_eq!(log.count("hello"), 1, "LOG-02");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_07_liv_23_png_01_a_handler_that_never_returns_delays_nobody() {
    everywhere(async |run| {
        let (builder, begins, dropped) = stuck(on(&Clock::new()));
        let builder = builder.on_request("quick", async |_| Ok(Json::new(&1).unwrap()));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            server.peer.say(&ask("s", "stuck", json!({})));
            begins.recv().await.unwrap();
            client.call_tool("echo", ()).await.unwrap();
            assert_eq!(answered(&server, "p", "ping", json!({})).await["result"], json!({}));
            assert_eq!(answered(&server, "q", "quick", json!({})).await["result"], 1);
            assert_eq!(answers(&server, "s"), 0);
            // REV-09: the end of the session ends the handler.
            client.close().await;
        })
        .await;
        dropped.wait().await;
        server.input_ended().await;
        assert_eq!(answers(&server, "s"), 0);
    });
}

#[test]
fn rev_09_a_session_that_fails_drops_its_handlers() {
    everywhere(async |run| {
        let (builder, begins, dropped) = stuck(on(&Clock::new()));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            server.peer.say(&ask("s", "stuck", json!({})));
            begins.recv().await.unwrap();
            let (held, ()) = join(client.call_tool("held", ()), async {
                server.arrival(|it| tool(it) == "held").await;
                server.peer.hang_up();
            })
            .await;
            cause(&held.unwrap_err());
            dropped.wait().await;
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_08_a_cancelled_handler_is_dropped_and_sends_nothing() {
    everywhere(async |run| {
        let (builder, begins, dropped) = stuck(on(&Clock::new()));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            server.peer.say(&ask("s", "stuck", json!({})));
            begins.recv().await.unwrap();
            server.peer.say(&tell("notifications/cancelled", json!({ "requestId": "other" })));
            client.ping().await.unwrap();
            server.peer.say(&tell("notifications/cancelled", json!({ "requestId": "s" })));
            dropped.wait().await;
            assert_eq!(answered(&server, "p", "ping", json!({})).await["result"], json!({}));
            assert_eq!(answers(&server, "s"), 0);
            assert!(!client.session().is_ended());
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_11_requests_with_the_same_id_do_not_stop_the_clock_for_ever() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (builder, begins, dropped) = stuck(on(&clock));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            for _ in 0..2 {
                server.peer.say(&ask("s", "stuck", json!({})));
                begins.recv().await.unwrap();
            }
            server.peer.say(&tell("notifications/cancelled", json!({ "requestId": "s" })));
            dropped.wait().await;
            client.ping().await.unwrap();
            let (held, ()) = join(client.call_tool("held", ()), async {
                server.arrival(|it| tool(it) == "held").await;
                clock.pass(seconds(60)).await;
            })
            .await;
            assert!(held.unwrap_err().is_timeout());
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_09_a_panic_in_a_handler_is_answered_and_everything_goes_on() {
    everywhere(async |run| {
        let builder = on(&Clock::new())
            .on_request("at once", |_| -> std::future::Ready<_> { panic!("a bug") })
            .on_request("later", async |_| panic!("a bug"));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            for method in ["at once", "later"] {
                let answer = answered(&server, method, method, json!({})).await;
                assert_eq!(answer["error"]["code"], -32603);
            }
            client.ping().await.unwrap();
            assert_eq!(answered(&server, "p", "ping", json!({})).await["result"], json!({}));
            client.close().await;
            assert!(matches!(client.session().cause(), Some(Cause::Closed)));
        })
        .await;
    });
}

#[test]
fn sec_08_one_request_too_many_is_refused() {
    everywhere(async |run| {
        let mut limits = Limits::default();
        limits.server_requests = 2;
        let (builder, begins, _dropped) = stuck(on(&Clock::new()).limits(limits));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            for id in ["1", "2"] {
                server.peer.say(&ask(id, "stuck", json!({})));
                begins.recv().await.unwrap();
            }
            let answer = answered(&server, "3", "stuck", json!({})).await;
            assert_eq!(answer["error"]["code"], -32603);
            server.peer.say(&tell("notifications/cancelled", json!({ "requestId": "1" })));
            server.peer.say(&ask("4", "stuck", json!({})));
            begins.recv().await.unwrap();
            client.ping().await.unwrap();
            assert_eq!((answers(&server, "3"), answers(&server, "4")), (1, 0));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sec_08_the_parameters_of_requests_are_bounded_together() {
    once(async |run| {
        let params = json!({ "x": "y".repeat(100) });
        let length = params.to_string().len() + "stuck".len();
        for (limit, fits) in [(2 * length, true), (2 * length - 1, false)] {
            let mut limits = Limits::default();
            limits.request_bytes = limit;
            let (builder, begins, _dropped) = stuck(on(&Clock::new()).limits(limits));
            let (client, driver, server) = connect(builder).await;
            let params = &params;
            run.drive(driver, async {
                // One request alone is always served, however long it is.
                server.peer.say(&ask("1", "stuck", json!({ "x": "y".repeat(1000) })));
                begins.recv().await.unwrap();
                server.peer.say(&tell("notifications/cancelled", json!({ "requestId": "1" })));
                server.peer.say(&ask("2", "stuck", params.clone()));
                begins.recv().await.unwrap();
                server.peer.say(&ask("3", "stuck", params.clone()));
                client.ping().await.unwrap();
                client.ping().await.unwrap();
                assert_eq!((begins.try_recv().is_ok(), answers(&server, "3")), (fits, usize::from(!fits)));
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn sec_08_a_flood_of_requests_that_are_not_served_ends_the_session() {
    once(async |_| {
        let mut limits = Limits::default();
        limits.outbox = 3;
        let (client, driver, server) = connect(on(&Clock::new()).limits(limits)).await;
        let flood: String = (0..20).map(|id| format!("{}\n", ask(&id.to_string(), "x", json!({})))).collect();
        server.peer.write(flood);
        let (held, ()) = join(client.call_tool("held", ()), driver).await;
        let error = held.unwrap_err();
        assert_eq!(limit(cause(&error)), ("queued requests of the server", 3));
    });
}

#[test]
fn rev_11_silence_does_not_count_while_the_client_answers() {
    everywhere(async |run| {
        let clock = Clock::new();
        let mut timeouts = Timeouts::default();
        timeouts.silence = Some(seconds(60));
        timeouts.total = Some(seconds(200));
        let (builder, begins, dropped) = stuck(on(&clock).timeouts(timeouts));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            let mut held = pin!(client.call_tool("held", ()));
            assert!(futures::poll!(&mut held).is_pending());
            server.peer.say(&ask("s", "stuck", json!({})));
            begins.recv().await.unwrap();
            for _ in 0..2 {
                clock.advance(seconds(61));
                assert!(futures::poll!(&mut held).is_pending(), "a handler is at work");
                client.ping().await.unwrap();
            }
            server.peer.say(&tell("notifications/cancelled", json!({ "requestId": "s" })));
            dropped.wait().await;
            client.ping().await.unwrap();
            clock.advance(seconds(59));
            assert!(futures::poll!(&mut held).is_pending(), "silence counts since just now");
            clock.advance(seconds(2));
            let error = held.await.unwrap_err();
            let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
            assert_eq!((timeout.after(), timeout.is_total()), (seconds(60), false));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_11_the_limit_for_the_whole_call_stays() {
    everywhere(async |run| {
        let clock = Clock::new();
        let (builder, begins, _dropped) = stuck(on(&clock));
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            server.peer.say(&ask("s", "stuck", json!({})));
            begins.recv().await.unwrap();
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let (held, ()) = join(hasty.call_tool("held", ()), clock.pass(seconds(5))).await;
            assert!(held.unwrap_err().is_timeout());
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_07_liv_19_a_handler_with_a_weak_client_keeps_no_session() {
    once(async |_| {
        let (flag, dropped) = Flag::new();
        let later = Arc::new(OnceLock::<WeakClient>::new());
        let weak = Arc::clone(&later);
        let builder = on(&Clock::new()).on_request("x", move |_| {
            let (_, client) = (&flag, weak.get().unwrap().upgrade());
            async move {
                let client = client.ok_or_else(|| RpcError::new(1, "gone"))?;
                client.ping().await.unwrap();
                Ok(Json::new(&json!({ "tools": client.list_tools().await.unwrap().len() })).unwrap())
            }
        });
        let (client, driver, server) = connect(builder).await;
        let hasty = client.with_options(CallOptions::timeout(seconds(5)));
        later.set(hasty.downgrade()).unwrap();
        drop(hasty);
        let answered = async {
            let answer = answered(&server, "q", "x", json!({})).await;
            assert!(answer["result"]["tools"].is_u64(), "{answer}");
            drop(client);
        };
        join(driver, answered).await;
        assert!(later.get().unwrap().upgrade().is_none());
        server.input_ended().await;
        dropped.wait().await;
    });
}

#[test]
fn rev_11_a_handler_that_hangs_stops_no_clock_for_ever() {
    everywhere(async |run| {
        for (total, counts) in [(Some(seconds(200)), 200), (None, 600)] {
            let clock = Clock::new();
            let mut timeouts = Timeouts::default();
            timeouts.total = total;
            let (builder, begins, _dropped) = stuck(on(&clock).timeouts(timeouts));
            let (client, driver, server) = connect(builder).await;
            run.drive(driver, async {
                let options = CallOptions::default().silence(seconds(60)).total(None);
                let patient = client.with_options(options);
                let mut held = pin!(patient.call_tool("held", ()));
                assert!(futures::poll!(&mut held).is_pending());
                server.peer.say(&ask("s", "stuck", json!({})));
                begins.recv().await.unwrap();
                // The silence does not count for so many seconds, and then in full.
                for _ in 0..(counts + 59) / 7 {
                    clock.advance(seconds(7));
                    assert!(futures::poll!(&mut held).is_pending());
                    client.ping().await.unwrap();
                }
                clock.advance(seconds(9));
                let error = held.await.unwrap_err();
                let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
                assert_eq!((timeout.after(), timeout.is_total()), (seconds(60), false));
                client.close().await;
            })
            .await;
        }
    });
}
