//! Connecting over HTTP: names, sockets, redirects, the handshake.

use crate::check::{limit, on, story, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, SESSION, Server, Vacant, transport};
use crate::fault::run::everywhere;
use futures::future::join;
use serde_json::json;
use shared_fate_mcp::error::{IoStage, Violation};
use shared_fate_mcp::http::{AsyncIo, Connecting, Net};
use shared_fate_mcp::runtime::{BoxFuture, Timer};
use shared_fate_mcp::{Client, Delivery, Driver, Error, ErrorKind, Http, Limits, Timeouts};
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn connect(server: &Server, clock: &Clock) -> Result<(Client, Driver), Error> {
    on(clock).connect(server.transport()).await
}

/// The server does `fault` to `method` while the client connects.
async fn refused(method: &'static str, fault: fn(&mut Call), check: fn(&Error)) {
    let server = Server::start(move |call| match call.request.rpc() {
        it if it == method => fault(call),
        _ => call.normal(),
    });
    let error = connect(&server, &Clock::new()).await.unwrap_err();
    story(&error);
    check(&error);
    server.deserted().await;
    let sent = server.requests();
    assert_eq!(sent.iter().filter(|request| request.rpc() == method).count(), 1, "sent twice");
    assert!(
        sent.iter().all(|request| request.rpc() != "notifications/cancelled"),
        "initialize is never cancelled"
    );
}

macro_rules! handshakes {
    ($($name:ident: $method:literal, $fault:expr => $check:expr;)*) => { $(
        #[test]
        fn $name() {
            everywhere(async |_| refused($method, $fault, $check).await);
        }
    )* };
}

fn status(error: &Error) -> u16 {
    assert_eq!(error.delivery(), Delivery::Answered);
    error.http().unwrap().status()
}

handshakes! {
    liv_27_initialize_answered_500: "initialize",
        |call| call.respond("500 X", &[], "no database")
        => |error| { assert_eq!(status(error), 500); assert!(story(error).contains("no database")); };
    liv_27_initialize_answered_401: "initialize",
        |call| call.respond("401 X", &["WWW-Authenticate: Bearer"], "")
        => |error| assert_eq!((status(error), error.http().unwrap().www_authenticate()), (401, &["Bearer".to_owned()][..]));
    liv_27_initialize_answered_404: "initialize",
        |call| call.respond("404 X", &[], "")
        => |error| assert_eq!(status(error), 404);
    liv_27_initialize_answered_405: "initialize",
        |call| call.respond("405 X", &[], "")
        => |error| assert_eq!(status(error), 405);
    liv_27_initialize_answered_202: "initialize",
        |call| call.respond("202 Accepted", &[], "")
        => |error| assert_eq!(*violation(error), Violation::NoReply { status: 202 });
    liv_27_initialize_answered_with_a_web_page: "initialize",
        |call| call.respond("200 OK", &["Content-Type: text/html"], "<html>")
        => |error| assert_eq!(*violation(error), Violation::ContentType(Some("text/html".into())));
    liv_27_initialize_answered_by_a_stream_that_ends: "initialize",
        Call::events
        => |error| assert_eq!(*violation(error), Violation::StreamEnded);
    liv_27_initialize_answered_by_a_stream_that_is_reset: "initialize",
        |call| call.reset_after("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: \n")
        => |error| assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionReset));
    liv_27_initialize_answered_by_nothing: "initialize",
        Call::take
        => |error| assert_eq!(error.io_kind(), Some(io::ErrorKind::UnexpectedEof));
    liv_27_initialize_refused_by_an_error_that_names_nobody: "initialize",
        |call| call.json(&[], r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"too old"}}"#)
        => |error| assert_eq!(error.rpc().unwrap().message(), "too old");
    liv_27_a_revision_that_nobody_speaks: "initialize",
        |call| {
            let result = json!({ "protocolVersion": "1999-01-01", "capabilities": {} });
            call.json(&[], &json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "result": result }).to_string());
        } => |error| assert_eq!(*violation(error), Violation::Version("1999-01-01".into()));
    liv_27_a_result_without_a_revision: "initialize",
        |call| {
            call.json(&[], &json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "result": {} }).to_string());
        } => |error| {
            assert_eq!(*violation(error), Violation::Result);
            assert!(story(error).contains("protocolVersion"));
        };
    liv_27_a_session_id_with_a_space: "initialize",
        |call| { let answer = call.answer(); call.json(&["Mcp-Session-Id: a b"], &answer); }
        => |error| assert_eq!(*violation(error), Violation::SessionId);
    liv_27_an_empty_session_id: "initialize",
        |call| { let answer = call.answer(); call.json(&["Mcp-Session-Id: "], &answer); }
        => |error| assert_eq!(*violation(error), Violation::SessionId);
    liv_27_initialized_answered_503_keeps_its_cause: "notifications/initialized",
        |call| call.respond("503 X", &["Retry-After: 30"], "warming up")
        => |error| {
            assert_eq!(status(error), 503);
            assert_eq!(error.http().unwrap().retry_after(), Some(Duration::from_secs(30)));
            assert!(error.is_retryable() && story(error).contains("warming up"));
        };
    liv_27_initialized_answered_404: "notifications/initialized",
        |call| call.respond("404 X", &[], "")
        => |error| {
            assert_eq!(status(error), 404);
            assert!(matches!(error.session_cause().unwrap().error().unwrap().kind(), ErrorKind::SessionExpired(_)));
        };
    liv_27_initialized_reset: "notifications/initialized",
        Call::reset
        => |error| assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionReset));
}

#[test]
fn liv_27_initialize_never_answered_fails_in_time() {
    everywhere(async |_| {
        let server = Server::start(Call::hold);
        let clock = Clock::new();
        let patience = async {
            server.arrival(|request| request.rpc() == "initialize").await;
            clock.pass(MINUTE).await;
        };
        let (connected, ()) = join(connect(&server, &clock), patience).await;
        let error = connected.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Timeout(timeout) if timeout.after() == MINUTE),
            "{error:#}"
        );
        assert_eq!(error.delivery(), Delivery::MaybeSent);
        assert!(error.is_retryable());
        server.deserted().await;
        assert_eq!(server.requests().len(), 1);
        assert_eq!(clock.sleeping(), 0);
    });
}

#[test]
fn liv_27_the_handshake_has_one_limit_for_all_of_it() {
    everywhere(async |_| {
        let clock = Clock::new();
        let moving = clock.clone();
        let server = Server::start(move |call| match call.request.rpc() {
            "initialize" => {
                moving.advance(MINUTE / 2);
                call.normal();
            }
            _ => call.hold(),
        });
        let hurry = async {
            server.arrival(|request| request.rpc() == "notifications/initialized").await;
            clock.advance(MINUTE / 2 + Duration::from_millis(1));
        };
        let (connected, ()) = join(connect(&server, &clock), hurry).await;
        let error = connected.unwrap_err();
        assert!(error.is_timeout(), "{error:#}");
        server.deserted().await;
    });
}

#[test]
fn liv_27_dropping_the_connect_future_closes_the_connection() {
    everywhere(async |_| {
        let server = Server::start(Call::hold);
        let clock = Clock::new();
        {
            let mut connecting = std::pin::pin!(connect(&server, &clock));
            let arrived = std::pin::pin!(server.arrival(|request| request.rpc() == "initialize"));
            futures::future::select(&mut connecting, arrived).await;
        }
        server.deserted().await;
        assert_eq!(clock.sleeping(), 0);
    });
}

#[test]
fn st_21_a_refused_connection_says_so() {
    everywhere(async |_| {
        let vacant = Vacant::new();
        let http = transport(&format!("http://{}/?qu3ry", vacant.address)).bearer("t0ken").unwrap();
        let error = on(&Clock::new()).connect(http).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io(io) if io.stage() == IoStage::Connect));
        assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(error.delivery(), Delivery::NotSent);
        // The origin, and nothing of the URL that may be secret.
        let begin = format!("http://{}: connecting to the server failed: ", vacant.address);
        assert!(story(&error).starts_with(&begin), "{error:#}");
    });
}

/// A network that connects or never does, with its timers on a clock that stands still.
struct Slow {
    clock: Clock,
    connects: bool,
}

impl Net for Slow {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        match self.connects {
            true => Net::connect(&AsyncIo, host, port),
            false => Box::pin(std::future::pending()),
        }
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Timer::sleep(&self.clock, duration) as BoxFuture<'static, ()>
    }
}

async fn stalled(url: &str, connects: bool) {
    let clock = Clock::new();
    let net = Slow { clock: clock.clone(), connects };
    let http = Http::new(url).unwrap().net(net).connect_timeout(Some(Duration::from_secs(7)));
    let (connected, ()) = join(on(&clock).connect(http), clock.pass(Duration::from_secs(7))).await;
    let error = connected.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Timeout(timeout) if timeout.after().as_secs() == 7),
        "{error:#}"
    );
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[test]
fn liv_07_connecting_that_never_ends_fails_in_time() {
    everywhere(async |_| stalled("http://server.example/", false).await);
}

#[cfg(feature = "tls")]
#[test]
fn liv_07_a_tls_handshake_that_stalls_fails_in_time() {
    everywhere(async |_| {
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        stalled(&format!("https://{}/", deaf.local_addr().unwrap()), true).await;
    });
}

#[test]
fn liv_07_an_answer_that_never_comes_fails_its_call_at_its_deadline() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.rpc() {
            "ping" => call.hold(),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (client, driver) = connect(&server, &clock).await.unwrap();
        run.drive(driver, async {
            let patience = async {
                server.arrival(|request| request.rpc() == "ping").await;
                clock.pass(MINUTE).await;
            };
            let (error, ()) = join(client.ping(), patience).await;
            let error = error.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Timeout(it) if !it.is_total() && it.after() == MINUTE));
            assert_eq!(error.delivery(), Delivery::MaybeSent);
            let cancelled = server.arrival(|request| request.rpc() == "notifications/cancelled").await;
            assert_eq!(cancelled.header("mcp-session-id"), Some(SESSION));
            client.list_tools().await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}

/// Redirects a ping at `/mcp` to `location`; everything else has its normal answer.
fn redirecting(status: &'static str, location: &'static str) -> Server {
    Server::start(move |call| match (&*call.request.target, call.request.rpc()) {
        ("/mcp", "ping") => call.respond(status, &[&format!("Location: {location}")], ""),
        _ => call.normal(),
    })
}

#[test]
fn liv_24_a_redirect_within_the_origin_is_followed_with_method_and_body() {
    everywhere(async |run| {
        for status in ["307 X", "308 X"] {
            let server = redirecting(status, "/elsewhere?x=1");
            let (client, driver) = connect(&server, &Clock::new()).await.unwrap();
            run.drive(driver, async {
                client.ping().await.unwrap();
                client.close().await;
            })
            .await;
            let requests = server.requests();
            let followed = requests.iter().find(|request| request.target == "/elsewhere?x=1").unwrap();
            assert_eq!((&*followed.method, followed.rpc()), ("POST", "ping"));
            assert_eq!(followed.header("mcp-session-id"), Some(SESSION));
            assert_eq!(server.connections(), 1);
        }
    });
}

#[test]
fn liv_24_a_redirect_loop_ends_at_the_limit() {
    everywhere(async |run| {
        let server = redirecting("307 X", "/mcp");
        let (client, driver) = connect(&server, &Clock::new()).await.unwrap();
        run.drive(driver, async {
            let error = client.ping().await.unwrap_err();
            assert_eq!(limit(&error), ("redirects", 10));
            assert_eq!(error.delivery(), Delivery::Answered);
            client.list_tools().await.unwrap();
            client.close().await;
        })
        .await;
        assert_eq!(server.requests().iter().filter(|request| request.rpc() == "ping").count(), 11);
    });
}

#[test]
fn limits_redirects_at_the_limit_and_one_past_it() {
    everywhere(async |run| {
        let server = Server::start(|call| {
            let hop: Option<u32> = call.request.target.strip_prefix("/mcp/").and_then(|hop| hop.parse().ok());
            match (call.request.tool(), hop.unwrap_or(0)) {
                ("two", hop @ 0..2) | ("three", hop @ 0..3) => {
                    call.respond("308 X", &[&format!("Location: /mcp/{}", hop + 1)], "");
                }
                _ => call.normal(),
            }
        });
        let mut limits = Limits::default();
        limits.redirects = 2;
        let http = server.transport();
        let (client, driver) = on(&Clock::new()).limits(limits).connect(http).await.unwrap();
        run.drive(driver, async {
            client.call_tool("two", ()).await.unwrap();
            let error = client.call_tool("three", ()).await.unwrap_err();
            assert_eq!(limit(&error), ("redirects", 2));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn sec_02_a_redirect_elsewhere_is_refused_and_gets_nothing() {
    everywhere(async |run| {
        let stranger = Server::start(Call::normal);
        let elsewhere: &'static str = Box::leak(format!("http://{}/qu3ry", stranger.address()).into());
        for location in
            [elsewhere, "https://127.0.0.1/mcp", "//127.0.0.1/mcp", "http://me:passw0rd@127.0.0.1/", "::", ""]
        {
            let server = redirecting("307 X", location);
            let http = server.transport().bearer("t0ken").unwrap();
            let (client, driver) = on(&Clock::new()).connect(http).await.unwrap();
            run.drive(driver, async {
                let error = client.ping().await.unwrap_err();
                assert!(matches!(violation(&error), Violation::Redirect(_)), "{location}: {error:#}");
                story(&error);
                client.list_tools().await.unwrap();
                client.close().await;
            })
            .await;
        }
        assert_eq!(stranger.connections(), 0);
    });
}

#[test]
fn timeouts_can_be_switched_off() {
    everywhere(async |run| {
        let server = Server::start(Call::normal);
        let clock = Clock::new();
        let mut timeouts = Timeouts::default();
        (timeouts.silence, timeouts.total, timeouts.handshake) = (None, None, None);
        let http = server.transport();
        let (client, driver) = on(&clock).timeouts(timeouts).connect(http).await.unwrap();
        run.drive(driver, async {
            let before = clock.begun();
            client.ping().await.unwrap();
            assert_eq!(clock.begun(), before);
            client.close().await;
        })
        .await;
    });
}
