//! [`Output`]: a byte stream that is read from when there is something to read.

use futures_io::AsyncRead;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a server writes.
///
/// A pipe that has been read empty is not read again before its reactor has heard of something: that would be a system
/// call that finds nothing, nearly always. But some reads decide something, and the reactor may not have had its turn.
pub(crate) trait Output: AsyncRead + Send + Unpin {
    /// From now on, until nothing is found, reads ask the system, whatever the reactor has heard.
    fn look(&mut self);
}

/// A stream of somebody else's: every read asks it.
pub(crate) struct Stream<R>(pub(crate) R);

impl<R: AsyncRead + Unpin> AsyncRead for Stream<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, bytes)
    }
}

impl<R: AsyncRead + Send + Unpin> Output for Stream<R> {
    fn look(&mut self) {}
}
