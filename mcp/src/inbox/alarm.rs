//! [`Alarm`]: one timer for the deadlines of all calls.
//!
//! A timer per call would cost more than the call (the default one wakes its thread for each). Nearly
//! all deadlines are equally far away, so one armed timer does for all:
//!
//! 1. While calls with a deadline are pending, a timer is armed for the earliest of them or before,
//!    or the alarm has gone off since they registered their wakers.
//! 2. When it goes off, those calls are woken whose time is up, and the next one, which sees to 1 for
//!    all. So the alarm needs nobody to run it: not the driver, no task, no thread of ours. Going off
//!    touches no timer: it happens in a timer's own waker.
//! 3. The next one may be dropped, or belong to a task that is stuck. So calls are left asleep only
//!    if a second timer is armed that wakes everybody [`GRACE`] after the earliest of them, at the
//!    latest; otherwise all are woken. It is armed by those that the alarm has woken: where it never
//!    goes off, one timer is all there is.
//! 4. A call registers its waker *before* it reads `rung`, and arms *after*: if the alarm goes off in
//!    between, the call has been woken, or finds nothing armed.
//! 5. A timer counts only in its scope ([`Timer::scope`]), so there may be one in each: calls in another
//!    do not rely on it. Where several are armed, the first to go off wakes everybody, and each call sees
//!    to itself again.
//!
//! Waking everybody each time would cost the square of the number of calls where their deadlines come one
//! after the other.

use crate::runtime::timer::{BoxFuture, NEVER, Timer, millis};
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How late a call may be woken at most if the one before it sees to nothing, in milliseconds.
pub(crate) const GRACE: u64 = 250;

pub(crate) struct Alarm {
    timer: Arc<dyn Timer>,
    start: Instant,
    /// For the earliest call.
    first: Bell,
    /// For everybody.
    backup: Bell,
}

/// A timer of the alarm's; one in each scope.
struct Bell {
    /// When the one of scope 0 goes off, in milliseconds since the alarm's start. Changed with the lock held.
    armed: AtomicU64,
    /// How often one has gone off.
    rung: AtomicU64,
    sleeping: Mutex<Vec<Sleeping>>,
}

/// An armed timer.
struct Sleeping {
    scope: u64,
    /// When it goes off; [`NEVER`] once one has gone off, in whatever scope.
    at: u64,
    /// Kept, not polled: it has the waker that rings.
    _sleep: BoxFuture<'static, ()>,
}

impl Alarm {
    pub(crate) fn new(timer: Arc<dyn Timer>) -> Self {
        let start = timer.now();
        Self { timer, start, first: Bell::new(), backup: Bell::new() }
    }

    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    /// Milliseconds on this alarm's clock.
    pub(crate) fn now(&self) -> u64 {
        millis(self.timer.now().saturating_duration_since(self.start))
    }

    /// How often it has gone off, either way.
    pub(crate) fn rung(&self) -> u64 {
        self.first.rung.load(Ordering::SeqCst).wrapping_add(self.backup.rung.load(Ordering::SeqCst))
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.first.sleeping.lock().iter().any(|timer| timer.at != NEVER)
    }

    /// Sees to it that the alarm goes off at `deadline` or before. To be called by who has registered
    /// its waker. `ring` is the waker that calls [`Self::ring`].
    pub(crate) fn arm(&self, deadline: u64, ring: impl Fn() -> Waker) {
        self.first.arm(self, deadline, ring);
    }

    /// The same for everybody, a little later.
    pub(crate) fn arm_backup(&self, deadline: u64, ring: impl Fn() -> Waker) {
        self.backup.arm(self, deadline.saturating_add(GRACE), ring);
    }

    /// The armed timer has gone off: whose time is up, and from which deadline on calls need not be
    /// woken, since the backup will.
    pub(crate) fn ring(&self) -> (u64, u64) {
        let Some((scope, until)) = self.first.ring() else { return (NEVER, NEVER) };
        let covered = match armed_in(scope, &self.backup.sleeping.lock()) {
            NEVER => NEVER,
            backup => backup.saturating_sub(GRACE),
        };
        (until, covered)
    }

    /// The backup has gone off.
    pub(crate) fn ring_backup(&self) {
        self.backup.ring();
    }
}

impl Bell {
    fn new() -> Self {
        Self { armed: AtomicU64::new(NEVER), rung: AtomicU64::new(0), sleeping: Mutex::default() }
    }

    fn arm(&self, alarm: &Alarm, at: u64, ring: impl Fn() -> Waker) {
        let scope = alarm.timer.scope();
        while self.armed_in(scope) > at {
            let rung = self.rung.load(Ordering::SeqCst);
            // Made and polled without the lock: it is foreign code. One millisecond more, so that a timer
            // that rounds down does not go off before the deadline.
            let left = Duration::from_millis(at.saturating_sub(alarm.now()).saturating_add(1));
            let mut sleep = alarm.timer.sleep(left);
            let waker = ring();
            if sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                waker.wake();
                return;
            }
            let new = Sleeping { scope, at, _sleep: sleep };
            let left_over: Vec<_> = {
                let mut sleeping = self.sleeping.lock();
                // If one has gone off meanwhile, perhaps this one did: it must not be taken for one to come.
                if self.rung.load(Ordering::SeqCst) != rung || armed_in(scope, &sleeping) <= at {
                    vec![new]
                } else {
                    if scope == 0 {
                        self.armed.store(at, Ordering::SeqCst);
                    }
                    let (replaced, kept): (_, Vec<_>) =
                        sleeping.drain(..).partition(|old| old.scope == scope || old.at == NEVER);
                    sleeping.extend(kept);
                    sleeping.push(new);
                    replaced
                }
            };
            drop(left_over);
        }
    }

    fn armed_in(&self, scope: u64) -> u64 {
        match scope {
            0 => self.armed.load(Ordering::SeqCst),
            _ => armed_in(scope, &self.sleeping.lock()),
        }
    }

    /// Called from a timer's waker: touches no timer, the next [`arm`](Self::arm) replaces it. Returns
    /// its scope and when it was to go off, unless there were several.
    fn ring(&self) -> Option<(u64, u64)> {
        let mut sleeping = self.sleeping.lock();
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.armed.store(NEVER, Ordering::SeqCst);
        let mut armed = sleeping.iter_mut().filter(|timer| timer.at != NEVER);
        let first = armed.next().map(|timer| (timer.scope, std::mem::replace(&mut timer.at, NEVER)));
        let mut alone = true;
        for other in armed {
            other.at = NEVER;
            alone = false;
        }
        first.filter(|_| alone)
    }
}

fn armed_in(scope: u64, sleeping: &[Sleeping]) -> u64 {
    sleeping.iter().find(|timer| timer.scope == scope).map_or(NEVER, |timer| timer.at)
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("armed", &self.first.armed).finish_non_exhaustive()
    }
}
