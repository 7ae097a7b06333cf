//! What an error says about the request: whether the server may have seen it.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::lines::pair;
use crate::fault::run::once;
use crate::fault::tool;
use crate::kit::http;
use futures::StreamExt;
use futures::future::join;
use shared_fate_mcp::error::HttpError;
use shared_fate_mcp::http::{AsyncIo, ByteStream, ConnectError, Connecting, Net};
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Delivery, Error, ErrorKind, Http, Mode, Stdio, TokenProvider};
use std::io::{self, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A server that closes each connection after its answer.
fn one_at_a_time(redirect: bool) -> Server {
    Server::start(move |call| {
        let close = "Connection: close";
        match call.request.rpc() {
            "initialize" => {
                let answer = call.answer();
                let length = format!("Content-Length: {}", answer.len());
                call.head("200 OK", &["Content-Type: application/json", close, &length]);
                call.write(answer);
            }
            "tools/call" if redirect => {
                call.head("307 Temporary Redirect", &["Location: /other", close, "Content-Length: 0"]);
            }
            "" => call.head("405 Method Not Allowed", &[close, "Content-Length: 0"]),
            _ => call.head("202 Accepted", &[close, "Content-Length: 0"]),
        }
    })
}

/// The connections that connecting takes: `initialize`, `initialized`, and the server's stream.
const HANDSHAKE: usize = 3;

/// A network in which `what` happens to the connection number `which`.
struct Odd {
    begun: AtomicUsize,
    which: usize,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Refused,
    /// The peer has answered, and closed its socket, before it has read the request.
    Answered(&'static str),
}

impl Odd {
    fn new(which: usize, what: What) -> Self {
        Self { begun: AtomicUsize::new(0), which, what }
    }
}

impl Net for Odd {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        let odd = self.begun.fetch_add(1, Ordering::SeqCst) == self.which;
        Box::pin(async move {
            match self.what {
                What::Refused if odd => Err(ConnectError::Connect(io::ErrorKind::ConnectionRefused.into())),
                What::Answered(answer) if odd => {
                    Ok(Box::new(Answered { answer, written: 0 }) as Box<dyn ByteStream>)
                }
                _ => AsyncIo.connect(host, port).await,
            }
        })
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// A socket that was reset, with an answer in its buffer: Linux lets the answer be read.
struct Answered {
    answer: &'static str,
    written: usize,
}

impl futures::io::AsyncRead for Answered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.written == 0 {
            return Poll::Pending;
        }
        let read = std::mem::take(&mut self.answer);
        buffer[..read.len()].copy_from_slice(read.as_bytes());
        Poll::Ready(Ok(read.len()))
    }
}

impl futures::io::AsyncWrite for Answered {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.written > 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.written = bytes.len().min(1000);
        Poll::Ready(Ok(self.written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn sec_02_a_request_that_was_redirected_was_sent() {
    once(async |_| {
        let server = one_at_a_time(true);
        let http = http(&server).net(Odd::new(HANDSHAKE + 1, What::Refused));
        let (client, _driver) = on(&Clock::new()).connect(http).await.unwrap();
        let error = client.call_tool("pay", ()).await.unwrap_err();
        assert_eq!(server.requests().iter().filter(|request| request.tool() == "pay").count(), 1);
        assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionRefused));
        assert_ne!(error.delivery(), Delivery::NotSent);
    });
}

struct NoSecondToken;

impl TokenProvider for NoSecondToken {
    fn token<'a>(
        &'a self,
        refused: Option<&'a HttpError>,
    ) -> BoxFuture<'a, Result<String, Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(async move {
            match refused {
                None => Ok("t0ken".to_owned()),
                Some(_) => Err("the refresh token has expired".into()),
            }
        })
    }
}

#[test]
fn sec_04_sec_05_a_refusal_that_no_new_token_follows_is_told() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "x" => call.respond("401 Unauthorized", &["WWW-Authenticate: Bearer scope=\"more\""], ""),
            _ => call.normal(),
        });
        let http = http(&server).token_provider(NoSecondToken);
        let (client, _driver) = on(&Clock::new()).connect(http).await.unwrap();
        let error = client.call_tool("x", ()).await.unwrap_err();
        assert!(format!("{error:#}").contains("the refresh token has expired"), "{error:#}");
        assert_ne!(error.delivery(), Delivery::NotSent);
        assert_eq!(error.http().map(HttpError::status), Some(401));
    });
}

/// A network that hands out a connection when its peer has talked.
struct Greeting(smol::channel::Receiver<()>);

impl Net for Greeting {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let stream = AsyncIo.connect(host, port).await?;
            self.0.recv().await.unwrap();
            Ok(stream)
        })
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn st_21_what_was_never_written_to_a_server_that_talks_first_was_not_sent() {
    once(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (closing, closed) = std::sync::mpsc::channel::<()>();
        let (talked, talks) = smol::channel::bounded(1);
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
            talked.send_blocking(()).unwrap();
            let _ = closed.recv();
        });
        let http = Http::new(&url).unwrap().net(Greeting(talks));
        let error = on(&Clock::new()).connect(http).await.unwrap_err();
        drop(closing);
        assert!(format!("{error:#}").contains("before it was asked anything"), "{error:#}");
        assert_eq!(error.delivery(), Delivery::NotSent);
    });
}

#[test]
fn st_16_an_answer_that_came_before_the_request_was_read_is_told() {
    once(async |_| {
        let server = one_at_a_time(false);
        let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo long";
        let http = http(&server).net(Odd::new(HANDSHAKE, What::Answered(answer)));
        let (client, _driver) = on(&Clock::new()).connect(http).await.unwrap();
        let error = client.call_tool("x", serde_json::json!({ "x": "y".repeat(100_000) })).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Http(http) if http.status() == 413), "{error:#}");
    });
}

#[test]
fn sec_02_liv_03_a_second_answer_behind_the_first_one_answers_nothing() {
    once(async |_| {
        let server = Server::start(|call: &mut Call| match call.request.tool() {
            "evil" => {
                let answer = |id: u64, text: &str| {
                    let result = crate::fault::text_result(text);
                    let body = crate::kit::reply(&serde_json::json!(id), result).to_string();
                    let length = body.len();
                    format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                    )
                };
                let id = call.request.body["id"].as_u64().unwrap();
                call.take();
                // Both answers go out in one segment, the second with the id of the next call.
                call.write(answer(id, "fine") + &answer(id + 1, "smuggled"));
                call.keep();
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                for _ in 0..20 {
                    assert_eq!(client.call_tool("evil", ()).await.unwrap().text(), "fine");
                    assert_eq!(client.call_tool("good", ()).await.unwrap().text(), "fine");
                }
            })
            .await;
    });
}

/// A network in which connecting never ends.
struct Never;

impl Net for Never {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// The error of a handshake that runs into its deadline: which limit it was, and whether anything was sent.
fn check_late(error: &Error, delivery: Delivery) {
    assert!(
        matches!(error.kind(), ErrorKind::Timeout(it) if it.after() == MINUTE && it.is_total()),
        "{error:#}"
    );
    assert_eq!(error.delivery(), delivery, "{error:#}");
    assert!(error.is_retryable());
}

#[test]
fn the_deadline_of_the_handshake_says_whether_anything_was_sent() {
    once(async |_| {
        // First, there is no connection.
        let clock = Clock::new();
        let http = Http::new("http://server.example/mcp").unwrap().net(Never).connect_timeout(None);
        let builder = on(&clock).mode(Mode::Legacy);
        let (connected, ()) = join(builder.connect(http), clock.pass(MINUTE)).await;
        check_late(&connected.unwrap_err(), Delivery::NotSent);

        // There is a connection, and the TLS handshake does not go on.
        #[cfg(feature = "tls")]
        {
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let clock = Clock::new();
            let url = format!("https://{}/mcp", silent.local_addr().unwrap());
            let http = Http::new(&url).unwrap().connect_timeout(None);
            let patience = async {
                let connection = smol::unblock(move || silent.accept().unwrap()).await;
                clock.pass(MINUTE).await;
                connection
            };
            let (connected, _connection) = join(on(&clock).mode(Mode::Legacy).connect(http), patience).await;
            check_late(&connected.unwrap_err(), Delivery::NotSent);
        }

        // The request has arrived.
        let server = Server::start(Call::hold);
        let clock = Clock::new();
        let patience = async {
            server.arrival(|request| request.rpc() == "initialize").await;
            clock.pass(MINUTE).await;
        };
        let (connected, ()) = join(on(&clock).mode(Mode::Legacy).connect(server.transport()), patience).await;
        check_late(&connected.unwrap_err(), Delivery::MaybeSent);

        // The last step of the handshake does not end. The limit is for all steps together.
        let server = Server::start(|call| match call.request.rpc() {
            "initialize" => call.normal(),
            _ => call.hold(),
        });
        let clock = Clock::new();
        let patience = async {
            server.arrival(|request| request.rpc() == "notifications/initialized").await;
            clock.pass(MINUTE).await;
        };
        let (connected, ()) = join(on(&clock).mode(Mode::Legacy).connect(server.transport()), patience).await;
        check_late(&connected.unwrap_err(), Delivery::MaybeSent);
    });
}

/// A pipe that takes nothing.
struct Full;

impl futures::io::AsyncWrite for Full {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The output of a server that falls silent after it has `said` something.
fn silent_after(said: &'static str) -> impl futures::io::AsyncRead + Send + Unpin {
    let said = Box::pin(futures::stream::iter([Ok(said)]).chain(futures::stream::pending()));
    futures::stream::TryStreamExt::into_async_read(said)
}

#[test]
fn a_deadline_over_a_pipe_quotes_what_came_instead() {
    once(async |_| {
        for (said, quoted) in [
            ("usage: server --stdio\n", Some("usage: server --stdio")),
            ("{\"jsonrpc\":\"2.0\",\"id\":77,\"result\":{}}\n", Some("a reply that nobody waits for")),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":77,\"error\":{\"code\":1,\"message\":\"no disk\"}}\n",
                Some("no disk"),
            ),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n", None),
        ] {
            let clock = Clock::new();
            let stdio = Stdio::over(silent_after(said), Full);
            let connecting = on(&clock).mode(Mode::Legacy).connect(stdio);
            let (connected, ()) = join(connecting, clock.pass(MINUTE)).await;
            let error = connected.unwrap_err();
            check_late(&error, Delivery::MaybeSent);
            let story = format!("{error:#}");
            match quoted {
                Some(quoted) => assert!(story.contains(quoted), "{story}"),
                None => assert_eq!(story, "no reply within 60s"),
            }
        }
        // What came before the call says nothing about it.
        let clock = Clock::new();
        let (stdio, server) = pair(|peer, message| match tool(message) {
            "late" => peer.write("too late\n"),
            "held" => {}
            _ => peer.normal(message),
        });
        let (client, driver) = on(&clock).mode(Mode::Legacy).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                for (name, quoted) in [("held", false), ("late", true), ("held", false)] {
                    let patience = async {
                        server.arrival(|message| tool(message) == name).await;
                        // Then the client has read what the server has said.
                        client.ping().await.unwrap();
                        clock.pass(MINUTE).await;
                    };
                    let (called, ()) = join(client.call_tool(name, ()), patience).await;
                    let error = called.unwrap_err();
                    assert!(error.is_timeout());
                    assert_eq!(format!("{error:#}").contains("too late"), quoted, "{error:#}");
                    assert_eq!(error.lost_stream().is_some(), quoted);
                }
                client.close().await;
            })
            .await;
    });
}
