//! Streams that end with their session: the items first, then the cause.

use crate::budget::poll_unbudgeted;
use crate::errors::{RequestFailed, SessionEnded};
use crate::explained::Explained;
use crate::session::UnderWay;
use crate::supervised::{Sealed, Supervisor};
use crate::try_supervised::{Echo, EveryError, MayBeEcho, at_the_end, poll_settled};
use futures_core::{FusedStream, Stream, TryStream};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Puts a stream under a session's supervision. Implemented for every stream.
pub trait SupervisedStreamExt: Stream {
    /// Yields this stream's items as `Ok`. If the session fails, one `Err` with its cause comes after the items
    /// that have arrived, then the end.
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    /// use shared_fate::{Session, stream::SupervisedStreamExt};
    /// use std::io;
    ///
    /// let session = Session::new();
    /// let mut events = stream::iter([1]).chain(stream::pending()).supervised(&session);
    /// pollster::block_on(async {
    ///     assert_eq!(events.next().await.unwrap().unwrap(), 1);
    ///     session.fail(io::Error::other("connection reset"));
    ///     let ended = events.next().await.unwrap().unwrap_err();
    ///     assert_eq!(ended.cause().error().unwrap().to_string(), "connection reset");
    ///     assert!(events.next().await.is_none());
    /// });
    /// ```
    fn supervised<S>(self, supervisor: S) -> SupervisedStream<Self, S>
    where
        Self: Sized,
        S: Supervisor,
    {
        SupervisedStream {
            stream: Some(self),
            supervisor,
            registration: Default::default(),
            cause: None,
            complete: false,
            polls: None,
        }
    }

    /// The form for a stream of `Result`s, which is what most libraries have: an item that is an error does not
    /// hide the session's cause.
    ///
    /// If the session has ended when an item is an error, the caller gets the cause *and* the item's error beside
    /// it, and then the end. If the session lives, the error is the stream's own, and the stream goes on.
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    /// use shared_fate::{Session, stream::SupervisedStreamExt};
    /// use std::io;
    ///
    /// let session = Session::new();
    /// // The library says "closed" for ever.
    /// let rows = stream::repeat_with(|| Err::<u32, _>(io::Error::other("closed")));
    /// session.fail(io::Error::other("the server was shut down"));
    /// let rows: Vec<_> = pollster::block_on(rows.try_supervised(&session).collect());
    /// assert_eq!(rows.len(), 1);
    /// let error = rows[0].as_ref().unwrap_err();
    /// assert_eq!(error.cause().unwrap().error().unwrap().to_string(), "the server was shut down");
    /// assert_eq!(error.request_error().unwrap().to_string(), "closed");
    /// ```
    fn try_supervised<S>(self, supervisor: S) -> TrySupervisedStream<Self, S>
    where
        Self: TryStream + Sized,
        S: Supervisor,
    {
        TrySupervisedStream { inner: self.supervised(supervisor), is_echo: EveryError, echo: None }
    }

    /// For a stream of `Result`s that always ends by itself: it is never cut short, and an item that is an error comes
    /// with the session's cause, if it has ended, and is the last one then. `None` is the stream's own, and means
    /// what it means without us. See [`SupervisedExt::explained_by`](crate::SupervisedExt::explained_by).
    fn explained_by<S>(self, supervisor: S) -> Explained<Self, S, Self::Error>
    where
        Self: TryStream + Sized,
        S: Supervisor,
    {
        Explained::new(self, supervisor)
    }

    /// [`try_supervised`](Self::try_supervised) where the caller knows which errors may be echoes of the
    /// session's end. Any other error is passed on at once, without the cause, and the stream goes on: the cause comes
    /// after the last item.
    fn try_supervised_if<S, P>(self, supervisor: S, is_echo: P) -> TrySupervisedStream<Self, S, P>
    where
        Self: TryStream + Sized,
        S: Supervisor,
        P: FnMut(&Self::Error) -> bool,
    {
        TrySupervisedStream { inner: self.supervised(supervisor), is_echo, echo: None }
    }
}

impl<T: Stream + ?Sized> SupervisedStreamExt for T {}

pin_project! {
    /// Stream for [`supervised`](SupervisedStreamExt::supervised).
    ///
    /// **Ties:** the stream is always polled first, so items that have arrived are delivered
    /// even after the session has ended; this holds for the first poll too, since a stream is usually the
    /// receiving end of something that has started already. (On tokio the feature `tokio` is needed for that; see
    /// the [crate page](crate#on-tokio).)
    ///
    /// If the session failed, panicked or was dropped, the cause comes before the end, also if the stream itself
    /// says that it is complete: a stream cut short by its session's death looks just like one that is complete.
    /// For that reason an end first waits for any driver poll in progress on another thread, as an error does in
    /// [`TrySupervised`](crate::TrySupervised). If the session was closed or its driver has finished, the stream
    /// just ends. Where a driver's `Ok` may mean that the stream was cut off,
    /// [`drive_map`](crate::Session::drive_map) makes an error of it.
    ///
    /// A stream that always has an item never comes to the cause: its items have arrived.
    ///
    /// **Cancel safety:** no item is lost by dropping the future of `next`. Dropping the stream
    /// deregisters it.
    ///
    /// **Drop:** synchronous; the inner stream is dropped as soon as the end is known.
    #[must_use = "streams do nothing unless polled"]
    pub struct SupervisedStream<T, S>
    where
        S: Supervisor,
    {
        #[pin]
        stream: Option<T>,
        #[pin]
        supervisor: S,
        registration: <S as Sealed>::Registration,
        // Known, and held back until the stream has nothing more.
        cause: Option<S::Cause>,
        // The stream says that it has nothing more. Perhaps it was cut short.
        complete: bool,
        // Of drivers, under way when the stream was complete.
        polls: Option<Vec<UnderWay>>,
    }

    impl<T, S> PinnedDrop for SupervisedStream<T, S>
    where
        S: Supervisor,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.supervisor.deregister(this.registration);
        }
    }
}

impl<T: Stream, S: Supervisor> Stream for SupervisedStream<T, S> {
    type Item = Result<T::Item, SessionEnded<S::Cause>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let mut supervisor = this.supervisor;
        let Some(mut stream) = this.stream.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        while !*this.complete {
            let poll = match this.cause {
                None => stream.as_mut().poll_next(cx),
                // Its `Pending` decides, so it has to be an answer.
                Some(_) => poll_unbudgeted(cx, |cx| stream.as_mut().poll_next(cx)),
            };
            match poll {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(Ok(item))),
                Poll::Ready(None) => *this.complete = true,
                Poll::Pending if this.cause.is_some() => break,
                // If the session has ended, once more: an item may have come before the end, but after the
                // stream was asked.
                Poll::Pending => {
                    let mut cause = supervisor.as_mut().end_before(this.registration, cx);
                    if cause.is_none() {
                        cause = Some(ready!(supervisor.as_mut().poll_end(this.registration, cx)));
                    }
                    *this.cause = cause;
                }
            }
        }
        if this.cause.is_none() {
            let polls = this.polls.get_or_insert_with(|| supervisor.as_mut().under_way());
            *this.cause = ready!(poll_settled(polls, supervisor.as_mut(), this.registration, cx));
        }
        supervisor.deregister(this.registration);
        this.stream.set(None);
        let cause = this.cause.take().filter(|cause| !S::is_orderly(cause));
        Poll::Ready(cause.map(|cause| Err(SessionEnded::new(cause, true))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.stream {
            None => (0, Some(0)),
            // One more item if the session fails, and none of the stream's own may come any more.
            Some(stream) => (0, stream.size_hint().1.and_then(|upper| upper.checked_add(1))),
        }
    }
}

impl<T: Stream, S: Supervisor> FusedStream for SupervisedStream<T, S> {
    fn is_terminated(&self) -> bool {
        self.stream.is_none()
    }
}

impl<T, S: Supervisor> fmt::Debug for SupervisedStream<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisedStream").field("ended", &self.stream.is_none()).finish_non_exhaustive()
    }
}

pin_project! {
    /// Stream for [`try_supervised`](SupervisedStreamExt::try_supervised).
    ///
    /// **Ties, cancel safety, drop:** as for [`SupervisedStream`]. An item's error that may be an echo first waits
    /// for any driver poll in progress on another thread.
    #[must_use = "streams do nothing unless polled"]
    pub struct TrySupervisedStream<T, S, P = EveryError>
    where
        T: TryStream,
        S: Supervisor,
    {
        #[pin]
        inner: SupervisedStream<T, S>,
        is_echo: P,
        echo: Option<Box<Echo<T::Error>>>,
    }
}

impl<T, S, P, I, R> Stream for TrySupervisedStream<T, S, P>
where
    T: Stream<Item = Result<I, R>>,
    S: Supervisor,
    P: MayBeEcho<R>,
{
    type Item = Result<I, RequestFailed<R, S::Cause>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let mut own = None;
        if this.echo.is_none() {
            match ready!(this.inner.as_mut().poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Err(ended)) => return Poll::Ready(Some(Err(RequestFailed::ended(ended)))),
                Some(Ok(Ok(item))) => return Poll::Ready(Some(Ok(item))),
                Some(Ok(Err(error))) if !this.is_echo.may_be_echo(&error) => {
                    return Poll::Ready(Some(Err(RequestFailed::own(error))));
                }
                Some(Ok(Err(error))) => own = Some(error),
            }
        }
        let mut inner = this.inner.project();
        let failed = match (own, inner.cause.take()) {
            (Some(error), Some(cause)) => at_the_end::<R, S>(error, cause),
            (own, _) => ready!(Echo::poll(this.echo, own, inner.supervisor, inner.registration, cx)),
        };
        if failed.cause().is_some() {
            inner.stream.set(None);
        }
        Poll::Ready(Some(Err(failed)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (_, upper) = self.inner.size_hint();
        (0, upper.and_then(|upper| upper.checked_add(usize::from(self.echo.is_some()))))
    }
}

impl<T, S, P, I, R> FusedStream for TrySupervisedStream<T, S, P>
where
    T: Stream<Item = Result<I, R>>,
    S: Supervisor,
    P: MayBeEcho<R>,
{
    fn is_terminated(&self) -> bool {
        self.inner.stream.is_none() && self.echo.is_none()
    }
}

impl<T: TryStream, S: Supervisor, P> fmt::Debug for TrySupervisedStream<T, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrySupervisedStream").field(&self.inner).finish()
    }
}
