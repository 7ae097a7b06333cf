//! How many connections are opened at a time, and who waits for what.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::channel::oneshot::{Canceled, Sender, channel};

use super::super::engine::{Engine, EngineConfig};
use super::super::failure::{Failure, Stage};
use super::super::net::{ByteStream, ConnectError, Connecting, Net};
use super::kit::{Fake, call, give, post, read};

/// A net whose connections open, and whose timers go off, when the test says so.
#[derive(Clone, Default)]
struct Gate {
    connects: Events,
    timers: Events,
}

type Events = Arc<Mutex<Vec<Option<Sender<()>>>>>;

/// One more event, and the future that waits for it; `Err` if it is not to happen any more.
fn event(events: &Events) -> impl Future<Output = Result<(), Canceled>> + Send + use<> {
    let (sender, happened) = channel();
    events.lock().unwrap().push(Some(sender));
    happened
}

impl Gate {
    fn begun(&self) -> usize {
        self.connects.lock().unwrap().len()
    }

    fn open(&self, nth: usize) {
        let opened = self.connects.lock().unwrap()[nth].take();
        opened.unwrap().send(()).unwrap();
    }

    fn refuse(&self, nth: usize) {
        let opened = self.connects.lock().unwrap()[nth].take();
        drop(opened);
    }

    fn go_off(&self, nth: usize) {
        let timer = self.timers.lock().unwrap()[nth].take();
        timer.unwrap().send(()).unwrap();
    }
}

impl Net for Gate {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        let opened = event(&self.connects);
        Box::pin(async move {
            opened.await.map_err(|_| ConnectError::Connect(io::ErrorKind::ConnectionRefused.into()))?;
            Ok(answering())
        })
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let over = event(&self.timers);
        Box::pin(async move { over.await.expect("nobody takes timers away") })
    }
}

/// Answers every request.
fn answering() -> Box<dyn ByteStream> {
    Box::new(Fake {
        state: false,
        read: |asked, buffer| match std::mem::take(asked) {
            true => give(buffer, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            false => None,
        },
        write: |asked, bytes| {
            *asked = true;
            Some(Ok(bytes.len()))
        },
    })
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Answer = Result<Vec<u8>, Failure>;

/// A request that is polled by hand.
struct Request {
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
    wakes: Arc<Wakes>,
}

impl Request {
    /// It waits for something.
    fn start(future: impl Future<Output = Answer> + Send + 'static) -> Self {
        let mut request = Self { future: Box::pin(future), wakes: Arc::default() };
        assert!(request.poll().is_pending());
        request
    }

    /// Polls until it waits for something.
    fn poll(&mut self) -> Poll<Answer> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        loop {
            let woken = self.wakes();
            let poll = self.future.as_mut().poll(&mut Context::from_waker(&waker));
            if poll.is_ready() || self.wakes() == woken {
                return poll;
            }
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    fn finish(&mut self) {
        let Poll::Ready(answer) = self.poll() else { panic!("not answered") };
        assert_eq!(answer.unwrap(), b"ok");
    }
}

fn engine(net: &Gate, max_opening: usize) -> Engine {
    Engine::new(EngineConfig { net: Arc::new(net.clone()), max_opening, ..EngineConfig::default() }).unwrap()
}

/// So many requests at once. All wait.
fn requests(engine: &Engine, n: usize) -> Vec<Request> {
    let start = |engine: Engine| Request::start(async move { call(&engine, post("http://a/", "{}")).await });
    (0..n).map(|_| start(engine.clone())).collect()
}

#[test]
fn so_many_are_opened_at_a_time_and_one_more_waits() {
    for max_opening in [1, 2, 64] {
        let net = Gate::default();
        let engine = engine(&net, max_opening);
        let mut requests = requests(&engine, max_opening + 1);
        assert_eq!(net.begun(), max_opening);
        assert_eq!(requests[max_opening].wakes(), 0);
        // A connection that is open makes room for the next.
        net.open(0);
        requests[0].finish();
        assert_eq!(requests[max_opening].wakes(), 1);
        assert!(requests[max_opening].poll().is_ready());
    }
}

#[test]
fn whoever_waits_gets_a_connection_that_becomes_idle() {
    let net = Gate::default();
    let mut requests = requests(&engine(&net, 1), 3);
    net.open(0);
    for request in &mut requests {
        request.finish();
    }
    assert_eq!(net.begun(), 1);
}

#[test]
fn a_connection_that_fails_makes_room() {
    let net = Gate::default();
    let mut requests = requests(&engine(&net, 1), 3);
    net.refuse(0);
    let Poll::Ready(Err(failure)) = requests[0].poll() else { panic!("refused") };
    assert_eq!((failure.stage, failure.sent), (Stage::Connect, false));
    assert_eq!(requests[1].wakes(), 1);
    assert!(requests[1].poll().is_pending());
    assert_eq!((net.begun(), requests[2].wakes()), (2, 0), "for one only");
    net.open(1);
    requests[1].finish();
}

#[test]
fn a_connection_makes_room_when_it_is_open_and_when_it_is_idle() {
    let net = Gate::default();
    let engine = engine(&net, 1);
    let (go_on, may_go_on) = channel::<()>();
    // Takes its time to read the answer.
    let mut slow = Request::start({
        let engine = engine.clone();
        async move {
            let response = engine.send(post("http://a/", "{}")).await?;
            may_go_on.await.unwrap();
            read(response).await
        }
    });
    let mut requests = requests(&engine, 2);
    net.open(0);
    assert!(slow.poll().is_pending());
    assert_eq!([requests[0].wakes(), requests[1].wakes()], [1, 0]);
    assert!(requests[0].poll().is_pending());
    assert_eq!(net.begun(), 2);

    go_on.send(()).unwrap();
    slow.finish();
    assert_eq!(requests[1].wakes(), 1);
    requests[1].finish();
    assert_eq!(net.begun(), 2);
}

#[test]
fn a_request_that_is_given_up_makes_room() {
    let net = Gate::default();
    let mut requests = requests(&engine(&net, 1), 2);
    drop(requests.remove(0));
    assert_eq!(requests[0].wakes(), 1);
    assert!(requests[0].poll().is_pending());
    assert_eq!(net.begun(), 2);
}

#[test]
fn whoever_is_woken_and_does_not_come_hands_it_on() {
    let net = Gate::default();
    let mut requests = requests(&engine(&net, 1), 3);
    drop(requests.remove(0));
    assert_eq!([requests[0].wakes(), requests[1].wakes()], [1, 0]);
    drop(requests.remove(0));
    assert_eq!(requests[0].wakes(), 1);
    assert!(requests[0].poll().is_pending());
    assert_eq!(net.begun(), 2);
}

#[test]
fn whoever_gives_up_waiting_leaves_nothing_behind() {
    let net = Gate::default();
    let engine = engine(&net, 1);
    let mut requests = requests(&engine, 3);
    let wakes = Arc::clone(&requests[1].wakes);
    drop(requests.remove(1));
    assert_eq!(Arc::strong_count(&wakes), 1);
    // Nor does it keep the next one from its turn.
    net.open(0);
    requests[0].finish();
    requests[1].finish();
    assert_eq!(net.begun(), 1);
}

#[test]
fn a_waker_that_changes_is_the_one_that_is_woken() {
    let net = Gate::default();
    let mut requests = requests(&engine(&net, 1), 2);
    let old = std::mem::take(&mut requests[1].wakes);
    assert!(requests[1].poll().is_pending());
    net.open(0);
    requests[0].finish();
    assert_eq!((old.0.load(Ordering::SeqCst), requests[1].wakes()), (0, 1));
    assert_eq!(Arc::strong_count(&old), 1);
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as the test wants it");
        }
    }

    let net = Gate::default();
    let mut requests = requests(&engine(&net, 1), 3);
    let waker = Waker::from(Arc::new(Panics));
    assert!(requests[1].future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(requests.remove(0));
    // Whatever becomes of that one, the next has its turn after it.
    drop(requests.remove(0));
    assert_eq!(requests[0].wakes(), 1);
    assert!(requests[0].poll().is_pending());
    assert_eq!(net.begun(), 2);
}

#[test]
fn waiting_for_a_turn_counts_as_connecting() {
    let net = Gate::default();
    let mut requests = requests(&engine(&net, 1), 2);
    net.go_off(1);
    let Poll::Ready(Err(failure)) = requests[1].poll() else { panic!("its time is up") };
    assert_eq!((failure.stage, failure.sent), (Stage::ConnectTimeout, false));
    net.open(0);
    requests[0].finish();
}
