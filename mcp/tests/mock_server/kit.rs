//! Futures that are polled by hand, and clients of a mock server.

use serde_json::{Value, json};
use shared_fate_mcp::testing::MockServer;
use shared_fate_mcp::{Builder, Client, Driver, Mode};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future with a waker of its own, which counts.
pub(crate) struct Polled<F> {
    future: Pin<Box<F>>,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> Polled<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: Box::pin(future), count: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.count));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    #[track_caller]
    pub(crate) fn pending(&mut self) {
        assert!(self.poll().is_pending(), "the future is ready");
    }

    #[track_caller]
    pub(crate) fn ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is pending"),
        }
    }

    /// How often the future has been woken.
    pub(crate) fn wakes(&self) -> usize {
        self.count.0.load(Ordering::SeqCst)
    }
}

/// Both kinds of protocol revisions.
pub(crate) const BOTH: [Mode; 2] = [Mode::Legacy, Mode::Stateless];

/// A client of `server`, and its driver, which has been polled once and has nothing to do.
pub(crate) fn connect_with(builder: Builder, server: &MockServer) -> (Client, Polled<Driver>) {
    let (client, driver) = pollster::block_on(builder.connect(server.transport())).unwrap();
    let mut driver = Polled::new(driver);
    driver.pending();
    (client, driver)
}

pub(crate) fn connect(mode: Mode, server: &MockServer) -> (Client, Polled<Driver>) {
    connect_with(Client::builder().mode(mode), server)
}

/// Runs a future beside the driver of a new client in that mode.
pub(crate) fn run<T>(mode: Mode, server: &MockServer, app: impl AsyncFnOnce(Client) -> T) -> T {
    pollster::block_on(async {
        let (client, driver) = Client::builder().mode(mode).connect(server.transport()).await.unwrap();
        driver.run_until(app(client)).await
    })
}

/// Any arguments will do.
pub(crate) fn anything() -> Value {
    json!({ "type": "object" })
}
