//! The pipes of a process, without blocking.

use super::Reactor;
use super::output::{Output, Stream};
use crate::process::Pipes;
#[cfg(unix)]
use crate::sync::wait_cell::WaitCell;
#[cfg(unix)]
use async_io::{Async, IoSafe};
#[cfg(unix)]
use futures_io::AsyncRead;
use futures_io::AsyncWrite;
use std::io;
#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(unix)]
use std::pin::Pin;
#[cfg(unix)]
use std::sync::Arc;
#[cfg(unix)]
use std::task::{Context, Poll, Wake, Waker, ready};

/// [`Pipes`] without blocking.
pub(crate) struct AsyncPipes {
    pub(crate) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) stdout: Box<dyn Output>,
    pub(crate) stderr: Box<dyn Output>,
}

impl AsyncPipes {
    /// # Errors
    ///
    /// When the reactor does not take them; and where there is to be a tokio runtime, and is none.
    #[cfg(unix)]
    pub(crate) fn new(pipes: Pipes, reactor: Reactor) -> io::Result<Self> {
        let Pipes { stdin, stdout, stderr } = pipes;
        match reactor {
            Reactor::AsyncIo => Ok(Self {
                stdin: Box::new(Async::new(stdin)?),
                // Read in every poll: with one call in flight that often meets the reply, and is cheaper than to sleep until
                // the reactor's thread has handed it over.
                stdout: Box::new(Stream(Async::new(stdout)?)),
                stderr: Box::new(Readable::new(stderr)?),
            }),
            #[cfg(feature = "tokio")]
            Reactor::Tokio => super::tokio::here().and_then(|_| {
                Ok(Self {
                    stdin: super::tokio::pipe_writer(stdin.into())?,
                    stdout: super::tokio::pipe_reader(stdout.into())?,
                    stderr: super::tokio::pipe_reader(stderr.into())?,
                })
            }),
        }
    }

    /// The anonymous pipes of windows have no readiness: each is served by a thread of `blocking` while it is in use.
    #[cfg(windows)]
    pub(crate) fn new(pipes: Pipes, _: Reactor) -> io::Result<Self> {
        use blocking::Unblock;
        /// Between us and the thread, as much as a pipe of Linux holds. By default it is 8 MiB: so much would be "written"
        /// to a server that reads nothing, and would be taken from the heap again after each flush.
        const BETWEEN: usize = 64 * 1024;
        let Pipes { stdin, stdout, stderr } = pipes;
        Ok(Self {
            stdin: Box::new(Unblock::with_capacity(BETWEEN, stdin)),
            stdout: Box::new(Stream(Unblock::with_capacity(BETWEEN, stdout))),
            stderr: Box::new(Stream(Unblock::with_capacity(BETWEEN, stderr))),
        })
    }
}

/// A pipe on the reactor of `async-io` that is read only when the reactor has told: one on which hardly anything ever comes.
#[cfg(unix)]
struct Readable<T> {
    pipe: Async<T>,
    known: Known,
    looking: bool,
    heard: Arc<Heard>,
    /// That of `heard`, for the reactor.
    waker: Waker,
}

#[cfg(unix)]
enum Known {
    Nothing,
    /// It has been read empty.
    Empty,
    /// The reactor tells when there is something.
    Waiting,
}

/// Whether the reactor has told.
///
/// [`Async::poll_readable`] does not say so: of an event that comes while the reactor waits it cannot know whether it is
/// news. To be woken is news.
#[cfg(unix)]
#[derive(Default)]
struct Heard(WaitCell<bool>);

#[cfg(unix)]
impl Wake for Heard {
    fn wake(self: Arc<Self>) {
        self.0.change(|heard| *heard = true);
    }
}

#[cfg(unix)]
impl<T: AsFd> Readable<T> {
    fn new(pipe: T) -> io::Result<Self> {
        let heard = Arc::<Heard>::default();
        let waker = Waker::from(Arc::clone(&heard));
        Ok(Self { pipe: Async::new(pipe)?, known: Known::Nothing, looking: false, heard, waker })
    }
}

#[cfg(unix)]
impl<T: IoSafe + io::Read + Unpin> AsyncRead for Readable<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { pipe, known, looking, heard, waker } = &mut *self;
        let mut reactor = Context::from_waker(waker);
        loop {
            if !*looking {
                if let Known::Empty = known {
                    // The first answer may be of an event before the last read, the second is not.
                    if pipe.poll_readable(&mut reactor)?.is_pending()
                        || pipe.poll_readable(&mut reactor)?.is_pending()
                    {
                        *known = Known::Waiting;
                    }
                }
                if let Known::Waiting = known {
                    ready!(heard.0.poll(cx, |heard| std::mem::take(heard).then_some(())));
                }
            }
            let read = Pin::new(&mut *pipe).poll_read(&mut reactor, bytes);
            *looking &= read.is_ready();
            *known = match &read {
                Poll::Pending => Known::Waiting,
                // A pipe gives what it has.
                Poll::Ready(Ok(length)) if (1..bytes.len()).contains(length) => Known::Empty,
                Poll::Ready(_) => Known::Nothing,
            };
            if read.is_ready() {
                return read;
            }
        }
    }
}

#[cfg(unix)]
impl<T: IoSafe + io::Read + Send + Unpin> Output for Readable<T> {
    fn look(&mut self) {
        self.looking = true;
    }
}
