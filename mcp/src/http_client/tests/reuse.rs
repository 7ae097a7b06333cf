//! Which connection a request goes out on.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_io::Async;
use futures::future::join_all;

use super::super::engine::{Engine, EngineConfig};
use super::super::failure::Stage;
use super::super::net::{AsyncIo, ByteStream, ConnectError, Connecting, Net};
use super::kit::{
    Script, Scripted, Server, call, engine, engine_on, event, patiently, post, read, run, scripted,
};

/// Keeps a second handle of the last socket, to see what has arrived at it.
#[derive(Clone, Default)]
struct WaitCell(Arc<Mutex<Option<TcpStream>>>);

impl WaitCell {
    async fn until_closed(&self) {
        let socket = self.0.lock().unwrap().take().unwrap();
        assert_eq!(patiently(Async::new(socket).unwrap().peek(&mut [0])).await.unwrap(), 0);
    }
}

impl Net for WaitCell {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let address = SocketAddr::new(host.parse().unwrap(), port);
            let socket = Async::<TcpStream>::connect(address).await.map_err(ConnectError::Connect)?;
            *self.0.lock().unwrap() = Some(socket.get_ref().try_clone().unwrap());
            Ok(Box::new(socket) as Box<dyn ByteStream>)
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
    let net = WaitCell::default();
    run(async {
        let engine = engine_on(net.clone());
        call(&engine, post(&server.url("/"), "first")).await.unwrap();
        net.until_closed().await;
        call(&engine, post(&server.url("/"), "second")).await.unwrap();
    });
    assert_eq!(server.connections(), 2);
    let all: Vec<_> = received.try_iter().collect();
    assert_eq!(all, [(0, b"first".to_vec()), (1, b"second".to_vec())]);
}

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The peer closes the connection after the first response: at once, or so late that it passes for
/// open and the request is written. At whatever point it is, the second request is written once, and it
/// fails only if it was written on the connection that closed.
fn closed_at_any_point(end: fn() -> io::Result<&'static str>) {
    let mut survived = 0;
    for reads in 0.. {
        let (written, writes) = mpsc::channel();
        let net = Scripted::new(move |nth| {
            let mut script: Script = vec![None, Some(Ok(RESPONSE))];
            if nth == 0 {
                script.extend((0..reads).map(|_| None));
                script.push(Some(end()));
            }
            scripted(script, written.clone())
        });
        let told = Mutex::new(Vec::new());
        let result = run(async {
            let engine = engine_on(net);
            assert_eq!(call(&engine, post("http://a/", "first")).await.unwrap(), b"ok");
            let begun = |begun| told.lock().unwrap().push(begun);
            read(engine.send_noting(post("http://a/", "second"), begun).await?).await
        });
        // The stream is not read between the look whether the connection is open and the request, so
        // nothing is handed back.
        assert_eq!(told.into_inner().unwrap(), [true]);
        let writes: Vec<_> = writes.try_iter().collect();
        assert_eq!(writes.len(), 2, "{writes:?}");
        assert!(writes[0].ends_with("first") && writes[1].ends_with("second"), "{writes:?}");
        match result {
            Ok(answer) => assert_eq!(answer, b"ok"),
            Err(failure) => {
                assert!(failure.sent && failure.stage == Stage::Head, "{failure:?}");
                break;
            }
        }
        survived += 1;
    }
    // Behind the response, and when the connection is taken; one that is put back is not read.
    assert!(survived >= 2, "{survived}");
}

#[test]
fn a_request_survives_an_end_unless_it_was_written() {
    closed_at_any_point(|| Ok(""));
}

#[test]
fn a_request_survives_a_reset_unless_it_was_written() {
    closed_at_any_point(|| Err(io::ErrorKind::ConnectionReset.into()));
}

/// On how many connections two requests go out, if the first connection says `behind` after its first response.
fn connections_for_two(behind: Script) -> usize {
    let opened = Arc::new(AtomicU64::new(0));
    let counter = opened.clone();
    let behind = Mutex::new(Some(behind));
    let net = Scripted::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut script = behind.lock().unwrap().take().unwrap_or_else(|| vec![None, Some(Ok(RESPONSE))]);
        // An idle connection that says no more is open for as long as it is asked.
        script.extend((0..8).map(|_| None));
        script.extend([Some(Ok(RESPONSE))]);
        scripted(script, mpsc::channel().0)
    });
    run(async {
        let engine = engine_on(net);
        assert_eq!(call(&engine, post("http://a/", "first")).await.unwrap(), b"ok");
        assert_eq!(call(&engine, post("http://a/", "second")).await.unwrap(), b"ok");
    });
    usize::try_from(opened.load(Ordering::Relaxed)).unwrap()
}

#[test]
fn a_connection_that_talks_while_idle_is_not_used() {
    // The beginning of a 408, perhaps. The stream is asked for a byte.
    const UNASKED: &str = "H";
    assert_eq!(connections_for_two(vec![None, Some(Ok(RESPONSE)), None, None]), 1);
    // When the connection is taken; and at once, while hyper looks for more.
    assert_eq!(connections_for_two(vec![None, Some(Ok(RESPONSE)), None, Some(Ok(UNASKED))]), 2);
    assert_eq!(connections_for_two(vec![None, Some(Ok(RESPONSE)), Some(Ok(UNASKED))]), 2);
}

#[test]
fn what_comes_with_a_response_and_is_none_of_it_closes_the_connection() {
    const TWO: &str =
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";
    assert_eq!(connections_for_two(vec![None, Some(Ok(TWO))]), 2);
}

#[test]
fn a_closed_connection_does_not_hide_an_open_one() {
    let (idle, is_idle) = event();
    let is_idle = Mutex::new(is_idle);
    let server = Server::start(move |mut peer| {
        while let Some(request) = peer.request() {
            peer.respond(request.body);
            if peer.nth == 1 {
                return is_idle.lock().unwrap().wait();
            }
        }
    });
    let net = WaitCell::default();
    run(async {
        let engine = engine_on(net.clone());
        let one = engine.send(post(&server.url("/"), "1")).await.unwrap();
        let two = engine.send(post(&server.url("/"), "2")).await.unwrap();
        read(one).await.unwrap();
        read(two).await.unwrap();
        idle.set();
        net.until_closed().await;
        call(&engine, post(&server.url("/"), "3")).await.unwrap();
    });
    assert_eq!(server.connections(), 2);
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
fn each_host_has_as_many_connections_as_are_allowed() {
    let (one, two) = (Server::echo(), Server::echo());
    let config = EngineConfig { max_idle_per_host: 2, ..EngineConfig::default() };
    run(async {
        let engine = Engine::new(config).unwrap();
        for _ in 0..2 {
            call(&engine, post(&one.url("/"), "{}")).await.unwrap();
            let pair = [(); 2].map(|()| engine.send(post(&two.url("/"), "{}")));
            for response in join_all(pair).await {
                read(response.unwrap()).await.unwrap();
            }
        }
    });
    assert_eq!((one.connections(), two.connections()), (1, 2));
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
