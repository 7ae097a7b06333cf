//! The pipes of one server, with the place that reading and writing have reached.

use super::chunk::{CHUNK, with_chunk};
use super::queue::Queue;
use super::stderr::{Stderr, StderrHook};
use super::tail::Tail;
use crate::error::{Error, IoStage, Violation, excerpt};
use crate::inbox::Inbox;
use crate::inbox::limits::Limits;
use crate::protocol::lines::{Line, LineDecoder};
use crate::runtime::output::Output;
use crate::sync::wait_cell::WaitCell;
use futures_io::{AsyncRead as _, AsyncWrite};
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

/// How much memory an idle connection keeps for what it writes: the messages of some calls.
const KEPT: usize = 1024;

/// How much is kept of those lines of the output that are no messages.
const PRINTED: usize = 4 * 1024;

/// How many chunks are read or written in one poll, before others get their turn.
const TURN: usize = 16;

pub(super) struct Pipes {
    reader: Box<dyn Output>,
    /// `None` once it is closed.
    writer: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// `None` once it has ended.
    stderr: Option<Box<dyn Output>>,
    lines: LineDecoder,
    line_limit: usize,
    output_ended: bool,
    /// Whole lines on their way, and how far they have got.
    unwritten: Vec<u8>,
    written: usize,
    flushed: bool,
    errors: Stderr,
    /// The end of those lines of its output that are no messages.
    printed: Printed,
}

/// What is no message, and whether there was one.
struct Printed {
    tail: Tail,
    has_spoken: bool,
}

/// The first sign of the end.
pub(super) enum End {
    OfOutput,
    Failed(IoStage, io::Error),
}

/// What a poll of the output found.
pub(super) enum Flow {
    /// Nothing now; the task is registered.
    Blocked,
    /// There may be more; the task is not registered.
    More,
    Ended(End),
}

impl Pipes {
    pub(super) fn new(
        reader: Box<dyn Output>,
        writer: Box<dyn AsyncWrite + Send + Unpin>,
        stderr: Option<(Box<dyn Output>, Option<StderrHook>)>,
    ) -> Self {
        let (stderr, hook) = stderr.unzip();
        let Limits { line, stderr_tail, .. } = Limits::default();
        Self {
            reader,
            writer: Some(writer),
            stderr,
            lines: LineDecoder::new(line),
            line_limit: line,
            output_ended: false,
            unwritten: Vec::new(),
            written: 0,
            flushed: true,
            errors: Stderr::new(stderr_tail, hook.flatten()),
            printed: Printed { tail: Tail::new(PRINTED), has_spoken: false },
        }
    }

    /// Sets the limits, before anything is read.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.lines = LineDecoder::new(limits.line);
        self.line_limit = limits.line;
        self.errors.keep(limits.stderr_tail);
    }

    /// Writes what is queued. `Ok` means that there is nothing to do until the task is woken.
    pub(super) fn poll_write(&mut self, queue: &Queue, cx: &mut Context<'_>) -> io::Result<()> {
        for _ in 0..TURN {
            if self.written == self.unwritten.len() {
                self.unwritten.clear();
                self.unwritten.shrink_to(CHUNK);
                self.written = 0;
                queue.fill(&mut self.unwritten, CHUNK);
            }
            if self.unwritten.is_empty() {
                self.unwritten.shrink_to(KEPT);
                if let Poll::Ready(flushed) = self.poll_flush(cx) {
                    flushed?;
                }
                if queue.poll_filled(cx).is_pending() {
                    return Ok(());
                }
            } else if let Poll::Ready(written) = self.poll_write_rest(cx) {
                written?;
            } else {
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Writes the lines that were begun and what else was accepted, closes the writer, and forgets it.
    pub(super) fn poll_finish(&mut self, queue: &Queue, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.poll_write_rest(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) => {}
            }
            self.unwritten.clear();
            self.written = 0;
            queue.fill_last(&mut self.unwritten, CHUNK);
            if self.unwritten.is_empty() {
                if let Some(writer) = &mut self.writer {
                    if Pin::new(writer).poll_close(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                break;
            }
        }
        // A pipe is closed by dropping it.
        self.writer = None;
        Poll::Ready(())
    }

    fn poll_write_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writer) = &mut self.writer else { return Poll::Ready(Ok(())) };
        while self.written < self.unwritten.len() {
            match Pin::new(&mut *writer).poll_write(cx, &self.unwritten[self.written..]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.written += written;
                    self.flushed = false;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.writer {
            Some(writer) if !self.flushed => {
                let flushed = Pin::new(writer).poll_flush(cx);
                self.flushed = flushed.is_ready();
                flushed
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// The next reads ask the system, whatever the reactor has heard: they decide something.
    pub(super) fn look(&mut self) {
        self.reader.look();
        if let Some(stderr) = &mut self.stderr {
            stderr.look();
        }
    }

    /// Reads the server's output and delivers its lines.
    pub(super) fn poll_read(&mut self, inbox: &Inbox, cx: &mut Context<'_>) -> Flow {
        let Self { reader, lines, line_limit, output_ended, printed, .. } = self;
        if *output_ended {
            return Flow::Ended(End::OfOutput);
        }
        with_chunk(|chunk| {
            for _ in 0..TURN {
                match Pin::new(&mut *reader).poll_read(cx, chunk) {
                    Poll::Pending => return Flow::Blocked,
                    Poll::Ready(Ok(read @ 1..)) => lines.feed(&chunk[..read], |line| match line {
                        Line::Complete(line) => listen(line, inbox.deliver_line(line), printed, inbox),
                        Line::Oversized { id, prefix } => inbox.accept_too_long(id, prefix, *line_limit),
                        Line::Endless => {
                            inbox.session().fail(Error::protocol(Violation::Framing));
                        }
                    }),
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Poll::Ready(end) => {
                        *output_ended = true;
                        let last = lines.partial();
                        if !last.is_empty() {
                            listen(last, inbox.deliver_last_line(last), printed, inbox);
                        }
                        return Flow::Ended(match end {
                            Ok(_) => End::OfOutput,
                            Err(error) => End::Failed(IoStage::Read, error),
                        });
                    }
                }
            }
            Flow::More
        })
    }

    /// Drains standard error (IO-07): always, or a talkative server blocks on it.
    pub(super) fn poll_stderr(&mut self, cx: &mut Context<'_>) {
        let Self { stderr, errors, .. } = self;
        with_chunk(|chunk| {
            for _ in 0..TURN {
                let Some(reader) = stderr else { return };
                match Pin::new(reader).poll_read(cx, chunk) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(0)) => *stderr = None,
                    Poll::Ready(Ok(read)) => {
                        errors.push(&chunk[..read]);
                    }
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    // There is nothing else to do about it, and it is no failure of the session's (IO-06).
                    Poll::Ready(Err(_)) => *stderr = None,
                }
            }
            cx.waker().wake_by_ref();
        });
    }

    /// Whether the server has said all there is: both its outputs have ended.
    pub(super) fn have_ended(&self) -> bool {
        self.output_ended && self.stderr.is_none()
    }

    /// What is left of a last line is told.
    pub(super) fn end_stderr(&mut self) {
        self.errors.end();
    }

    pub(super) fn stderr_tail(&self) -> String {
        self.errors.tail()
    }

    pub(super) fn stdout_tail(&self) -> String {
        self.printed.tail.text()
    }

    /// Reads everything, and throws the output away.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) {
        self.poll_stderr(cx);
        let Self { reader, output_ended, .. } = self;
        with_chunk(|chunk| {
            for _ in 0..TURN {
                if *output_ended {
                    return;
                }
                match Pin::new(&mut *reader).poll_read(cx, chunk) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Poll::Ready(Ok(0) | Err(_)) => *output_ended = true,
                }
            }
            cx.waker().wake_by_ref();
        });
    }
}

/// Takes note of a line that is no message to us. Where it shows, before there is a message, that they are framed in another
/// way, no call would ever have its reply.
fn listen(line: &[u8], is_to_us: bool, Printed { tail, has_spoken }: &mut Printed, inbox: &Inbox) {
    if is_to_us {
        *has_spoken = true;
        return;
    }
    let line = line.trim_ascii();
    tail.push(line);
    tail.push(b"\n");
    if *has_spoken {
        return;
    }
    // A header before each message, or a message over several lines.
    let header = line.get(..HEADER.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(HEADER));
    if header || line.starts_with(b"\"jsonrpc\"") {
        inbox.session().fail(Error::instead(Violation::Framing, excerpt(line, 100)));
    }
}

/// How a message of the Language Server Protocol begins.
const HEADER: &[u8] = b"Content-Length:";

/// Where the pipes are while nobody uses them.
pub(super) struct Slot {
    state: WaitCell<State>,
}

struct State {
    pipes: Option<Box<Pipes>>,
    /// Given up: pipes that come back are dropped.
    discarded: bool,
}

impl Slot {
    pub(super) fn empty() -> Self {
        Self { state: WaitCell::new(State { pipes: None, discarded: false }) }
    }

    /// The pipes are there.
    pub(super) fn fill(&self, pipes: Pipes) {
        self.put_back(Box::new(pipes));
    }

    /// The pipes, when nobody else has them; they come back when the guard is dropped. `None` once
    /// they have been given up.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Guard<'_>>> {
        let taken = self.state.poll(cx, |state| match state.pipes.take() {
            None if !state.discarded => None,
            taken => Some(taken),
        });
        taken.map(|pipes| pipes.map(|pipes| Guard { slot: self, pipes: Some(pipes) }))
    }

    /// Gives the pipes up, now or when they come back.
    pub(super) fn discard(&self) -> Option<Box<Pipes>> {
        self.state.change(|state| {
            state.discarded = true;
            state.pipes.take()
        })
    }

    fn put_back(&self, pipes: Box<Pipes>) {
        let discarded = self.state.change(|state| match state.discarded {
            true => Some(pipes),
            false => state.pipes.replace(pipes),
        });
        drop(discarded);
    }
}

/// The pipes, for as long as this lives.
pub(super) struct Guard<'a> {
    slot: &'a Slot,
    pipes: Option<Box<Pipes>>,
}

impl Deref for Guard<'_> {
    type Target = Pipes;

    fn deref(&self) -> &Pipes {
        self.pipes.as_ref().expect("taken only by drop")
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Pipes {
        self.pipes.as_mut().expect("taken only by drop")
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(pipes) = self.pipes.take() {
            self.slot.put_back(pipes);
        }
    }
}
