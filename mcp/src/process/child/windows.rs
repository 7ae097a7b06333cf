//! The windows half: a job object, and the handle of its first process, watched by the reactor of `async-io`.
//!
//! A process is put into the job right after its start, and what it starts from then on is in the job, too. The system
//! ends all of them when the job's only handle is closed: by us, or because this process is gone, however it went.
//!
//! # Limits
//!
//! - What a process starts before it is in the job is not in it. To start it suspended would help, but `std` does not
//!   give us the thread that is then to be resumed.
//! - The system may refuse the job: a process that has exited already is in none. Then the process alone is killed.
//!
//! `std` can wait for a process only through the one `Child` that also kills it. So a duplicate of
//! the handle is waited for, which also keeps the process id from being given to another.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use super::{Exit, Pipes};
use async_io::os::windows::Waitable;
use win32job::{ExtendedLimitInfo, Job};

/// From the windows API: a console program opens no window.
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// A process and what it started. One that still runs when dropped (only a failed spawn leaves one) is killed.
pub(super) struct Process {
    child: Child,
    /// Those in it are ended when it is dropped.
    job: Option<Job>,
}

/// Tells when the process has exited, once.
pub(super) struct Watch {
    handle: Waitable<OwnedHandle>,
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> io::Result<(Self, Watch, Pipes)> {
        command
            .creation_flags(CREATE_NO_WINDOW)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let job = Job::create_with_limit_info(ExtendedLimitInfo::new().limit_kill_on_job_close())?;
        let child = command.spawn()?;
        // At once, before it starts others.
        let job = job.assign_process(child.as_raw_handle() as isize).is_ok().then_some(job);
        // Owns the process from here on: whatever fails or panics below, it is killed.
        let mut process = Self { child, job };
        let handle = process.child.as_handle().try_clone_to_owned()?;
        let watch = Watch { handle: Waitable::new(handle)? };
        let pipes = Pipes {
            stdin: piped(process.child.stdin.take())?,
            stdout: piped(process.child.stdout.take())?,
            stderr: piped(process.child.stderr.take())?,
        };
        Ok((process, watch, pipes))
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Nothing gentle exists.
    pub(super) fn terminate(&mut self) {}

    pub(super) fn kill(&mut self) {
        // The process first: those that are ended with their job exit with 0.
        let _ = self.child.kill();
        self.job = None;
    }

    /// How the process ended; for when [`Watch::wait`] has returned.
    pub(super) fn exit(&mut self) -> Exit {
        match self.child.try_wait() {
            Ok(Some(status)) => Exit { code: status.code(), signal: None },
            // It could not be watched to its end, so it is ended.
            Ok(None) | Err(_) => {
                self.kill();
                Exit::UNKNOWN
            }
        }
    }

    /// Ends what an exited process has left behind. Of itself only the handle is there, which is closed with the state.
    pub(super) fn reap(&mut self) {
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

impl Watch {
    /// Blocks until the process has exited, or cannot be waited for.
    ///
    /// Not `async_io::block_on`: a thread in there slows the reactor down for everybody else.
    pub(super) fn wait(self) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut exited = pin!(self.handle.ready());
        while exited.as_mut().poll(&mut cx).is_pending() {
            thread::park();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn piped<T>(end: Option<T>) -> io::Result<T> {
    end.ok_or_else(|| io::Error::other("a pipe of the process is missing"))
}
