//! Time limits: [`Deadline`], when a call gives up, and how it comes to be polled then; [`Budget`], what is left for
//! a call of several steps; [`within`], for everything else.

use super::Inbox;
use super::alarm::Bell;
use crate::error::{Delivery, Error, ErrorKind, TimeoutError};
use crate::protocol::pending_calls::NO_DEADLINE;
use crate::runtime::timer::millis;
use crate::sync::contain;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Poll, Wake, Waker, ready};
use std::time::Duration;

/// How long a request of the server's is answered at most before calls count silence again, where
/// `Timeouts::total` does not say.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

impl Inbox {
    /// Looks whether a call's time is up; if not, sees to it that it is polled in time. To be called
    /// after [`poll_reply`](Self::poll_reply) has registered the waker.
    ///
    /// `asked` is how long the call has waited for a person who was asked to sign in, in milliseconds, and whether it does:
    /// that time is the person's. The call is polled when they have answered.
    pub(crate) fn poll_deadline(&self, id: u64, deadline: &mut Deadline, asked: (u64, bool)) -> Poll<()> {
        let rung = self.alarm.rung();
        if deadline.pauses(asked, rung) {
            if deadline.seen != rung {
                deadline.seen = rung;
                self.see_to_all(id, NO_DEADLINE, self.alarm.now());
            }
            return Poll::Pending;
        }
        if deadline.seen != rung {
            let now = self.alarm.now();
            if let Some(silence) = deadline.silence {
                let news = self.pending.lock().news(id).unwrap_or(0).max(self.last_asked(now));
                deadline.silent_at = deadline.silent_at.max(news.saturating_add(millis(silence)));
            }
            if now >= deadline.at() {
                self.see_to_all(id, NO_DEADLINE, now);
                return Poll::Ready(());
            }
            deadline.seen = rung;
            self.see_to_all(id, deadline.at(), now);
        }
        if deadline.at() != NO_DEADLINE {
            self.alarm.arm(deadline.at(), |bell| self.ring(bell));
        }
        Poll::Pending
    }

    /// One call more, or less, waits for a person.
    #[cfg(feature = "oauth")]
    pub(crate) fn asking(&self, one_more: bool) {
        let now = self.clock();
        let mut asking = self.asking.lock();
        if one_more {
            if asking.calls == 0 {
                asking.since = now;
            }
            asking.calls += 1;
        } else {
            asking.calls -= 1;
            if asking.calls == 0 {
                asking.total = asking.total.saturating_add(now.saturating_sub(asking.since));
            }
        }
    }

    /// How long calls have waited for a person, in milliseconds, and whether one does.
    fn asked(&self) -> (u64, bool) {
        #[cfg(feature = "oauth")]
        {
            let now = self.clock();
            let asking = self.asking.lock();
            let present = if asking.calls > 0 { now.saturating_sub(asking.since) } else { 0 };
            (asking.total.saturating_add(present), asking.calls > 0)
        }
        #[cfg(not(feature = "oauth"))]
        (0, false)
    }

    /// Sees to all calls that sleep, after the alarm. Done by a call that has looked at the clock and is `due` then.
    fn see_to_all(&self, id: u64, due: u64, now: u64) {
        let (overdue, earliest, waiting) = {
            let mut pending = self.pending.lock();
            pending.put_off(id, due);
            (pending.take_due(now, 0), pending.earliest(), pending.len())
        };
        if !overdue.is_empty() {
            self.alarm.bump();
            wake_all(overdue);
        }
        if let Some(earliest) = earliest {
            self.alarm.arm(earliest, |bell| self.ring(bell));
            self.alarm.arm_backups(earliest, waiting, |bell| self.ring(bell));
        }
    }

    /// A call is gone that was to see to all: the next one does, if nobody else has.
    pub(super) fn pass_on(&self) {
        if !self.alarm.is_armed() {
            let next = self.pending.lock().take_due(0, 1);
            wake_all(next);
        }
    }

    fn ring(&self, bell: Bell) -> Waker {
        Waker::from(Arc::new(Ring { inbox: self.this.clone(), bell }))
    }

    /// When the server last had a request answered, or now while one is; but one that is never answered, because
    /// its handler hangs, counts for no longer than a call may take.
    fn last_asked(&self, now: u64) -> u64 {
        let served = self.served_at.load(Ordering::Relaxed);
        if self.serving.load(Ordering::Relaxed) == 0 {
            return served;
        }
        let patience = millis(self.timeouts().total.unwrap_or(LONGEST_ANSWER));
        let until = self.asked_at.load(Ordering::Relaxed).saturating_add(patience);
        served.max(until.min(now))
    }
}

/// Calls that wait for a person who was asked to sign in.
#[cfg(feature = "oauth")]
#[derive(Debug, Default)]
pub(super) struct Asking {
    calls: usize,
    /// When the first of them began to wait, if there is one.
    since: u64,
    /// How long there were some before that, in milliseconds.
    total: u64,
}

/// When a call gives up, on the alarm's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    silence: Option<Duration>,
    silent_at: u64,
    total_at: u64,
    seen: u64,
    /// How long a person was asked until now, in milliseconds, and whether one is.
    asked: u64,
    asking: bool,
}

impl Deadline {
    pub(crate) fn new(inbox: &Inbox, silence: Option<Duration>, total: Option<Duration>) -> Self {
        let now = if silence.is_some() || total.is_some() { inbox.clock() } else { 0 };
        let at =
            |limit: Option<Duration>| limit.map_or(NO_DEADLINE, |limit| now.saturating_add(millis(limit)));
        Self {
            silence,
            silent_at: at(silence),
            total_at: at(total),
            seen: inbox.alarm.rung(),
            asked: 0,
            asking: false,
        }
    }

    pub(crate) fn at(&self) -> u64 {
        self.silent_at.min(self.total_at)
    }

    /// Puts the limits off by the time that a person was asked. Whether one is.
    fn pauses(&mut self, (asked, asking): (u64, bool), rung: u64) -> bool {
        if (asked, asking) == (self.asked, self.asking) {
            return asking;
        }
        let later = asked.saturating_sub(std::mem::replace(&mut self.asked, asked));
        for limit in [&mut self.silent_at, &mut self.total_at] {
            if *limit != NO_DEADLINE {
                *limit = limit.saturating_add(later);
            }
        }
        if std::mem::replace(&mut self.asking, asking) && !asking {
            // The clock is to be looked at.
            self.seen = rung.wrapping_sub(1);
        }
        asking
    }

    /// Whether it was the limit for the whole call that ran out.
    pub(crate) fn is_total(&self) -> bool {
        self.total_at <= self.silent_at
    }
}

/// The alarm's waker: wakes pending calls, whoever polls them.
struct Ring {
    inbox: Weak<Inbox>,
    bell: Bell,
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        let Some(inbox) = self.inbox.upgrade() else { return };
        let due = inbox.alarm.ring(self.bell);
        let wakers = {
            let mut pending = inbox.pending.lock();
            match pending.take_due(due.until, due.more) {
                none if none.is_empty() && due.anybody => pending.take_due(0, 1),
                wakers => wakers,
            }
        };
        wake_all(wakers);
    }
}

fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        contain(|| waker.wake());
    }
}

/// How long a call may go on, over everything that it takes.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    inbox: &'a Inbox,
    end: Option<u64>,
    /// How long calls had waited for a person before.
    asked: u64,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(inbox: &'a Inbox, total: Option<Duration>) -> Self {
        let end = total.map(|total| inbox.clock().saturating_add(millis(total)));
        Self { inbox, end, asked: inbox.asked().0 }
    }

    /// `None`: for ever. The time in which a person was asked to sign in does not count.
    pub(crate) fn left(self) -> Option<Duration> {
        let end = self.end?.saturating_add(self.inbox.asked().0.saturating_sub(self.asked));
        Some(Duration::from_millis(end.saturating_sub(self.inbox.clock())))
    }

    pub(crate) fn is_spent(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

/// `future`, or an error when `limit` is over, counted from the first poll. The timer is made only if it is needed.
pub(crate) async fn within<T>(
    inbox: &Inbox,
    limit: Option<Duration>,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = limit.map(|after| TimeoutError { after, total: true });
    within_either(inbox, limit, Clock::GoesOn, future).await
}

/// What a limit does while a call waits for a person who was asked to sign in.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Clock {
    GoesOn,
    /// The time is the person's. The future has to be polled when the person has answered.
    Stops,
}

/// [`within`], where the error says which limit it was.
pub(crate) async fn within_either<T>(
    inbox: &Inbox,
    limit: Option<TimeoutError>,
    clock: Clock,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let asked = || if clock == Clock::GoesOn { (0, false) } else { inbox.asked() };
    let (begun, asked_before) = (limit.map_or(0, |_| inbox.clock()), asked().0);
    // The first poll may have taken long, or this thread did not have its turn.
    let left = |limit: TimeoutError| {
        let past = inbox.clock().saturating_sub(begun).saturating_sub(asked().0.saturating_sub(asked_before));
        limit.after.saturating_sub(Duration::from_millis(past))
    };
    let (mut future, mut timer) = (pin!(future), None);
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let Some(limit) = limit else { return Poll::Pending };
        while timer.is_some() || !asked().1 {
            ready!(timer.get_or_insert_with(|| inbox.sleep(left(limit))).as_mut().poll(cx));
            timer = None;
            if clock == Clock::GoesOn || (left(limit).is_zero() && !asked().1) {
                return Poll::Ready(Err(Error::new(ErrorKind::Timeout(limit), Delivery::MaybeSent)));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
