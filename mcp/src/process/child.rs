//! A server process: its pipes, its end, and the certainty that nothing of it stays behind.
//!
//! A server is often not one process: `npx` starts `node`, a shell script starts anything. On unix
//! the process is therefore the *leader* of a process group of its own, and whatever ends it ends
//! the group. A thread sleeps in `waitid` for the leader, looks at how it ended *without reaping
//! it*, tells the waiters and ends. The leader stays a zombie until the last [`Child`] is dropped.
//! On windows a job object is the group, and the handles of the process and of its job are what is
//! pinned and let go of.
//!
//! # Invariants
//!
//! 1. **Only what is ours is signalled.** An unreaped leader pins its process id, and thereby the id
//!    of the group, so neither can have passed to strangers, not even hours after the leader's
//!    exit. Signalling and reaping exclude each other by the mutex.
//! 2. **The leader is reaped once, by the second of two events**: its exit has been seen (by the
//!    thread), the last [`Child`] has been dropped (by whoever dropped it). Neither waits for the
//!    other, and `Drop` never blocks.
//! 3. **The group is killed before the leader is reaped.** Hence no orphan: once the last [`Child`]
//!    is gone nothing of the group survives, also if the leader left long before.
//! 4. **No exit is missed.** The exit is set before the session ends that the waiters wait for.
//! 5. **No foreign code under the lock**: the waiters are told outside it.
//! 6. **Waiting keeps nothing alive.** An [`Exited`] shares the state, not the handle: the last
//!    `Child` kills whether or not somebody waits, and the waiter learns of it.
//! 7. **No process escapes a failed spawn.** A `Process` that was not reaped kills and reaps itself
//!    when dropped; it is made before anything that can fail.
//!
//! # Limits
//!
//! - A process that leaves the group (`setsid`, a shell's job control) has left the server.
//! - A host that is itself killed runs no `Drop`; its servers see the end of their stdin, and on
//!   windows end with their job. They do not get the terminal's Ctrl-C either: they are no part of
//!   the foreground group, and on windows have a console of their own.
//! - On unix the host must not reap our children. If it does (it ignores SIGCHLD, or calls `wait` for any
//!   child), the status is unknown and the pin of invariant 1 is gone: the module `unix` says
//!   what is left of the promises then.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};

#[cfg(all(test, unix))]
mod tests;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use super::exit_status::ExitStatus as Exit;
use shared_fate::{Ended, Session};
use system::{Process, Watch};

/// Measured: 64 KiB holds a waker that panics, backtrace and all. The rest is for the wakers of
/// executors we do not know; a page that is never touched costs address space only.
const STACK: usize = 256 * 1024;

/// A running server process, shared by the transport's parts.
///
/// When the last clone is dropped the process and its whole group are killed, at once and without a
/// runtime.
#[derive(Clone)]
pub(crate) struct Child {
    handle: Arc<Handle>,
}

/// Our ends of the process's standard streams, in blocking mode. They do not keep the process alive.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Child {
    /// Starts `command` in a group of its own (windows: a job, without a console window), with three
    /// pipes, whatever it says about these itself. Blocks for as long as the system takes to start
    /// a process.
    ///
    /// # Errors
    ///
    /// What the system said, its [`io::ErrorKind`] kept: `NotFound`, `PermissionDenied` and so on.
    /// If the failure came after the start, the process has been killed and reaped.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<(Self, Pipes)> {
        let (child, pipes, _detached) = Self::spawn_watched(command, STACK)?;
        Ok((child, pipes))
    }

    /// `spawn`, with the thread's stack to choose and its handle to join.
    fn spawn_watched(command: &mut Command, stack: usize) -> io::Result<(Self, Pipes, JoinHandle<()>)> {
        let (process, watch, pipes) = Process::spawn(command)?;
        let shared = Arc::new(Shared {
            id: process.id(),
            exit: OnceLock::new(),
            over: Session::new(),
            state: Mutex::new(State { process, closed: false }),
        });
        let watched = Arc::clone(&shared);
        // If this fails both references to the process are dropped here, and invariant 7 holds.
        let thread = thread::Builder::new()
            .name("child-exit".into())
            .stack_size(stack)
            .spawn(move || watched.watch(watch))?;
        let handle = Arc::new(Handle { shared });
        Ok((Self { handle }, pipes, thread))
    }

    /// The process id of the leader.
    pub(crate) fn id(&self) -> u32 {
        self.handle.shared.id
    }

    /// How the leader ended, if it did.
    pub(crate) fn try_exit(&self) -> Option<Exit> {
        self.handle.shared.exit.get().copied()
    }

    /// Waits for the leader's exit, which says nothing about the pipes: others may hold them.
    pub(crate) fn exited(&self) -> Exited {
        let shared = Arc::clone(&self.handle.shared);
        Exited { over: shared.over.ended(), shared }
    }

    /// Asks the group to end (SIGTERM), also what is left of it after the leader's exit. On windows
    /// nothing gentle exists, beyond closing stdin: there it does nothing.
    pub(crate) fn terminate(&self) {
        self.handle.shared.lock().process.terminate();
    }

    /// Kills the group (SIGKILL), also what is left of it after the leader's exit. Does not wait.
    pub(crate) fn kill(&self) {
        self.handle.shared.lock().process.kill();
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("id", &self.id()).field("exit", &self.try_exit()).finish()
    }
}

/// Resolves when the leader has exited; again at once if polled after that.
///
/// # Cancel safety
///
/// Nothing is lost by dropping it, and its waker is forgotten. Any number may wait.
///
/// # Drop
///
/// It does not keep the process alive. If the last [`Child`] is dropped meanwhile, the process is
/// killed and this resolves with that.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Exited {
    shared: Arc<Shared>,
    over: Ended<Infallible>,
}

impl Future for Exited {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Exit> {
        if self.shared.exit.get().is_none() {
            ready!(Pin::new(&mut self.over).poll(cx));
        }
        Poll::Ready(*self.shared.exit.get().expect("set before the waiters are told"))
    }
}

impl fmt::Debug for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exited").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

/// What all clones of a [`Child`] own together; its end closes the process.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        if self.shared.exit.get().is_some() {
            state.process.reap();
        } else {
            state.process.kill();
        }
    }
}

struct Shared {
    id: u32,
    /// Set with the lock held.
    exit: OnceLock<Exit>,
    /// Ends, `Closed`, when there is an exit.
    over: Session<Infallible>,
    state: Mutex<State>,
}

struct State {
    process: Process,
    /// The last [`Child`] is gone.
    closed: bool,
}

impl Shared {
    /// Nothing that can panic runs under the lock, and no step leaves the state half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the thread.
    fn watch(&self, watch: Watch) {
        watch.wait();
        {
            let mut state = self.lock();
            let exit = state.process.exit();
            self.exit.get_or_init(|| exit);
            if state.closed {
                state.process.reap();
            }
        }
        self.over.close();
    }
}
