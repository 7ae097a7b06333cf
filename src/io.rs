//! A tap on a connection: the first I/O error reaches the session even where the driver flattens or
//! swallows it.

use crate::session::Session;
use futures_io::{AsyncRead, AsyncWrite};
use pin_project_lite::pin_project;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// An [`AsyncRead`] + [`AsyncWrite`] that reports its first I/O error to a session.
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
    /// The session gets the original value. The driver gets an error of the same kind and, where there
    /// was one, the same system error code; otherwise with the same text. `WouldBlock` and
    /// `Interrupted` are not failures and pass unreported, as does the end of a stream.
    ///
    /// **Cancel safety, drop:** those of the connection; a tap keeps no state of its own.
    pub struct Tap<T, E> {
        #[pin]
        io: T,
        session: Session<E>,
    }
}

impl<T: fmt::Debug, E> fmt::Debug for Tap<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("io", &self.io).field("session", &self.session).finish()
    }
}

impl<T, E> Tap<T, E> {
    /// Reports to `session` the first error of `io`.
    pub fn new(io: T, session: Session<E>) -> Self {
        Self { io, session }
    }

    /// The connection.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The connection, without the tap.
    pub fn into_inner(self) -> T {
        self.io
    }
}

fn report<E: From<io::Error>, V>(session: &Session<E>, result: io::Result<V>) -> io::Result<V> {
    result.map_err(|error| {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) || session.is_ended() {
            return error;
        }
        let echo = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        session.fail(E::from(error));
        echo
    })
}

impl<T: AsyncRead, E: From<io::Error>> AsyncRead for Tap<T, E> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.io.poll_read(cx, buf).map(|result| report(this.session, result))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.io.poll_read_vectored(cx, bufs).map(|result| report(this.session, result))
    }
}

impl<T: AsyncWrite, E: From<io::Error>> AsyncWrite for Tap<T, E> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.io.poll_write(cx, buf).map(|result| report(this.session, result))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.io.poll_write_vectored(cx, bufs).map(|result| report(this.session, result))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.io.poll_flush(cx).map(|result| report(this.session, result))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.io.poll_close(cx).map(|result| report(this.session, result))
    }
}
