//! A clock that stands still until the model turns it, and the runtimes that its timers belong to.

use crate::runtime::timer::{BoxFuture, Timer, millis};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Clones show the same time.
#[derive(Clone)]
pub(super) struct Hand {
    start: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    now: u64,
    /// Where the task runs that is being polled.
    scope: u64,
    /// Runtimes that stand still: their timers do not go off.
    still: BTreeSet<u64>,
    begun: u64,
    sleepers: BTreeMap<u64, Sleeper>,
}

struct Sleeper {
    scope: u64,
    due: u64,
    waker: Option<Waker>,
}

impl Hand {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), state: Arc::default() }
    }

    pub(super) fn elapsed(&self) -> u64 {
        self.state.lock().unwrap().now
    }

    /// A task of this runtime is polled.
    pub(super) fn enter(&self, scope: u64) {
        self.state.lock().unwrap().scope = scope;
    }

    /// This runtime stands still from now on.
    pub(super) fn halt(&self, scope: u64) {
        self.state.lock().unwrap().still.insert(scope);
    }

    pub(super) fn stands_still(&self, scope: u64) -> bool {
        self.state.lock().unwrap().still.contains(&scope)
    }

    /// When the next timer goes off.
    pub(super) fn next(&self) -> Option<u64> {
        let state = self.state.lock().unwrap();
        let asleep = state.sleepers.values().filter(|sleeper| sleeper.waker.is_some());
        asleep.filter(|sleeper| !state.still.contains(&sleeper.scope)).map(|sleeper| sleeper.due).min()
    }

    /// It is `now`: timers go off.
    pub(super) fn turn(&self, now: u64) {
        let due: Vec<Waker> = {
            let state = &mut *self.state.lock().unwrap();
            state.now = state.now.max(now);
            let still = &state.still;
            let due = state.sleepers.values_mut().filter(|it| it.due <= now && !still.contains(&it.scope));
            due.filter_map(|sleeper| sleeper.waker.take()).collect()
        };
        due.into_iter().for_each(Waker::wake);
    }
}

impl Timer for Hand {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock().unwrap();
        let (id, scope) = (state.begun, state.scope);
        let due = state.now + millis(duration);
        state.begun += 1;
        state.sleepers.insert(id, Sleeper { scope, due, waker: None });
        Box::pin(Sleep { id, state: Arc::clone(&self.state) })
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.state.lock().unwrap().now)
    }

    fn scope(&self) -> u64 {
        self.state.lock().unwrap().scope
    }
}

struct Sleep {
    id: u64,
    state: Arc<Mutex<State>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        let now = state.now;
        let sleeper = state.sleepers.get_mut(&self.id).expect("it is there until the sleep is dropped");
        sleeper.waker = Some(cx.waker().clone());
        if sleeper.due <= now { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let gone = self.state.lock().unwrap().sleepers.remove(&self.id);
        drop(gone);
    }
}
