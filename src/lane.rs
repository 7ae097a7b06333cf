//! [`Lane`]: a registration that outlives its calls.
//!
//! Most registrations repeat: one task, many calls, one after the other. A lane takes its seat among the
//! session's waiters at the first call that has to wait, and keeps it. A later call of the same task
//! finds itself registered: it takes no lock, clones no waker and counts no reference.
//!
//! Invariants:
//!
//! 1. When a call returns `Pending`, the waker of *that* poll is in the seat, or the session has ended and
//!    that waker has been woken. A call of another task, or with another waker, replaces what is there.
//! 2. A call that resolves or is dropped leaves the seat as it is. So a waker in the seat may have no call
//!    behind it: waking it is spurious, and harmless as every spurious wake is.
//! 3. `&mut`: one call at a time, so the one seat is enough.

use crate::session::{Cause, Inner, Seat, Session, Wait};
use crate::supervised::{
    Supervisor,
    sealed::{Sealed, View},
};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A [`Session`] as seen by one task that makes many calls: stays registered between them.
///
/// `request.supervised(&mut lane)` behaves as `request.supervised(&session)` does and costs a fraction of
/// it, for the first call that waits registers the task and the next ones find it registered. It pays
/// where one task makes call after call; for a single call, or many at a time, use the session itself.
///
/// ```
/// use shared_fate::{Session, SupervisedExt};
///
/// let session = Session::new();
/// let mut lane = session.lane();
/// pollster::block_on(async {
///     for n in 0..3 {
///         assert_eq!(async { n }.supervised(&mut lane).await.unwrap(), n);
///     }
///     session.fail("connection reset");
///     let error = async { 3 }.supervised(&mut lane).await.unwrap_err();
///     assert_eq!(error.cause().error(), Some(&"connection reset"));
/// });
/// ```
///
/// **Spurious wake:** when the session ends, the task of the last call that had to wait is woken, even if
/// it has no call pending by then.
///
/// **What it holds:** the session, and from the first call that waits until its own drop (or the session's
/// end) one waker, which usually keeps that task's allocation. Keep a lane inside the task that uses it.
///
/// **Drop:** unregisters; synchronous, needs no runtime.
pub struct Lane<E> {
    session: Session<E>,
    seat: Seat,
}

impl<E> Session<E> {
    /// A handle for one task that makes many calls, one at a time; see [`Lane`].
    pub fn lane(&self) -> Lane<E> {
        Lane { session: self.clone(), seat: Seat::default() }
    }
}

impl<E> Lane<E> {
    /// The session this belongs to.
    pub fn session(&self) -> &Session<E> {
        &self.session
    }
}

impl<E> Supervisor for &mut Lane<E> {
    type Cause = Cause<E>;
}

impl<E> Sealed for &mut Lane<E> {
    type SealedCause = Cause<E>;
    /// Whether the request has been polled; the lane keeps the rest.
    type Seat = bool;
    type View<'a>
        = LaneView<'a, E>
    where
        Self: 'a;

    #[inline]
    fn view(self: Pin<&mut Self>) -> LaneView<'_, E> {
        let lane = &mut **self.get_mut();
        LaneView { session: lane.session.inner(), seat: &mut lane.seat }
    }
}

/// A lane during one poll.
#[allow(unnameable_types, missing_debug_implementations, reason = "a part of the sealed trait")]
pub struct LaneView<'a, E> {
    session: &'a Inner<E>,
    seat: &'a mut Seat,
}

impl<E> View for LaneView<'_, E> {
    type Cause = Cause<E>;
    type Seat = bool;

    #[inline]
    fn started(started: &mut bool) -> &mut bool {
        started
    }

    fn poll_settled(&mut self, _: &mut bool, wait: &mut Option<Box<Wait>>, cx: &mut Context<'_>) -> Poll<()> {
        self.session.poll_settled(self.seat, wait, cx)
    }

    #[inline]
    fn look(&mut self, _: bool, _: &mut Context<'_>) -> Option<Cause<E>> {
        self.session.cause()
    }

    #[inline]
    fn poll_ended(&mut self, _: &mut bool, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        self.session.poll_ended(self.seat, cx)
    }

    #[inline]
    fn poll_wait(&mut self, _: &mut bool, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        self.session.poll_wait(self.seat, cx)
    }

    /// The lane stays registered.
    #[inline]
    fn leave(&mut self, _: &mut bool) {}
}

impl<E> Drop for Lane<E> {
    fn drop(&mut self) {
        self.session.inner().vacate(&mut self.seat);
    }
}

impl<E> fmt::Debug for Lane<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.session).finish()
    }
}
