//! [`Lane`] and [`Gate`]: registrations that outlive their calls.
//!
//! Most registrations repeat: one task, many calls, one after the other. A lane registers at the first call that
//! has to wait, and stays registered. A later call of the same task finds itself registered: it takes no
//! lock, clones no waker and counts no reference.
//!
//! Invariants:
//!
//! 1. When a call returns `Pending`, the waker of *that* poll is registered, or the session has ended and
//!    that waker has been woken. A call of another task, or with another waker, replaces what is there.
//! 2. A call that resolves or is dropped leaves the registration as it is. So a registered waker may have no call
//!    behind it: waking it is spurious, and harmless as every spurious wake is.
//! 3. `&mut`: one call at a time, so one registration is enough.

use crate::cause::Cause;
use crate::errors::Failed;
use crate::ext::SupervisedExt;
use crate::session::{Registration, Session, UnderWay};
use crate::supervised::{Sealed, Supervisor};
use crate::try_supervised::Echo;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// A [`Session`] as seen by one task that makes many calls: it stays registered between them.
///
/// `request.supervised(&mut lane)` behaves as `request.supervised(&session)` does and costs a fraction of
/// it: the first call that waits registers the task, and the next ones find it registered. Use it
/// where one task makes many calls in sequence. For a single call, or many at a time, use the session itself.
///
/// ```
/// use shared_fate::{Session, SupervisedExt};
/// use std::io;
///
/// let session = Session::new();
/// let mut lane = session.lane();
/// pollster::block_on(async {
///     for n in 0..3 {
///         assert_eq!(async { n }.supervised(&mut lane).await.unwrap(), n);
///     }
///     session.fail(io::Error::other("connection reset"));
///     let error = async { 3 }.supervised(&mut lane).await.unwrap_err();
///     assert_eq!(error.cause().error().unwrap().to_string(), "connection reset");
/// });
/// ```
///
/// **Spurious wake:** when the session ends, the task of the last call that had to wait is woken, even if
/// it has no call pending by then.
///
/// **What it holds:** the session, and from the first call that waits until its own drop (or the session's
/// end) one waker, which usually keeps that task's allocation. Keep a lane inside the task that uses it.
///
/// **Drop:** deregisters; synchronous, needs no runtime.
#[must_use = "a lane that is not used for a call does nothing"]
pub struct Lane<E: ?Sized> {
    session: Session<E>,
    registration: Registration,
}

impl<E: ?Sized> Session<E> {
    /// A handle for one task that makes many calls, one at a time; see [`Lane`].
    pub fn lane(&self) -> Lane<E> {
        Lane { session: self.clone(), registration: Registration::default() }
    }

    /// A handle for code that is written as polls; see [`Gate`].
    pub fn gate<R>(&self) -> Gate<R, E> {
        Gate { lane: self.lane(), echo: None }
    }
}

impl<E: ?Sized> Lane<E> {
    /// The session this belongs to.
    pub fn session(&self) -> &Session<E> {
        &self.session
    }
}

impl<E: ?Sized> Supervisor for &mut Lane<E> {
    type Cause = Cause<E>;
}

impl<E: ?Sized> Sealed for &mut Lane<E> {
    type End = Cause<E>;
    /// Whether the request was polled; the lane keeps the rest.
    type Registration = bool;

    #[inline]
    fn started(started: &mut bool) -> &mut bool {
        started
    }

    #[inline]
    fn end_before(self: Pin<&mut Self>, _: &mut bool, _: &mut Context<'_>) -> Option<Cause<E>> {
        self.session.cause()
    }

    #[inline]
    fn poll_end(self: Pin<&mut Self>, _: &mut bool, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        let lane = &mut **self.get_mut();
        lane.session.poll_end(&mut lane.registration, cx)
    }

    fn end_after(self: Pin<&mut Self>, _: &mut Context<'_>) -> Option<Cause<E>> {
        self.session.cause()
    }

    fn under_way(self: Pin<&mut Self>) -> Vec<UnderWay> {
        self.session.under_way()
    }

    /// The lane stays registered.
    #[inline]
    fn deregister(self: Pin<&mut Self>, _: &mut bool) {}

    fn is_orderly(cause: &Cause<E>) -> bool {
        cause.is_orderly()
    }
}

impl<E: ?Sized> Drop for Lane<E> {
    fn drop(&mut self) {
        self.session.deregister(&mut self.registration);
    }
}

impl<E: ?Sized> fmt::Debug for Lane<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.session).finish()
    }
}

/// [`try_supervised`](crate::SupervisedExt::try_supervised) for code that is written as polls: a
/// `Service::poll_ready`, a `Sink`.
///
/// ```
/// use shared_fate::{Failed, Gate, Session};
/// use std::io;
/// use std::task::{Context, Poll};
///
/// struct Sender { /* … */ }
/// # impl Sender {
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> { Poll::Pending }
/// # }
///
/// struct Client {
///     sender: Sender,
///     gate: Gate<io::Error, io::Error>, // `session.gate()`
/// }
///
/// impl Client {
///     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed<io::Error>>> {
///         self.gate.poll(cx, |cx| self.sender.poll_ready(cx))
///     }
/// }
/// # let session = Session::new();
/// # let mut client = Client { sender: Sender {}, gate: session.gate() };
/// # session.close();
/// # assert!(pollster::block_on(std::future::poll_fn(|cx| client.poll_ready(cx))).is_err());
/// ```
///
/// **Ties:** each poll counts as a first poll: on a session that has ended the function is not called. A gate is
/// for readiness, not for replies.
///
/// **Cancel safety:** an error that is held back, because it may be an echo, stays in the gate until the next
/// poll, which returns it without calling the function.
///
/// **Drop:** as for a [`Lane`], which it contains.
#[must_use = "a gate that is not polled does nothing"]
pub struct Gate<R, E: ?Sized> {
    lane: Lane<E>,
    echo: Option<Box<Echo<R>>>,
}

impl<R, E: ?Sized> Gate<R, E> {
    /// The session this belongs to.
    pub fn session(&self) -> &Session<E> {
        &self.lane.session
    }

    /// Calls `poll`, unless the session has ended. Pending, the task is woken by what `poll` waits for and by
    /// the session's end.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, R>>,
    ) -> Poll<Result<T, Failed<R, E>>> {
        if self.echo.is_some() {
            let mut lane = &mut self.lane;
            return Echo::poll(&mut self.echo, None, Pin::new(&mut lane), &mut false, cx).map(Err);
        }
        let mut request = pin!(poll_fn(poll).try_supervised(&mut self.lane));
        let poll = request.as_mut().poll(cx);
        let echo = request.take_echo();
        self.echo = echo;
        poll
    }
}

impl<R, E: ?Sized> fmt::Debug for Gate<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(self.session()).finish()
    }
}
