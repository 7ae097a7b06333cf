//! Names, addresses, and time.

use std::future::{Future, pending, ready};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, join, select};

use super::super::engine::{Engine, EngineConfig};
use super::super::failure::Stage;
use super::super::net::{AsyncIo, ConnectError, Connecting, Net, alternate_families, race};
use super::kit::{self, Server, Vacant, call, engine, engine_on, post, run};
use crate::runtime::BoxFuture;

fn echoes(url: &str) {
    assert_eq!(run(call(&engine(), post(url, "{}"))).unwrap(), b"{}", "{url}");
}

/// The name has an IPv6 address on most machines, and nobody listens there.
#[test]
fn localhost_is_found_on_ipv4() {
    let server = Server::echo();
    echoes(&format!("http://localhost:{}/", server.address.port()));
    echoes(&format!("http://LOCALHOST:{}/", server.address.port()));
}

#[test]
fn ipv6_addresses_work() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        eprintln!("SKIPPED: this machine has no IPv6 loopback address");
        return;
    };
    let server = Server::listen(listener, |mut peer| peer.echo());
    echoes(&format!("http://[::1]:{}/", server.address.port()));
}

#[test]
fn a_name_without_an_address_is_a_failure_of_its_own() {
    // Too long to be asked for: no name server is involved.
    let url = format!("http://{}.invalid/", "x".repeat(64));
    let failure = run(call(&engine(), post(&url, "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Dns, false));
    assert!(failure.io_kind().is_some());
}

#[test]
fn the_error_of_the_last_address_is_kept() {
    let vacant = Vacant::new();
    let failure = run(call(&engine(), post(&format!("http://localhost:{}/", vacant.address.port()), "{}")))
        .unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Connect, false));
    assert_eq!(failure.io_kind(), Some(ErrorKind::ConnectionRefused));
}

#[test]
fn address_families_alternate() {
    let v4 = |n| SocketAddr::from((Ipv4Addr::new(10, 0, 0, n), 80));
    let v6 = |n| SocketAddr::from((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n), 80));
    let order = |addresses: Vec<SocketAddr>| alternate_families(addresses.into_iter());
    assert_eq!(order(vec![v6(1), v6(2), v6(3), v4(1), v4(2)]), [v6(1), v4(1), v6(2), v4(2), v6(3)]);
    assert_eq!(order(vec![v4(1), v6(1), v6(2), v6(3)]), [v4(1), v6(1), v6(2), v6(3)]);
    assert_eq!(order(vec![v4(1), v4(2)]), [v4(1), v4(2)]);
    assert_eq!(order(vec![]), []);
}

/// What happens at addresses 1, 2, 3, … of a host, and which of them wins. `sleep` makes the head starts.
fn winner(sleep: fn() -> BoxFuture<'static, ()>, outcomes: &'static [Outcome]) -> io::Result<usize> {
    let address = |n| SocketAddr::from((Ipv4Addr::LOCALHOST, n));
    let addresses = (1..).map(address).take(outcomes.len()).collect();
    let head_start = Duration::from_secs(7);
    let sleep = |duration| {
        assert_eq!(duration, head_start);
        sleep()
    };
    run(race(addresses, head_start, sleep, |address| {
        Box::pin(async move {
            let at = usize::from(address.port()) - 1;
            match outcomes[at] {
                Outcome::Silent => pending().await,
                Outcome::Answers => Ok(at + 1),
                Outcome::Fails(kind) => Err(kind.into()),
            }
        })
    }))
}

#[derive(Clone, Copy)]
enum Outcome {
    Silent,
    Answers,
    Fails(ErrorKind),
}

#[test]
fn an_address_that_says_nothing_does_not_stop_the_others() {
    use Outcome::{Answers, Fails, Silent};
    const REFUSED: Outcome = Fails(ErrorKind::ConnectionRefused);

    let soon = || Box::pin(ready(())) as BoxFuture<'static, ()>;
    assert_eq!(winner(soon, &[Silent, Answers]).unwrap(), 2);
    assert_eq!(winner(soon, &[Silent, REFUSED, Silent, Answers, Answers]).unwrap(), 4);

    // After a failure nobody waits for the timer.
    let never = || Box::pin(pending()) as BoxFuture<'static, ()>;
    assert_eq!(winner(never, &[Answers, Answers]).unwrap(), 1);
    assert_eq!(winner(never, &[REFUSED, REFUSED, Answers]).unwrap(), 3);

    let error = winner(never, &[REFUSED, Fails(ErrorKind::HostUnreachable)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnreachable);
}

/// Never connects; its clock is in the hands of the test.
struct Stuck {
    timers: Mutex<Sender<(Duration, oneshot::Sender<()>)>>,
}

impl Net for Stuck {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        Box::pin(pending())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (ring, rung) = oneshot::channel();
        self.timers.lock().unwrap().send((duration, ring)).unwrap();
        Box::pin(async move { rung.await.unwrap() })
    }
}

#[test]
fn connecting_is_limited_in_time() {
    for url in ["http://a/", "https://a/"] {
        if url.starts_with("https") && cfg!(not(feature = "tls")) {
            continue;
        }
        let (timers, started) = mpsc::channel();
        let net = Arc::new(Stuck { timers: Mutex::new(timers) });
        let connect_timeout = Some(Duration::from_secs(7));
        let config = EngineConfig { net, connect_timeout, ..EngineConfig::default() };
        let engine = Engine::new(config).unwrap();
        let failure = run(async {
            let clock = async {
                let (duration, ring) = started.try_recv().unwrap();
                assert_eq!(duration, Duration::from_secs(7));
                ring.send(()).unwrap();
            };
            join(call(&engine, post(url, "{}")), clock).await.0.unwrap_err()
        });
        assert_eq!((failure.stage, failure.sent), (Stage::ConnectTimeout, false));
        assert_eq!(failure.io_kind(), None);
    }
}

/// A server that ends closes its sockets one after the other: who looks may find the listener, for a moment.
#[test]
fn that_nobody_listens_any_more_is_seen_also_a_moment_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It keeps the port.
    let _connection = [TcpStream::connect(address).unwrap(), listener.accept().unwrap().0];
    let (accepted, seen) = oneshot::channel();
    let (leave, left) = mpsc::channel();
    let server = thread::spawn(move || {
        let looked = listener.accept().unwrap();
        accepted.send(()).unwrap();
        left.recv().unwrap();
        drop(listener);
        drop(looked);
    });
    let (engine, url) = (engine(), format!("http://{address}/").parse().unwrap());
    let failure = run(async {
        let gone = pin!(engine.gone(&url));
        let Either::Right((_, gone)) = select(gone, seen).await else { panic!("it listens") };
        leave.send(()).unwrap();
        gone.await
    });
    assert_eq!(failure.io_kind(), Some(ErrorKind::ConnectionRefused));
    server.join().unwrap();
}

#[test]
fn a_nets_own_errors_keep_their_kind() {
    struct Broken;

    impl Net for Broken {
        fn connect<'a>(&'a self, host: &'a str, _: u16) -> Connecting<'a> {
            // Without brackets, in lower case.
            Box::pin(async move {
                Err(match host {
                    "::1" => ConnectError::Dns(ErrorKind::NotFound.into()),
                    "host" => ConnectError::Connect(ErrorKind::HostUnreachable.into()),
                    other => panic!("{other}"),
                })
            })
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(pending())
        }
    }

    let engine = engine_on(Broken);
    let failure = run(call(&engine, post("http://[::1]/", "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.io_kind()), (Stage::Dns, Some(ErrorKind::NotFound)));
    let failure = run(call(&engine, post("http://HOST:/", "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.io_kind()), (Stage::Connect, Some(ErrorKind::HostUnreachable)));
}

#[test]
fn only_allowed_addresses_are_connected_to() {
    let server = Server::echo();
    let port = server.address.port();
    let refusal = |net: &dyn Net, host: &str, allowed: &(dyn Fn(IpAddr) -> bool + Sync)| match run(
        net.connect_to(host, port, allowed)
    ) {
        Ok(_) => None,
        Err(ConnectError::Connect(error)) => Some(error.kind()),
        Err(ConnectError::Dns(error)) => panic!("{error}"),
    };
    for (host, connections) in [("127.0.0.1", 1), ("localhost", 2)] {
        assert_eq!(refusal(&AsyncIo, host, &|address| address.is_ipv4()), None);
        // The server's thread may have to be waited for.
        while server.connections() < connections {
            thread::yield_now();
        }
        let refused = refusal(&AsyncIo, host, &|address| !address.is_loopback());
        assert_eq!((refused, server.connections()), (Some(ErrorKind::PermissionDenied), connections));
    }
    // A net of somebody else's, which does not look at addresses.
    let other = kit::Scripted::new(|_| kit::scripted(Vec::new(), mpsc::channel().0));
    assert_eq!(refusal(&other, "10.0.0.1", &|_| false), Some(ErrorKind::PermissionDenied));
    assert_eq!(refusal(&other, "10.0.0.1", &|_| true), None);
    assert_eq!(refusal(&other, "localhost", &|_| false), None);
}
