//! Wakers that come back to the client when they are cloned, woken or dropped: the driver's work is not
//! under a lock then, and what comes in meanwhile is not missed.

#![cfg(feature = "mcp")]

mod support;

use futures::future::join;
use serde_json::{Value, json};
use shared_fate::mcp::{BoxFuture, Client, Driver, Error, Memory, MemoryServer, Mode};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use support::{TestWaker, no_deadlock};

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
            TestWaker::new().pending(&mut call);
            self.0.lock().unwrap().push(call);
        }
    }

    fn give_one_up(&self) {
        let call = self.0.lock().unwrap().pop();
        drop(call);
    }
}

fn cancelled(server: &MemoryServer) -> bool {
    let mut receiving: Pin<Box<dyn Future<Output = Value> + '_>> = Box::pin(receive(server));
    loop {
        match TestWaker::new().poll(&mut receiving) {
            std::task::Poll::Pending => return false,
            std::task::Poll::Ready(message) if message["method"] == "notifications/cancelled" => return true,
            std::task::Poll::Ready(_) => receiving = Box::pin(receive(server)),
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
        TestWaker::on_clone(move || cloned.give_one_up()).pending(&mut Box::pin(driver));
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
        let waker = TestWaker::on_wake(move || woken.give_one_up());
        let mut driver = Box::pin(driver);
        waker.pending(&mut driver);
        // The first wakes the driver, whose waker gives the second up.
        calls.give_one_up();
        waker.pending(&mut driver);
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
        TestWaker::on_drop(move || dropped.give_one_up()).pending(&mut driver);
        // Its registrations give way to those of another waker.
        let waker = TestWaker::new();
        while calls.0.lock().unwrap().len() == 1 {
            waker.pending(&mut driver);
        }
        waker.pending(&mut driver);
        assert!(cancelled(&server));
    });
}
