//! `Client::run`, which connects, runs the application, and closes; a transport that is chosen at run time; the setters of
//! `Limits` and `Timeouts`.

use crate::check::{cause, on};
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::lines::{normal, pair};
use crate::fault::run::{everywhere, once};
use crate::kit::http;
use crate::modern::modern;
use crate::script::script;
use shared_fate::Cause;
use shared_fate_mcp::{
    Client, Delivery, Error, ErrorKind, Http, Limits, Memory, Mode, Revision, Timeouts, Transport,
};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

#[test]
fn run_connects_runs_the_application_and_closes() {
    everywhere(async |_| {
        let (stdio, server) = pair(normal);
        let builder = on(&Clock::new());
        let text = builder.run(stdio, async |client| -> Result<_, Error> {
            let text = client.call_tool("echo", ()).await?.text();
            client.ping().await?;
            Ok((text, client))
        });
        let (text, client) = text.await.unwrap();
        assert_eq!(text, "fine");
        // The session is closed though there still is a client.
        assert!(matches!(client.session().cause(), Some(Cause::Closed)));
        server.input_ended().await;
    });
}

/// The caller chooses the type of the error: here it is inferred from the return type.
#[test]
fn the_error_is_of_the_applications_type() {
    once(async |_| {
        async fn app(server: &Server) -> Result<u8, Box<dyn std::error::Error>> {
            on(&Clock::new())
                .run(http(server), async |client| {
                    client.ping().await?;
                    let number: u8 = "7".parse()?;
                    Err(format!("not {number}"))?;
                    Ok(number)
                })
                .await
        }
        let server = Server::start(|call| call.normal());
        assert_eq!(app(&server).await.unwrap_err().to_string(), "not 7");
        server.deserted().await;
    });
}

#[test]
fn where_there_is_no_session_the_application_is_not_run() {
    once(async |_| {
        let server = Server::start(|call| call.respond("503 Service Unavailable", &[], "busy"));
        let run =
            on(&Clock::new()).run(http(&server), async |_| -> Result<(), Error> { panic!("it is run") });
        assert_eq!(run.await.unwrap_err().http().unwrap().status(), 503);
    });
}

/// Calls get the cause at once, and the application decides what it does about it.
#[test]
#[cfg(unix)] // a shell script
fn when_the_session_fails_the_application_goes_on() {
    everywhere(async |_| {
        let (stdio, _) = script("*'\"exit\"'*) echo 'disk full' >&2; exit 7 ;;");
        let told = on(&Clock::new()).run(stdio, async |client| {
            client.call_tool("exit", ()).await?;
            Ok(())
        });
        let error: Error = told.await.unwrap_err();
        assert!(matches!(cause(&error).kind(), ErrorKind::ServerExited(_)), "{error:#}");
        assert_eq!(error.delivery(), Delivery::MaybeSent);
        let (stdio, _) = script("*'\"exit\"'*) exit 7 ;;");
        let output = on(&Clock::new()).run(stdio, async |client| -> Result<_, Error> {
            let error = client.call_tool("exit", ()).await.unwrap_err();
            client.ping().await.unwrap_err();
            Ok(error.is_session_ended())
        });
        assert!(output.await.unwrap());
    });
}

#[test]
fn a_panic_of_the_applications_unwinds_and_ends_the_session() {
    once(async |_| {
        use futures::FutureExt;
        let (stdio, server) = pair(normal);
        let run = on(&Clock::new()).run(stdio, async |client| -> Result<(), Error> {
            client.ping().await?;
            panic!("a bug")
        });
        assert!(AssertUnwindSafe(run).catch_unwind().await.is_err());
        server.input_ended().await;
    });
}

/// The future is `Send` where the transport and the application are.
#[test]
fn run_may_be_spawned() {
    fn spawn(future: impl Future<Output = Result<usize, Error>> + Send + 'static) {
        drop(future);
    }
    let (memory, _server) = Memory::pair();
    spawn(Client::run(memory, async |client| Ok(client.list_tools().await?.len())));
}

/// Each method of the box is that of the transport inside: if one were forgotten, an assertion would fail.
#[test]
#[cfg(unix)] // a shell script
fn a_transport_in_a_box_is_a_transport() {
    everywhere(async |_| {
        // `run`, `send`, `close`, `negotiated`, `ready`, `is_request_response`.
        let server = Server::start(|call| call.normal());
        let http: Box<dyn Transport> = Box::new(http(&server));
        let boxed: Box<dyn Transport> = Box::new(http);
        assert!(boxed.is_request_response());
        assert_eq!(boxed.origin(), Http::new(&server.url()).unwrap().origin());
        let run = on(&Clock::new()).run(boxed, async |client| client.ping().await);
        run.await.unwrap();
        assert!(server.requests().iter().skip(1).all(|it| it.header("mcp-protocol-version").is_some()));
        server.arrival(|it| it.method == "GET").await;
        // `renew` and `retract`.
        let (stdio, notes) = script("*'\"exit\"'*) exit 7 ;;");
        let boxed: Box<dyn Transport> = Box::new(stdio);
        assert!(!boxed.retract(7));
        let (client, driver) = on(&Clock::new()).connect(boxed).await.unwrap();
        driver.run_until(client.call_tool("exit", ())).await.unwrap_err();
        let (client, driver) = client.reconnect().await.unwrap();
        driver.run_until(async { client.close().await }).await;
        assert_eq!(notes.processes().len(), 2);
    });
}

/// The box passes on `negotiated` of the newer revision too: each request carries the version.
#[test]
fn a_transport_in_a_box_is_a_transport_without_a_handshake_too() {
    once(async |_| {
        let server = Server::start(modern);
        let boxed: Box<dyn Transport> = Box::new(http(&server));
        let builder = on(&Clock::new()).mode(Mode::Stateless);
        let revision = builder.run(boxed, async |client| {
            client.call_tool("echo", ()).await?;
            Ok::<_, Error>(client.revision())
        });
        assert_eq!(revision.await.unwrap(), Revision::LATEST);
        assert!(server.requests().iter().all(|it| it.method == "POST"));
    });
}

#[test]
fn limits_and_timeouts_are_set_one_by_one() {
    let limits = Limits::default().body(1 << 20).pages(2);
    assert_eq!((limits.body, limits.pages), (1 << 20, 2));
    assert_eq!(limits.body(Limits::default().body).pages(Limits::default().pages), Limits::default());
    let timeouts = Timeouts::default().silence(None).total(Duration::from_secs(1)).close(Duration::ZERO);
    assert_eq!((timeouts.silence, timeouts.total), (None, Some(Duration::from_secs(1))));
    assert_eq!((timeouts.close, timeouts.probe), (Duration::ZERO, Timeouts::default().probe));
}

#[test]
fn a_limit_that_is_set_holds() {
    once(async |_| {
        let (stdio, _server) = pair(|peer, message| match crate::fault::tool(message) {
            "held" => {}
            _ => peer.normal(message),
        });
        let builder = on(&Clock::new()).limits(Limits::default().pending_calls(1));
        let output = builder.run(stdio, async |client| -> Result<_, Error> {
            let held = std::pin::pin!(client.call_tool("held", ()));
            let (held, refused) = (futures::poll!(held).is_pending(), client.ping().await.unwrap_err());
            Ok((held, matches!(refused.kind(), ErrorKind::Limit(limit) if limit.limit() == 1)))
        });
        assert_eq!(output.await.unwrap(), (true, true));
    });
}
