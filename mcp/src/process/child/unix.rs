//! The unix half: a process group, watched and reaped through `waitid`.
//!
//! # Hosts that reap our children
//!
//! A host that ignores SIGCHLD (which a program inherits from whoever started it) or that waits for
//! any child takes the leader from us, and `waitid` says `ECHILD`. Two rules then stand in for the
//! pinned process id:
//!
//! 1. Before each signal the leader is looked at again, and none is sent once it is not ours. (Only
//!    a number that has come back as another child of the same host would deceive that look.)
//! 2. If it is taken before its exit could be seen, what it leaves behind is killed right then and
//!    not at the end. The number can hardly mean anybody else yet: as long as one process of the
//!    group lives the system gives it to nobody, and otherwise it would have to go through all
//!    other numbers in the time it takes to wake a thread.
//!
//! `async_process` is avoided: it parks a thread in `async_io::block_on`, which delays every event
//! of the reactor by 50 microseconds or more on executors other than `smol`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};

use super::{Exit, Pipes};

/// The leader of a process group.
///
/// # Drop
///
/// One that nobody reaped (only a failed spawn leaves one) is killed and reaped. This waits for a
/// process under SIGKILL, that is, for the system.
pub(super) struct Process {
    leader: Pid,
    /// Reaped, by us or by others: the number may mean somebody else.
    gone: bool,
}

/// Tells when the leader has exited, once.
pub(super) struct Watch {
    leader: Pid,
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> io::Result<(Self, Watch, Pipes)> {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let leader = Pid::from_child(&child);
        // Owns the process from here on: whatever fails or panics below, it is reaped.
        let process = Self { leader, gone: false };
        let (stdin, stdout) = (piped(child.stdin.take())?, piped(child.stdout.take())?);
        let pipes = Pipes { stdin, stdout, stderr: piped(child.stderr.take())? };
        Ok((process, Watch { leader }, pipes))
    }

    pub(super) fn id(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// How the leader ended; for when [`Watch::wait`] has returned. It stays unreaped.
    pub(super) fn exit(&mut self) -> Exit {
        match look(self.leader, WaitIdOptions::NOHANG) {
            Ok(Some(status)) => Exit { code: status.exit_status(), signal: status.terminating_signal() },
            // Taken by the host, or the system does not let us look: rule 2 of the module.
            Ok(None) | Err(_) => {
                self.signal_unchecked(Signal::KILL);
                Exit::UNKNOWN
            }
        }
    }

    /// Lets go of an exited leader, after what is left of its group.
    pub(super) fn reap(&mut self) {
        self.kill();
        self.wait(WaitIdOptions::NOHANG);
    }

    fn signal(&mut self, signal: Signal) {
        if !self.gone {
            self.gone = matches!(look(self.leader, WaitIdOptions::NOHANG), Err(Errno::CHILD));
        }
        if !self.gone {
            self.signal_unchecked(signal);
        }
    }

    /// Fails if nobody is left but zombies, or with those who may no longer be signalled because
    /// they have become another user: nothing can be done about either.
    fn signal_unchecked(&self, signal: Signal) {
        let _ = kill_process_group(self.leader, signal);
    }

    fn wait(&mut self, options: WaitIdOptions) {
        if !self.gone {
            // Fails if the host was quicker; then there is nothing left to do either.
            let options = options | WaitIdOptions::EXITED;
            let _ = retry_on_intr(|| waitid(WaitId::Pid(self.leader), options));
            self.gone = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.wait(WaitIdOptions::empty());
    }
}

impl Watch {
    /// Blocks until the leader has exited, or is not ours any more.
    pub(super) fn wait(self) {
        let _ = look(self.leader, WaitIdOptions::empty());
    }
}

/// How the process ended, without reaping it.
fn look(leader: Pid, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    retry_on_intr(|| waitid(WaitId::Pid(leader), options))
}

fn piped<T>(end: Option<T>) -> io::Result<T> {
    end.ok_or_else(|| io::Error::other("a pipe of the process is missing"))
}
