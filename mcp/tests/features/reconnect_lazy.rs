//! A `Reconnecting` that begins without a session, pauses between its attempts, and is closed for good.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::run::{everywhere, once};
use crate::kit::{millis, seconds};
use crate::script::script;
use futures::future::{join, join_all};
use shared_fate::Cause;
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::transport::{Inbox, Outgoing, Sending, Tracking};
use shared_fate_mcp::{
    Builder, Delivery, Error, ErrorKind, Http, Memory, MemoryServer, Reconnecting, Stdio, Timeouts, Transport,
};
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A server whose first `failures` handshakes fail, and how many handshakes there were.
fn failing(failures: usize) -> (Server, Arc<AtomicUsize>) {
    let handshakes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handshakes);
    let server = Server::start(move |call| match call.request.rpc() {
        "initialize" if counter.fetch_add(1, Ordering::SeqCst) < failures => {
            call.respond("503 Service Unavailable", &[], "busy");
        }
        _ => call.normal(),
    });
    (server, handshakes)
}

fn lazy(builder: Builder, server: &Server) -> (Reconnecting, shared_fate_mcp::ReconnectingDriver) {
    let url = server.url();
    Reconnecting::new(builder, move || Http::new(&url))
}

fn is_closed(error: &Error) -> bool {
    matches!(error.session_cause(), Some(Cause::Closed)) && error.delivery() == Delivery::NotSent
}

#[test]
fn a_client_begins_without_a_session_and_the_first_call_connects() {
    everywhere(async |_| {
        let (server, handshakes) = failing(0);
        let (clients, driver) = lazy(on(&Clock::new()), &server);
        let mut driver = pin!(driver);
        assert!(clients.current().is_none());
        assert!(futures::poll!(&mut driver).is_pending());
        assert_eq!(handshakes.load(Ordering::SeqCst), 0);
        let app = async {
            // All calls share the one session.
            for result in join_all((0..9).map(|_| clients.call_tool("echo", ()))).await {
                assert_eq!(result.unwrap().text(), "fine");
            }
            assert_eq!(handshakes.load(Ordering::SeqCst), 1);
            assert!(!clients.current().unwrap().session().is_ended());
            clients.close().await;
        };
        join(driver, app).await;
        assert!(clients.current().unwrap().session().is_ended());
        server.deserted().await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn a_server_that_is_down_at_first_is_an_error_of_the_call_alone() {
    everywhere(async |_| {
        let clock = Clock::new();
        let (up, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stdio, _) = script("*'\"tools/call\"'*) say '\"result\":{\"content\":[]}' ;;");
        let stdio = std::sync::Mutex::new(Some(stdio));
        let (opened, is_up) = (Arc::clone(&calls), Arc::clone(&up));
        let (clients, driver) = Reconnecting::new(on(&clock), move || {
            opened.fetch_add(1, Ordering::SeqCst);
            match is_up.load(Ordering::SeqCst) {
                false => Stdio::spawn(Command::new("/no/such/server")),
                true => Ok(stdio.lock().unwrap().take().unwrap()),
            }
        });
        let app = async {
            let error = clients.call_tool("echo", ()).await.unwrap_err();
            assert_eq!(error.io_kind(), Some(std::io::ErrorKind::NotFound), "{error:#}");
            assert_eq!(error.delivery(), Delivery::NotSent);
            let story = format!("{error:#}");
            assert!(story.starts_with("there is no session: the server could not be started: "), "{story}");
            assert!(clients.current().is_none());
            up.store(true, Ordering::SeqCst);
            clock.advance(millis(100));
            clients.call_tool("echo", ()).await.unwrap();
            assert_eq!(calls.load(Ordering::SeqCst), 2);
            clients.close().await;
        };
        driver.run_until(app).await;
    });
}

/// The pauses double, up to the longest.
#[test]
fn between_attempts_there_is_a_pause() {
    once(async |_| {
        let (server, handshakes) = failing(5);
        let clock = Clock::new();
        let timeouts = Timeouts::default().pause(seconds(1)).longest_pause(seconds(3));
        let (clients, driver) = lazy(on(&clock).timeouts(timeouts), &server);
        let app = async {
            clients.client().await.unwrap_err();
            let mut made = 1;
            for pause in [1, 2, 3, 3].map(seconds) {
                let mut attempt = pin!(clients.client());
                assert!(futures::poll!(&mut attempt).is_pending());
                clock.advance(pause - millis(1));
                assert!(futures::poll!(&mut attempt).is_pending());
                assert_eq!(handshakes.load(Ordering::SeqCst), made);
                clock.advance(millis(1));
                attempt.await.unwrap_err();
                made += 1;
                assert_eq!(handshakes.load(Ordering::SeqCst), made);
            }
            // Callers that give up do not shorten the pause.
            assert!(futures::poll!(pin!(clients.client())).is_pending());
            assert!(futures::poll!(pin!(clients.client())).is_pending());
            assert_eq!(handshakes.load(Ordering::SeqCst), made);
            // The pause may pass before anybody asks.
            clock.advance(seconds(3));
            clients.client().await.unwrap().ping().await.unwrap();
            clients.close().await;
        };
        driver.run_until(app).await;
    });
}

#[test]
fn a_success_makes_the_next_pause_short_again() {
    once(async |_| {
        let (dies, starts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (dead, started) = (Arc::clone(&dies), Arc::clone(&starts));
        let server = Server::start(move |call| match call.request.rpc() {
            "initialize" => match started.fetch_add(1, Ordering::SeqCst) {
                0 | 1 | 3 => call.respond("503 Service Unavailable", &[], "busy"),
                _ => call.json(&["Mcp-Session-Id: one"], &call.answer()),
            },
            "ping" if dead.load(Ordering::SeqCst) => call.respond("404 Not Found", &[], ""),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let (clients, driver) = lazy(on(&clock), &server);
        let app = async {
            clients.client().await.unwrap_err();
            clock.advance(millis(100));
            clients.client().await.unwrap_err();
            clock.advance(millis(200));
            let client = clients.client().await.unwrap();
            dies.store(true, Ordering::SeqCst);
            client.ping().await.unwrap_err();
            assert!(client.session().is_ended());
            clients.client().await.unwrap_err();
            assert_eq!(starts.load(Ordering::SeqCst), 4);
            clock.advance(millis(100));
            clients.client().await.unwrap();
            clients.close().await;
        };
        driver.run_until(app).await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn a_server_that_is_gone_is_not_started_again_to_be_closed() {
    everywhere(async |_| {
        let (stdio, notes) = script("*'\"exit\"'*) exit 7 ;;");
        let (clients, driver) = Reconnecting::connect(on(&Clock::new()), stdio).await.unwrap();
        let app = async {
            clients.call_tool("exit", ()).await.unwrap_err();
            clients.close().await;
            let error = clients.client().await.map(drop).unwrap_err();
            assert!(is_closed(&error), "{error:#}");
            // The session can still be asked how it ended.
            assert!(matches!(clients.current().unwrap().session().cause(), Some(Cause::Failed(_))));
        };
        join(driver, app).await;
        assert_eq!(notes.processes().len(), 1);
    });
}

#[test]
fn a_client_that_is_closed_before_its_first_session_makes_none() {
    everywhere(async |_| {
        let (server, handshakes) = failing(0);
        let (clients, driver) = lazy(on(&Clock::new()), &server);
        join(driver, clients.close()).await;
        let error = clients.call_tool("echo", ()).await.unwrap_err();
        assert!(is_closed(&error), "{error:#}");
        assert_eq!(handshakes.load(Ordering::SeqCst), 0);
        // Without a driver there is nothing to connect for.
        let (clients, driver) = lazy(on(&Clock::new()), &server);
        drop(driver);
        let error = clients.client().await.map(drop).unwrap_err();
        assert!(matches!(error.session_cause(), Some(Cause::Dropped)), "{error:#}");
        assert_eq!(handshakes.load(Ordering::SeqCst), 0);
    });
}

/// The first attempt is in a handshake that is never answered, the second in its pause.
#[test]
fn to_close_is_to_give_up_an_attempt_under_way() {
    once(async |_| {
        let server = Server::start(|call| call.hold());
        let (clients, driver) = lazy(on(&Clock::new()), &server);
        let app = async {
            let attempts = join_all((0..3).map(|_| clients.client()));
            let closing = async {
                server.arrival(|it| it.rpc() == "initialize").await;
                clients.close().await;
            };
            let (results, ()) = join(attempts, closing).await;
            for result in results {
                assert!(is_closed(&result.map(drop).unwrap_err()));
            }
        };
        join(driver, app).await;
        server.deserted().await;
        let (server, _) = failing(1);
        let (clients, driver) = lazy(on(&Clock::new()), &server);
        let app = async {
            clients.client().await.unwrap_err();
            let mut attempt = pin!(clients.client());
            assert!(futures::poll!(&mut attempt).is_pending());
            clients.close().await;
            assert!(is_closed(&attempt.await.map(drop).unwrap_err()));
        };
        join(driver, app).await;
    });
}

/// Answers up to a ping, and goes.
async fn serve_a_ping(server: MemoryServer) {
    while let Some(message) = server.receive().await {
        let message = serde_json::from_slice(&message).unwrap();
        if let Some(answer) = crate::fault::answer(&message) {
            server.send(answer.to_string()).await.unwrap();
        }
        if message["method"] == "ping" {
            return;
        }
    }
}

#[test]
fn what_is_made_of_streams_cannot_be_had_again() {
    once(async |_| {
        let (memory, server) = Memory::pair();
        let app = async {
            let (clients, driver) = Reconnecting::connect(on(&Clock::new()), memory).await.unwrap();
            let app = async {
                let client = clients.client().await.unwrap();
                client.ping().await.unwrap();
                client.session().ended().await;
                let error = clients.client().await.map(drop).unwrap_err();
                let cause = error.session_cause().and_then(Cause::error).unwrap();
                assert!(
                    matches!(cause.kind(), ErrorKind::InvalidInput(InvalidInput::Transport)),
                    "{error:#}"
                );
            };
            driver.run_until(app).await;
        };
        join(serve_a_ping(server), app).await;
    });
}

/// A pause that no clock can show never ends.
#[test]
fn the_longest_of_all_pauses_does_not_overflow() {
    once(async |_| {
        let (server, _) = failing(1);
        let timeouts = Timeouts::default().pause(Duration::MAX).longest_pause(Duration::MAX);
        let clock = Clock::new();
        let (clients, driver) = lazy(on(&clock).timeouts(timeouts), &server);
        let app = async {
            clients.client().await.unwrap_err();
            clock.advance(seconds(1_000_000));
            assert!(futures::poll!(pin!(clients.client())).is_pending());
            clients.close().await;
        };
        driver.run_until(app).await;
    });
}

/// A transport is given up with the driver that would have run it.
#[test]
fn to_drop_the_driver_is_to_give_up_an_attempt_under_way() {
    once(async |_| {
        for down in [0, 1] {
            let (server, _) = failing(down);
            let (clients, driver) = lazy(on(&Clock::new()), &server);
            let mut driver = Box::pin(driver);
            assert!(futures::poll!(&mut driver).is_pending());
            if down == 1 {
                // The next attempt is in its pause.
                clients.client().await.unwrap_err();
            }
            let mut attempt = pin!(clients.client());
            assert!(futures::poll!(&mut attempt).is_pending());
            drop(driver);
            let error = attempt.await.map(drop).unwrap_err();
            assert!(matches!(error.session_cause(), Some(Cause::Dropped)), "{error:#}");
            let error = clients.client().await.map(drop).unwrap_err();
            assert!(matches!(error.session_cause(), Some(Cause::Dropped)), "{error:#}");
        }
    });
}

/// A transport that says that its end is a normal one: the peer has hung up.
struct HangsUp(Memory);

impl Transport for HangsUp {
    fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        self.0.send(message, tracking, inbox)
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.0.run(inbox).await.or(Ok(())) })
    }

    fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        self.0.close(inbox)
    }

    fn abort(&self) {
        self.0.abort();
    }
}

#[test]
fn a_session_that_its_server_ended_in_peace_is_replaced_too() {
    once(async |_| {
        let (opened, servers) = smol::channel::unbounded();
        let open = move || {
            let (memory, server) = Memory::pair();
            opened.try_send(server).unwrap();
            Ok(HangsUp(memory))
        };
        let (clients, driver) = Reconnecting::new(on(&Clock::new()), open);
        let app = async {
            for _ in 0..2 {
                let (client, ()) = join(
                    async {
                        let client = clients.client().await.unwrap();
                        client.ping().await.unwrap();
                        client
                    },
                    async { serve_a_ping(servers.recv().await.unwrap()).await },
                )
                .await;
                assert!(matches!(client.session().ended().await, Cause::Finished));
            }
        };
        driver.run_until(app).await;
    });
}
