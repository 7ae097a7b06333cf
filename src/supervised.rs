//! [`Supervised`] and [`TrySupervised`]: a request that ends with its session.
//!
//! One poll, in this order, is the whole semantics:
//!
//! 1. Has the session ended? If the request was not polled yet, it never is (R3); otherwise this is the
//!    last time.
//! 2. The request. If it is ready, that is the answer, whatever has become of the session (R2);
//!    unless it is an error and the caller asked for the cause behind it (R4).
//! 3. The session. If it lives, the task is registered, once, and again only when it brings another
//!    waker. If registering shows that it has ended since step 1, the request is asked once more: a reply
//!    may have come before the end (R2). Then the request is dropped here and now (R9). A task that is
//!    registered does not look a second time: an end since step 1 wakes it, and the next poll is the last.

use crate::session::{Cause, Inner, Seat, Session, Wait};
use futures_core::{FusedFuture, TryFuture};
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What can supervise a request: a [`Session`] (borrowed or owned), a [`Lane`](crate::Lane) of it, or
/// *any* future, which is then the session's end: a `CancellationToken`'s future, a `JoinHandle`, a
/// `Shared`, a timer.
///
/// A session is preferable where there is a choice: it is cheaper, it is asked without being
/// polled, and its [`Driver`](crate::Driver) publishes before it drops.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot supervise a request",
    note = "pass a `&Session<E>`, a `Session<E>`, a `&mut Lane<E>`, or a future that resolves when the session ends"
)]
pub trait Supervisor: Sealed<SealedCause = Self::Cause> {
    /// What a request gets when the supervisor ends: [`Cause<E>`](Cause) from a session, the output
    /// of a future.
    type Cause;
}

pub(crate) mod sealed {
    use crate::session::Wait;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    #[allow(unnameable_types, reason = "sealed: supervisors are sessions, lanes and futures")]
    pub trait Sealed {
        /// Under a name of its own, so that `S::Cause` means the public one.
        type SealedCause;
        /// What a waiting request keeps between its polls.
        type Seat: Default;
        /// The supervisor for the time of one poll, with all pointers to it followed.
        type View<'a>: View<Cause = Self::SealedCause, Seat = Self::Seat>
        where
            Self: 'a;

        fn view(self: Pin<&mut Self>) -> Self::View<'_>;
    }

    #[allow(unnameable_types, reason = "a part of the sealed trait")]
    pub trait View {
        type Cause;
        type Seat;

        /// Whether the request has been polled.
        fn started(seat: &mut Self::Seat) -> &mut bool;
        /// Waits out what may be about to end this supervisor. The seat and `wait` are to be left afterwards.
        fn poll_settled(
            &mut self,
            seat: &mut Self::Seat,
            wait: &mut Option<Box<Wait>>,
            cx: &mut Context<'_>,
        ) -> Poll<()>;
        /// The cause if it is there, without waiting for it. A future has to be polled for that, and will
        /// be anyway when the request has been `started`.
        fn look(&mut self, started: bool, cx: &mut Context<'_>) -> Option<Self::Cause>;
        fn poll_ended(&mut self, seat: &mut Self::Seat, cx: &mut Context<'_>) -> Poll<Self::Cause>;
        /// The same, after a [`look`](Self::look) in the same poll that found nothing.
        fn poll_wait(&mut self, seat: &mut Self::Seat, cx: &mut Context<'_>) -> Poll<Self::Cause> {
            self.poll_ended(seat, cx)
        }
        fn leave(&mut self, seat: &mut Self::Seat);
    }
}
use sealed::{Sealed, View};

/// A place among a session's waiters.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "a part of the sealed trait")]
pub struct SessionSeat(Seat);

macro_rules! supervised_by_session {
    ($session:ty) => {
        impl<E> Supervisor for $session {
            type Cause = Cause<E>;
        }

        impl<E> Sealed for $session {
            type SealedCause = Cause<E>;
            type Seat = SessionSeat;
            type View<'a>
                = &'a Inner<E>
            where
                Self: 'a;

            #[inline]
            fn view(self: Pin<&mut Self>) -> &Inner<E> {
                self.into_ref().get_ref().inner()
            }
        }
    };
}
supervised_by_session!(&Session<E>);
supervised_by_session!(Session<E>);

impl<E> View for &Inner<E> {
    type Cause = Cause<E>;
    type Seat = SessionSeat;

    #[inline]
    fn started(seat: &mut SessionSeat) -> &mut bool {
        &mut seat.0.started
    }

    fn poll_settled(
        &mut self,
        seat: &mut SessionSeat,
        wait: &mut Option<Box<Wait>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        Inner::poll_settled(self, &mut seat.0, wait, cx)
    }

    #[inline]
    fn look(&mut self, _: bool, _: &mut Context<'_>) -> Option<Cause<E>> {
        self.cause()
    }

    #[inline]
    fn poll_ended(&mut self, seat: &mut SessionSeat, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        Inner::poll_ended(self, &mut seat.0, cx)
    }

    #[inline]
    fn poll_wait(&mut self, seat: &mut SessionSeat, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        Inner::poll_wait(self, &mut seat.0, cx)
    }

    #[inline]
    fn leave(&mut self, seat: &mut SessionSeat) {
        self.vacate(&mut seat.0);
    }
}

impl<S: Future> Supervisor for S {
    type Cause = S::Output;
}

impl<S: Future> Sealed for S {
    type SealedCause = S::Output;
    type Seat = bool;
    type View<'a>
        = Pin<&'a mut S>
    where
        S: 'a;

    fn view(self: Pin<&mut Self>) -> Pin<&mut S> {
        self
    }
}

impl<S: Future> View for Pin<&mut S> {
    type Cause = S::Output;
    type Seat = bool;

    fn started(seat: &mut bool) -> &mut bool {
        seat
    }

    fn poll_settled(&mut self, _: &mut bool, _: &mut Option<Box<Wait>>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn look(&mut self, started: bool, cx: &mut Context<'_>) -> Option<S::Output> {
        if started {
            return None;
        }
        match self.as_mut().poll(cx) {
            Poll::Ready(cause) => Some(cause),
            Poll::Pending => None,
        }
    }

    fn poll_ended(&mut self, _: &mut bool, cx: &mut Context<'_>) -> Poll<S::Output> {
        self.as_mut().poll(cx)
    }

    fn leave(&mut self, _: &mut bool) {}
}

pin_project! {
    /// Future for [`supervised`](crate::SupervisedExt::supervised): the request's output, or the
    /// session's cause.
    ///
    /// **Fairness/ties:** the request is polled before the session, so a reply that has arrived is
    /// never discarded. Only the first poll asks the session first: on a session that has already
    /// ended the request is not polled at all.
    ///
    /// **Cancel safety:** dropping this drops the request and unregisters it; the session and other
    /// requests are unaffected. When the session ends, the request is dropped in the same way, inside
    /// the poll that says so; so wrap requests that tolerate being dropped.
    ///
    /// **Drop:** synchronous; needs no runtime.
    ///
    /// **Panics:** when polled again after it has resolved. A driver's panic arrives as
    /// [`Cause::Panicked`], it does not unwind here.
    #[must_use = "futures do nothing unless polled"]
    pub struct Supervised<F, S>
    where
        S: Supervisor,
    {
        #[pin]
        request: Option<F>,
        #[pin]
        supervisor: S,
        seat: <S as Sealed>::Seat,
    }

    impl<F, S> PinnedDrop for Supervised<F, S>
    where
        S: Supervisor,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.supervisor.view().leave(this.seat);
        }
    }
}

impl<F, S: Supervisor> Supervised<F, S> {
    pub(crate) fn new(request: F, supervisor: S) -> Self {
        Self { request: Some(request), supervisor, seat: Default::default() }
    }
}

impl<F: Future, S: Supervisor> Future for Supervised<F, S> {
    type Output = Result<F::Output, SessionEnded<S::Cause>>;

    // Most requests are polled at one place, by a caller that is optimised with them. What a call does that
    // waits and is answered is inlined there; locking and ends are calls.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut session = this.supervisor.view();
        let Some(request) = this.request.as_mut().as_pin_mut() else { polled_after_completion() };
        if let Some(cause) = session.look(*started::<S>(this.seat), cx) {
            return Poll::Ready(conclude(this.request, session, this.seat, cause, cx));
        }
        // Before the request runs: it may panic, and so may the clone of a waker after it.
        *started::<S>(this.seat) = true;
        if let Poll::Ready(output) = request.poll(cx) {
            session.leave(this.seat);
            this.request.set(None);
            return Poll::Ready(Ok(output));
        }
        let cause = ready!(session.poll_wait(this.seat, cx));
        Poll::Ready(conclude(this.request, session, this.seat, cause, cx))
    }
}

#[inline]
fn started<S: Sealed>(seat: &mut S::Seat) -> &mut bool {
    <S::View<'_> as View>::started(seat)
}

#[cold]
fn polled_after_completion() -> ! {
    panic!("`Supervised` polled after completion");
}

/// The session has ended. A request that was started is asked a last time, and what it says is the answer.
#[cold]
fn conclude<F: Future, V: View>(
    mut request: Pin<&mut Option<F>>,
    mut session: V,
    seat: &mut V::Seat,
    cause: V::Cause,
    cx: &mut Context<'_>,
) -> Result<F::Output, SessionEnded<V::Cause>> {
    let request_started = *V::started(seat);
    let mut poll = Poll::Pending;
    if request_started {
        if let Some(request) = request.as_mut().as_pin_mut() {
            poll = request.poll(cx);
        }
    }
    session.leave(seat);
    request.set(None);
    match poll {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(SessionEnded { cause, request_started }),
    }
}

impl<F: Future, S: Supervisor> FusedFuture for Supervised<F, S> {
    fn is_terminated(&self) -> bool {
        self.request.is_none()
    }
}

impl<F, S: Supervisor> fmt::Debug for Supervised<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised").field("resolved", &self.request.is_none()).finish_non_exhaustive()
    }
}

pin_project! {
    /// Future for [`try_supervised`](crate::SupervisedExt::try_supervised): like [`Supervised`], and
    /// a request's own error does not hide the session's cause.
    ///
    /// When a driver dies, its library usually fails the pending requests too, with an echo such as
    /// "channel closed" that may arrive before the news of the session. So a request that resolves to
    /// `Err` looks at the session once more: if that has ended, the caller gets the session's cause
    /// *and* the request's error beside it.
    ///
    /// An echo may even come from inside the driver's last poll (an async block drops its locals before
    /// it returns, a panic on its way out). So where a driver that can end the session is being polled by
    /// another thread at that moment, the error is kept until that one poll is over, or the session has ended.
    /// A driver that blocks in its poll keeps it back for as long.
    ///
    /// **Fairness/ties, cancel safety, drop, panics:** as for [`Supervised`].
    #[must_use = "futures do nothing unless polled"]
    pub struct TrySupervised<F, S>
    where
        F: TryFuture,
        S: Supervisor,
    {
        #[pin]
        inner: Supervised<F, S>,
        // The request's error, while a driver that may be the reason is being polled.
        echo: Option<F::Error>,
        wait: Option<Box<Wait>>,
    }
}

impl<F: TryFuture, S: Supervisor> TrySupervised<F, S> {
    pub(crate) fn new(request: F, supervisor: S) -> Self {
        Self { inner: Supervised::new(request, supervisor), echo: None, wait: None }
    }
}

impl<F, S, T, R> Future for TrySupervised<F, S>
where
    F: Future<Output = Result<T, R>>,
    S: Supervisor,
{
    type Output = Result<T, RequestFailed<R, S::Cause>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        if this.echo.is_none() {
            match ready!(this.inner.poll(cx)) {
                Ok(Ok(output)) => return Poll::Ready(Ok(output)),
                Ok(Err(echo)) => *this.echo = Some(echo),
                Err(ended) => {
                    return Poll::Ready(Err(RequestFailed::SessionEnded { ended, request: None }));
                }
            }
        }
        self.poll_echo(cx)
    }
}

impl<F, S, T, R> TrySupervised<F, S>
where
    F: Future<Output = Result<T, R>>,
    S: Supervisor,
{
    /// The request has failed: is there a cause behind it?
    #[cold]
    fn poll_echo(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let this = self.project();
        let inner = this.inner.project();
        let mut session = inner.supervisor.view();
        ready!(session.poll_settled(inner.seat, this.wait, cx));
        let Some(request) = this.echo.take() else { unreachable!("set before") };
        let cause = session.look(false, cx);
        *this.wait = None;
        session.leave(inner.seat);
        Poll::Ready(Err(match cause {
            None => RequestFailed::Request(request),
            Some(cause) => RequestFailed::SessionEnded {
                ended: SessionEnded { cause, request_started: true },
                request: Some(request),
            },
        }))
    }
}

impl<F, S, T, R> FusedFuture for TrySupervised<F, S>
where
    F: Future<Output = Result<T, R>>,
    S: Supervisor,
{
    fn is_terminated(&self) -> bool {
        self.inner.is_terminated() && self.echo.is_none()
    }
}

impl<F: TryFuture, S: Supervisor> fmt::Debug for TrySupervised<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrySupervised").field(&self.inner).finish()
    }
}

/// The session ended before the request resolved.
///
/// `C` is [`Cause<E>`](Cause) for a [`Session<E>`](Session), and the output of any other supervisor
/// future. [`Error::source`] is the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnded<C> {
    cause: C,
    request_started: bool,
}

impl<C> SessionEnded<C> {
    /// Why the session ended.
    pub fn cause(&self) -> &C {
        &self.cause
    }

    pub(crate) fn after_start(cause: C) -> Self {
        Self { cause, request_started: true }
    }

    /// Why the session ended, by value.
    pub fn into_cause(self) -> C {
        self.cause
    }

    /// Whether the request was polled at all. If not, nothing that it does when it is polled can have reached
    /// the peer, and it is safe to repeat elsewhere. If it was, its outcome is unknown.
    ///
    /// What was done *before* it was supervised does not count: where the request is only the receiving end of
    /// a reply channel, the message may be on its way already. Put sending and waiting into one `async` block,
    /// and supervise that.
    pub fn request_started(&self) -> bool {
        self.request_started
    }
}

impl<C> fmt::Display for SessionEnded<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.request_started {
            "the session ended before the request resolved"
        } else {
            "the session had ended before the request was started"
        })
    }
}

impl<C: Error + 'static> Error for SessionEnded<C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// Why a [`TrySupervised`] request failed: its own error, the session's cause, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a request fails by itself or with its session; there is no third way"
)]
pub enum RequestFailed<R, C> {
    /// The request failed, and the session lives.
    Request(R),
    /// The session has ended.
    SessionEnded {
        /// Why, and whether the request had been started.
        ended: SessionEnded<C>,
        /// The request's own error, if it had one: most often the library's echo of the end.
        request: Option<R>,
    },
}

impl<R, C> RequestFailed<R, C> {
    /// Why the session ended, if it has.
    pub fn cause(&self) -> Option<&C> {
        match self {
            Self::Request(_) => None,
            Self::SessionEnded { ended, .. } => Some(ended.cause()),
        }
    }

    /// The request's own error, if it had one.
    pub fn request_error(&self) -> Option<&R> {
        match self {
            Self::Request(request) => Some(request),
            Self::SessionEnded { request, .. } => request.as_ref(),
        }
    }

    /// Whether the request was polled at all; see [`SessionEnded::request_started`].
    pub fn request_started(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::SessionEnded { ended, .. } => ended.request_started(),
        }
    }
}

impl<R, C> fmt::Display for RequestFailed<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(_) => f.write_str("the request failed"),
            Self::SessionEnded { ended, .. } => ended.fmt(f),
        }
    }
}

impl<R: Error + 'static, C: Error + 'static> Error for RequestFailed<R, C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Request(request) => Some(request),
            Self::SessionEnded { ended, .. } => ended.source(),
        }
    }
}
