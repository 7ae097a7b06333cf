//! [`TrySupervised`]: a fallible request, whose own error does not hide the session's cause.
//!
//! When the request fails and the session is alive, the error may be an echo of an end that is about to be
//! published. [`Echo`] holds it back until every driver poll that is under way is over, or the session has ended.
//! Then it looks at the session, once.

use crate::errors::RequestFailed;
use crate::session::UnderWay;
use crate::supervised::{Outcome, Supervised, Supervisor};
use futures_core::{FusedFuture, TryFuture};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Every error may be an echo: what [`try_supervised`](crate::SupervisedExt::try_supervised) assumes.
#[derive(Clone, Copy, Debug, Default)]
pub struct EveryError;

/// Which of a request's errors may be echoes of its session's end: [`EveryError`], or a function of yours.
pub trait MayBeEcho<R>: sealed::Sealed<R> {}

impl<R> MayBeEcho<R> for EveryError {}
impl<R, P: FnMut(&R) -> bool> MayBeEcho<R> for P {}

mod sealed {
    #[allow(unnameable_types, reason = "sealed")]
    pub trait Sealed<R> {
        fn may_be_echo(&mut self, error: &R) -> bool;
    }

    impl<R> Sealed<R> for super::EveryError {
        #[inline]
        fn may_be_echo(&mut self, _: &R) -> bool {
            true
        }
    }

    impl<R, P: FnMut(&R) -> bool> Sealed<R> for P {
        fn may_be_echo(&mut self, error: &R) -> bool {
            self(error)
        }
    }
}

/// An error that is held back.
pub(crate) struct Echo<R> {
    error: R,
    polls: Vec<UnderWay>,
}

impl<R> Echo<R> {
    /// What becomes of an error that may be an echo, of one that has just come or of the one that is held back. Ready
    /// when all polls that were under way are over, or the session has ended.
    pub(crate) fn poll<S: Supervisor>(
        held: &mut Option<Box<Self>>,
        error: Option<R>,
        mut supervisor: Pin<&mut S>,
        registration: &mut S::Registration,
        cx: &mut Context<'_>,
    ) -> Poll<RequestFailed<R, S::Cause>> {
        if let Some(error) = error {
            let polls = supervisor.as_mut().under_way();
            if polls.is_empty() {
                return Poll::Ready(failed::<R, S>(error, supervisor.end_after(cx)));
            }
            *held = Some(Box::new(Self { error, polls }));
        }
        let echo = held.as_mut().expect("`TrySupervised` polled after completion");
        let end = ready!(poll_settled(&mut echo.polls, supervisor, registration, cx));
        let echo = held.take().expect("see above");
        Poll::Ready(failed::<R, S>(echo.error, end))
    }
}

/// Waits out the polls of drivers that may be about to end this supervisor. Ready when they are over or it has
/// ended, with its end, if there is one.
pub(crate) fn poll_settled<S: Supervisor>(
    polls: &mut Vec<UnderWay>,
    mut supervisor: Pin<&mut S>,
    registration: &mut S::Registration,
    cx: &mut Context<'_>,
) -> Poll<Option<S::Cause>> {
    let mut end = supervisor.as_mut().end_before(registration, cx);
    if end.is_none() {
        polls.retain_mut(|poll| poll.poll_over(cx).is_pending());
        end = if polls.is_empty() {
            supervisor.as_mut().end_after(cx)
        } else {
            Some(ready!(supervisor.as_mut().poll_end(registration, cx)))
        };
    }
    polls.clear();
    supervisor.deregister(registration);
    Poll::Ready(end)
}

/// An error that may be an echo, and the end that was seen after it.
fn failed<R, S: Supervisor>(error: R, end: Option<S::Cause>) -> RequestFailed<R, S::Cause> {
    match end {
        Some(cause) => at_the_end::<R, S>(error, cause),
        None => RequestFailed::own(error),
    }
}

/// An error of a request whose session has ended, where the error may be an echo.
pub(crate) fn at_the_end<R, S: Supervisor>(error: R, cause: S::Cause) -> RequestFailed<R, S::Cause> {
    let request_leads = S::is_orderly(&cause);
    RequestFailed::both(error, cause, request_leads)
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
    /// another thread at that moment, the error is held back until that poll returns, or the session has ended.
    /// A driver that blocks in its poll holds it back for as long.
    ///
    /// An echo from an *earlier* poll arrives without the cause. A driver that fails its pending requests,
    /// cleans up, and returns its error some polls later should [report](crate::Session::fail) before it
    /// begins.
    ///
    /// **Ties, cancel safety, drop, panics:** as for [`Supervised`].
    #[must_use = "futures do nothing unless polled"]
    pub struct TrySupervised<F, S, P = EveryError>
    where
        F: TryFuture,
        S: Supervisor,
    {
        #[pin]
        inner: Supervised<F, S>,
        is_echo: P,
        echo: Option<Box<Echo<F::Error>>>,
    }
}

impl<F: TryFuture, S: Supervisor, P> TrySupervised<F, S, P> {
    pub(crate) fn new(request: F, supervisor: S, is_echo: P) -> Self {
        Self { inner: Supervised::new(request, supervisor), is_echo, echo: None }
    }

    /// What is held back.
    pub(crate) fn take_echo(self: Pin<&mut Self>) -> Option<Box<Echo<F::Error>>> {
        self.project().echo.take()
    }
}

impl<F, S, P, T, R> Future for TrySupervised<F, S, P>
where
    F: Future<Output = Result<T, R>>,
    S: Supervisor,
    P: MayBeEcho<R>,
{
    type Output = Result<T, RequestFailed<R, S::Cause>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        if this.inner.is_resolved() {
            // The request has failed, and its error is held back.
            return self.poll_failed(None, cx).map(Err);
        }
        match ready!(this.inner.poll_outcome(cx)) {
            Outcome::Answered(Ok(output)) | Outcome::AnsweredAtTheEnd(Ok(output), _) => {
                Poll::Ready(Ok(output))
            }
            Outcome::Answered(Err(error)) => self.poll_failed(Some((error, None)), cx).map(Err),
            Outcome::AnsweredAtTheEnd(Err(error), cause) => {
                self.poll_failed(Some((error, Some(cause))), cx).map(Err)
            }
            Outcome::Ended(ended) => Poll::Ready(Err(RequestFailed::ended(ended))),
        }
    }
}

impl<F, S, P, T, R> TrySupervised<F, S, P>
where
    F: Future<Output = Result<T, R>>,
    S: Supervisor,
    P: MayBeEcho<R>,
{
    /// The request has failed just now, perhaps at the end of its session; or its error is held back.
    #[cold]
    fn poll_failed(
        self: Pin<&mut Self>,
        failed: Option<(R, Option<S::Cause>)>,
        cx: &mut Context<'_>,
    ) -> Poll<RequestFailed<R, S::Cause>> {
        let this = self.project();
        let (supervisor, registration) = this.inner.supervision();
        let error = match failed {
            // It waits for nothing. A cause that is there already goes along.
            Some((error, cause)) if !this.is_echo.may_be_echo(&error) => {
                let cause = cause.or_else(|| supervisor.end_after(cx));
                return Poll::Ready(match cause {
                    Some(cause) => RequestFailed::both(error, cause, true),
                    None => RequestFailed::own(error),
                });
            }
            Some((error, Some(cause))) => return Poll::Ready(at_the_end::<R, S>(error, cause)),
            Some((error, None)) => Some(error),
            None => None,
        };
        Echo::poll(this.echo, error, supervisor, registration, cx)
    }
}

impl<F, S, P, T, R> FusedFuture for TrySupervised<F, S, P>
where
    F: Future<Output = Result<T, R>>,
    S: Supervisor,
    P: MayBeEcho<R>,
{
    fn is_terminated(&self) -> bool {
        self.inner.is_resolved() && self.echo.is_none()
    }
}

impl<F: TryFuture, S: Supervisor, P> fmt::Debug for TrySupervised<F, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrySupervised").field(&self.inner).finish()
    }
}
