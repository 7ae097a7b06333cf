//! Which connection a request goes out on.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_io::Async;

use super::super::engine::{Engine, EngineConfig};
use super::super::net::{AsyncIo, ConnectError, Connecting, Net, Stream};
use super::kit::{Scripted, Server, call, engine, engine_on, event, patiently, post, read, run, scripted};

/// Keeps a second handle of the last socket, to see what has arrived at it.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Option<TcpStream>>>);

impl Watched {
    async fn until_readable(&self) {
        let socket = self.0.lock().unwrap().take().unwrap();
        assert_eq!(patiently(Async::new(socket).unwrap().peek(&mut [0])).await.unwrap(), 0);
    }
}

impl Net for Watched {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let address = SocketAddr::new(host.parse().unwrap(), port);
            let socket = Async::<TcpStream>::connect(address).await.map_err(ConnectError::Connect)?;
            *self.0.lock().unwrap() = Some(socket.get_ref().try_clone().unwrap());
            Ok(Box::new(socket) as Box<dyn Stream>)
        })
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        AsyncIo.sleep(duration)
    }
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    let (seen, received) = mpsc::channel();
    let server = Server::start(move |mut peer| {
        let request = peer.request().unwrap();
        seen.send((peer.nth, request.body)).unwrap();
        peer.respond("ok");
        // and closes
    });
    let net = Watched::default();
    run(async {
        let engine = engine_on(net.clone());
        call(&engine, post(&server.url("/"), "first")).await.unwrap();
        net.until_readable().await;
        call(&engine, post(&server.url("/"), "second")).await.unwrap();
    });
    assert_eq!(server.connections(), 2);
    let all: Vec<_> = received.try_iter().collect();
    assert_eq!(all, [(0, b"first".to_vec()), (1, b"second".to_vec())]);
}

/// The connection passes the check before its reuse, and is found closed when the request is already
/// queued: hyper hands the request back, and it goes out on a new connection.
fn closed_between_check_and_use(end: fn() -> io::Result<&'static str>) {
    const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (written, writes) = mpsc::channel();
    let net = Scripted::new(move |nth| {
        // Pending reads: before the request is written, after the response, and at the check.
        let script = match nth {
            0 => vec![None, Some(Ok(RESPONSE)), None, None, Some(end())],
            _ => vec![None, Some(Ok(RESPONSE)), None],
        };
        scripted(script, written.clone())
    });
    run(async {
        let engine = engine_on(net);
        assert_eq!(call(&engine, post("http://a/", "first")).await.unwrap(), b"ok");
        assert_eq!(call(&engine, post("http://a/", "second")).await.unwrap(), b"ok");
    });
    let writes: Vec<_> = writes.try_iter().collect();
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert!(writes[0].ends_with("first") && writes[1].ends_with("second"), "{writes:?}");
}

#[test]
fn a_request_handed_back_after_an_end_goes_out_again() {
    closed_between_check_and_use(|| Ok(""));
}

#[test]
fn a_request_handed_back_after_a_reset_goes_out_again() {
    closed_between_check_and_use(|| Err(io::ErrorKind::ConnectionReset.into()));
}

#[test]
fn idle_connections_expire() {
    let server = Server::echo();
    let config = EngineConfig { idle_timeout: Duration::ZERO, ..EngineConfig::default() };
    run(async {
        let engine = Engine::new(config).unwrap();
        for _ in 0..3 {
            call(&engine, post(&server.url("/"), "{}")).await.unwrap();
        }
    });
    assert_eq!(server.connections(), 3);
}

#[test]
fn no_more_connections_are_kept_than_allowed() {
    for (max_idle_per_host, connections) in [(0, 4), (1, 3), (2, 2)] {
        let server = Server::echo();
        let config = EngineConfig { max_idle_per_host, ..EngineConfig::default() };
        run(async {
            let engine = Engine::new(config).unwrap();
            for _ in 0..2 {
                let one = engine.send(post(&server.url("/"), "1")).await.unwrap();
                let two = engine.send(post(&server.url("/"), "2")).await.unwrap();
                read(one).await.unwrap();
                read(two).await.unwrap();
            }
        });
        assert_eq!(server.connections(), connections, "{max_idle_per_host}");
    }
}

#[test]
fn idle_connections_are_closed_on_request_and_with_the_engine() {
    let (closed, was_closed) = event();
    let server = Server::start(move |mut peer| {
        peer.echo();
        closed.set();
    });
    let engine = engine();
    run(call(&engine, post(&server.url("/"), "{}"))).unwrap();
    engine.clone().drop_idle();
    was_closed.wait();

    run(call(&engine, post(&server.url("/"), "{}"))).unwrap();
    assert_eq!(server.connections(), 2);
    drop(engine);
    was_closed.wait();
}

#[test]
fn connections_stay_in_their_scope() {
    struct Scoped(Arc<AtomicU64>);

    impl Net for Scoped {
        fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
            AsyncIo.connect(host, port)
        }

        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            AsyncIo.sleep(duration)
        }

        fn scope(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    let server = Server::echo();
    let scope = Arc::new(AtomicU64::new(1));
    run(async {
        let engine = engine_on(Scoped(scope.clone()));
        for (current, connections) in [(1, 1), (2, 2), (1, 2), (2, 2), (3, 3)] {
            scope.store(current, Ordering::SeqCst);
            call(&engine, post(&server.url("/"), "{}")).await.unwrap();
            assert_eq!(server.connections(), connections);
        }
    });
}
