//! The engine through proxies.

use std::error::Error as _;
use std::future::Future;
use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use super::super::engine::{Engine, EngineConfig};
use super::super::failure::{Failure, Stage};
use super::super::net::{AsyncIo, ByteStream, ConnectError, Connecting, Net};
use super::super::proxy::{Proxy, ProxyError};
use super::kit::{Fake, Peer, Server, Vacant, call, event, post, read, run};

fn through(url: &str) -> EngineConfig {
    EngineConfig { proxy: Some(Proxy::new(url).unwrap()), ..EngineConfig::default() }
}

fn engine(config: EngineConfig) -> Engine {
    Engine::new(config).unwrap()
}

/// What the proxy has done; a text of it has no secret.
fn proxy_error(failure: Failure) -> ProxyError {
    assert_eq!(failure.stage, Stage::Proxy);
    let error = *failure.into_cause().downcast::<ProxyError>().unwrap();
    let source = error.source().map(|source| format!("{source} {source:?}"));
    let shown = format!("{error} {error:?} {source:?}");
    assert!(!shown.contains("secret") && !shown.contains("dXNlcjpzZWNyZXQ"), "{shown}");
    error
}

/// Joins two sockets until both have ended.
fn relay(one: TcpStream, other: TcpStream) {
    let pump = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, to) = (one.try_clone().unwrap(), other.try_clone().unwrap());
    thread::spawn(move || pump(from, to));
    pump(other, one);
}

/// An HTTP proxy whose every server is `server`; and the heads of the requests that it got.
#[cfg(feature = "tls")]
fn connect_proxy(server: &Server) -> (Server, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (seen, server) = (heads.clone(), server.address);
    let proxy = Server::start(move |mut peer| {
        let Some(head) = peer.head() else { return };
        seen.lock().unwrap().push(head);
        // In pieces, and with what is ignored.
        peer.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection est");
        peer.write("ablished\r\nContent-Length: 7\r\n\r\n");
        relay(peer.stream, TcpStream::connect(server).unwrap());
    });
    (proxy, heads)
}

#[cfg(feature = "tls")]
#[test]
fn tls_goes_through_a_tunnel_and_is_with_the_server() {
    let authority = super::tls::Authority::new();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let server = authority.start(move |mut peer| {
        while let Some(request) = peer.request() {
            let name = peer.stream.conn.server_name().map(str::to_owned);
            seen.lock().unwrap().push((name, request.head));
            peer.respond(request.body);
        }
    });
    let (proxy, connect_heads) = connect_proxy(&server);
    let url = proxy.url("").replace("http://", "http://user:secret@");
    let engine = engine(EngineConfig { proxy: through(&url).proxy, ..authority.trusted() });
    for _ in 0..3 {
        let answer = run(call(&engine, post("https://Server.Example/mcp?x", "{}"))).unwrap();
        assert_eq!(answer, b"{}");
    }
    let connect = "CONNECT server.example:443 HTTP/1.1\r\nHost: server.example:443\r\n\
                   Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n";
    assert_eq!(*connect_heads.lock().unwrap(), [connect]);
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 3);
    for (name, head) in heads.iter() {
        assert_eq!(name.as_deref(), Some("server.example"));
        assert!(head.starts_with("POST /mcp?x HTTP/1.1\r\n"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("proxy"), "{head}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_proxy_with_the_wrong_server_behind_it_is_found_out() {
    let (authority, other) = (super::tls::Authority::new(), super::tls::Authority::new());
    let server = other.start(|mut peer| drop(peer.request_or_error()));
    let (proxy, _) = connect_proxy(&server);
    for url in ["https://server.example/", "https://unknown.example/"] {
        let trusted = if url.contains("unknown") { other.trusted() } else { authority.trusted() };
        let engine = engine(EngineConfig { proxy: through(&proxy.url("")).proxy, ..trusted });
        let failure = run(call(&engine, post(url, "{}"))).unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::Tls, false));
    }
}

#[test]
fn a_request_without_tls_is_handed_to_the_proxy() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let proxy = Server::start(move |mut peer| {
        while let Some(request) = peer.request() {
            seen.lock().unwrap().push(request.head);
            peer.respond(request.body);
        }
    });
    let url = proxy.url("").replace("http://", "http://user:secret@");
    let engine = engine(through(&url));
    for url in ["http://u:p@server.example/mcp?x=1", "http://server.example", "http://[2001:db8::1]:81/"] {
        assert_eq!(run(call(&engine, post(url, "{}"))).unwrap(), b"{}");
    }
    let heads = heads.lock().unwrap();
    for (head, (line, host)) in heads.iter().zip([
        ("POST http://server.example/mcp?x=1 HTTP/1.1\r\n", "host: server.example\r\n"),
        ("POST http://server.example/ HTTP/1.1\r\n", "host: server.example\r\n"),
        ("POST http://[2001:db8::1]:81/ HTTP/1.1\r\n", "host: [2001:db8::1]:81\r\n"),
    ]) {
        assert!(head.starts_with(line) && head.contains(host), "{head}");
        assert!(head.contains("proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{head}");
    }
    // There are proxies that relay what follows as it is, and that would be the credentials.
    assert!(heads.iter().all(|head| head.contains("connection: close\r\n")));
    assert_eq!((heads.len(), proxy.connections()), (3, 3));
}

#[test]
fn without_credentials_a_forwarding_proxy_has_a_connection_for_each_server() {
    let proxy = Server::echo();
    let engine = engine(through(&proxy.url("")));
    for url in ["http://server.example/mcp?x=1", "http://server.example", "http://other.example/"] {
        assert_eq!(run(call(&engine, post(url, "{}"))).unwrap(), b"{}");
    }
    assert_eq!(proxy.connections(), 2);
}

/// A SOCKS5 proxy in front of one who echoes; and what it was told.
fn socks_proxy(wants_password: bool) -> (Server, Arc<Mutex<Vec<Vec<u8>>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let server = Server::echo();
    let proxy = Server::start(move |mut peer| {
        let exactly = |peer: &mut Peer, length: u8| {
            let mut bytes = vec![0; length.into()];
            peer.stream.read_exact(&mut bytes).unwrap();
            seen.lock().unwrap().push(bytes.clone());
            bytes
        };
        let methods = exactly(&mut peer, 2)[1];
        exactly(&mut peer, methods);
        match wants_password {
            false => peer.write([5, 0]),
            true => {
                peer.write([5, 2]);
                let length = exactly(&mut peer, 2)[1];
                exactly(&mut peer, length);
                let length = exactly(&mut peer, 1)[0];
                exactly(&mut peer, length);
                peer.write([1, 0]);
            }
        }
        let length = match exactly(&mut peer, 4)[3] {
            1 => 4,
            4 => 16,
            _ => exactly(&mut peer, 1)[0],
        };
        exactly(&mut peer, length);
        exactly(&mut peer, 2);
        peer.write([&[5, 0, 0, 3, 4], &b"here"[..], &[0, 1]].concat());
        relay(peer.stream, TcpStream::connect(server.address).unwrap());
    });
    (proxy, told)
}

#[test]
fn socks5_is_told_names_and_addresses() {
    let address: &[u8] = &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for (url, expected) in [
        ("http://server.example/", &[&[5, 1, 0, 3][..], &[14], b"server.example", &[0, 80]][..]),
        ("http://203.0.113.9:258/", &[&[5, 1, 0, 1], &[203, 0, 113, 9], &[1, 2]]),
        ("http://[2001:db8::1]/", &[&[5, 1, 0, 4], address, &[0, 80]]),
    ] {
        let (proxy, told) = socks_proxy(false);
        let engine = engine(through(&proxy.url("").replace("http", "socks5")));
        for _ in 0..2 {
            assert_eq!(run(call(&engine, post(url, "{}"))).unwrap(), b"{}");
        }
        let told = told.lock().unwrap();
        assert_eq!(told[..2], [vec![5, 1], vec![0]]);
        assert_eq!(told[2..].concat(), expected.concat());
    }
}

#[test]
fn socks5_is_told_the_credentials() {
    let (proxy, told) = socks_proxy(true);
    let engine = engine(through(&proxy.url("").replace("http://", "socks5h://user:s%3Acret@")));
    assert_eq!(run(call(&engine, post("http://server.example/", "{}"))).unwrap(), b"{}");
    let told = told.lock().unwrap();
    assert_eq!(told[..6], [&[5, 2][..], &[0, 2], &[1, 4], b"user", &[7 - 1], b"s:cret"]);
}

#[test]
fn the_407_of_a_forwarding_proxy_is_its_own() {
    let proxy = Server::start(|mut peer| {
        peer.request();
        peer.write("HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
        peer.wait_until_closed();
    });
    let engine = engine(through(&proxy.url("").replace("http://", "http://user:secret@")));
    let failure = run(call(&engine, post("http://server.example/", "{}"))).unwrap_err();
    assert!(failure.sent);
    let error = proxy_error(failure);
    assert_eq!((error.status(), error.wants_credentials()), (Some(407), true));
    assert_eq!(error.proxy(), proxy.address.to_string());
}

#[test]
fn the_407_of_a_server_is_an_answer() {
    let server = Server::start(|mut peer| {
        peer.request();
        peer.write("HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n");
        peer.wait_until_closed();
    });
    let config = through("http://user:secret@proxy.example");
    let response = run(engine(config).send(post(&server.url("/"), "{}"))).unwrap();
    assert_eq!(response.status(), 407);
    run(read(response)).unwrap();
}

#[test]
fn a_proxy_that_is_not_there() {
    let vacant = Vacant::new();
    let gone = vacant.address;
    for url in ["http://server.example/", "http://203.0.113.9/"] {
        for scheme in ["http", "socks5"] {
            let engine = engine(through(&format!("{scheme}://user:secret@{gone}")));
            let failure = run(call(&engine, post(url, "{}"))).unwrap_err();
            assert_eq!(failure.io_kind(), Some(io::ErrorKind::ConnectionRefused));
            assert!(!failure.sent);
            let error = proxy_error(failure);
            assert_eq!(error.to_string(), format!("the proxy {gone} could not be reached"));
            assert!(error.is_passing());
            let url = url.parse().unwrap();
            let gone = run(async { futures::poll!(pin!(engine.gone(&url))) });
            assert!(gone.is_pending(), "that says nothing of the server");
        }
    }
}

#[test]
fn what_is_excepted_goes_straight_to_the_server() {
    let server = Server::echo();
    let vacant = Vacant::new();
    let gone = vacant.address;
    let net = Renamed(server.address.port());
    let proxy = Proxy::new(&gone.to_string()).unwrap().no_proxy("server.example:81");
    let engine = engine(EngineConfig { net: Arc::new(net), proxy: Some(proxy), ..EngineConfig::default() });
    // This machine, and what the list says; each URL is looked at anew.
    for url in [&*server.url("/"), "http://server.example:81/", "http://localhost:81/"] {
        assert_eq!(run(call(&engine, post(url, "{}"))).unwrap(), b"{}");
        let failure = run(call(&engine, post("http://server.example:82/", "{}"))).unwrap_err();
        assert_eq!(failure.stage, Stage::Proxy);
    }
}

/// A network in which everything is a port of this machine, but for what has an address.
struct Renamed(u16);

impl Net for Renamed {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        match host.parse::<std::net::IpAddr>() {
            Ok(_) => AsyncIo.connect(host, port),
            Err(_) => AsyncIo.connect("127.0.0.1", self.0),
        }
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        AsyncIo.sleep(duration)
    }
}

/// A network in which proxies say nothing, or do not exist, and time flies as soon as one has been spoken to.
struct Mute {
    written: Arc<Mutex<Vec<u8>>>,
    is_there: bool,
}

impl Net for Mute {
    fn connect<'a>(&'a self, host: &'a str, _: u16) -> Connecting<'a> {
        assert_eq!(host, "proxy.example", "nothing else is looked up");
        if !self.is_there {
            let error = io::Error::other("no such name");
            return Box::pin(std::future::ready(Err(ConnectError::Dns(error))));
        }
        let fake = Fake {
            state: self.written.clone(),
            read: |_, _| None,
            write: |written, bytes| {
                written.lock().unwrap().extend(bytes);
                Some(Ok(bytes.len()))
            },
        };
        Box::pin(async move { Ok(Box::new(fake) as Box<dyn ByteStream>) })
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let written = self.written.clone();
        Box::pin(std::future::poll_fn(move |cx| match written.lock().unwrap().is_empty() {
            true => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            false => Poll::Ready(()),
        }))
    }
}

#[test]
fn a_silent_proxy_takes_no_more_than_the_time_to_connect() {
    for (url, scheme, said) in [
        ("https://server.example/", "http", &b"CONNECT server.example:443 "[..]),
        ("http://server.example/", "socks5", &[5, 1, 0]),
    ] {
        if url.starts_with("https") && cfg!(not(feature = "tls")) {
            continue;
        }
        let written = Arc::default();
        let net = Arc::new(Mute { written: Arc::clone(&written), is_there: true });
        let engine = engine(EngineConfig { net, ..through(&format!("{scheme}://proxy.example")) });
        let failure = run(call(&engine, post(url, "{}"))).unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::ConnectTimeout, false));
        assert!(written.lock().unwrap().starts_with(said), "not in the middle of it");
    }
}

#[test]
fn a_proxy_without_an_address_is_told_from_a_server_without_one() {
    let net = Mute { written: Arc::default(), is_there: false };
    let config = through("http://user:secret@proxy.example");
    let engine = engine(EngineConfig { net: Arc::new(net), connect_timeout: None, ..config });
    let error = proxy_error(run(call(&engine, post("http://server.example/", "{}"))).unwrap_err());
    assert_eq!(error.to_string(), "the proxy proxy.example:80 could not be reached");
    assert_eq!(error.source().unwrap().to_string(), "the host name could not be resolved");
}

/// Dropped at any point of the handshake, it closes the connection.
#[test]
fn giving_up_in_the_middle_closes_the_connection() {
    for said in [&[][..], &[5], &[5, 0], &[5, 0, 5, 0, 0, 1, 0]] {
        let (closed, was_closed) = event();
        let (is_said, was_said) = oneshot::channel();
        let is_said = Mutex::new(Some(is_said));
        let proxy = Server::start(move |mut peer| {
            peer.stream.read_exact(&mut [0; 3]).unwrap();
            peer.write(said);
            is_said.lock().unwrap().take().unwrap().send(()).unwrap();
            peer.wait_until_closed();
            closed.set();
        });
        let engine = engine(through(&proxy.url("").replace("http", "socks5")));
        let call = Box::pin(call(&engine, post("http://server.example/", "{}")));
        match run(select(call, was_said)) {
            Either::Left(_) => panic!("it has not said so much"),
            Either::Right((_, call)) => drop(call),
        }
        was_closed.wait();
    }
}
