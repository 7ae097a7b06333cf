//! tokio's timers and reactor in place of those of `async-io`, opt-in.
//!
//! Nothing here is detected: whether tokio is used is the caller's choice, and *which* runtime is
//! that of the task that polls. Three things follow from tokio's ways:
//!
//! 1. A timer or socket works only while the runtime that it was made in runs. So both have a scope:
//!    an idle connection is used again only in its own runtime, and a call does not rely on a timer
//!    of another.
//! 2. Where there is no runtime nothing can be made, and tokio panics. Whoever can fail asks
//!    [`here`] first, in the same poll.
//! 3. What tokio calls pending may be there all the same ([`direct::Direct`]).

#[cfg(any(feature = "http", all(feature = "stdio", unix)))]
mod direct;
#[cfg(feature = "http")]
mod net;

#[cfg(feature = "http")]
pub use net::TokioNet;

#[cfg(all(feature = "stdio", unix))]
use super::output::Output;
use super::timer::{AsyncIoTimer, BoxFuture, Timer};
use futures_io as futures;
use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher};
use std::io;
#[cfg(all(feature = "stdio", unix))]
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(all(feature = "stdio", unix))]
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

/// Timers of the tokio runtime in which a call is polled.
///
/// They need no thread of their own, where [`AsyncIoTimer`] has one. A call that
/// is polled outside a runtime takes its timer from there all the same, so that its deadline holds. Under
/// tokio's paused clock (`start_paused`) deadlines are on that clock.
///
/// ```
/// use shared_fate_mcp::runtime::TokioTimer;
/// use shared_fate_mcp::{Client, Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (memory, server) = Memory::pair();
/// # drop(server);
/// let connected = Client::builder().timer(TokioTimer).connect(memory).await;
/// # assert!(connected.is_err());
/// # }
/// ```
///
/// # Panics
///
/// In a runtime without timers (`enable_time`), and where a future that waits is polled on after its
/// runtime has shut down; so does all of tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTimer;

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        match here() {
            Ok(_) => Box::pin(tokio::time::sleep(duration)),
            Err(_) => AsyncIoTimer.sleep(duration),
        }
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn scope(&self) -> u64 {
        scope()
    }
}

/// A tokio stream as a byte stream for this crate.
///
/// For [`Stdio::over`](crate::Stdio::over), for instance:
///
/// ```
/// use shared_fate_mcp::runtime::{TokioIo, TokioTimer};
/// use shared_fate_mcp::{Client, Stdio};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (ours, theirs) = tokio::io::duplex(4096);
/// # drop(theirs);
/// let (reader, writer) = tokio::io::split(ours);
/// let stdio = Stdio::over(TokioIo::new(reader), TokioIo::new(writer));
/// let connected = Client::builder().timer(TokioTimer).connect(stdio).await;
/// # assert!(connected.is_err());
/// # }
/// ```
#[derive(Debug)]
pub struct TokioIo<T> {
    inner: T,
}

impl<T> TokioIo<T> {
    /// Wraps `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner }
    }

    /// The stream that it wraps.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: AsyncRead + Unpin> futures::AsyncRead for TokioIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        Pin::new(&mut self.inner).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }
}

impl<T: AsyncWrite + Unpin> futures::AsyncWrite for TokioIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The runtime of the task that is being polled.
pub(crate) fn here() -> io::Result<Handle> {
    Handle::try_current()
        .map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "there is no tokio runtime here"))
}

/// A number for the runtime of the task that is being polled; 0 without one.
///
/// No two runtimes that live at the same time have the same. The number of a dead one may come back,
/// which does no harm: its timers have gone off, and its sockets fail when they are next looked at.
pub(crate) fn scope() -> u64 {
    let Ok(runtime) = here() else { return 0 };
    // The number itself is private, but it hashes. This hasher makes different numbers of different ones, and 0 of none.
    let mut number = FxHasher::default();
    runtime.id().hash(&mut number);
    number.finish()
}

/// The input of a process on the reactor of the runtime at hand.
#[cfg(all(feature = "stdio", unix))]
pub(super) fn pipe_writer(fd: OwnedFd) -> io::Result<Box<dyn futures::AsyncWrite + Send + Unpin>> {
    Ok(Box::new(TokioIo::new(pipe::Sender::from_owned_fd(fd)?)))
}

/// An output of a process on the reactor of the runtime at hand.
#[cfg(all(feature = "stdio", unix))]
pub(super) fn pipe_reader(fd: OwnedFd) -> io::Result<Box<dyn Output>> {
    let read_now = |pipe: &pipe::Receiver, bytes: &mut [u8]| Ok(rustix::io::read(pipe, bytes)?);
    Ok(Box::new(direct::Direct::when_told(pipe::Receiver::from_owned_fd(fd)?, read_now)))
}
