//! Sockets that belong to a runtime: where they are used, and where they are not.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

use tokio::runtime::{Builder, Runtime};

use super::super::failure::Stage;
use super::super::net::{ConnectError, Connecting, Net};
use super::kit::{Server, call, engine_on, event, patiently, post, run};
use crate::runtime::BoxFuture;
use crate::runtime::TokioNet;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn echoes(runtime: &Runtime, engine: &super::super::engine::Engine, server: &Server) {
    let answer = runtime.block_on(patiently(call(engine, post(&server.url("/"), "{}"))));
    assert_eq!(answer.unwrap(), b"{}");
}

#[test]
fn an_idle_socket_of_a_dead_runtime_is_not_used_in_a_new_one() {
    let server = Server::echo();
    let engine = engine_on(TokioNet);
    for connections in 1..4 {
        let runtime = runtime();
        for _ in 0..2 {
            echoes(&runtime, &engine, &server);
            assert_eq!(server.connections(), connections);
        }
    }
}

/// Its socket would get no events, and the request would hang.
#[test]
fn an_idle_socket_of_a_runtime_that_does_not_run_is_left_to_it() {
    let server = Server::echo();
    let engine = engine_on(TokioNet);
    let (one, two) = (runtime(), runtime());
    for (runtime, connections) in [(&one, 1), (&two, 2), (&one, 2), (&two, 2)] {
        echoes(runtime, &engine, &server);
        assert_eq!(server.connections(), connections);
    }
}

/// The number of a dead runtime may be given to a new one.
#[test]
fn a_socket_of_a_dead_runtime_is_recognised_by_itself() {
    struct OneScope;

    impl Net for OneScope {
        fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
            TokioNet.connect(host, port)
        }

        fn sleep(&self, duration: std::time::Duration) -> BoxFuture<'static, ()> {
            TokioNet.sleep(duration)
        }
    }

    let server = Server::echo();
    let engine = engine_on(OneScope);
    for connections in 1..4 {
        echoes(&runtime(), &engine, &server);
        assert_eq!(server.connections(), connections);
    }
}

#[test]
fn outside_a_runtime_the_error_says_so() {
    let server = Server::echo();
    for url in [server.url("/"), format!("http://localhost:{}/", server.address.port())] {
        let failure = run(call(&engine_on(TokioNet), post(&url, "{}"))).unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::Connect, false));
        assert_eq!(failure.io_kind(), Some(ErrorKind::Unsupported));
        assert_eq!(failure.into_cause().to_string(), "there is no tokio runtime here");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_connect_that_leaves_its_runtime_fails_and_does_not_panic() {
    let runtime = runtime();
    let mut connecting = pin!(TokioNet.connect("localhost", 1));
    runtime.block_on(async {
        // The name is being looked up.
        assert!(connecting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    match run(connecting) {
        Err(ConnectError::Connect(error)) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        result => panic!("{:?}", result.map(drop)),
    }
}

/// The reactor has had no turn since the connection was closed, so tokio believes it to be open: the
/// request would be lost on it.
#[test]
fn a_closed_connection_is_seen_before_the_reactor_has_its_turn() {
    let (answered, was_answered) = event();
    let (closed, was_closed) = event();
    let (was_answered, was_closed) = (Mutex::new(was_answered), Mutex::new(was_closed));
    let server = Server::start(move |mut peer| {
        let request = peer.request().unwrap();
        peer.respond(request.body);
        was_answered.lock().unwrap().wait();
        drop(peer);
        closed.set();
    });
    let engine = engine_on(TokioNet);
    runtime().block_on(patiently(async {
        for connections in 1..4 {
            call(&engine, post(&server.url("/"), "{}")).await.unwrap();
            assert_eq!(server.connections(), connections);
            answered.set();
            was_closed.lock().unwrap().wait();
        }
    }));
}
