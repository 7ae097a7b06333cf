//! [`Session`]: one latched verdict, and everybody who waits for it.
//!
//! Invariants:
//!
//! 1. The verdict is set once and never changes; every path that ends a session goes through `Inner::end`,
//!    which takes the children along.
//! 2. When `end` returns, whoever won, the verdict is visible to every thread; when it returns
//!    `true`, everyone who was waiting has been woken.
//! 3. A waiter never keeps a session's driver alive, and a session never keeps a waiter alive: a
//!    waker in the table is all there is, and it leaves with the waiter.

mod family;
mod turns;
mod slab;
#[cfg(all(test, not(any(shared_fate_loom, shared_fate_shuttle))))]
mod tests;
mod registrations;

use crate::driver::{Driver, DriverOutput};
use crate::sync::{Latch, Mutex};
use family::Parent;
use futures_core::FusedFuture;
use turns::Rounds;
use slab::Slab;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use registrations::Waiters;

pub(crate) use turns::Wait;
pub(crate) use registrations::Seat;

/// Why a session ended: its first cause, the same for everybody who asks. There are these four and no others, so it may be matched without a wildcard.
///
/// Cheap to clone. `E` need not be `Clone`: a failure is shared behind an [`Arc`], and
/// [`Error::source`] reaches the original value, so `downcast_ref` works on it.
pub enum Cause<E> {
    /// The driver resolved to this error, or somebody reported it with [`Session::fail`].
    Failed(Arc<E>),
    /// The driver panicked.
    Panicked(PanicMessage),
    /// The driver was dropped before it resolved: aborted, or its executor is gone.
    Dropped,
    /// The driver resolved normally, or the owner called [`Session::close`]. Not a failure.
    Closed,
}

impl<E> Cause<E> {
    /// The error, if the session failed with one.
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Panicked(_) | Self::Dropped | Self::Closed => None,
        }
    }

    /// Whether this is the normal end.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl<E> Clone for Cause<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked(message) => Self::Panicked(message.clone()),
            Self::Dropped => Self::Dropped,
            Self::Closed => Self::Closed,
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Panicked(message) => f.debug_tuple("Panicked").field(&message.as_str()).finish(),
            Self::Dropped => f.write_str("Dropped"),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

impl<E> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("the session failed"),
            Self::Panicked(message) => write!(f, "the session's driver panicked: {message}"),
            Self::Dropped => f.write_str("the session's driver was dropped"),
            Self::Closed => f.write_str("the session was closed"),
        }
    }
}

impl<E: Error + 'static> Error for Cause<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            Self::Panicked(_) | Self::Dropped | Self::Closed => None,
        }
    }
}

/// What a driver's panic said. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
// A thin pointer: it keeps `Cause` at two words.
pub struct PanicMessage(Arc<String>);

impl PanicMessage {
    pub(crate) fn of(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = if let Some(text) = payload.downcast_ref::<&'static str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "a value that is not a string".to_owned()
        };
        Self(Arc::new(text))
    }

    /// The panic's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PanicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fate that requests share: alive, or ended with one [`Cause`].
///
/// A `Session` is a handle; clones are the same session. It holds no connection and runs nothing:
/// a [`Driver`] publishes its verdict here, [`supervised`](crate::SupervisedExt::supervised)
/// requests read it, and anyone may report with [`fail`](Self::fail) or [`close`](Self::close).
///
/// `E` is any type. A session can be sent to other threads if `E` is `Send` and `Sync`, since all share it.
/// An `E` that holds a handle of its own session keeps that, and itself, alive.
///
/// ```
/// use shared_fate::{Cause, Session};
///
/// let session = Session::new();
/// assert!(!session.is_ended());
///
/// assert!(session.fail("the peer hung up"));
/// assert!(!session.fail("a later report"), "the first cause stays");
/// assert_eq!(session.cause().unwrap().error(), Some(&"the peer hung up"));
/// ```
pub struct Session<E> {
    inner: Arc<Inner<E>>,
}

#[allow(
    unnameable_types,
    missing_debug_implementations,
    reason = "a part of the sealed trait of supervisors"
)]
pub struct Inner<E> {
    verdict: Latch<Cause<E>>,
    waiters: Waiters,
    /// A family's drivers: the cause of a child's echo comes from above.
    rounds: Arc<Rounds>,
    children: Mutex<Slab<Weak<Self>>>,
    parent: Option<Parent<E>>,
}

impl<E> Session<E> {
    /// A session that is alive, with nobody waiting.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                verdict: Latch::new(),
                waiters: Waiters::default(),
                rounds: Arc::default(),
                children: Mutex::default(),
                parent: None,
            }),
        }
    }

    /// Wraps the future that owns the connection, so that however it ends, the session ends with it.
    ///
    /// The session ends `Closed` when the future resolves to `()` or `Ok(())`, `Failed` on `Err`,
    /// `Panicked` or `Dropped`; see [`Driver`]. A session may have several drivers (a reader and a
    /// writer): the first to end ends it, and the others resolve.
    pub fn drive<F>(&self, driver: F) -> Driver<F, E>
    where
        F: Future,
        F::Output: DriverOutput<E>,
    {
        Driver::new(driver, self.clone())
    }

    /// Ends the session with `error`. Returns whether this was the first cause; a later one is
    /// dropped.
    ///
    /// Anyone may report: the driver, a reader half, a request, an I/O tap. Every waiter is woken
    /// before this returns `true`; a waker that panics is contained and does not stop the others.
    pub fn fail(&self, error: E) -> bool {
        self.end(Cause::Failed(Arc::new(error)))
    }

    /// Ends the session normally and makes its drivers resolve. Returns whether this was the first
    /// cause.
    pub fn close(&self) -> bool {
        self.end(Cause::Closed)
    }

    /// Ends the session with a cause that is already at hand, for instance another session's.
    /// Returns whether this was the first cause.
    pub fn end(&self, cause: Cause<E>) -> bool {
        self.inner.end(cause)
    }

    /// Why the session ended; `None` while it lives. Once `Some`, always the same.
    pub fn cause(&self) -> Option<Cause<E>> {
        self.inner.cause()
    }

    /// Whether the session has ended. One atomic load.
    #[inline]
    pub fn is_ended(&self) -> bool {
        self.inner.is_ended()
    }

    /// A future that resolves to the cause when the session ends.
    pub fn ended(&self) -> Ended<E> {
        Ended { session: self.clone(), seat: Seat::default(), done: false }
    }

    #[inline]
    pub(crate) fn inner(&self) -> &Inner<E> {
        &self.inner
    }

    /// Marks a driver's poll, until the guard is dropped; see [`rounds`].
    pub(crate) fn round(&self) -> Round<'_, E> {
        Round { session: self, number: self.inner.rounds.enter(self.inner.address()) }
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.inner.waiters.len() + self.inner.children.lock().len()
    }
}

/// A poll of a driver.
pub(crate) struct Round<'a, E> {
    session: &'a Session<E>,
    number: u64,
}

impl<E> Drop for Round<'_, E> {
    fn drop(&mut self) {
        self.session.inner.rounds.leave(self.number, self.session.is_ended());
    }
}

// What every poll does is inlined there; what locks is a call.
impl<E> Inner<E> {
    #[inline]
    pub(crate) fn is_ended(&self) -> bool {
        self.verdict.is_set()
    }

    #[inline]
    pub(crate) fn cause(&self) -> Option<Cause<E>> {
        self.verdict.get()
    }

    #[inline]
    pub(crate) fn poll_ended(&self, seat: &mut Seat, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        if self.is_ended() { Poll::Ready(self.resolve(seat)) } else { self.poll_wait(seat, cx) }
    }

    /// [`poll_ended`](Self::poll_ended) for one who has seen the session alive in this poll. Who is
    /// registered need not look again: should it have ended since, he has been woken, or is about to be.
    #[inline]
    pub(crate) fn poll_wait(&self, seat: &mut Seat, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        let waker = cx.waker();
        if seat.will_wake(waker) || self.register(seat, waker.clone()) {
            return Poll::Pending;
        }
        Poll::Ready(self.resolve(seat))
    }

    /// Puts `waker` in the seat, unless the session has ended.
    #[inline(never)]
    fn register(&self, seat: &mut Seat, waker: Waker) -> bool {
        self.waiters.register(seat, waker, || self.is_ended())
    }

    /// Waits out the drivers' polls that may be about to end the session, in this one's seat and in `wait`.
    /// Both are to be left afterwards.
    pub(crate) fn poll_settled(
        &self,
        seat: &mut Seat,
        wait: &mut Option<Box<Wait>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.is_ended() {
            return Poll::Ready(());
        }
        let concerns = |session| self.is_or_is_below(session);
        if wait.is_none() {
            *wait = Wait::new(&self.rounds, concerns).map(Box::new);
        }
        if let Some(wait) = wait {
            if wait.poll_over(concerns, cx).is_pending() && self.poll_ended(seat, cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.inherit();
        Poll::Ready(())
    }

    /// Empties the seat. What was in it is foreign code when it is dropped.
    #[inline]
    pub(crate) fn leave(&self, seat: &mut Seat) -> Option<Waker> {
        if seat.is_taken() { self.waiters.leave(seat) } else { None }
    }

    /// Empties the seat and drops what was in it.
    #[inline]
    pub(crate) fn vacate(&self, seat: &mut Seat) {
        if seat.is_taken() {
            self.vacate_taken(seat);
        }
    }

    #[inline(never)]
    fn vacate_taken(&self, seat: &mut Seat) {
        if self.is_ended() {
            // Whoever ends the session empties the table: a crowd that resolves need not queue for it.
            seat.abandon();
        } else {
            drop(self.waiters.leave(seat));
        }
    }

    /// The cause, for one who need not wait any more.
    #[cold]
    fn resolve(&self, seat: &mut Seat) -> Cause<E> {
        self.vacate(seat);
        match self.verdict.get() {
            Some(cause) => cause,
            None => unreachable!("the latch was seen set"),
        }
    }

    fn end(&self, cause: Cause<E>) -> bool {
        let first = self.verdict.set(cause);
        if first {
            self.waiters.wake_all();
            self.end_children();
        }
        first
    }
}

impl<E> Clone for Session<E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<E> Default for Session<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Session<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("ended", &self.is_ended()).finish_non_exhaustive()
    }
}

/// Future for [`Session::ended`]: resolves to the cause.
///
/// **Cancel safety:** dropping it unregisters it; another one gets the same cause.
#[must_use = "futures do nothing unless polled"]
pub struct Ended<E> {
    session: Session<E>,
    seat: Seat,
    done: bool,
}

impl<E> Future for Ended<E> {
    type Output = Cause<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        let this = self.get_mut();
        let poll = this.session.inner.poll_ended(&mut this.seat, cx);
        this.done = poll.is_ready();
        poll
    }
}

impl<E> FusedFuture for Ended<E> {
    fn is_terminated(&self) -> bool {
        self.done
    }
}

impl<E> Drop for Ended<E> {
    fn drop(&mut self) {
        self.session.inner.vacate(&mut self.seat);
    }
}

impl<E> fmt::Debug for Ended<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ended").field(&self.session).finish()
    }
}
