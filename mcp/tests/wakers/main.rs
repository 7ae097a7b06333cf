//! Wakers that call the client when they are cloned, woken or dropped: the driver holds no lock then, and what comes in
//! meanwhile is not missed.

mod waker;

use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Client, Driver, Error, Memory, MemoryServer, Mode};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use waker::{Act, waker};

/// Polls `future`, which must be pending.
fn pending<F: Future + ?Sized>(future: &mut Pin<Box<F>>, waker: &Waker) {
    assert!(future.as_mut().poll(&mut Context::from_waker(waker)).is_pending(), "the future is ready");
}

/// A waker that calls `hook` when `when` is done to it.
fn on(when: Act, hook: impl Fn() + Send + Sync + 'static) -> Waker {
    waker(move |act| {
        if act == when {
            hook();
        }
    })
}

/// Runs `body` on a thread of its own; a deadlock is a failure, not a test run that hangs.
fn no_deadlock(body: impl FnOnce() + Send + 'static) {
    let (done, watch) = mpsc::channel::<()>();
    let body = thread::spawn(move || {
        let _done = done;
        body();
    });
    match watch.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Disconnected) => body.join().expect("the body panicked"),
        _ => panic!("deadlock: not done after a minute"),
    }
}

async fn receive(server: &MemoryServer) -> Value {
    serde_json::from_slice(&server.receive().await.unwrap()).unwrap()
}

async fn connect(transport: Memory, server: &MemoryServer) -> (Client, Driver) {
    let serve = async {
        let id = receive(server).await["id"].clone();
        let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
        server.send(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()).await.unwrap();
        assert_eq!(receive(server).await["method"], "notifications/initialized");
    };
    let connecting = Client::builder().mode(Mode::Legacy).connect(transport);
    join(connecting, serve).await.0.unwrap()
}

/// Pending calls. Giving one up leaves work for the driver: a cancellation.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

type Call = BoxFuture<'static, Result<(), Error>>;

impl Calls {
    fn begin(&self, client: &Client, count: usize) {
        for _ in 0..count {
            let client = client.clone();
            let mut call: Call = Box::pin(async move { client.ping().await });
            pending(&mut call, Waker::noop());
            self.0.lock().unwrap().push(call);
        }
    }

    fn give_one_up(&self) {
        let call = self.0.lock().unwrap().pop();
        drop(call);
    }
}

/// Whether the server has got one more cancellation.
fn cancelled(server: &MemoryServer) -> bool {
    let mut receiving: Pin<Box<dyn Future<Output = Value> + '_>> = Box::pin(receive(server));
    loop {
        match receiving.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => return false,
            Poll::Ready(message) if message["method"] == "notifications/cancelled" => return true,
            Poll::Ready(_) => receiving = Box::pin(receive(server)),
        }
    }
}

#[test]
fn a_waker_whose_clone_makes_work_misses_none_of_it() {
    no_deadlock(|| {
        let (transport, server) = Memory::pair();
        let (client, driver) = pollster::block_on(connect(transport, &server));
        let calls = Calls::default();
        calls.begin(&client, 1);
        let cloned = calls.clone();
        pending(&mut Box::pin(driver), &on(Act::Clone, move || cloned.give_one_up()));
        assert!(cancelled(&server), "in the same poll");
    });
}

#[test]
fn a_waker_whose_wake_makes_work_is_woken_outside_the_lock() {
    no_deadlock(|| {
        let (transport, server) = Memory::pair();
        let (client, driver) = pollster::block_on(connect(transport, &server));
        let calls = Calls::default();
        calls.begin(&client, 2);
        let woken = calls.clone();
        let waker = on(Act::Wake, move || woken.give_one_up());
        let mut driver = Box::pin(driver);
        pending(&mut driver, &waker);
        // Giving up the first call wakes the driver, whose waker gives up the second.
        calls.give_one_up();
        pending(&mut driver, &waker);
        assert!(cancelled(&server) && cancelled(&server));
    });
}

#[test]
fn a_waker_whose_drop_makes_work_is_dropped_outside_the_lock() {
    no_deadlock(|| {
        let (transport, server) = Memory::pair();
        let (client, driver) = pollster::block_on(connect(transport, &server));
        let calls = Calls::default();
        calls.begin(&client, 1);
        let dropped = calls.clone();
        let mut driver = Box::pin(driver);
        pending(&mut driver, &on(Act::Drop, move || dropped.give_one_up()));
        // The driver's registrations give way to those of another waker.
        let waker = waker(|_| {});
        while calls.0.lock().unwrap().len() == 1 {
            pending(&mut driver, &waker);
        }
        pending(&mut driver, &waker);
        assert!(cancelled(&server));
    });
}
