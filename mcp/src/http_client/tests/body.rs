//! Streaming, and what dropping does.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;

use futures::future::{Either, select};

use super::super::engine::Engine;
use super::super::failure::Stage;
use super::super::net::ByteStream;
use super::kit::{Fake, Scripted, Server, call, engine, engine_on, event, give, post, read, run};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn chunks_arrive_as_they_are_sent() {
    let (go_on, may_go_on) = event();
    let may_go_on = Mutex::new(may_go_on);
    let server = Server::start(move |mut peer| {
        peer.request();
        peer.write(CHUNKED);
        for chunk in ["3\r\none\r\n", "3\r\ntwo\r\n", "5\r\nthree\r\n", "0\r\n\r\n"] {
            may_go_on.lock().unwrap().wait();
            peer.write(chunk);
        }
    });
    run(async {
        let response = engine().send(post(&server.url("/"), "{}")).await.unwrap();
        let mut body = response.into_body();
        for chunk in ["one", "two", "three"] {
            go_on.set();
            assert_eq!(body.chunk().await.unwrap().unwrap(), chunk);
        }
        go_on.set();
        assert!(body.chunk().await.is_none());
        assert!(body.chunk().await.is_none());
    });
}

/// What comes while the reader waits for something else is there when it goes on.
#[test]
fn a_reader_may_rest_between_two_chunks() {
    run(async {
        let (engine, rested) = in_two_parts();
        let mut body = engine.send(post("http://a/", "{}")).await.unwrap().into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
        // It is woken for the second one, and has not looked yet.
        futures::pending!();
        rested.store(true, Ordering::SeqCst);
        assert_eq!(body.chunk().await.unwrap().unwrap(), "two");
    });
}

#[test]
fn a_body_whose_rest_has_arrived_before_it_is_dropped_keeps_the_connection() {
    run(async {
        let (engine, rested) = in_two_parts();
        let mut body = engine.send(post("http://a/", "{}")).await.unwrap().into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
        rested.store(true, Ordering::SeqCst);
        drop(body);
        // There is only the one.
        engine.send(post("http://a/", "{}")).await.unwrap();
    });
}

/// One connection to a server whose answers come in two parts, the second when it is told to go on.
fn in_two_parts() -> (Engine, Arc<AtomicBool>) {
    struct Peer {
        due: VecDeque<&'static str>,
        go_on: Arc<AtomicBool>,
    }

    let go_on = Arc::new(AtomicBool::new(false));
    let net = Scripted::new({
        let go_on = Arc::clone(&go_on);
        move |nth| -> Box<dyn ByteStream> {
            assert_eq!(nth, 0, "another connection");
            Box::new(Fake {
                state: Peer { due: VecDeque::new(), go_on: Arc::clone(&go_on) },
                read: |peer, buffer| match peer.due.len() {
                    1 if !peer.go_on.load(Ordering::SeqCst) => None,
                    _ => give(buffer, peer.due.pop_front()?),
                },
                write: |peer, bytes| {
                    peer.due.extend(["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none", "two"]);
                    Some(Ok(bytes.len()))
                },
            })
        }
    });
    (engine_on(net), go_on)
}

#[test]
fn a_dropped_chunk_future_loses_nothing() {
    let (go_on, may_go_on) = event();
    let may_go_on = Mutex::new(may_go_on);
    let server = Server::start(move |mut peer| {
        peer.request();
        peer.write(CHUNKED);
        may_go_on.lock().unwrap().wait();
        peer.write("3\r\none\r\n0\r\n\r\n");
    });
    run(async {
        let mut body = engine().send(post(&server.url("/"), "{}")).await.unwrap().into_body();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(body.chunk()).poll(&mut cx).is_pending());
        go_on.set();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
        assert!(body.chunk().await.is_none());
    });
}

#[test]
fn dropping_the_request_closes_the_connection() {
    let (received, was_received) = event();
    let (closed, was_closed) = event();
    let server = Server::start(move |mut peer| {
        peer.request();
        received.set();
        peer.wait_until_closed();
        closed.set();
    });
    let engine = engine();
    let (cancel, cancelled) = futures::channel::oneshot::channel::<()>();
    let request = post(&server.url("/"), "{}");
    let sender = thread::spawn({
        let engine = engine.clone();
        move || {
            let sending = Box::pin(engine.send(request));
            matches!(run(select(sending, cancelled)), Either::Right(_))
        }
    });
    was_received.wait();
    cancel.send(()).unwrap();
    assert!(sender.join().unwrap());
    was_closed.wait();
    drop(engine);
}

#[test]
fn dropping_an_unfinished_body_closes_the_connection() {
    let (closed, was_closed) = event();
    let server = Server::start(move |mut peer| {
        peer.request();
        peer.write(CHUNKED);
        peer.write("3\r\none\r\n");
        peer.wait_until_closed();
        closed.set();
    });
    let engine = engine();
    run(async {
        let mut body = engine.send(post(&server.url("/"), "{}")).await.unwrap().into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
    });
    was_closed.wait();
}

#[test]
fn dropping_an_unread_body_closes_the_connection() {
    let (closed, was_closed) = event();
    let server = Server::start(move |mut peer| {
        peer.request();
        peer.write(CHUNKED);
        peer.wait_until_closed();
        closed.set();
    });
    drop(run(engine().send(post(&server.url("/"), "{}"))).unwrap());
    was_closed.wait();
}

#[test]
fn dropping_a_body_that_has_arrived_keeps_the_connection() {
    let server = Server::start(|mut peer| {
        while peer.request().is_some() {
            peer.write(format!("{CHUNKED}3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"));
        }
    });
    run(async {
        let engine = engine();
        for _ in 0..20 {
            let mut body = engine.send(post(&server.url("/"), "{}")).await.unwrap().into_body();
            assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
        }
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn dropping_an_unread_body_that_has_arrived_keeps_the_connection() {
    let server = Server::echo();
    run(async {
        let engine = engine();
        for _ in 0..20 {
            drop(engine.send(post(&server.url("/"), "{}")).await.unwrap());
        }
    });
    assert_eq!(server.connections(), 1);
}

/// Answers the request with a body that always has another chunk ready.
fn endless(_: usize) -> Box<dyn ByteStream> {
    Box::new(Fake {
        state: (false, [CHUNKED].into_iter()),
        read: |(asked, head), buffer| {
            if *asked { give(buffer, head.next().unwrap_or("3\r\none\r\n")) } else { None }
        },
        write: |(asked, _), bytes| {
            *asked = true;
            Some(Ok(bytes.len()))
        },
    })
}

#[test]
fn dropping_an_endless_body_does_not_read_for_ever() {
    run(async {
        let engine = engine_on(Scripted::new(endless));
        let mut body = engine.send(post("http://a/", "{}")).await.unwrap().into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
    });
}

#[test]
fn an_endless_body_lets_others_run() {
    let engine = engine_on(Scripted::new(endless));
    let mut body = run(engine.send(post("http://a/", "{}"))).unwrap().into_body();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        let before = wakes.0.load(Ordering::SeqCst);
        let in_a_row = (0..1000).take_while(|_| body.poll_chunk(&mut cx).is_ready()).count();
        assert!((1..100).contains(&in_a_row), "{in_a_row}");
        assert!(wakes.0.load(Ordering::SeqCst) > before, "pending, and nobody will wake it");
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The peer answers early, then stops reading the request. All that hyper tells the body about it is
/// "connection error".
#[test]
fn a_body_that_ends_because_writing_failed_says_why() {
    #[derive(Default)]
    struct Early {
        written: bool,
        answered: bool,
    }

    let engine = engine_on(Scripted::new(|_| {
        Box::new(Fake {
            state: Early::default(),
            read: |state, buffer| {
                let answer = state.written && !std::mem::replace(&mut state.answered, state.written);
                if answer { give(buffer, format!("{CHUNKED}3\r\none\r\n")) } else { None }
            },
            write: |state, _| match (state.answered, std::mem::replace(&mut state.written, true)) {
                (_, false) => Some(Ok(10)),
                (false, true) => None,
                (true, true) => Some(Err(ErrorKind::BrokenPipe.into())),
            },
        }) as Box<dyn ByteStream>
    }));
    run(async {
        let response = engine.send(post("http://a/", vec![0; 1_000_000])).await.unwrap();
        let failure = read(response).await.unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::Body, true));
        assert_eq!(failure.io_kind(), Some(ErrorKind::BrokenPipe));
    });
}

/// The peer answers when it has read ten bytes, and takes the rest slowly.
fn early(status: &'static str) -> (Engine, Arc<AtomicUsize>) {
    struct Peer {
        received: Arc<AtomicUsize>,
        answer: Option<String>,
        busy: bool,
    }

    let received = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    let net = Scripted::new(move |_| {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        Box::new(Fake {
            state: Peer { received: count.clone(), answer: Some(answer), busy: false },
            read: |peer, buffer| {
                let asked = peer.received.load(Ordering::SeqCst) > 0;
                if asked { peer.answer.take().and_then(|answer| give(buffer, answer)) } else { None }
            },
            write: |peer, bytes| {
                peer.busy = !peer.busy;
                let some = bytes.len().min(if peer.answer.is_some() { 10 } else { 1_000 });
                if !peer.busy {
                    return None;
                }
                peer.received.fetch_add(some, Ordering::SeqCst);
                Some(Ok(some))
            },
        }) as Box<dyn ByteStream>
    });
    (engine_on(net), received)
}

#[test]
fn a_request_accepted_early_is_still_written_to_its_end() {
    let (engine, received) = early("202 Accepted");
    let body = run(call(&engine, post("http://a/", vec![0; 100_000]))).unwrap();
    assert!(body.is_empty());
    assert!(received.load(Ordering::SeqCst) > 100_000);
}

#[test]
fn a_request_refused_early_is_not_written_to_its_end() {
    let (engine, received) = early("413 Content Too Large");
    run(call(&engine, post("http://a/", vec![0; 100_000]))).unwrap();
    assert!(received.load(Ordering::SeqCst) < 100_000);
    assert_eq!(Arc::strong_count(&received), 2, "the connection is kept");
}
