//! [`Direct`]: sockets and pipes that are asked themselves.

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
/// runtime did not run. So a read that would be pending asks the system.
#[derive(Debug)]
pub(crate) struct Direct<T> {
    io: T,
    /// Reads without waiting, whatever the flag says.
    read_now: fn(&T, &mut [u8]) -> io::Result<usize>,
}

impl<T> Direct<T> {
    pub(crate) fn new(io: T, read_now: fn(&T, &mut [u8]) -> io::Result<usize>) -> Self {
        Self { io, read_now }
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
        loop {
            match (self.read_now)(&self.io, bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return Poll::Ready(read),
            }
        }
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
