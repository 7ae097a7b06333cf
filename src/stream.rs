//! Streams that end with their session: never a bare end where the session died (R13).

use crate::session::Wait;
use crate::supervised::{
    SessionEnded, Supervisor,
    sealed::{Sealed, View},
};
use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Puts a stream under a session's supervision. Implemented for every stream.
pub trait SupervisedStreamExt: Stream {
    /// Yields this stream's items as `Ok`; when the session ends, one `Err` with its cause, then the
    /// end.
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    /// use shared_fate::{Session, stream::SupervisedStreamExt};
    ///
    /// let session = Session::new();
    /// let mut events = stream::iter([1]).chain(stream::pending()).supervised(&session);
    /// pollster::block_on(async {
    ///     assert_eq!(events.next().await.unwrap().unwrap(), 1);
    ///     session.fail("connection reset");
    ///     let ended = events.next().await.unwrap().unwrap_err();
    ///     assert_eq!(ended.cause().error(), Some(&"connection reset"));
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
            seat: Default::default(),
            cause: None,
            complete: false,
            wait: None,
        }
    }
}

impl<T: Stream + ?Sized> SupervisedStreamExt for T {}

pin_project! {
    /// Stream for [`supervised`](SupervisedStreamExt::supervised).
    ///
    /// **Fairness/ties:** the stream is always polled first, so items that have arrived are delivered
    /// even after the session ended; this holds for the first poll too, since a stream is usually the
    /// receiving end of something that has started already. When the stream itself ends and the
    /// session *has ended*, however normally, the cause comes before the end: a stream cut short by
    /// its session's death looks just like one that is complete. For that reason an end waits out a poll
    /// of the driver that is going on on another thread, as an error does in
    /// [`TrySupervised`](crate::TrySupervised).
    ///
    /// A stream that always has an item never comes to the cause: its items have arrived.
    ///
    /// **Cancel safety:** no item is lost by dropping the future of `next`. Dropping the stream
    /// unregisters it.
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
        seat: <S as Sealed>::Seat,
        // Known, and held back until the stream has nothing more.
        cause: Option<S::Cause>,
        // The stream says that it has nothing more. Perhaps it was cut short.
        complete: bool,
        wait: Option<Box<Wait>>,
    }

    impl<T, S> PinnedDrop for SupervisedStream<T, S>
    where
        S: Supervisor,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.supervisor.view().leave(this.seat);
        }
    }
}

impl<T: Stream, S: Supervisor> Stream for SupervisedStream<T, S> {
    type Item = Result<T::Item, SessionEnded<S::Cause>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let mut session = this.supervisor.view();
        let Some(mut stream) = this.stream.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        while !*this.complete {
            match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(Ok(item))),
                Poll::Ready(None) => *this.complete = true,
                Poll::Pending if this.cause.is_some() => break,
                // Once more then: an item may have come before the end, but after the stream was asked.
                Poll::Pending => {
                    *this.cause = Some(ready!(session.poll_ended(this.seat, cx)));
                }
            }
        }
        if this.cause.is_none() {
            ready!(session.poll_settled(this.seat, this.wait, cx));
            *this.cause = session.look(false, cx);
            *this.wait = None;
        }
        session.leave(this.seat);
        this.stream.set(None);
        Poll::Ready(this.cause.take().map(|cause| Err(SessionEnded::after_start(cause))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.stream {
            None => (0, Some(0)),
            // One more item if the session ends, and none of the stream's own may come any more.
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
