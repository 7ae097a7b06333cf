//! One message a line, over a child's standard streams or any other pair of byte streams.
//!
//! [`run`](Transport::run) is the only one to touch the pipes. It writes what is queued, delivers
//! every line that comes, drains standard error, and watches the child. Whichever shows the end
//! first (end of output, a failed read or write, the child's exit), the others get a moment to
//! explain it, so that the cause is the exit status and the last words, not "broken pipe".
//!
//! Invariants:
//!
//! 1. Reading never waits for writing, nor the other way round (IO-17): one poll tries both.
//! 2. A line that has been begun is finished before anything else is written, whoever drops the call
//!    (IO-02): the writer's place is kept in [`Pipes`], and that outlives a dropped `run`.
//! 3. What the child said before it died is delivered before the session ends.
//! 4. The end of the child is its exit *or* the end of its output, whichever comes first (IO-15).

mod chunk;
mod pipes;
mod queue;
mod stderr;
mod tail;

use super::{Sending, Sent, Tracking, Transport};
use crate::error::{Delivery, Error, ErrorKind, IoStage, ServerExited};
use crate::inbox::Inbox;
use crate::process::ExitStatus;
#[cfg(feature = "stdio")]
use crate::process::{self, Child};
use crate::protocol::outgoing::Outgoing;
use crate::runtime::output::Stream;
#[cfg(feature = "stdio")]
use crate::runtime::pipes::AsyncPipes;
use crate::runtime::timer::BoxFuture;
#[cfg(feature = "stdio")]
use crate::sync::Mutex;
use crate::sync::yield_now;
use futures_io::{AsyncRead, AsyncWrite};
use pipes::{End, Flow, Guard, Pipes, Slot};
use queue::Queue;
use std::fmt;
use std::future::poll_fn;
use std::io;
#[cfg(feature = "stdio")]
use std::process::Command;
#[cfg(feature = "stdio")]
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
#[cfg(feature = "stdio")]
use stderr::StderrHook;

/// How long the other signs of an end are waited for, once one of them was seen. They come together,
/// give or take a scheduler's turn; only a server that closes its output and goes on makes us wait.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Whether a pipe that gives nothing is empty. On windows a thread reads it, and what that has not handed over is not known:
/// only the end of a pipe says that all has come.
const BLOCKED_IS_EMPTY: bool = !cfg!(windows);

/// A server behind a pair of byte streams, one JSON message a line: a child process
/// ([`Stdio::spawn`]), or a socket, a pipe, a tunnel ([`Stdio::over`]).
///
/// A child is started directly, never through a shell. Its standard error is drained all the time, and the end of it is
/// kept for the error that reports the child's death ([`ServerExited`]).
///
/// # How a child ends
///
/// [`Client::close`](crate::Client::close) writes the notifications that were accepted, closes the child's standard input,
/// and waits for its exit. A child that stays is asked with SIGTERM, and then killed; before each of these steps it has
/// [`Timeouts::close`](crate::Timeouts::close). If the session ends in any other way, the child is killed at once.
///
/// What the child has started ends with it, also if the child itself has exited before:
///
/// - On unix the child is the leader of a process group, and signals go to the group. A process that leaves the group, by
///   `setsid` or through a shell's job control, has left the server: nothing here ends it.
/// - On windows the child is in a job object, and the job is ended. There is no SIGTERM: who stays when its input has ended
///   is killed next. What a child starts in its very first moments, before it is in the job, is not in it.
///
/// The child does not get the Ctrl-C of the host's terminal. A host that is itself killed runs no destructor: on unix its
/// children see the end of their standard input and no more, on windows the system ends their jobs.
pub struct Stdio {
    queue: Queue,
    slot: Slot,
    #[cfg(feature = "stdio")]
    child: Mutex<Option<Child>>,
    /// A child's pipes, until it is known what reactor they are for.
    #[cfg(feature = "stdio")]
    unopened: Mutex<Option<process::Pipes>>,
    #[cfg(feature = "stdio")]
    on_stderr: Option<StderrHook>,
    /// To start it again for a new session, as often as it takes: shared with those started so.
    #[cfg(feature = "stdio")]
    command: Option<Arc<Mutex<Command>>>,
}

impl Stdio {
    /// Starts `command` and talks to it over its standard streams.
    ///
    /// Whatever the command says about standard streams and process groups is overridden; arguments,
    /// environment and working directory are used as they are.
    ///
    /// # Errors
    ///
    /// When the process cannot be started: [`Error::io_kind`] is `NotFound`, `PermissionDenied`, …
    ///
    /// ```
    /// use shared_fate_mcp::Stdio;
    /// use std::{io, process::Command};
    ///
    /// let error = Stdio::spawn(Command::new("/no/such/server")).unwrap_err();
    /// assert_eq!(error.io_kind(), Some(io::ErrorKind::NotFound));
    /// ```
    #[cfg(feature = "stdio")]
    pub fn spawn(command: Command) -> Result<Self, Error> {
        Self::start(Arc::new(Mutex::new(command)))
    }

    /// Is told each line that the child writes to its standard error, while it lives and when it is stopped; also those of
    /// children that are started again for a new session. Without this they are seen in the error that reports its death,
    /// and nowhere else.
    ///
    /// ```no_run
    /// use shared_fate_mcp::Stdio;
    /// use std::process::Command;
    ///
    /// # fn main() -> Result<(), shared_fate_mcp::Error> {
    /// let stdio = Stdio::spawn(Command::new("my-server"))?.on_stderr(|line| eprintln!("my-server: {line}"));
    /// # Ok(()) }
    /// ```
    ///
    /// A line comes without its end. What is no Unicode is replaced. One of more than 8 KiB comes in parts of that length.
    ///
    /// `hook` is called from the driver, so it must not block: while it runs, the connection stands still. A panic in it
    /// goes no further. What a server writes there is its own: it may be a secret, and it may be long.
    #[cfg(feature = "stdio")]
    pub fn on_stderr(mut self, hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_stderr = Some(Arc::new(hook));
        self
    }

    /// The few variables of this process's environment that most programs need: where their home, their tools and their
    /// terminal are. A command gets the whole environment by default; this is how it gets no more than these:
    ///
    /// ```
    /// use shared_fate_mcp::Stdio;
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("my-server");
    /// command.env_clear().envs(Stdio::base_environment()).env("MY_SERVER_MODE", "quiet");
    /// ```
    #[cfg(feature = "stdio")]
    pub fn base_environment() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
        // As the other implementations of the protocol have them.
        const NAMES: &[&str] = match cfg!(windows) {
            false => &["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"],
            true => &[
                "APPDATA",
                "HOMEDRIVE",
                "HOMEPATH",
                "LOCALAPPDATA",
                "PATH",
                "PATHEXT",
                "PROCESSOR_ARCHITECTURE",
                "SYSTEMDRIVE",
                "SYSTEMROOT",
                "TEMP",
                "USERNAME",
                "USERPROFILE",
            ],
        };
        NAMES.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
    }

    #[cfg(feature = "stdio")]
    fn start(command: Arc<Mutex<Command>>) -> Result<Self, Error> {
        let (child, pipes) = {
            let mut command = command.lock();
            Child::spawn(&mut command).map_err(|error| {
                let error = SpawnError::new(&command, error);
                Error::io(IoStage::Spawn, error, Delivery::NotSent)
            })?
        };
        Ok(Self {
            child: Mutex::new(Some(child)),
            unopened: Mutex::new(Some(pipes)),
            command: Some(command),
            ..Self::with_slot(Slot::empty())
        })
    }

    /// Makes the pipes of a child ready for the client's reactor, where that is not done yet.
    fn open(&self, inbox: &Inbox) -> Result<(), Error> {
        #[cfg(feature = "stdio")]
        {
            let unopened = self.unopened.lock().take();
            if let Some(unopened) = unopened {
                let opened = AsyncPipes::new(unopened, inbox.reactor());
                let AsyncPipes { stdin, stdout, stderr } =
                    opened.map_err(|error| Error::io(IoStage::Spawn, error, Delivery::NotSent))?;
                let hook = self.on_stderr.clone();
                self.slot.fill(Pipes::new(stdout, stdin, Some((stderr, hook))));
            }
        }
        let _ = inbox;
        Ok(())
    }

    /// Talks over any pair of byte streams. Those of tokio's go into a `TokioIo` each (feature
    /// `tokio`).
    pub fn over(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let slot = Slot::empty();
        slot.fill(Pipes::new(Box::new(Stream(reader)), Box::new(writer), None));
        Self::with_slot(slot)
    }

    fn with_slot(slot: Slot) -> Self {
        Self {
            queue: Queue::default(),
            slot,
            #[cfg(feature = "stdio")]
            child: Mutex::default(),
            #[cfg(feature = "stdio")]
            unopened: Mutex::default(),
            #[cfg(feature = "stdio")]
            on_stderr: None,
            #[cfg(feature = "stdio")]
            command: None,
        }
    }

    #[cfg(feature = "stdio")]
    fn child(&self) -> Option<Child> {
        self.child.lock().clone()
    }

    /// The child's exit status, as soon as it has one. For ever pending without a child.
    fn exit(&self) -> impl FnMut(&mut Context<'_>) -> Poll<ExitStatus> + Send + use<> {
        #[cfg(feature = "stdio")]
        {
            let mut exited = self.child().map(|child| child.exited());
            move |cx| match &mut exited {
                Some(exited) => std::pin::Pin::new(exited).poll(cx),
                None => Poll::Pending,
            }
        }
        #[cfg(not(feature = "stdio"))]
        |_: &mut Context<'_>| Poll::Pending
    }

    fn has_child(&self) -> bool {
        #[cfg(feature = "stdio")]
        return self.child.lock().is_some();
        #[cfg(not(feature = "stdio"))]
        false
    }

    /// After the first sign of the end: the rest of what the server has to say.
    async fn last_words(&self, pipes: &mut Pipes, end: End, inbox: &Inbox) -> Error {
        let mut exit = self.exit();
        let mut status = None;
        let mut grace = inbox.sleep(LAST_WORDS);
        let wait = self.has_child();
        if !wait {
            // The next read decides. In this poll a task of tokio's may have spent its budget: then a stream says that it
            // has nothing.
            yield_now().await;
        }
        poll_fn(|cx| {
            if status.is_none() {
                if let Poll::Ready(exited) = exit(cx) {
                    status = Some(exited);
                    self.end_pipes();
                }
            }
            // What an exited child wrote is in the pipes already, heard of or not; only others can add to it.
            pipes.look();
            let rest = pipes.poll_read(inbox, cx);
            pipes.poll_stderr(cx);
            let is_more = matches!(rest, Flow::More);
            let is_empty = if BLOCKED_IS_EMPTY || !wait { !is_more } else { pipes.have_ended() };
            if (is_empty && (status.is_some() || !wait)) || grace.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if is_more {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        pipes.end_stderr();
        let (stderr, stdout) = (pipes.stderr_tail(), pipes.stdout_tail());
        let (stage, error) = match (status, end) {
            (None, End::Failed(stage, error)) => (stage, error),
            (None, End::OfOutput) if !wait => (IoStage::Read, io::ErrorKind::UnexpectedEof.into()),
            (status, _) => {
                let exited = ServerExited { status, stderr, stdout };
                return Error::new(ErrorKind::ServerExited(exited), Delivery::MaybeSent);
            }
        };
        Error::io_after_words(stage, error, &stderr, &stdout)
    }
}

/// Which program did not start, without its arguments. The system says the same of a program and of a working directory
/// that are not there.
#[cfg(feature = "stdio")]
#[derive(Debug, thiserror::Error)]
enum SpawnError {
    #[error("the program {program:?}")]
    Program { program: std::ffi::OsString, source: io::Error },
    #[error("the working directory {directory:?} of the program {program:?}")]
    Directory { directory: std::path::PathBuf, program: std::ffi::OsString, source: io::Error },
}

#[cfg(feature = "stdio")]
impl SpawnError {
    fn new(command: &Command, source: io::Error) -> Self {
        let program = command.get_program().to_owned();
        match command.get_current_dir().filter(|directory| !directory.is_dir()) {
            Some(directory) => Self::Directory { directory: directory.to_owned(), program, source },
            None => Self::Program { program, source },
        }
    }
}

impl Transport for Stdio {
    /// A request is in the queue at once, and can be taken back. Anything else waits for room.
    fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        let Outgoing { id, body, .. } = message;
        if let Some(id) = id {
            self.queue.push_request(id, body);
            return Sending::accepted();
        }
        tracking.waiting();
        Sending::later(async move {
            self.queue.push(body, inbox.limits().outbox).await;
            tracking.begun();
            Ok(Sent::accepted())
        })
    }

    fn retract(&self, id: u64) -> bool {
        self.queue.retract(id)
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.open(inbox)?;
            // Pending if somebody has the pipes: then the session is being closed.
            let taken: Option<Guard<'_>> = poll_fn(|cx| self.slot.poll_take(cx)).await;
            let Some(mut pipes) = taken else { return std::future::pending().await };
            pipes.set_limits(inbox.limits());
            let _writer = Writer(&self.queue);
            let mut exit = self.exit();
            let end = poll_fn(|cx| {
                if let Err(error) = pipes.poll_write(&self.queue, cx) {
                    return Poll::Ready(End::Failed(IoStage::Write, error));
                }
                if inbox.takes_look() {
                    pipes.look();
                }
                pipes.poll_stderr(cx);
                match pipes.poll_read(inbox, cx) {
                    Flow::Ended(end) => return Poll::Ready(end),
                    // Others must have their turn.
                    Flow::More => cx.waker().wake_by_ref(),
                    Flow::Blocked => {}
                }
                exit(cx).map(|_| End::OfOutput)
            })
            .await;
            Err(self.last_words(&mut pipes, end, inbox).await)
        })
    }

    fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // A child whose pipes cannot be opened has nothing to be told.
            if self.open(inbox).is_err() {
                return self.abort();
            }
            let grace = inbox.timeouts().close;
            let mut exit = self.exit();
            let mut pipes = None;
            let mut given_up = false;
            let mut closing = |cx: &mut Context<'_>| {
                if pipes.is_none() {
                    if let Poll::Ready(taken) = self.slot.poll_take(cx) {
                        given_up = taken.is_none();
                        pipes = taken;
                    }
                }
                let stdin_closed = match &mut pipes {
                    None => given_up,
                    // What was accepted is written; and its output is read on, or a child that is blocked on it
                    // never sees the end of its input (IO-12).
                    Some(pipes) => {
                        pipes.look();
                        pipes.poll_drain(cx);
                        pipes.poll_finish(&self.queue, cx).is_ready()
                    }
                };
                if !self.has_child() {
                    return stdin_closed;
                }
                if exit(cx).is_pending() {
                    return false;
                }
                self.end_pipes();
                // What it said last may have come since it was read.
                if let Some(pipes) = &mut pipes {
                    pipes.look();
                    pipes.poll_drain(cx);
                }
                BLOCKED_IS_EMPTY || pipes.as_ref().is_none_or(|pipes| pipes.have_ended())
            };
            // On windows there is nothing to wait for between the end of the input and the kill.
            let stages: &[fn(&Self)] = match cfg!(windows) {
                false => &[|_| {}, Self::terminate, Self::kill],
                true => &[|_| {}, Self::kill],
            };
            for act in stages {
                act(self);
                let mut grace = inbox.sleep(grace);
                let over = poll_fn(|cx| match closing(cx) {
                    true => Poll::Ready(true),
                    false => grace.as_mut().poll(cx).map(|()| false),
                })
                .await;
                if over || !self.has_child() {
                    break;
                }
            }
            if let Some(mut pipes) = pipes {
                pipes.end_stderr();
            }
            self.abort();
        })
    }

    /// Starts the command again.
    #[cfg(feature = "stdio")]
    fn renew(&self) -> Option<Result<Box<dyn Transport>, Error>> {
        let command = self.command.clone()?;
        let on_stderr = self.on_stderr.clone();
        Some(Self::start(command).map(|stdio| Box::new(Self { on_stderr, ..stdio }) as _))
    }

    /// The program's name, without its arguments: these may be secret.
    #[cfg(feature = "stdio")]
    fn server(&self) -> Option<String> {
        let command = self.command.as_ref()?.lock();
        let program = std::path::Path::new(command.get_program());
        Some(program.file_name()?.to_string_lossy().into_owned())
    }

    fn abort(&self) {
        self.kill();
        #[cfg(feature = "stdio")]
        let child = self.child.lock().take();
        let pipes = self.slot.discard();
        drop(pipes);
        #[cfg(feature = "stdio")]
        {
            let unopened = self.unopened.lock().take();
            drop((unopened, child));
        }
    }
}

/// Who writes what is queued, while this lives.
struct Writer<'a>(&'a Queue);

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.forget_writer();
    }
}

impl Stdio {
    fn terminate(&self) {
        #[cfg(feature = "stdio")]
        if let Some(child) = self.child() {
            child.terminate();
        }
    }

    /// After the child's exit: where only the end of a pipe says that it is empty, nobody else may hold it.
    fn end_pipes(&self) {
        if !BLOCKED_IS_EMPTY {
            self.kill();
        }
    }

    fn kill(&self) {
        #[cfg(feature = "stdio")]
        if let Some(child) = self.child() {
            child.kill();
        }
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Stdio");
        #[cfg(feature = "stdio")]
        debug.field("child", &self.child().map(|child| child.id()));
        debug.finish_non_exhaustive()
    }
}
