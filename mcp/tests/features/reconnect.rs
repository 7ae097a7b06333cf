//! New sessions with the same server: SES-05, SES-06, SES-16, IO-18, IO-19, SUB-11, LIV-09, LIV-10.

use crate::check::{cause, on, story};
use crate::fault::Gate;
use crate::fault::clock::Clock;
use crate::fault::http::{SESSION, Server};
use crate::fault::run::{everywhere, once};
use crate::kit::{Feed, http, millis, seconds};
use crate::modern::{META, VERSION, discovered};
use crate::script::script;
use futures::future::{join, join_all, select};
use futures::stream::{FuturesUnordered, StreamExt};
use shared_fate::Cause;
use shared_fate_mcp::error::HttpError;
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Change, Client, Delivery, ErrorKind, Interest, Mode, Reconnecting, TokenProvider};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many sessions a server has made, and which of them it has forgotten.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<(usize, usize)>>);

impl Sessions {
    /// From now on the server knows none of those it has made.
    fn forget(&self) {
        let mut sessions = self.0.lock().unwrap();
        sessions.1 = sessions.0;
    }

    fn knows(&self, id: &str) -> bool {
        let number = id.strip_prefix(SESSION).unwrap().strip_prefix('-').unwrap();
        number.parse::<usize>().unwrap() > self.0.lock().unwrap().1
    }

    fn first(&self) -> bool {
        self.0.lock().unwrap().0 == 0
    }

    fn make(&self) -> usize {
        let mut sessions = self.0.lock().unwrap();
        sessions.0 += 1;
        sessions.0
    }
}

/// A server that forgets sessions. Every handshake but the first waits for the gate, and as many as the counter says fail.
fn forgetful() -> (Server, Sessions, Gate, Arc<AtomicUsize>) {
    let (sessions, failures, gate) = (Sessions::default(), Arc::new(AtomicUsize::new(0)), Gate::default());
    let (made, fails, held) = (sessions.clone(), Arc::clone(&failures), gate.clone());
    let server =
        Server::start(move |call| match (call.request.rpc(), call.request.header("mcp-session-id")) {
            ("initialize", _) => {
                if !made.first() {
                    held.wait();
                }
                if fails.load(Ordering::SeqCst) > 0 {
                    fails.fetch_sub(1, Ordering::SeqCst);
                    return call.respond("503 Service Unavailable", &[], "busy");
                }
                let answer = call.answer();
                call.json(&[&format!("Mcp-Session-Id: {SESSION}-{}", made.make())], &answer);
            }
            (_, Some(id)) if made.knows(id) => call.normal(),
            _ => call.respond("404 Not Found", &["Content-Type: text/plain"], "Session not found"),
        });
    (server, sessions, gate, failures)
}

fn initializations(server: &Server) -> usize {
    server.requests().iter().filter(|it| it.rpc() == "initialize").count()
}

#[test]
fn ses_05_16_reconnecting_after_a_404_starts_anew_and_repeats_nothing() {
    everywhere(async |run| {
        let (first, feed) = (Feed::new(), Feed::new());
        let (served, next, sessions) = (first.clone(), feed.clone(), Arc::new(AtomicUsize::new(0)));
        let server = Server::start(move |call| match (&*call.request.method, call.request.rpc()) {
            // Each session has a feed of its own: a stream that ends late takes nothing from the next one.
            ("GET", _) if call.request.header("mcp-session-id") == Some("s0") => served.serve(call),
            ("GET", _) => next.serve(call),
            (_, "initialize") => {
                let number = sessions.fetch_add(1, Ordering::SeqCst);
                let answer = call.answer();
                call.json(&[&format!("Mcp-Session-Id: s{number}")], &answer);
            }
            _ if call.request.tool() == "late" => call.respond("404 Not Found", &[], ""),
            _ => call.normal(),
        });
        let (old, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            server.arrival(|it| it.method == "GET").await;
            let error = old.call_tool("late", ()).await.unwrap_err();
            assert!(matches!(cause(&error).kind(), ErrorKind::SessionExpired(_)));
        })
        .await;
        first.end();
        let before = server.requests().len();
        let (new, driver) = old.reconnect().await.unwrap();
        run.drive(driver, async {
            new.ping().await.unwrap();
            // The old session has still ended.
            let error = old.ping().await.unwrap_err();
            assert!(matches!(cause(&error).kind(), ErrorKind::SessionExpired(_)));
            let requests = server.requests().split_off(before);
            let told: Vec<_> = requests.iter().map(|it| format!("{} {}", it.method, it.rpc())).collect();
            assert_eq!(told, ["POST initialize", "POST notifications/initialized", "GET ", "POST ping"]);
            assert_eq!(requests[0].header("mcp-session-id"), None);
            assert_eq!(requests[0].header("mcp-protocol-version"), None);
            for request in &requests[1..] {
                assert_eq!(request.header("mcp-session-id"), Some("s1"), "{request:?}");
            }
            new.close().await;
            feed.end();
            server.deserted().await;
        })
        .await;
        assert_eq!(server.requests().iter().filter(|it| it.tool() == "late").count(), 1);
    });
}

#[test]
#[cfg(unix)] // a shell script
fn io_19_a_child_is_started_again_and_again() {
    everywhere(async |run| {
        let (stdio, notes) = script("*'\"exit\"'*) exit 7 ;;");
        let (old, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let error = old.call_tool("exit", ()).await.unwrap_err();
            assert!(matches!(cause(&error).kind(), ErrorKind::ServerExited(_)), "{error:#}");
        })
        .await;
        for round in 2..4 {
            let (new, driver) = old.reconnect().await.unwrap();
            run.drive(driver, async {
                new.ping().await.unwrap();
                new.close().await;
            })
            .await;
            let processes = notes.processes();
            assert_eq!(processes.len(), round);
            let told: Vec<_> = processes[round - 1].iter().map(|it| it["method"].clone()).collect();
            assert_eq!(told, ["initialize", "notifications/initialized", "ping"]);
        }
    });
}

#[test]
#[cfg(unix)] // a shell script
fn liv_10_a_child_that_fails_to_start_is_tried_again_by_the_next() {
    everywhere(async |_| {
        let (stdio, notes) = script(
            "*'\"exit\"'*) exit 7 ;; *'\"initialize\"'*) if [ $starts = 2 ]; then exit 8; else say '\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{}}'; fi ;;",
        );
        let clock = Clock::new();
        let (clients, driver) = Reconnecting::connect(on(&clock), stdio).await.unwrap();
        driver
            .run_until(async {
                let old = clients.client().await.unwrap();
                old.call_tool("exit", ()).await.unwrap_err();
                let error = clients.client().await.unwrap_err();
                assert!(story(&error).contains("exit status 8"), "{error:#}");
                clock.advance(millis(100));
                clients.client().await.unwrap().ping().await.unwrap();
                clients.client().await.unwrap().close().await;
            })
            .await;
        assert_eq!(notes.processes().len(), 3);
    });
}

async fn connect(server: &Server) -> (Reconnecting, shared_fate_mcp::ReconnectingDriver) {
    Reconnecting::connect(on(&Clock::new()), http(server)).await.unwrap()
}

/// Makes the server forget the session, and a client notice.
async fn lose(clients: &Reconnecting, sessions: &Sessions) -> Client {
    sessions.forget();
    let client = clients.client().await.unwrap();
    let error = client.ping().await.unwrap_err();
    assert!(matches!(cause(&error).kind(), ErrorKind::SessionExpired(_)));
    client
}

#[test]
fn ses_06_liv_09_many_callers_make_one_session() {
    everywhere(async |_| {
        let (server, sessions, gate, _) = forgetful();
        let (clients, driver) = connect(&server).await;
        driver
            .run_until(async {
                let old = lose(&clients, &sessions).await;
                let many = join_all((0..50).map(|_| async {
                    let client = clients.client().await.unwrap();
                    client.ping().await.unwrap();
                }));
                let opening = async {
                    for _ in 0..2 {
                        server.arrival(|it| it.rpc() == "initialize").await;
                    }
                    gate.open();
                };
                join(many, opening).await;
                assert_eq!(initializations(&server), 2);
                assert_eq!(old.ping().await.unwrap_err().delivery(), Delivery::NotSent);
                clients.client().await.unwrap().close().await;
            })
            .await;
        server.deserted().await;
    });
}

#[test]
fn liv_10_when_reconnecting_fails_all_get_the_same_cause_and_the_next_tries_again() {
    everywhere(async |_| {
        let (server, sessions, gate, failures) = forgetful();
        let clock = Clock::new();
        let (clients, driver) = Reconnecting::connect(on(&clock), http(&server)).await.unwrap();
        driver
            .run_until(async {
                lose(&clients, &sessions).await;
                failures.store(1, Ordering::SeqCst);
                // `join_all` polls so many before anything else happens. Of more, some might come after the failure.
                let many = join_all((0..25).map(|_| clients.client()));
                let opening = async {
                    server.arrival(|it| it.rpc() == "initialize").await;
                    server.arrival(|it| it.rpc() == "initialize").await;
                    gate.open();
                };
                let (results, ()) = join(many, opening).await;
                let mut stories: Vec<_> = results
                    .into_iter()
                    .map(|result| {
                        let error = result.unwrap_err();
                        assert_eq!(error.http().unwrap().status(), 503);
                        assert_eq!(error.delivery(), Delivery::NotSent);
                        story(&error)
                    })
                    .collect();
                stories.dedup();
                assert_eq!((stories.len(), initializations(&server)), (1, 2));
                clock.advance(millis(100));
                clients.client().await.unwrap().ping().await.unwrap();
                clients.client().await.unwrap().close().await;
            })
            .await;
        server.deserted().await;
    });
}

#[test]
fn ses_06_when_the_one_that_began_goes_another_carries_on() {
    everywhere(async |_| {
        let (server, sessions, gate, _) = forgetful();
        let (clients, driver) = connect(&server).await;
        driver
            .run_until(async {
                lose(&clients, &sessions).await;
                let mut first = Box::pin(clients.client());
                assert!(futures::poll!(&mut first).is_pending());
                let mut others: FuturesUnordered<_> = (0..9).map(|_| clients.client()).collect();
                let mut arrived = pin!(async {
                    server.arrival(|it| it.rpc() == "initialize").await;
                    server.arrival(|it| it.rpc() == "initialize").await;
                });
                // The request has arrived before the first caller goes.
                let mut all = select(first, &mut arrived);
                let first = match (&mut all).await {
                    futures::future::Either::Right((_, first)) => first,
                    futures::future::Either::Left(_) => panic!("nobody has answered"),
                };
                assert!(futures::poll!(others.next()).is_pending());
                drop(first);
                gate.open();
                while let Some(client) = others.next().await {
                    client.unwrap().ping().await.unwrap();
                }
                assert_eq!(initializations(&server), 2);
                clients.client().await.unwrap().close().await;
            })
            .await;
        server.deserted().await;
    });
}

#[test]
fn what_was_closed_stays_closed() {
    everywhere(async |_| {
        let (server, _, gate, _) = forgetful();
        gate.open();
        let (clients, driver) = connect(&server).await;
        let task = async {
            clients.client().await.unwrap().close().await;
            let client = clients.client().await.unwrap();
            assert!(matches!(client.ping().await.unwrap_err().session_cause(), Some(Cause::Closed)));
        };
        join(driver, task).await;
        assert_eq!(initializations(&server), 1);
        // Without a driver there is nothing to reconnect for.
        let (clients, driver) = connect(&server).await;
        drop(driver);
        let client = clients.client().await.unwrap();
        assert!(matches!(client.ping().await.unwrap_err().session_cause(), Some(Cause::Dropped)));
        assert_eq!(initializations(&server), 2);
        server.deserted().await;
    });
}

/// A provider of tokens that panics once when it is told to.
struct Cursed(Arc<AtomicBool>);

impl TokenProvider for Cursed {
    fn token<'a>(&'a self, _: Option<&'a HttpError>) -> BoxFuture<'a, Token> {
        assert!(!self.0.swap(false, Ordering::SeqCst), "a bug in the token provider");
        Box::pin(std::future::ready(Ok("token".to_owned())))
    }
}

type Token = Result<String, Box<dyn std::error::Error + Send + Sync>>;

#[test]
fn liv_17_a_panic_in_the_driver_does_not_take_the_application_along() {
    once(async |_| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match &*call.request.method {
            "GET" => served.serve(call),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let tokens = Cursed(Arc::default());
        let curse = Arc::clone(&tokens.0);
        let http = http(&server).token_provider(tokens);
        let (clients, driver) = Reconnecting::connect(on(&clock), http).await.unwrap();
        driver
            .run_until(async {
                let client = clients.client().await.unwrap();
                // The server's own stream is opened again by the driver.
                curse.store(true, Ordering::SeqCst);
                feed.end();
                clock.pass(seconds(1)).await;
                assert!(matches!(client.session().ended().await, Cause::Panicked(_)));
                clients.client().await.unwrap().ping().await.unwrap();
                clients.client().await.unwrap().close().await;
            })
            .await;
        assert_eq!(initializations(&server), 2);
    });
}

#[test]
fn liv_10_a_reconnection_that_hangs_is_bounded() {
    once(async |_| {
        let (server, sessions, gate, _) = forgetful();
        let clock = Clock::new();
        let (clients, driver) = Reconnecting::connect(on(&clock), http(&server)).await.unwrap();
        driver
            .run_until(async {
                lose(&clients, &sessions).await;
                let many = join_all((0..3).map(|_| clients.client()));
                let (results, ()) = join(many, clock.pass(seconds(60))).await;
                for result in results {
                    let error = result.unwrap_err();
                    let inner = cause(&error);
                    assert!(inner.is_timeout(), "{error:#}");
                }
                gate.open();
                clock.advance(millis(100));
                clients.client().await.unwrap().ping().await.unwrap();
                clients.client().await.unwrap().close().await;
            })
            .await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn sub_11_io_18_after_a_restart_a_subscription_is_made_again() {
    once(async |_| {
        let found = discovered(&[VERSION]);
        let told = |method: &str, params: &str| {
            format!(
                r#"printf '{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{{params}"_meta":{{"{META}subscriptionId":%s}}}}}}\n' "$id""#
            )
        };
        let (stdio, notes) = script(&format!(
            "*server/discover*) say '\"result\":{found}' ;;
             *subscriptions/listen*) {}; {}; [ $starts = 2 ] || exit 3 ;;",
            told("subscriptions/acknowledged", "\"notifications\":{\"toolsListChanged\":true},"),
            told("tools/list_changed", ""),
        ));
        let builder = on(&Clock::new()).mode(Mode::Stateless);
        let (clients, driver) = Reconnecting::connect(builder, stdio).await.unwrap();
        let app = async {
            let mut wish = Interest::default();
            wish.tools_list_changed = true;
            let mut first = clients.client().await.unwrap().listen(&wish).await.unwrap();
            assert_eq!(first.next().await.unwrap().unwrap(), Change::Tools);
            assert!(first.next().await.unwrap().unwrap_err().is_session_ended());
            let client = clients.client().await.unwrap();
            let mut second = client.listen(first.interest()).await.unwrap();
            assert_eq!(second.next().await.unwrap().unwrap(), Change::Tools);
            client.close().await;
        };
        driver.run_until(app).await;
        assert_eq!(notes.processes().len(), 2);
    });
}
