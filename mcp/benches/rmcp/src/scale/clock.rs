//! A clock that moves only when the benchmark moves it.

use shared_fate_mcp::runtime::{BoxFuture, Timer};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Clone)]
pub(super) struct Clock(Arc<Mutex<State>>);

struct State {
    start: Instant,
    now: Duration,
    made: u64,
    /// The timers that are waited for, by the time when they are due and by their number.
    sleeps: BTreeMap<(Duration, u64), Waker>,
}

impl Clock {
    pub(super) fn new() -> Self {
        let (start, now) = (Instant::now(), Duration::ZERO);
        Self(Arc::new(Mutex::new(State { start, now, made: 0, sleeps: BTreeMap::new() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    /// How many timers have been made.
    pub(super) fn made(&self) -> u64 {
        self.state().made
    }

    /// Moves on to the next time at which a timer is due, wakes whoever waits for it, and returns true. If no timer is due
    /// by `limit`, moves on to `limit`, where there is one, and returns false.
    pub(super) fn tick(&self, limit: Option<Duration>) -> bool {
        let mut state = self.state();
        let next = state.sleeps.keys().next().map(|(due, _)| *due);
        match next.filter(|due| limit.is_none_or(|limit| *due <= limit)) {
            Some(due) => {
                state.now = state.now.max(due);
                let later = state.sleeps.split_off(&(due, u64::MAX));
                let woken = std::mem::replace(&mut state.sleeps, later);
                drop(state);
                woken.into_values().for_each(Waker::wake);
                true
            }
            None => {
                state.now = limit.unwrap_or(state.now);
                false
            }
        }
    }
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.state();
        state.made += 1;
        Box::pin(Sleep { clock: self.clone(), key: (state.now + duration, state.made) })
    }

    fn now(&self) -> Instant {
        let state = self.state();
        state.start + state.now
    }
}

struct Sleep {
    clock: Clock,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state();
        if state.now >= self.key.0 {
            return Poll::Ready(());
        }
        state.sleeps.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.state().sleeps.remove(&self.key);
    }
}
