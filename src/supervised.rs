//! [`Supervised`]: a request that ends with its session.
//!
//! One poll, in this order, is the whole semantics:
//!
//! 1. Has the session ended? If the request was not polled yet, it never is (R3); otherwise this is the
//!    last time.
//! 2. The request. If it is ready, that is the answer, whatever has become of the session (R2).
//! 3. The session. If it lives, the task is registered, once, and again only when it brings another
//!    waker. If registering shows that it has ended since step 1, the request is asked once more: a reply
//!    may have come before the end (R2). Then the request is dropped here and now (R9). A task that is
//!    registered does not look a second time: an end since step 1 wakes it, and the next poll is the last.
//!
//! When the request is asked a last time, a cooperative budget that is spent counts for nothing (see `budget`).

use crate::budget::poll_unbudgeted;
use crate::cause::Cause;
use crate::errors::SessionEnded;
use crate::session::{Registration, Session};
use futures_core::FusedFuture;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What can supervise a request: a [`Session`] (borrowed or owned), a [`Lane`](crate::Lane) of it, or
/// *any* future, which is then the session's end: a `CancellationToken`'s future, a `JoinHandle`, a
/// `Shared`, a timer.
///
/// A session is preferable where there is a choice: it is cheaper, it is asked without being
/// polled, and its [`Driver`](crate::Driver) publishes before it drops. A future is dropped with what it
/// supervises, and its output has to be an error for `?` to work on the result.
///
/// Code that is generic over `S: Supervisor` can send and spawn what it supervises: nothing that a request keeps
/// beside `S` is in the way of `Send`, `Sync` or `Unpin`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot supervise a request",
    note = "pass a `&Session<E>`, a `Session<E>`, a `&mut Lane<E>`, or a future that resolves when the session ends",
    note = "from an `Arc<Session<E>>` pass `&*session`; a `Session` is a cheap handle and needs no `Arc`"
)]
pub trait Supervisor: Sealed<End = Self::Cause> {
    /// What a request gets when the supervisor ends: [`Cause<E>`](Cause) from a session, the output
    /// of a future.
    type Cause;
}

pub(crate) mod sealed {
    use crate::session::UnderWay;
    use std::panic::{RefUnwindSafe, UnwindSafe};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    #[allow(unnameable_types, reason = "sealed: supervisors are sessions, lanes and futures")]
    pub trait Sealed {
        /// Under a name of its own, so that `S::Cause` means the public one.
        type End;
        /// What a request that waits keeps between its polls.
        type Registration: Default + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe;

        /// Whether the request was polled.
        fn started(registration: &mut Self::Registration) -> &mut bool;

        /// The end, if it can be seen without asking the request first. A session always can be asked. A future
        /// is polled for it, so only before the request is started.
        fn end_before(
            self: Pin<&mut Self>,
            registration: &mut Self::Registration,
            cx: &mut Context<'_>,
        ) -> Option<Self::End>;

        /// Waits for the end. Comes after an `end_before` in the same poll that found nothing. When it is ready,
        /// the supervisor must not be asked again.
        fn poll_end(
            self: Pin<&mut Self>,
            registration: &mut Self::Registration,
            cx: &mut Context<'_>,
        ) -> Poll<Self::End>;

        /// The end, after the request has failed and the polls that were under way are over.
        fn end_after(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Self::End>;

        /// The polls of drivers that may be about to end this.
        fn under_way(self: Pin<&mut Self>) -> Vec<UnderWay> {
            Vec::new()
        }

        fn deregister(self: Pin<&mut Self>, registration: &mut Self::Registration);

        /// Whether this end says nothing of why a single request failed.
        fn is_orderly(_: &Self::End) -> bool {
            false
        }
    }
}
pub(crate) use sealed::Sealed;

macro_rules! supervised_by_session {
    ($session:ty) => {
        impl<E: ?Sized> Supervisor for $session {
            type Cause = Cause<E>;
        }

        impl<E: ?Sized> Sealed for $session {
            type End = Cause<E>;
            type Registration = Registration;

            #[inline]
            fn started(registration: &mut Registration) -> &mut bool {
                &mut registration.started
            }

            #[inline]
            fn end_before(
                self: Pin<&mut Self>,
                registration: &mut Registration,
                _: &mut Context<'_>,
            ) -> Option<Cause<E>> {
                let cause = self.cause()?;
                registration.abandon();
                Some(cause)
            }

            #[inline]
            fn poll_end(
                self: Pin<&mut Self>,
                registration: &mut Registration,
                cx: &mut Context<'_>,
            ) -> Poll<Cause<E>> {
                Session::poll_end(&self, registration, cx)
            }

            fn end_after(self: Pin<&mut Self>, _: &mut Context<'_>) -> Option<Cause<E>> {
                self.cause()
            }

            fn under_way(self: Pin<&mut Self>) -> Vec<crate::session::UnderWay> {
                Session::under_way(&self)
            }

            #[inline]
            fn deregister(self: Pin<&mut Self>, registration: &mut Registration) {
                Session::deregister(&self, registration);
            }

            fn is_orderly(cause: &Cause<E>) -> bool {
                cause.is_orderly()
            }
        }
    };
}
supervised_by_session!(&Session<E>);
supervised_by_session!(Session<E>);

impl<S: Future> Supervisor for S {
    type Cause = S::Output;
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What a request keeps between its polls, under a future.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "a part of the sealed trait")]
pub struct FutureRegistration {
    started: bool,
    /// Whether the supervisor was polled in this poll, so that its wakers are registered.
    polled: bool,
}

impl<S: Future> Sealed for S {
    type End = S::Output;
    type Registration = FutureRegistration;

    fn started(registration: &mut FutureRegistration) -> &mut bool {
        &mut registration.started
    }

    fn end_before(
        self: Pin<&mut Self>,
        registration: &mut FutureRegistration,
        cx: &mut Context<'_>,
    ) -> Option<S::Output> {
        // Of an earlier poll it says nothing. (A request that panicked has left it.)
        registration.polled = !registration.started;
        if registration.started {
            return None;
        }
        ready(self.poll(cx))
    }

    fn poll_end(
        self: Pin<&mut Self>,
        registration: &mut FutureRegistration,
        cx: &mut Context<'_>,
    ) -> Poll<S::Output> {
        if std::mem::take(&mut registration.polled) { Poll::Pending } else { self.poll(cx) }
    }

    fn end_after(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<S::Output> {
        ready(poll_unbudgeted(cx, |cx| self.as_mut().poll(cx)))
    }

    fn deregister(self: Pin<&mut Self>, _: &mut FutureRegistration) {}
}

pin_project! {
    /// Future for [`supervised`](crate::SupervisedExt::supervised): the request's output, or the
    /// session's cause.
    ///
    /// **Ties:** the request is polled before the session, so a reply that has arrived is
    /// never discarded. The exception is the first poll: it checks the session first, and does not start the
    /// request if the session has already ended. On tokio a reply can be missed in a task that has spent its
    /// budget, unless the feature `tokio` is on; see the [crate page](crate#on-tokio).
    ///
    /// **Cancel safety:** dropping this drops the request and deregisters it; the session and other
    /// requests are unaffected. When the session ends, the request is dropped in the same way, inside
    /// the poll that says so; so supervise only requests that tolerate being dropped.
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
        registration: <S as Sealed>::Registration,
    }

    impl<F, S> PinnedDrop for Supervised<F, S>
    where
        S: Supervisor,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.supervisor.deregister(this.registration);
        }
    }
}

/// How a request ends.
pub(crate) enum Outcome<T, C> {
    /// The session was alive when it was last looked at.
    Answered(T),
    /// The session has ended, and the request had an answer when it was asked a last time.
    AnsweredAtTheEnd(T, C),
    Ended(SessionEnded<C>),
}

impl<F, S: Supervisor> Supervised<F, S> {
    pub(crate) fn new(request: F, supervisor: S) -> Self {
        Self { request: Some(request), supervisor, registration: Default::default() }
    }

    pub(crate) fn is_resolved(&self) -> bool {
        self.request.is_none()
    }

    /// What waits under the same supervisor, after the request has resolved.
    pub(crate) fn supervision(self: Pin<&mut Self>) -> (Pin<&mut S>, &mut S::Registration) {
        let this = self.project();
        (this.supervisor, this.registration)
    }
}

impl<F: Future, S: Supervisor> Supervised<F, S> {
    /// One poll, with everything that it finds out.
    #[inline(always)]
    pub(crate) fn poll_outcome(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<F::Output, S::Cause>> {
        let mut this = self.project();
        let Some(request) = this.request.as_mut().as_pin_mut() else { polled_after_completion() };
        if let Some(cause) = this.supervisor.as_mut().end_before(this.registration, cx) {
            return Poll::Ready(conclude(this.request, this.supervisor, this.registration, cause, cx));
        }
        // Before the request runs: it may panic, and so may the clone of a waker after it.
        *S::started(this.registration) = true;
        if let Poll::Ready(output) = request.poll(cx) {
            this.supervisor.deregister(this.registration);
            this.request.set(None);
            return Poll::Ready(Outcome::Answered(output));
        }
        let cause = ready!(this.supervisor.as_mut().poll_end(this.registration, cx));
        Poll::Ready(conclude(this.request, this.supervisor, this.registration, cause, cx))
    }
}

impl<F: Future, S: Supervisor> Future for Supervised<F, S> {
    type Output = Result<F::Output, SessionEnded<S::Cause>>;

    // Most requests are polled at one place, by a caller that is optimised with them. What a call does that
    // waits and is answered is inlined there; locking and ends are calls.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_outcome(cx).map(|outcome| match outcome {
            Outcome::Answered(output) | Outcome::AnsweredAtTheEnd(output, _) => Ok(output),
            Outcome::Ended(ended) => Err(ended),
        })
    }
}

#[cold]
fn polled_after_completion() -> ! {
    panic!("`Supervised` polled after completion");
}

/// The session has ended. A request that was started is asked a last time, and what it says is the answer.
#[cold]
fn conclude<F: Future, S: Supervisor>(
    mut request: Pin<&mut Option<F>>,
    supervisor: Pin<&mut S>,
    registration: &mut S::Registration,
    cause: S::Cause,
    cx: &mut Context<'_>,
) -> Outcome<F::Output, S::Cause> {
    let request_started = *S::started(registration);
    let poll = match request.as_mut().as_pin_mut() {
        Some(mut request) if request_started => poll_unbudgeted(cx, |cx| request.as_mut().poll(cx)),
        _ => Poll::Pending,
    };
    supervisor.deregister(registration);
    request.set(None);
    match poll {
        Poll::Ready(output) => Outcome::AnsweredAtTheEnd(output, cause),
        Poll::Pending => Outcome::Ended(SessionEnded::new(cause, request_started)),
    }
}

impl<F: Future, S: Supervisor> FusedFuture for Supervised<F, S> {
    fn is_terminated(&self) -> bool {
        self.is_resolved()
    }
}

impl<F, S: Supervisor> fmt::Debug for Supervised<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised").field("resolved", &self.is_resolved()).finish_non_exhaustive()
    }
}
