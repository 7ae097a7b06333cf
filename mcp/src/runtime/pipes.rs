//! The pipes of a process, without blocking.

use crate::process::Pipes;
use futures_io::{AsyncRead, AsyncWrite};
use std::io;

/// What says that a pipe is ready. (On windows nothing does, and it makes no difference.)
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reactor {
    AsyncIo,
    /// That of the runtime at hand; there must be one.
    #[cfg(feature = "tokio")]
    Tokio,
}

/// [`Pipes`] without blocking.
pub(crate) struct AsyncPipes {
    pub(crate) stdin: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    pub(crate) stdout: Box<dyn AsyncRead + Send + Sync + Unpin>,
    pub(crate) stderr: Box<dyn AsyncRead + Send + Sync + Unpin>,
}

impl AsyncPipes {
    #[cfg(unix)]
    pub(crate) fn new(pipes: Pipes, reactor: Reactor) -> io::Result<Self> {
        use async_io::Async;
        let Pipes { stdin, stdout, stderr } = pipes;
        match reactor {
            Reactor::AsyncIo => Ok(Self {
                stdin: Box::new(Async::new(stdin)?),
                stdout: Box::new(Async::new(stdout)?),
                stderr: Box::new(Async::new(stderr)?),
            }),
            #[cfg(feature = "tokio")]
            Reactor::Tokio => Ok(Self {
                stdin: super::tokio::pipe_writer(stdin.into())?,
                stdout: super::tokio::pipe_reader(stdout.into())?,
                stderr: super::tokio::pipe_reader(stderr.into())?,
            }),
        }
    }

    /// The anonymous pipes of windows have no readiness: each is served by a thread of `blocking` while it is in use.
    #[cfg(windows)]
    pub(crate) fn new(pipes: Pipes, _: Reactor) -> io::Result<Self> {
        use blocking::Unblock;
        let Pipes { stdin, stdout, stderr } = pipes;
        Ok(Self {
            stdin: Box::new(Unblock::new(stdin)),
            stdout: Box::new(Unblock::new(stdout)),
            stderr: Box::new(Unblock::new(stderr)),
        })
    }
}
