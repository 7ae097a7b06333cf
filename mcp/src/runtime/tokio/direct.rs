//! [`Direct`]: sockets and pipes that are asked themselves.

#[cfg(all(feature = "stdio", unix))]
use crate::runtime::output::Output;
use futures_io as futures;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A tokio socket or pipe that is read from even where tokio's reactor has not heard yet that there is
/// something to read.
///
/// tokio looks at a flag that the reactor sets when it has its turn. But some reads are made once, and
/// what they find decides: whether an idle connection has been closed, and what a process has said before
/// it died. By then its exit may be known, or the task may have come back after a pause in which the
/// runtime did not run. So a read that would be pending asks the system: of a socket every one, of a pipe those that
/// decide something ([`Output::look`]).
#[derive(Debug)]
pub(crate) struct Direct<T> {
    io: T,
    /// Reads without waiting, whatever the flag says.
    read_now: fn(&T, &mut [u8]) -> io::Result<usize>,
    asks: Asks,
}

/// Whether a read that would be pending asks the system.
#[cfg_attr(not(all(feature = "stdio", unix)), allow(dead_code, reason = "pipes are told"))]
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "sockets always ask"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Always,
    WhenTold,
    /// It has been told, and nothing has been found yet.
    Told,
}

impl<T> Direct<T> {
    #[cfg(feature = "http")]
    pub(crate) fn new(io: T, read_now: fn(&T, &mut [u8]) -> io::Result<usize>) -> Self {
        Self { io, read_now, asks: Asks::Always }
    }

    /// It asks the system only when it is told to.
    #[cfg(all(feature = "stdio", unix))]
    pub(crate) fn when_told(io: T, read_now: fn(&T, &mut [u8]) -> io::Result<usize>) -> Self {
        Self { io, read_now, asks: Asks::WhenTold }
    }
}

impl<T: AsyncRead + Unpin> futures::AsyncRead for Direct<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        // First, so that the task is registered when it turns out that there is nothing.
        if let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
            return Poll::Ready(read.map(|()| buffer.filled().len()));
        }
        if self.asks == Asks::WhenTold {
            return Poll::Pending;
        }
        loop {
            match (self.read_now)(&self.io, bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.asks == Asks::Told {
                        self.asks = Asks::WhenTold;
                    }
                    return Poll::Pending;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

#[cfg(all(feature = "stdio", unix))]
impl<T: AsyncRead + Send + Unpin> Output for Direct<T> {
    fn look(&mut self) {
        self.asks = Asks::Told;
    }
}

impl<T: AsyncWrite + Unpin> futures::AsyncWrite for Direct<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
