//! Sessions through proxies, and what a caller is told of the proxies. (These are test doubles; `.ci/proxies` has real
//! ones.)

use crate::check::{on, story};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server, transport};
use crate::fault::run::{everywhere, once};
use crate::fault::text_result;
use crate::kit::{reply, seconds};
use futures::future::join;
use serde_json::json;
use shared_fate_mcp::error::{InvalidInput, ProxyError};
use shared_fate_mcp::http::{AsyncIo, ConnectError, Connecting, Net, Proxy};
use shared_fate_mcp::{Delivery, Error, ErrorKind, Http, Sse};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const IN_BASE64: &str = "dXNlcjpwYXNzdzByZA==";

/// The transport of a server that is also the proxy that gets every request.
fn handed_to(server: &Server) -> Http {
    let url = format!("http://user:passw0rd@{}", server.address());
    let http = transport("http://server.example/mcp").proxy(Proxy::new(&url).unwrap());
    assert!(!format!("{http:?}").contains("passw0rd"));
    http
}

fn proxy_error(error: &Error) -> &ProxyError {
    assert!(!story(error).contains(IN_BASE64) && !format!("{error:?}").contains(IN_BASE64));
    match error.kind() {
        ErrorKind::Proxy(error) => error,
        _ => panic!("not the proxy: {error:#}"),
    }
}

#[test]
fn px_01_every_request_of_a_session_goes_through_the_proxy() {
    everywhere(async |run| {
        let server = Server::start(|call| match (call.request.rpc(), &*call.request.target) {
            // A redirect is followed through the proxy, too.
            ("ping", "http://server.example/mcp") => call.respond("307 X", &["Location: /there"], ""),
            _ => call.normal(),
        });
        let http = handed_to(&server).bearer("t0ken").unwrap();
        let (client, driver) = on(&Clock::new()).connect(http).await.unwrap();
        run.drive(driver, async {
            client.ping().await.unwrap();
            client.close().await;
            server.deserted().await;
        })
        .await;
        let requests = server.requests();
        let seen: Vec<_> = requests.iter().map(|it| (&*it.method, &*it.target)).collect();
        let url = "http://server.example/mcp";
        let all = [("POST", url), ("POST", url), ("GET", url), ("POST", url)];
        assert_eq!(seen, [&all[..], &[("POST", "http://server.example/there"), ("DELETE", url)]].concat());
        for request in &requests {
            assert_eq!(request.header("host"), Some("server.example"));
            assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
            assert_eq!(request.header("proxy-authorization"), Some(&*format!("Basic {IN_BASE64}")));
        }
    });
}

#[test]
fn px_02_the_proxys_407_fails_its_call_and_is_told_from_the_servers_answers() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "refused" => call.respond("407 X", &["Proxy-Authenticate: Basic"], "passw0rd"),
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(handed_to(&server)).await.unwrap();
        run.drive(driver, async {
            let error = client.call_tool("refused", ()).await.unwrap_err();
            let proxy = proxy_error(&error);
            assert_eq!((proxy.status(), proxy.wants_credentials()), (Some(407), true));
            assert_eq!(proxy.proxy(), server.address().to_string());
            assert_eq!((error.delivery(), error.is_retryable()), (Delivery::MaybeSent, false));
            assert!(error.http().is_none());
            client.ping().await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn px_03_a_page_of_the_proxys_that_repeats_the_credentials_is_masked() {
    once(async |run| {
        let echo = |call: &mut Call| {
            let body = format!("{:?} passw0rd", call.request.header("proxy-authorization"));
            call.respond("502 Bad Gateway", &[], &body);
        };
        let server = Server::start(move |call| match call.request.tool() {
            "echo" => echo(call),
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(handed_to(&server)).await.unwrap();
        let app = async {
            let error = client.call_tool("echo", ()).await.unwrap_err();
            client.close().await;
            error
        };
        let error = run.drive(driver, app).await;
        assert!(!story(&error).contains(IN_BASE64));
        assert_eq!(error.http().unwrap().body_excerpt(), "Some(\"Basic ***\") ***");
    });
}

/// A network in which the next attempts to connect, so many of them, find nobody.
#[derive(Clone)]
struct Gone(Arc<AtomicUsize>);

impl Net for Gone {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        if self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let refused = ConnectError::Connect(io::ErrorKind::ConnectionRefused.into());
            return Box::pin(std::future::ready(Err(refused)));
        }
        AsyncIo.connect(host, port)
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn px_04_a_proxy_that_is_not_there_is_told_from_a_server_that_is_not() {
    once(async |_| {
        for scheme in ["http", "socks5"] {
            let net = Gone(Arc::new(AtomicUsize::new(usize::MAX)));
            let proxy = Proxy::new(&format!("{scheme}://user:passw0rd@proxy.example:3128")).unwrap();
            let http = Http::new("http://server.example/mcp").unwrap().net(net).proxy(proxy.clone());
            let error = on(&Clock::new()).connect(http).await.unwrap_err();
            assert_eq!(proxy_error(&error).proxy(), "proxy.example:3128");
            assert_eq!((error.delivery(), error.is_retryable()), (Delivery::NotSent, true));
            assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionRefused));
            let net = Gone(Arc::new(AtomicUsize::new(usize::MAX)));
            let sse = Sse::new("http://server.example/sse").unwrap().net(net).proxy(proxy);
            let error = on(&Clock::new()).connect(sse).await.unwrap_err();
            let lost = error.session_cause().and_then(|cause| cause.error()).unwrap_or(&error);
            assert_eq!(proxy_error(lost).proxy(), "proxy.example:3128");
        }
    });
}

/// A server that refuses connections has lost the call. A proxy that refuses them says nothing about the server.
#[test]
fn px_05_a_stream_is_resumed_when_the_proxy_is_back() {
    once(async |run| {
        let gone = Arc::new(AtomicUsize::new(0));
        let left = gone.clone();
        let server = Server::start(move |call| match call.request.header("last-event-id") {
            Some(id) => {
                let reply = reply(&json!(id.parse::<u64>().unwrap()), text_result("back"));
                call.events();
                call.event(&reply.to_string());
            }
            None if call.request.tool() == "polled" => {
                left.store(1, Ordering::SeqCst);
                call.events();
                let id = &call.request.body["id"];
                call.write(format!("id: {id}\nretry: 7000\ndata:\n\n"));
            }
            None => call.normal(),
        });
        let clock = Clock::new();
        let http = handed_to(&server).net(Gone(gone.clone()));
        let (client, driver) = on(&clock).connect(http).await.unwrap();
        run.drive(driver, async {
            let (result, ()) = join(client.call_tool("polled", ()), async {
                for left in [1, 0] {
                    clock.asleep(seconds(7)).await;
                    assert_eq!(gone.load(Ordering::SeqCst), left);
                    clock.advance(seconds(8));
                }
            })
            .await;
            assert_eq!(result.unwrap().text(), "back");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn px_06_a_proxy_that_cannot_be_used_is_invalid_input() {
    fn connect() -> Result<Http, Error> {
        Ok(Http::new("http://server.example/mcp")?.proxy(Proxy::new("https://user:passw0rd@proxy.example")?))
    }
    let error = connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Proxy(_))), "{error:?}");
    let text = "the proxy cannot be used: a proxy that is reached over TLS itself (https) is not supported";
    assert_eq!(story(&error), text);
    assert_eq!(error.delivery(), Delivery::NotSent);
}
