//! [`Alarm`]: one timer for the deadlines of all calls.
//!
//! A timer per call would cost more than the call (the default one wakes its thread for each). Nearly
//! all deadlines are equally far away, so one armed timer does for all:
//!
//! 1. **For every call that sleeps until a deadline, a timer is armed that goes off [`GRACE`] after that deadline at the
//!    latest.** So no call is later than that, whatever other tasks do.
//! 2. Whatever timer goes off, those calls are woken whose time is up, and those for which 1 would not hold any more; if
//!    no other timer is armed, these are all. So the alarm needs nobody to run it: not the driver, no task, no thread of
//!    ours. Going off touches no timer: it happens in a timer's own waker.
//! 3. A call that was woken by the alarm looks at the clock, and whether its own time is up or not, it wakes those that
//!    are overdue, arms the *first* timer for the earliest call of all, and *backups* after it, a [`GRACE`] apart. If it
//!    ends instead, it passes that on to the next call. So with tasks that are polled when they are woken, calls end at
//!    their deadlines, and each is woken once for its own. Where the alarm never goes off, one timer is all there is.
//! 4. A backup goes off for nothing if the first timer has been armed again meanwhile. If it has not, those that were
//!    woken are stuck, so it wakes one more call, which sees to 3; the next backup four more, then 16, and so on.
//!    There are as many backups as it takes to come to all calls in this way: all are woken at once only if that many
//!    tasks are stuck, or if the alarm goes off for the first time.
//! 5. A call registers its waker *before* it reads `rung`, and arms *after*: if the alarm goes off in
//!    between, the call has been woken, or finds nothing armed.
//! 6. A timer counts only in its scope ([`Timer::scope`]), so there may be some in each: calls in another
//!    do not rely on them. Where several scopes have some, the first to go off wakes everybody and disarms all, and
//!    each call sees to itself again.
//!
//! To wake everybody each time, or every [`GRACE`], would cost the square of the number of calls where their deadlines
//! come one after the other. Deadlines are not rounded to make them fewer: calls that expire apart cost one poll and one
//! timer each.

use crate::runtime::timer::{BoxFuture, NEVER, Timer, millis};
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How late a call may be woken at most if those before it see to nothing, in milliseconds.
pub(crate) const GRACE: u64 = 250;

/// How many backups are wanted at most.
const MOST_BACKUPS: u64 = 16;

pub(crate) struct Alarm {
    timer: Arc<dyn Timer>,
    start: Instant,
    /// When the first timer of scope 0 goes off, in milliseconds since the alarm's start. Changed with the lock held.
    armed: AtomicU64,
    /// How often a timer has gone off.
    rung: AtomicU64,
    timers: Mutex<Timers>,
}

#[derive(Default)]
struct Timers {
    /// One first timer in each scope, and backups.
    armed: Vec<Armed>,
    /// How many backups have gone off since a first timer was armed.
    unattended: u32,
}

/// An armed timer.
struct Armed {
    scope: u64,
    bell: Bell,
    /// When it goes off; [`NEVER`] once it has.
    at: u64,
    /// Kept, not polled: it has the waker that rings.
    _sleep: BoxFuture<'static, ()>,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bell {
    /// For the earliest call.
    First,
    /// For those that nobody sees to; when it was to go off.
    Backup(u64),
}

/// Which calls are to be woken when a timer goes off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// Those that are due by then.
    pub(crate) until: u64,
    /// How many of the rest, the earliest first.
    pub(crate) more: usize,
    /// If there are none of either: one call.
    pub(crate) anybody: bool,
}

impl Alarm {
    pub(crate) fn new(timer: Arc<dyn Timer>) -> Self {
        let start = timer.now();
        let (armed, rung) = (AtomicU64::new(NEVER), AtomicU64::new(0));
        Self { timer, start, armed, rung, timers: Mutex::default() }
    }

    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    /// Milliseconds on this alarm's clock.
    pub(crate) fn now(&self) -> u64 {
        millis(self.timer.now().saturating_duration_since(self.start))
    }

    /// How often calls had reason to look at the clock.
    pub(crate) fn rung(&self) -> u64 {
        self.rung.load(Ordering::SeqCst)
    }

    /// Calls have reason to look at the clock, though no timer has gone off.
    pub(crate) fn bump(&self) {
        self.rung.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether a first timer is armed.
    pub(crate) fn is_armed(&self) -> bool {
        self.timers.lock().first().is_some()
    }

    /// Sees to it that the alarm goes off at `deadline` or before. To be called by who has registered
    /// its waker. `ring` makes the waker that calls [`Self::ring`].
    pub(crate) fn arm(&self, deadline: u64, ring: impl Fn(Bell) -> Waker) {
        let scope = self.timer.scope();
        while self.armed_in(scope) > deadline {
            if !self.set(scope, Bell::First, deadline, &ring) {
                return;
            }
        }
    }

    /// Backups for the first timer at `deadline`, where so many calls wait. Whether they are armed changes nothing in
    /// what [`Self::ring`] promises, only whom it wakes.
    pub(crate) fn arm_backups(&self, deadline: u64, waiting: usize, ring: impl Fn(Bell) -> Waker) {
        let Some(quarterings) = waiting.checked_ilog(4).filter(|_| waiting > 1) else { return };
        let scope = self.timer.scope();
        // At whole graces, so that those for deadlines that are close together are the same.
        let slots = (1..=MOST_BACKUPS.min(2 + u64::from(quarterings))).map(|slot| deadline / GRACE + slot);
        let missing: Vec<u64> = {
            let timers = self.timers.lock();
            let at = slots.map(|slot| slot.saturating_mul(GRACE));
            at.filter(|at| *at != NEVER && !timers.has(scope, Bell::Backup(*at), *at)).collect()
        };
        for at in missing {
            self.set(scope, Bell::Backup(at), at, &ring);
        }
    }

    /// Arms a timer, unless one has gone off meanwhile. `false` if it is of no use to try again.
    fn set(&self, scope: u64, bell: Bell, at: u64, ring: &impl Fn(Bell) -> Waker) -> bool {
        let rung = self.rung.load(Ordering::SeqCst);
        // Made and polled without the lock: it is foreign code. One millisecond more, so that a timer
        // that rounds down does not go off before the deadline.
        let left = Duration::from_millis(at.saturating_sub(self.now()).saturating_add(1));
        let mut sleep = self.timer.sleep(left);
        let waker = ring(bell);
        if sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            if bell == Bell::First {
                waker.wake();
            }
            return false;
        }
        let new = Armed { scope, bell, at, _sleep: sleep };
        let left_over = {
            let mut timers = self.timers.lock();
            // If one has gone off meanwhile, perhaps this one did: it must not be taken for one to come.
            if self.rung.load(Ordering::SeqCst) != rung || timers.has(scope, bell, at) {
                vec![new]
            } else {
                if scope == 0 && bell == Bell::First {
                    self.armed.store(at, Ordering::SeqCst);
                }
                timers.put(new)
            }
        };
        drop(left_over);
        true
    }

    fn armed_in(&self, scope: u64) -> u64 {
        match scope {
            0 => self.armed.load(Ordering::SeqCst),
            _ => self.timers.lock().first_in(scope),
        }
    }

    /// A timer has gone off: who is to be woken. Called from a timer's waker: touches no timer, the next
    /// [`arm`](Self::arm) drops it.
    pub(crate) fn ring(&self, bell: Bell) -> Due {
        let timers = &mut *self.timers.lock();
        self.rung.fetch_add(1, Ordering::SeqCst);
        let everybody = Due { until: NEVER, more: 0, anybody: false };
        if timers.are_in_several_scopes() {
            self.armed.store(NEVER, Ordering::SeqCst);
            timers.armed.iter_mut().for_each(|timer| timer.at = NEVER);
            return everybody;
        }
        let mut due = match bell {
            Bell::First => {
                self.armed.store(NEVER, Ordering::SeqCst);
                let Some(first) = timers.first() else { return everybody };
                let until = std::mem::replace(&mut first.at, NEVER);
                Due { until, more: 0, anybody: true }
            }
            Bell::Backup(at) => {
                let over = |timer: &&mut Armed| timer.bell != Bell::First && timer.at <= at;
                timers.armed.iter_mut().filter(over).for_each(|timer| timer.at = NEVER);
                let mut more = 0;
                if timers.first().is_none() {
                    more = 4_usize.saturating_pow(timers.unattended);
                    timers.unattended += 1;
                }
                Due { until: at, more, anybody: false }
            }
        };
        let next = timers.armed.iter().map(|timer| timer.at).min().unwrap_or(NEVER);
        let uncovered = if next == NEVER { NEVER } else { next.saturating_sub(GRACE + 1) };
        due.until = due.until.max(uncovered);
        due
    }
}

impl Timers {
    fn first(&mut self) -> Option<&mut Armed> {
        self.armed.iter_mut().find(|timer| timer.bell == Bell::First && timer.at != NEVER)
    }

    fn first_in(&self, scope: u64) -> u64 {
        let first = self.armed.iter().find(|timer| timer.scope == scope && timer.bell == Bell::First);
        first.map_or(NEVER, |timer| timer.at)
    }

    /// Whether there is one at this time; where it is for the first, or before.
    fn has(&self, scope: u64, bell: Bell, at: u64) -> bool {
        match bell {
            Bell::First => self.first_in(scope) <= at,
            Bell::Backup(_) => {
                self.armed.iter().any(|timer| timer.scope == scope && timer.bell == bell && timer.at == at)
            }
        }
    }

    fn are_in_several_scopes(&self) -> bool {
        let mut armed = self.armed.iter().filter(|timer| timer.at != NEVER).map(|timer| timer.scope);
        armed.next().is_some_and(|scope| armed.any(|other| other != scope))
    }

    /// Returns those that are no longer needed, to be dropped without the lock.
    fn put(&mut self, new: Armed) -> Vec<Armed> {
        let (scope, bell) = (new.scope, new.bell);
        if bell == Bell::First {
            self.unattended = 0;
        }
        let is_over =
            |old: &Armed| old.at == NEVER || (bell == Bell::First && old.scope == scope && old.bell == bell);
        let (mut replaced, kept): (Vec<_>, Vec<_>) = self.armed.drain(..).partition(is_over);
        self.armed = kept;
        self.armed.push(new);
        // Those furthest away are of no use before the others have gone off.
        let backups = |timer: &&Armed| timer.scope == scope && timer.bell != Bell::First;
        if self.armed.iter().filter(backups).count() as u64 > 2 * MOST_BACKUPS {
            let last = (0..self.armed.len()).filter(|place| backups(&&self.armed[*place]));
            replaced.extend(
                last.max_by_key(|place| self.armed[*place].at).map(|place| self.armed.swap_remove(place)),
            );
        }
        replaced
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("armed", &self.armed).finish_non_exhaustive()
    }
}
