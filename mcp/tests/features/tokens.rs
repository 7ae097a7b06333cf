//! Access tokens (SEC-03 to SEC-05) and redirects (SEC-02).

use crate::check::{on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Request, Server};
use crate::fault::run::{everywhere, once};
use crate::kit::{http, millis, reply, seconds};
use crate::modern::modern;
use futures::future::{join, join_all};
use serde_json::json;
use shared_fate_mcp::error::{HttpError, InvalidInput, IoStage, Violation};
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{CallOptions, Delivery, Error, ErrorKind, Http, Mode, Sse, TokenProvider};
use std::sync::{Arc, Barrier, Mutex};

const CHALLENGE: &str = "WWW-Authenticate: Bearer error=\"invalid_token\", scope=\"a b\"";

/// Gives numbered tokens: a new one when the last was refused.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    number: usize,
    asked: usize,
    refused: Vec<u16>,
    challenges: Vec<String>,
    /// What becomes of the next requests for a token.
    then: Then,
}

#[derive(Clone, Copy, Default)]
enum Then {
    #[default]
    Give,
    Fail,
    Hang,
    Rubbish,
}

impl TokenProvider for Tokens {
    fn token<'a>(
        &'a self,
        refused: Option<&'a HttpError>,
    ) -> BoxFuture<'a, Result<String, Box<dyn std::error::Error + Send + Sync>>> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        if let Some(refused) = refused {
            state.number += 1;
            state.refused.push(refused.status());
            state.challenges.extend(refused.www_authenticate().iter().cloned());
        }
        let (token, then) = (format!("t0ken-{}", state.number), state.then);
        Box::pin(async move {
            match then {
                Then::Give => Ok(token),
                Then::Fail => Err("the keyring is locked".into()),
                Then::Hang => std::future::pending().await,
                Then::Rubbish => Ok("two\r\nlines".to_owned()),
            }
        })
    }
}

impl Tokens {
    fn then(&self, then: Then) {
        self.0.lock().unwrap().then = then;
    }
}

fn token(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

#[test]
fn sec_03_every_request_has_its_token() {
    everywhere(async |run| {
        let server = Server::start(|call| call.normal());
        let tokens = Tokens::default();
        let transport = http(&server).bearer("t0ken-old").unwrap().token_provider(tokens.clone());
        assert!(!format!("{transport:?}").contains("t0ken"));
        let (client, driver) = on(&Clock::new()).connect(transport).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.notify("notifications/x", ()).await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
        let requests = server.requests();
        let methods: Vec<_> = requests.iter().map(|it| &*it.method).collect();
        assert_eq!(methods, ["POST", "POST", "GET", "POST", "POST", "DELETE"]);
        for request in &requests {
            assert_eq!(token(request), Some("t0ken-0"), "{request:?}");
            assert!(!request.target.contains("t0ken"));
        }
        assert_eq!(tokens.0.lock().unwrap().asked, requests.len());
    });
}

#[test]
fn ht_18_sec_07_what_belongs_to_the_transport_is_not_the_callers_to_set() {
    for name in [
        "Accept",
        "Content-Type",
        "Last-Event-ID",
        "MCP-Protocol-Version",
        "Mcp-Session-Id",
        "Mcp-Method",
        "Mcp-Name",
        "Mcp-Param-Region",
        "mcp-param-",
        "Host",
        "Content-Length",
        "Proxy-Authorization",
        "Transfer-Encoding",
    ] {
        let error = Http::new("http://localhost/mcp").unwrap().header(name, "x").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Header(_))), "{name}: {error}");
        let error = Sse::new("http://localhost/mcp").unwrap().header(name, "x").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Header(_))), "{name}: {error}");
    }
    Http::new("http://localhost/mcp").unwrap().header("Mcp-Params", "x").unwrap();
}

#[test]
fn sec_05_st_08_a_refused_token_is_replaced_once() {
    everywhere(async |run| {
        let server = Server::start(|call| match (call.request.rpc(), token(&call.request)) {
            ("ping", Some("t0ken-0")) => call.respond("401 Unauthorized", &[CHALLENGE], "expired"),
            _ => call.normal(),
        });
        let tokens = Tokens::default();
        let (client, driver) =
            on(&Clock::new()).connect(http(&server).token_provider(tokens.clone())).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.ping().await.unwrap();
            let pings: Vec<_> = server
                .requests()
                .iter()
                .filter(|it| it.rpc() == "ping")
                .map(|it| (token(it).unwrap().to_owned(), it.body["id"].clone()))
                .collect();
            assert_eq!(pings.len(), 3);
            assert_eq!((&*pings[0].0, &*pings[1].0, &*pings[2].0), ("t0ken-0", "t0ken-1", "t0ken-1"));
            assert_eq!(pings[0].1, pings[1].1, "the same request is sent again");
            client.close().await;
        })
        .await;
        let state = tokens.0.lock().unwrap();
        assert_eq!((state.number, &*state.refused), (1, &[401][..]));
        assert!(state.challenges[0].contains("invalid_token"));
    });
}

#[test]
fn sec_04_sec_05_liv_24_a_second_refusal_is_final_and_says_what_is_wanted() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            "ping" => call.respond("401 Unauthorized", &[CHALLENGE, "WWW-Authenticate: Basic"], "no"),
            "tools/list" => {
                call.respond("403 Forbidden", &["WWW-Authenticate: Bearer error=\"insufficient_scope\""], "");
            }
            _ => call.normal(),
        });
        let tokens = Tokens::default();
        let (client, driver) =
            on(&Clock::new()).connect(http(&server).token_provider(tokens.clone())).await.unwrap();
        run.drive(driver, async {
            let error = client.ping().await.unwrap_err();
            let refused = error.http().unwrap();
            assert_eq!((refused.status(), refused.www_authenticate().len()), (401, 2));
            assert!(refused.www_authenticate()[0].contains("scope=\"a b\""));
            assert_eq!(error.delivery(), Delivery::Answered);
            assert!(!error.is_retryable());
            story(&error);
            assert_eq!(server.requests().iter().filter(|it| it.rpc() == "ping").count(), 2);
            // A new token would not help against a 403.
            let error = client.list_tools().await.unwrap_err();
            assert!(error.http().unwrap().www_authenticate()[0].contains("insufficient_scope"));
            assert_eq!(tokens.0.lock().unwrap().number, 1);
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sec_05_many_refusals_at_once_are_bounded() {
    once(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            "ping" => call.respond("401 Unauthorized", &[CHALLENGE], ""),
            _ => call.normal(),
        });
        let tokens = Tokens::default();
        let (client, driver) =
            on(&Clock::new()).connect(http(&server).token_provider(tokens.clone())).await.unwrap();
        run.drive(driver, async {
            for result in join_all((0..8).map(|_| client.ping())).await {
                assert_eq!(result.unwrap_err().http().unwrap().status(), 401);
            }
            assert_eq!(server.requests().iter().filter(|it| it.rpc() == "ping").count(), 16);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sec_05_calls_whose_token_expires_together_cost_one_refresh() {
    const CALLS: usize = 8;
    everywhere(async |run| {
        let together = Barrier::new(CALLS);
        let server = Server::start(move |call| match (call.request.rpc(), token(&call.request)) {
            ("ping", Some("t0ken-0")) => {
                together.wait();
                call.respond("401 Unauthorized", &[CHALLENGE], "expired");
            }
            _ => call.normal(),
        });
        let tokens = Tokens::default();
        let (client, driver) =
            on(&Clock::new()).connect(http(&server).token_provider(tokens.clone())).await.unwrap();
        run.drive(driver, async {
            for result in join_all((0..CALLS).map(|_| client.ping())).await {
                result.unwrap();
            }
            let pings = server.requests().into_iter().filter(|it| it.rpc() == "ping");
            let fresh = pings.filter(|it| token(it) == Some("t0ken-1")).count();
            assert_eq!((fresh, tokens.0.lock().unwrap().number), (CALLS, 1));
            client.close().await;
        })
        .await;
    });
}

/// Checks that there was no token for the call.
fn credentials(error: &Error, delivery: Delivery) {
    assert!(matches!(error.kind(), ErrorKind::Io(io) if io.stage() == IoStage::Credentials), "{error:#}");
    assert_eq!(error.delivery(), delivery);
    assert!(!error.is_retryable());
    assert!(story(error).contains("the keyring is locked"));
}

#[test]
fn sec_03_a_provider_that_fails_hangs_or_gives_rubbish_costs_one_call() {
    everywhere(async |run| {
        let server = Server::start(|call| call.normal());
        let (clock, tokens) = (Clock::new(), Tokens::default());
        let (client, driver) =
            on(&clock).connect(http(&server).token_provider(tokens.clone())).await.unwrap();
        run.drive(driver, async {
            let sent = server.requests().len();
            tokens.then(Then::Fail);
            credentials(&client.ping().await.unwrap_err(), Delivery::NotSent);
            tokens.then(Then::Rubbish);
            let error = client.ping().await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)), "{error:#}");
            tokens.then(Then::Hang);
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let (result, ()) = join(hasty.ping(), clock.pass(seconds(5))).await;
            let error = result.unwrap_err();
            assert!(error.is_timeout());
            assert_eq!(error.delivery(), Delivery::NotSent, "CAN-02");
            assert_eq!(client.pending_calls(), 0);
            tokens.then(Then::Give);
            client.ping().await.unwrap();
            let pings = server.requests()[sent..].iter().filter(|it| it.rpc() == "ping").count();
            assert_eq!(pings, 1);
            client.close().await;
        })
        .await;
        tokens.then(Then::Fail);
        let error = on(&clock).connect(http(&server).token_provider(tokens)).await.unwrap_err();
        credentials(&error, Delivery::NotSent);
    });
}

#[test]
fn sec_03_the_old_transport_takes_tokens_too() {
    once(async |_| {
        let server = Server::start(|call| match token(&call.request) {
            Some("t0ken-1") => call.respond("403 Forbidden", &[], ""),
            _ => call.respond("401 Unauthorized", &[CHALLENGE], ""),
        });
        let transport = Sse::new(&server.url()).unwrap().token_provider(Tokens::default());
        let error = on(&Clock::new()).connect(transport).await.unwrap_err();
        assert_eq!(error.http().unwrap().status(), 403);
        story(&error);
        let seen: Vec<_> = server.requests().iter().map(|it| token(it).unwrap().to_owned()).collect();
        assert_eq!(seen, ["t0ken-0", "t0ken-1"]);
    });
}

#[test]
fn mr_04_a_call_that_fails_in_its_second_round_has_been_sent() {
    everywhere(async |run| {
        let tokens = Tokens::default();
        let after = tokens.clone();
        let server = Server::start(move |call| match call.request.tool() {
            "asks" => {
                let requests = json!({ "a": { "method": "roots/list" } });
                let result = json!({ "resultType": "input_required", "inputRequests": requests });
                let text = reply(&call.request.body["id"], result).to_string();
                after.then(Then::Fail);
                call.json(&[], &text);
            }
            _ => modern(call),
        });
        let builder = on(&Clock::new()).roots([]).mode(Mode::Stateless);
        let (client, driver) = builder.connect(http(&server).token_provider(tokens.clone())).await.unwrap();
        run.drive(driver, async {
            client.list_tools().await.unwrap();
            let error = client.call_tool("asks", ()).await.unwrap_err();
            credentials(&error, Delivery::Answered);
            credentials(&client.call_tool("asks", ()).await.unwrap_err(), Delivery::NotSent);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sec_02_a_redirect_within_the_origin_keeps_everything_and_beyond_it_nothing_goes() {
    everywhere(async |run| {
        let elsewhere = Server::start(|call| call.normal());
        let target = elsewhere.url();
        let server = Server::start(move |call| match (&*call.request.target, call.request.tool()) {
            ("/mcp", "away") => call.respond("307 Moved", &[&format!("Location: {target}")], ""),
            ("/mcp", _) => call.respond("308 Moved", &["Location: /there?qu3ry"], ""),
            _ => call.normal(),
        });
        let transport = http(&server).token_provider(Tokens::default());
        let (client, driver) = on(&Clock::new()).connect(transport).await.unwrap();
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            let there = server.arrival(|it| it.target == "/there?qu3ry" && it.tool() == "echo").await;
            assert_eq!((&*there.method, token(&there)), ("POST", Some("t0ken-0")));
            let error = client.call_tool("away", ()).await.unwrap_err();
            assert!(matches!(violation(&error), Violation::Redirect(_)), "{error:#}");
            story(&error);
            assert_eq!(elsewhere.connections(), 0);
            client.close().await;
        })
        .await;
        assert_eq!(elsewhere.connections(), 0);
    });
}

#[test]
fn res_01_a_call_that_cannot_be_resumed_was_sent_all_the_same() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "polled" => {
                call.events();
                call.write("id: 1\nretry: 1500\ndata:\n\n");
            }
            _ => call.normal(),
        });
        let (clock, tokens) = (Clock::new(), Tokens::default());
        let transport = http(&server).token_provider(tokens.clone());
        let (client, driver) = on(&clock).connect(transport).await.unwrap();
        run.drive(driver, async {
            let (result, ()) = join(client.call_tool("polled", ()), async {
                clock.asleep(millis(1_500)).await;
                tokens.then(Then::Fail);
                clock.advance(millis(1_500));
            })
            .await;
            let error = result.unwrap_err();
            assert_eq!(*violation(&error), Violation::StreamEnded);
            assert_ne!(error.delivery(), Delivery::NotSent, "the server has got the call");
            assert!(story(&error).contains("the keyring is locked"));
            client.close().await;
        })
        .await;
    });
}
