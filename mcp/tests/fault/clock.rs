//! A clock that stands still until the test moves it.

use shared_fate_mcp::runtime::{BoxFuture, Timer};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Clones show the same time.
#[derive(Clone)]
pub(crate) struct Clock {
    start: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    elapsed: Duration,
    sleepers: BTreeMap<u64, Sleeper>,
    /// How many sleeps were ever begun.
    begun: u64,
    watchers: Vec<Waker>,
}

struct Sleeper {
    length: Duration,
    due: Duration,
    waker: Option<Waker>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), state: Arc::default() }
    }

    /// Moves the time on, and wakes the sleeps that are over.
    pub(crate) fn advance(&self, by: Duration) {
        let due: Vec<Waker> = {
            let mut state = self.state.lock().unwrap();
            state.elapsed += by;
            let now = state.elapsed;
            let due = state.sleepers.values_mut().filter(|sleeper| sleeper.due <= now);
            due.filter_map(|sleeper| sleeper.waker.take()).collect()
        };
        for waker in due {
            waker.wake();
        }
    }

    /// Waits until a sleep of just this length is under way, and moves the time on to its end.
    pub(crate) async fn pass(&self, length: Duration) {
        self.asleep(length).await;
        self.advance(length + Duration::from_millis(1));
    }

    /// How many sleeps were begun so far.
    pub(crate) fn begun(&self) -> u64 {
        self.state.lock().unwrap().begun
    }

    /// How many sleeps are under way.
    pub(crate) fn sleeping(&self) -> usize {
        self.state.lock().unwrap().sleepers.len()
    }

    /// Resolves when a sleep of just this length, or of a millisecond more, is under way.
    pub(crate) async fn asleep(&self, length: Duration) {
        let lengths = [length, length + Duration::from_millis(1)];
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            let mut asleep = state.sleepers.values().filter(|sleeper| sleeper.waker.is_some());
            if asleep.any(|sleeper| lengths.contains(&sleeper.length)) {
                return Poll::Ready(());
            }
            state.watchers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock().unwrap();
        let id = state.begun;
        state.begun += 1;
        let due = state.elapsed.saturating_add(duration);
        state.sleepers.insert(id, Sleeper { length: duration, due, waker: None });
        drop(state);
        Box::pin(Sleep { id, state: Arc::clone(&self.state) })
    }

    fn now(&self) -> Instant {
        self.start + self.state.lock().unwrap().elapsed
    }
}

struct Sleep {
    id: u64,
    state: Arc<Mutex<State>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let watchers = {
            let mut state = self.state.lock().unwrap();
            let now = state.elapsed;
            let sleeper = state.sleepers.get_mut(&self.id).expect("it is there until the sleep is dropped");
            if sleeper.due <= now {
                return Poll::Ready(());
            }
            sleeper.waker = Some(cx.waker().clone());
            mem::take(&mut state.watchers)
        };
        for watcher in watchers {
            watcher.wake();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let gone = self.state.lock().unwrap().sleepers.remove(&self.id);
        drop(gone);
    }
}
