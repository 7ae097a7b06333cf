//! [`Session`]: one latched verdict, and everything that waits for it.
//!
//! Invariants:
//!
//! 1. The verdict is set once and never changes. Every path that ends a session goes through
//!    `Session::end_family`, which takes the children along.
//! 2. When `end` returns, whichever call won, the verdict is visible to every thread; when it returns
//!    `true`, everything that was waiting has been woken.
//! 3. A waiting future never keeps a session's driver alive, and a session never keeps a waiting future alive: a
//!    waker in a table is all there is, and it leaves with the future.

mod drivers;
mod family;
mod handles;
mod registrations;
mod slab;
#[cfg(all(test, not(any(shared_fate_loom, shared_fate_shuttle))))]
mod tests;
mod turns;
mod verdict;

use crate::cause::{Cause, SessionError};
use drivers::Drivers;
use family::{Family, Place};
use futures_core::FusedFuture;
use registrations::Registrations;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use verdict::Verdict;

pub(crate) use drivers::Attached;
pub use drivers::{DriverState, DriversGone};
pub use handles::{DropGuard, WeakSession};
pub(crate) use registrations::Registration;
pub(crate) use turns::UnderWay;

/// The fate that requests share: alive, or ended with one [`Cause`].
///
/// ```
/// use shared_fate::Session;
/// use std::io;
///
/// let session = Session::new();
/// assert!(!session.is_ended());
///
/// assert!(session.fail(io::Error::other("the peer hung up")));
/// assert!(!session.fail(io::Error::other("a later report")), "the first cause stays");
/// assert_eq!(session.cause().unwrap().error().unwrap().to_string(), "the peer hung up");
/// ```
///
/// A `Session` is a handle; clones are the same session. It holds no connection and runs nothing:
/// a [`Driver`](crate::Driver) publishes its verdict here, [`supervised`](crate::SupervisedExt::supervised)
/// requests read it, and anyone who holds a handle may report with [`fail`](Self::fail) or
/// [`close`](Self::close).
///
/// `E` is an error type, or [`AnyError`](crate::AnyError) for any; see [`SessionError`]. `Session<E>` is
/// `Send` and `Sync` if `E` is both, because all handles share one `E`. An `E` that holds a handle of its own
/// session keeps that, and itself, alive.
///
/// A session is one connection. For a client that reconnects make a session for each connection.
///
/// **What it holds:** about 220 bytes, a child about 180; and 16 bytes for each request that waits at the same time.
/// When many have waited and a quarter is left, the memory is given back, unless one that came at the peak still
/// waits.
pub struct Session<E: ?Sized> {
    inner: Arc<Inner<E>>,
}

// In this order: what each poll reads is not on a cache line that registering writes, or counting handles. And the
// lock of the first table comes first, so that its address is this one's.
#[repr(C)]
struct Inner<E: ?Sized> {
    registrations: Registrations,
    drivers: Drivers,
    place: Place,
    family: Arc<Family<E>>,
    parent: Option<Session<E>>,
    verdict: Verdict<E>,
}

impl<E: ?Sized> Inner<E> {
    fn new(family: Arc<Family<E>>, parent: Option<Session<E>>) -> Self {
        Self {
            verdict: Verdict::new(),
            parent,
            family,
            place: Place::root(),
            drivers: Drivers::default(),
            registrations: Registrations::default(),
        }
    }
}

// What locks.
impl<E: ?Sized> Inner<E> {
    #[inline(never)]
    fn register(&self, registration: &mut Registration, waker: &Waker) -> bool {
        self.registrations.register(registration, waker.clone(), || self.verdict.is_latched())
    }

    #[inline(never)]
    fn replace(&self, registration: &mut Registration, waker: &Waker) -> bool {
        self.registrations.replace(registration, waker.clone(), || self.verdict.is_latched())
    }

    #[inline(never)]
    fn deregister(&self, registration: &mut Registration) {
        self.registrations.deregister(registration);
    }
}

impl<E: SessionError + ?Sized> Session<E> {
    /// A session that is alive, with nothing waiting.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Arc::new(Inner::new(Arc::new(Family::new()), None)) }
    }
}

impl<E> Session<E> {
    /// Ends the session with `error`. Returns whether this was the first cause; a later one is
    /// dropped.
    ///
    /// Anyone who holds a handle may call this: the driver, a reader half, a request, an I/O tap. A driver that
    /// finds out why it will fail, and cleans up before it resolves, should report *first*: what it tells its
    /// pending requests while it cleans up would arrive without the cause.
    ///
    /// Every waiting request is woken before this returns `true`. A waker that panics does not stop the others.
    ///
    /// For a `Session<AnyError>` use `session.end(Cause::any(error))`.
    pub fn fail(&self, error: E) -> bool {
        self.end(Cause::from(error))
    }
}

impl<E: ?Sized> Session<E> {
    /// Ends the session as its owner, and makes its drivers resolve. Returns whether this was the first
    /// cause.
    ///
    /// It is abrupt: what is queued in a driver is lost. For an orderly end see
    /// [`drain_until`](crate::RunUntil::drain_until). [`drivers_gone`](Self::drivers_gone) tells when the
    /// drivers have resolved.
    pub fn close(&self) -> bool {
        self.end(Cause::Closed)
    }

    /// Ends the session with a cause that is already at hand, for instance another session's.
    /// Returns whether this was the first cause.
    pub fn end(&self, cause: Cause<E>) -> bool {
        self.end_family(cause)
    }

    /// Why the session ended; `None` while it lives. Once `Some`, always the same.
    #[inline]
    pub fn cause(&self) -> Option<Cause<E>> {
        self.inner.verdict.get()
    }

    /// Whether the session has ended. One atomic load.
    #[inline]
    pub fn is_ended(&self) -> bool {
        self.inner.verdict.is_latched()
    }

    /// Waits: a future that resolves to the cause when the session ends.
    pub fn ended(&self) -> Ended<E> {
        Ended { session: self.clone(), registration: Registration::default(), done: false }
    }

    /// Whether both are handles of one session.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.inner.registrations.len()
    }

    /// As if two threads had met at the table.
    #[cfg(all(test, any(shared_fate_loom, shared_fate_shuttle)))]
    pub(crate) fn spread(&self) {
        drop(self.inner.registrations.spread());
    }
}

// What every poll does is inlined there; what locks is a call.
impl<E: ?Sized> Session<E> {
    /// Ready if the session has ended. Otherwise the task is registered.
    #[inline]
    pub(crate) fn poll_ended(&self, registration: &mut Registration, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        if self.is_ended() {
            Poll::Ready(self.resolve(registration))
        } else {
            self.poll_end(registration, cx)
        }
    }

    /// [`poll_ended`](Self::poll_ended) for a caller that has already seen the session alive in this poll. A task
    /// that is registered need not look again: an end since then has woken it, or is about to.
    #[inline]
    pub(crate) fn poll_end(&self, registration: &mut Registration, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        let waker = cx.waker();
        if registration.will_wake(waker) || self.register(registration, waker) {
            return Poll::Pending;
        }
        Poll::Ready(self.resolve(registration))
    }

    /// `false` if the session has ended.
    #[inline(never)]
    fn register(&self, registration: &mut Registration, waker: &Waker) -> bool {
        if registration.is_taken() {
            self.inner.replace(registration, waker)
        } else {
            self.inner.register(registration, waker)
        }
    }

    /// Takes a registration out, with the waker, which is foreign code when it is dropped.
    #[inline]
    pub(crate) fn deregister(&self, registration: &mut Registration) {
        if registration.is_taken() {
            self.inner.deregister(registration);
        }
    }

    /// The cause, for a future that need not wait any more.
    #[cold]
    fn resolve(&self, registration: &mut Registration) -> Cause<E> {
        registration.abandon();
        match self.cause() {
            Some(cause) => cause,
            None => unreachable!("the latch was seen set"),
        }
    }
}

impl<E: ?Sized> Clone for Session<E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<E: SessionError + ?Sized> Default for Session<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: ?Sized> fmt::Debug for Session<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("ended", &self.is_ended())
            .field("driver", &self.driver_state())
            .finish_non_exhaustive()
    }
}

/// Future for [`Session::ended`]: resolves to the cause.
///
/// **Cancel safety:** dropping it deregisters it; another one gets the same cause.
///
/// **Ties:** there is nothing to tie with: it is ready once the session has ended, and polled again it gives
/// the same cause again.
///
/// **Drop:** synchronous; needs no runtime.
#[must_use = "futures do nothing unless polled"]
pub struct Ended<E: ?Sized> {
    session: Session<E>,
    registration: Registration,
    done: bool,
}

impl<E: ?Sized> Future for Ended<E> {
    type Output = Cause<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        let this = self.get_mut();
        let poll = this.session.poll_ended(&mut this.registration, cx);
        this.done = poll.is_ready();
        poll
    }
}

impl<E: ?Sized> FusedFuture for Ended<E> {
    fn is_terminated(&self) -> bool {
        self.done
    }
}

impl<E: ?Sized> Drop for Ended<E> {
    fn drop(&mut self) {
        self.session.deregister(&mut self.registration);
    }
}

impl<E: ?Sized> fmt::Debug for Ended<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ended").field(&self.session).finish()
    }
}
