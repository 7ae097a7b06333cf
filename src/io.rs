//! A tap on a connection: the first I/O error reaches the session even where the driver flattens or
//! swallows it.

use crate::cause::Cause;
use crate::session::Session;
use futures_io::{AsyncRead, AsyncWrite};
use pin_project_lite::pin_project;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A connection that reports its first I/O error to a session.
    ///
    /// Some drivers resolve to `()`, turn an [`io::Error`] into a string, or say "broken pipe" to all
    /// requests but one. Give such a driver its connection through a tap, and the session's cause is
    /// the error itself.
    ///
    /// ```
    /// use futures::{AsyncReadExt, io};
    /// use shared_fate::{Session, io::Tap};
    ///
    /// # struct Reset;
    /// # impl io::AsyncRead for Reset {
    /// #     fn poll_read(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>, _: &mut [u8])
    /// #         -> std::task::Poll<io::Result<usize>> {
    /// #         std::task::Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    /// #     }
    /// # }
    /// # let connection = Reset;
    /// let session = Session::<io::Error>::new();
    /// let mut connection = Tap::new(connection, session.clone());
    /// let error = pollster::block_on(connection.read(&mut [0])).unwrap_err();
    /// assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    /// assert_eq!(session.cause().unwrap().error().unwrap().kind(), io::ErrorKind::ConnectionReset);
    /// ```
    ///
    /// It reads and writes as its connection does: by `futures-io`'s traits, and with the feature `tokio` by
    /// tokio's. Vectored writes are passed on. A peer that says why it hangs up makes a write fail, too: where the
    /// reason matters, tap the reading half alone.
    ///
    /// The session gets the original value. The driver gets an error of the same kind and, where there
    /// was one, the same system error code; otherwise with the same text.
    ///
    /// What is not reported: `WouldBlock` and `Interrupted`, which are no failures; errors of closing or shutting
    /// down, the usual answer to which is that the peer has gone first; and the end of the stream, unless
    /// [`report_eof`](Self::report_eof) asks for it.
    ///
    /// **Cancel safety, ties, drop:** those of the connection; a tap adds nothing to them.
    pub struct Tap<T, E, M = fn(io::Error) -> Cause<E>>
    where
        E: ?Sized,
    {
        #[pin]
        io: T,
        session: Session<E>,
        map: M,
        reports_eof: bool,
    }
}

impl<T: fmt::Debug, E: ?Sized, M> fmt::Debug for Tap<T, E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("io", &self.io).field("session", &self.session).finish_non_exhaustive()
    }
}

impl<T, E: From<io::Error>> Tap<T, E> {
    /// Reports to `session` the first error of `io`.
    pub fn new(io: T, session: Session<E>) -> Self {
        Self::with(io, session, |error| Cause::from(E::from(error)))
    }
}

impl<T, E: ?Sized, M: FnMut(io::Error) -> Cause<E>> Tap<T, E, M> {
    /// Reports to `session` the first error of `io`, as `map` says it: for a session whose error type is not made
    /// from an [`io::Error`].
    ///
    /// ```
    /// # let connection = futures::io::empty();
    /// use shared_fate::{AnyError, Cause, Session, io::Tap};
    ///
    /// let session = Session::<AnyError>::new();
    /// let tap = Tap::with(connection, session, Cause::any);
    /// ```
    pub fn with(io: T, session: Session<E>, map: M) -> Self {
        Self { io, session, map, reports_eof: false }
    }

    /// Reports the end of the stream, too, as [`ErrorKind::UnexpectedEof`]: for a protocol in which the peer
    /// never hangs up unasked.
    #[must_use]
    pub fn report_eof(mut self) -> Self {
        self.reports_eof = true;
        self
    }
}

impl<T, E: ?Sized, M> Tap<T, E, M> {
    /// The connection.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The connection, without the tap.
    pub fn into_inner(self) -> T {
        self.io
    }
}

/// Where errors go.
struct Reports<'a, E: ?Sized, M> {
    session: &'a Session<E>,
    map: &'a mut M,
    eof: bool,
}

impl<E: ?Sized, M: FnMut(io::Error) -> Cause<E>> Reports<'_, E, M> {
    /// Reports an error. The driver gets a copy.
    fn check<V>(&mut self, result: io::Result<V>) -> io::Result<V> {
        result.map_err(|error| {
            let is_failure = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
            if !is_failure || self.session.is_ended() {
                return error;
            }
            let copy = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            self.session.end((self.map)(error));
            copy
        })
    }

    /// [`check`](Self::check) for a read, which finds the end of the stream if there was room for a byte.
    fn check_read(&mut self, result: io::Result<usize>, had_room: bool) -> io::Result<usize> {
        if self.eof && had_room && matches!(result, Ok(0)) && !self.session.is_ended() {
            let error = io::Error::new(ErrorKind::UnexpectedEof, "the peer closed the connection");
            self.session.end((self.map)(error));
        }
        self.check(result)
    }
}

impl<T, E, M> AsyncRead for Tap<T, E, M>
where
    T: AsyncRead,
    E: ?Sized,
    M: FnMut(io::Error) -> Cause<E>,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let has_room = !buf.is_empty();
        let (io, mut reports) = self.parts();
        io.poll_read(cx, buf).map(|result| reports.check_read(result, has_room))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let has_room = bufs.iter().any(|buf| !buf.is_empty());
        let (io, mut reports) = self.parts();
        io.poll_read_vectored(cx, bufs).map(|result| reports.check_read(result, has_room))
    }
}

impl<T, E: ?Sized, M> Tap<T, E, M> {
    fn parts(self: Pin<&mut Self>) -> (Pin<&mut T>, Reports<'_, E, M>) {
        let this = self.project();
        (this.io, Reports { session: this.session, map: this.map, eof: *this.reports_eof })
    }
}

impl<T, E, M> AsyncWrite for Tap<T, E, M>
where
    T: AsyncWrite,
    E: ?Sized,
    M: FnMut(io::Error) -> Cause<E>,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (io, mut reports) = self.parts();
        io.poll_write(cx, buf).map(|result| reports.check(result))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (io, mut reports) = self.parts();
        io.poll_write_vectored(cx, bufs).map(|result| reports.check(result))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (io, mut reports) = self.parts();
        io.poll_flush(cx).map(|result| reports.check(result))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_close(cx)
    }
}

#[cfg(feature = "tokio")]
mod tokio {
    use super::{Cause, Context, IoSlice, Pin, Poll, Tap, io};
    use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    impl<T, E, M> AsyncRead for Tap<T, E, M>
    where
        T: AsyncRead,
        E: ?Sized,
        M: FnMut(io::Error) -> Cause<E>,
    {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (before, has_room) = (buf.filled().len(), buf.remaining() > 0);
            let (io, mut reports) = self.parts();
            let read = io.poll_read(cx, buf).map_ok(|()| buf.filled().len().abs_diff(before));
            read.map(|result| reports.check_read(result, has_room).map(drop))
        }
    }

    impl<T, E, M> AsyncWrite for Tap<T, E, M>
    where
        T: AsyncWrite,
        E: ?Sized,
        M: FnMut(io::Error) -> Cause<E>,
    {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let (io, mut reports) = self.parts();
            io.poll_write(cx, buf).map(|result| reports.check(result))
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let (io, mut reports) = self.parts();
            io.poll_flush(cx).map(|result| reports.check(result))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.project().io.poll_shutdown(cx)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let (io, mut reports) = self.parts();
            io.poll_write_vectored(cx, bufs).map(|result| reports.check(result))
        }

        fn is_write_vectored(&self) -> bool {
            self.io.is_write_vectored()
        }
    }
}
