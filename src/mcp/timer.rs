//! Clocks: the [`Timer`] seam, and one shared alarm for the deadlines of all calls.
//!
//! A timer per call would cost more than the call (the default one wakes its thread for each). Nearly
//! all deadlines are equally far away, so one armed timer does for all:
//!
//! 1. While calls with a deadline are pending, a timer is armed for the earliest of them or before,
//!    or the alarm has gone off since they registered their wakers. A timer counts only in its scope
//!    ([`Timer::scope`]), so there may be one in each: calls in another do not rely on it.
//! 2. When one goes off, *every* pending call is woken. Each looks at the clock; those that go on see
//!    to 1 again. So the alarm needs nobody to run it: not the driver, no task, no thread of ours.
//! 3. A call registers its waker *before* it reads `rung`, and arms *after*; if the alarm goes off
//!    in between, the call has been woken and comes back.

use crate::sync::Mutex;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// A boxed future, as the traits of this module use it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a client's deadlines come from.
///
/// The default, [`AsyncIoTimer`], works on every executor and on none. `TokioTimer` (feature `tokio`)
/// is for tokio's own timers. Implement this for those of another runtime, or for a clock that a test
/// controls.
pub trait Timer: Send + Sync + 'static {
    /// Resolves after `duration`, whoever polls it.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// The time now. Monotonic (LIV-30).
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Where a timer made now belongs: calls that are polled in other scopes do not rely on it.
    ///
    /// A timer that goes off only while the runtime that it was made in runs needs a number for each
    /// such runtime. Timers that go off everywhere share the scope 0.
    fn scope(&self) -> u64 {
        0
    }
}

/// Timers of the `async-io` crate: its one thread serves every executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncIoTimer;

impl Timer for AsyncIoTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let timer = async_io::Timer::after(duration);
        Box::pin(async move {
            timer.await;
        })
    }
}

/// No timer is armed.
const NEVER: u64 = u64::MAX;

pub(crate) struct Alarm {
    timer: Arc<dyn Timer>,
    start: Instant,
    /// When the timer of scope 0 goes off, in milliseconds since `start`. Changed with the lock held.
    armed: AtomicU64,
    /// How often a timer has gone off.
    rung: AtomicU64,
    /// At most one for each scope.
    sleeping: Mutex<Vec<Sleeping>>,
}

/// An armed timer.
struct Sleeping {
    scope: u64,
    /// When it goes off; [`NEVER`] once the alarm has gone off, for whatever timer.
    at: u64,
    /// Kept, not polled: it has the waker that rings.
    _sleep: BoxFuture<'static, ()>,
}

impl Alarm {
    pub(crate) fn new(timer: Arc<dyn Timer>) -> Self {
        let start = timer.now();
        Self {
            timer,
            start,
            armed: AtomicU64::new(NEVER),
            rung: AtomicU64::new(0),
            sleeping: Mutex::default(),
        }
    }

    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    /// Milliseconds on this alarm's clock.
    pub(crate) fn now(&self) -> u64 {
        millis(self.timer.now().saturating_duration_since(self.start))
    }

    pub(crate) fn rung(&self) -> u64 {
        self.rung.load(Ordering::SeqCst)
    }

    /// Sees to it that the alarm goes off at `deadline` or before. `rung` is what the caller read
    /// after it had registered its waker; `ring` is the waker that calls [`Self::ring`].
    pub(crate) fn arm(&self, deadline: u64, rung: u64, ring: impl FnOnce() -> Waker) {
        let scope = self.timer.scope();
        let armed = match scope {
            0 => self.armed.load(Ordering::SeqCst),
            _ => armed_in(scope, &self.sleeping.lock()),
        };
        if armed <= deadline {
            return;
        }
        // Made and polled without the lock: it is foreign code. One millisecond more, so that a timer
        // that rounds down does not go off before the deadline.
        let left = Duration::from_millis(deadline.saturating_sub(self.now()).saturating_add(1));
        let mut sleep = self.timer.sleep(left);
        let waker = ring();
        if sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
            return;
        }
        let new = Sleeping { scope, at: deadline, _sleep: sleep };
        let replaced: Vec<_> = {
            let mut sleeping = self.sleeping.lock();
            if self.rung() != rung || armed_in(scope, &sleeping) <= deadline {
                vec![new]
            } else {
                if scope == 0 {
                    self.armed.store(deadline, Ordering::SeqCst);
                }
                let replaced = sleeping.extract_if(.., |old| old.scope == scope || old.at == NEVER).collect();
                sleeping.push(new);
                replaced
            }
        };
        drop(replaced);
    }

    /// The armed timer has gone off. Called from its waker: touches no timer, the next
    /// [`arm`](Self::arm) replaces it.
    pub(crate) fn ring(&self) {
        let mut sleeping = self.sleeping.lock();
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.armed.store(NEVER, Ordering::SeqCst);
        for timer in sleeping.iter_mut() {
            timer.at = NEVER;
        }
    }
}

fn armed_in(scope: u64, sleeping: &[Sleeping]) -> u64 {
    sleeping.iter().find(|timer| timer.scope == scope).map_or(NEVER, |timer| timer.at)
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("armed", &self.armed).finish_non_exhaustive()
    }
}

/// Whole milliseconds, saturating below [`NEVER`].
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER).min(NEVER - 1)
}
