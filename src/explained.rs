//! [`Explained`]: a fallible request that is never cut short, and whose error comes with the session's cause.
//!
//! It is [`TrySupervised`](crate::TrySupervised) without the supervision: it waits for the request alone. When the
//! request fails, [`Echo`] looks for the cause behind the error.

use crate::errors::RequestFailed;
use crate::supervised::{Sealed, Supervisor};
use crate::try_supervised::Echo;
use futures_core::{FusedFuture, FusedStream, Stream, TryFuture, TryStream};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Future and stream for [`explained_by`](crate::SupervisedExt::explained_by), of a request or of a stream.
    ///
    /// **Ties:** there are none: the request alone decides when it is over.
    ///
    /// **Cancel safety:** dropping this drops the request; the session is unaffected.
    ///
    /// **Drop:** synchronous; needs no runtime. The request is dropped when it has resolved, and the stream when it
    /// has ended.
    ///
    /// **Panics:** as a future, when polled again after it has resolved.
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct Explained<F, S, R>
    where
        S: Supervisor,
    {
        #[pin]
        inner: Option<F>,
        #[pin]
        supervisor: S,
        registration: <S as Sealed>::Registration,
        // An error that is held back until a driver's poll is over.
        echo: Option<Box<Echo<R>>>,
    }

    impl<F, S, R> PinnedDrop for Explained<F, S, R>
    where
        S: Supervisor,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.supervisor.deregister(this.registration);
        }
    }
}

impl<F, S: Supervisor, R> Explained<F, S, R> {
    pub(crate) fn new(inner: F, supervisor: S) -> Self {
        Self { inner: Some(inner), supervisor, registration: Default::default(), echo: None }
    }
}

impl<F: TryFuture, S: Supervisor> Future for Explained<F, S, F::Error> {
    type Output = Result<F::Ok, RequestFailed<F::Error, S::Cause>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut error = None;
        if let Some(request) = this.inner.as_mut().as_pin_mut() {
            let result = ready!(request.try_poll(cx));
            this.inner.set(None);
            match result {
                Ok(output) => return Poll::Ready(Ok(output)),
                Err(own) => error = Some(own),
            }
        }
        Echo::poll(this.echo, error, this.supervisor, this.registration, cx).map(Err)
    }
}

impl<F: TryFuture, S: Supervisor> FusedFuture for Explained<F, S, F::Error> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none() && self.echo.is_none()
    }
}

impl<T: TryStream, S: Supervisor> Stream for Explained<T, S, T::Error> {
    type Item = Result<T::Ok, RequestFailed<T::Error, S::Cause>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let mut error = None;
        if this.echo.is_none() {
            let Some(stream) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
            match ready!(stream.try_poll_next(cx)) {
                Some(Ok(item)) => return Poll::Ready(Some(Ok(item))),
                Some(Err(own)) => error = Some(own),
                None => {
                    this.inner.set(None);
                    return Poll::Ready(None);
                }
            }
        }
        let failed = ready!(Echo::poll(this.echo, error, this.supervisor, this.registration, cx));
        if failed.cause().is_some() {
            this.inner.set(None);
        }
        Poll::Ready(Some(Err(failed)))
    }
}

impl<T: TryStream, S: Supervisor> FusedStream for Explained<T, S, T::Error> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none() && self.echo.is_none()
    }
}

impl<F, S: Supervisor, R> fmt::Debug for Explained<F, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explained").field("resolved", &self.inner.is_none()).finish_non_exhaustive()
    }
}
