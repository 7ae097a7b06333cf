//! Interleavings: every one of them with loom, random ones with shuttle; one body for both.
//!
//! ```text
//! RUSTFLAGS="--cfg shared_fate_loom" LOOM_MAX_PREEMPTIONS=5 cargo test --lib models
//! RUSTFLAGS="--cfg shared_fate_shuttle" cargo test --lib models
//! ```
//!
//! The pattern: a waiter polls while something else happens on another thread. If it got `Pending`, it
//! must have been woken by the time the other thread is done: a lost wake-up is a hang.

mod families;
#[cfg(shared_fate_shuttle)]
mod planted;

use crate::sync::Mutex;
use crate::{Cause, Session, SupervisedExt};
use std::error::Error;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

#[cfg(shared_fate_loom)]
use loom::thread;
#[cfg(shared_fate_shuttle)]
use shuttle::thread;

#[cfg(shared_fate_loom)]
fn model(body: fn()) {
    loom::model(body);
}

#[cfg(shared_fate_shuttle)]
fn model(body: fn()) {
    shuttle::check_random(body, 2000);
    shuttle::check_pct(body, 2000, 3);
}

type Text = Session<Why>;

#[derive(Debug, PartialEq)]
struct Why(&'static str);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Why {}

/// A task: counts its wakes. Std's atomics, so that counting adds no interleavings of its own.
struct Task {
    wakes: Arc<Wakes>,
    waker: Waker,
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Task {
    fn new() -> Self {
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        Self { waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(SeqCst)
    }

    /// Registered wakers that are left.
    fn registered(&self) -> usize {
        Arc::strong_count(&self.wakes) - 2
    }

    fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    /// The pattern: `first` is what a poll said while something else went on, which is over now.
    fn settle<F: Future>(&self, first: Poll<F::Output>, future: Pin<&mut F>) -> F::Output {
        match first {
            Poll::Ready(output) => output,
            Poll::Pending => {
                assert!(self.wakes() > 0, "a lost wake-up");
                match self.poll(future) {
                    Poll::Ready(output) => output,
                    Poll::Pending => panic!("woken, and nothing to see"),
                }
            }
        }
    }
}

#[test]
fn end_and_register() {
    model(|| register_while_it_ends(&Text::new()));
}

/// The one that registers looks at the latch only if the table has no room.
#[test]
fn end_and_register_where_there_is_room() {
    model(|| {
        let session = Text::new();
        assert!(Task::new().poll(pin!(session.ended())).is_pending());
        register_while_it_ends(&session);
    });
}

fn register_while_it_ends(session: &Text) {
    let reporter = session.clone();
    let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
    let task = Task::new();
    let mut ended = pin!(session.ended());
    let first = task.poll(ended.as_mut());
    let pended = first.is_pending();
    other.join().unwrap();
    assert_eq!(task.settle(first, ended.as_mut()).error(), Some(&Why("reset")));
    assert_eq!((task.wakes(), task.registered()), (usize::from(pended), 0));
    assert_eq!(session.waiting(), 0);
}

#[test]
fn end_and_deregister() {
    model(|| {
        let session = Text::new();
        let (leaving, staying) = (Task::new(), Task::new());
        let mut leaver = Box::pin(session.ended());
        let mut stayer = pin!(session.ended());
        assert!(leaving.poll(leaver.as_mut()).is_pending());
        assert!(staying.poll(stayer.as_mut()).is_pending());
        let reporter = session.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        drop(leaver);
        // Its place may be given to another now.
        let late = Task::new();
        let mut latecomer = pin!(session.ended());
        let first = late.poll(latecomer.as_mut());
        other.join().unwrap();
        late.settle(first, latecomer);
        assert!(leaving.wakes() <= 1);
        assert_eq!(staying.wakes(), 1);
        assert_eq!([&leaving, &staying, &late].map(Task::registered), [0; 3]);
        assert_eq!(session.waiting(), 0);
    });
}

#[test]
fn end_and_replace_a_waker() {
    model(|| {
        let session = Text::new();
        let (old, new) = (Task::new(), Task::new());
        let mut ended = pin!(session.ended());
        assert!(old.poll(ended.as_mut()).is_pending());
        let reporter = session.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        let first = new.poll(ended.as_mut());
        let pended = first.is_pending();
        other.join().unwrap();
        new.settle(first, ended);
        assert_eq!(new.wakes(), usize::from(pended), "the last waker is the one that counts");
        assert!(old.wakes() <= usize::from(!pended));
        assert_eq!((old.registered(), new.registered()), (0, 0));
    });
}

#[test]
fn end_between_the_calls_of_a_lane() {
    model(|| {
        let session = Text::new();
        let task = Task::new();
        let mut lane = session.lane();
        let mut call = Box::pin(std::future::pending::<()>().supervised(&mut lane));
        assert!(task.poll(call.as_mut()).is_pending());
        drop(call);
        assert_eq!(task.registered(), 1, "the lane stays");
        let reporter = session.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        let mut call = Box::pin(std::future::pending::<()>().supervised(&mut lane));
        let first = task.poll(call.as_mut());
        other.join().unwrap();
        assert_eq!(task.settle(first, call.as_mut()).unwrap_err().cause().error(), Some(&Why("reset")));
        drop(call);
        drop(lane);
        assert_eq!((task.wakes(), task.registered(), session.waiting()), (1, 0, 0));
    });
}

#[test]
fn end_and_a_lane_that_changes_tasks() {
    model(|| {
        let session = Text::new();
        let (old, new) = (Task::new(), Task::new());
        let mut lane = session.lane();
        let mut call = Box::pin(std::future::pending::<()>().supervised(&mut lane));
        assert!(old.poll(call.as_mut()).is_pending());
        drop(call);
        let reporter = session.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        let mut call = Box::pin(std::future::pending::<()>().supervised(&mut lane));
        let first = new.poll(call.as_mut());
        let pended = first.is_pending();
        other.join().unwrap();
        new.settle(first, call.as_mut()).unwrap_err();
        assert_eq!(new.wakes(), usize::from(pended));
        drop(call);
        drop(lane);
        assert_eq!((old.registered(), new.registered(), session.waiting()), (0, 0, 0));
    });
}

#[test]
fn end_and_end() {
    model(|| {
        let session = Text::new();
        let task = Arc::new(Task::new());
        let mut ended = pin!(session.ended());
        assert!(task.poll(ended.as_mut()).is_pending());
        let report = |error: &'static str| {
            let (session, task) = (session.clone(), Arc::clone(&task));
            move || {
                let first = session.fail(Why(error));
                assert!(session.is_ended(), "whichever won, it is over");
                assert!(session.cause().is_some());
                assert!(!first || task.wakes() == 1, "the first one has woken all");
                first
            }
        };
        let (one, two) = (report("one"), report("two"));
        let other = thread::spawn(one);
        let second_was_first = two();
        let first_was_first = other.join().unwrap();
        assert!(first_was_first != second_was_first);
        let cause = task.settle(Poll::Pending, ended);
        let first = if first_was_first { "one" } else { "two" };
        assert_eq!(cause.error(), Some(&Why(first)));
        assert_eq!(task.wakes(), 1);
    });
}

#[test]
fn driver_drop_and_late_subscriber() {
    model(|| {
        let session = Text::new();
        let driver = session.drive(std::future::pending());
        let other = thread::spawn(move || drop(driver));
        let task = Task::new();
        let mut request = pin!(std::future::pending::<()>().supervised(&session));
        let first = task.poll(request.as_mut());
        other.join().unwrap();
        let ended = task.settle(first, request).unwrap_err();
        assert!(matches!(ended.cause(), Cause::Dropped));
        assert_eq!(task.registered(), 0);
    });
}

#[test]
fn driver_poll_and_close() {
    model(|| {
        let session = Text::new();
        let owner = session.clone();
        let mut driver = pin!(session.drive(std::future::pending()));
        let other = thread::spawn(move || assert!(owner.close()));
        let task = Task::new();
        let first = task.poll(driver.as_mut());
        other.join().unwrap();
        task.settle(first, driver);
        assert_eq!(task.registered(), 0);
    });
}

#[test]
fn parent_end_and_child_birth() {
    model(|| {
        let parent = Text::new();
        let reporter = parent.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        let child = parent.child();
        let task = Task::new();
        let mut ended = pin!(child.ended());
        let first = task.poll(ended.as_mut());
        other.join().unwrap();
        assert_eq!(task.settle(first, ended).error(), Some(&Why("reset")));
        assert_eq!(child.waiting(), 0);
    });
}

#[test]
fn parent_end_and_child_end() {
    model(|| {
        let parent = Text::new();
        let child = parent.child();
        let task = Task::new();
        let mut ended = pin!(child.ended());
        assert!(task.poll(ended.as_mut()).is_pending());
        let reporter = parent.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("the connection"))));
        let own = child.fail(Why("one stream"));
        other.join().unwrap();
        let cause = task.settle(Poll::Pending, ended);
        assert_eq!(cause.error(), Some(&Why(if own { "one stream" } else { "the connection" })));
        assert_eq!(task.wakes(), 1);
        assert_eq!(parent.cause().unwrap().error(), Some(&Why("the connection")));
    });
}

#[test]
fn parent_end_and_child_drop() {
    model(|| {
        let parent = Text::new();
        let (child, sibling) = (parent.child(), parent.child());
        let reporter = parent.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        drop(child);
        other.join().unwrap();
        assert!(sibling.is_ended());
    });
}

/// A reply channel that fails its receiver when the sender is dropped: the library's echo.
fn reply_channel() -> (Sender, Receiver) {
    let state = Arc::new(Mutex::default());
    (Sender(Arc::clone(&state)), Receiver(state))
}

#[derive(Default)]
struct State {
    reply: Option<Result<u8, Echo>>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Echo;

struct Sender(Arc<Mutex<State>>);

impl Sender {
    fn settle(&self, reply: Result<u8, Echo>) {
        let mut state = self.0.lock();
        state.reply.get_or_insert(reply);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.settle(Err(Echo));
    }
}

struct Receiver(Arc<Mutex<State>>);

impl Future for Receiver {
    type Output = Result<u8, Echo>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match state.reply {
            Some(reply) => Poll::Ready(reply),
            None => {
                let old = state.waker.replace(cx.waker().clone());
                drop(state);
                drop(old);
                Poll::Pending
            }
        }
    }
}

/// A connection: it owns the reply channel, perhaps answers, and fails.
struct Connection {
    sender: Sender,
    answers: bool,
}

impl Future for Connection {
    type Output = Result<(), Why>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.answers {
            self.sender.settle(Ok(7));
        }
        Poll::Ready(Err(Why("reset")))
    }
}

#[test]
fn publish_before_drop_and_an_echo() {
    model(|| {
        let session = Text::new();
        let (sender, receiver) = reply_channel();
        let driver = session.drive(Connection { sender, answers: false });
        let other = thread::spawn(move || assert!(Task::new().poll(pin!(driver)).is_ready()));
        let task = Task::new();
        let mut request = pin!(receiver.try_supervised(&session));
        let first = task.poll(request.as_mut());
        other.join().unwrap();
        let error = task.settle(first, request).unwrap_err();
        assert_eq!(error.cause().expect("the echo hides the cause").error(), Some(&Why("reset")));
    });
}

/// A connection that takes its reply channel down inside its last poll, as an async block does.
struct Block(Option<Sender>);

impl Future for Block {
    type Output = Result<(), Why>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0 = None;
        Poll::Ready(Err(Why("reset")))
    }
}

#[test]
fn an_echo_from_inside_the_last_poll() {
    model(|| {
        let session = Text::new();
        let (sender, receiver) = reply_channel();
        let driver = session.drive(Block(Some(sender)));
        let other = thread::spawn(move || assert!(Task::new().poll(pin!(driver)).is_ready()));
        let task = Task::new();
        let mut request = pin!(receiver.try_supervised(&session));
        let mut first = task.poll(request.as_mut());
        if first.is_pending() {
            // Perhaps woken by the echo, while the driver is at it.
            first = task.poll(request.as_mut());
        }
        other.join().unwrap();
        let error = task.settle(first, request).unwrap_err();
        assert_eq!(error.cause().expect("the echo hides the cause").error(), Some(&Why("reset")));
        assert_eq!(task.registered(), 0);
    });
}

#[test]
fn an_answer_before_the_end_is_delivered() {
    model(|| {
        let session = Text::new();
        let (sender, receiver) = reply_channel();
        let task = Task::new();
        let mut request = pin!(receiver.try_supervised(&session));
        assert!(task.poll(request.as_mut()).is_pending());
        let driver = session.drive(Connection { sender, answers: true });
        let other = thread::spawn(move || assert!(Task::new().poll(pin!(driver)).is_ready()));
        let first = task.poll(request.as_mut());
        other.join().unwrap();
        assert_eq!(task.settle(first, request).unwrap(), 7, "it was sent before the session ended");
    });
}
