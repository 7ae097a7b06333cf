//! The echo experiment: a driver fails on one thread and takes its reply channels down with it; a
//! caller on another thread must get the root cause, not "channel closed", every time.
//!
//! `SHARED_FATE_ECHO_RUNS` sets how many runs, for a longer look.

mod support;

use futures::channel::oneshot;
use shared_fate::{Cause, Failed, Session, SupervisedExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::thread;
use support::{Outcome, Why};

fn runs() -> usize {
    std::env::var("SHARED_FATE_ECHO_RUNS").map_or(300, |runs| runs.parse().expect("a number"))
}

type Answer = Result<u8, Failed<oneshot::Canceled, Why>>;

/// What one run hands to its driver.
struct Pending {
    reply: oneshot::Sender<u8>,
    started: Arc<AtomicBool>,
    run: usize,
}

impl Pending {
    /// Lets the caller come close, by a different distance in every run.
    fn meet(&self) {
        while !self.started.load(SeqCst) {
            std::hint::spin_loop();
        }
        for _ in 0..(self.run * 7) % 400 {
            std::hint::spin_loop();
        }
    }
}

/// A connection as libraries write them: a future that owns its pending replies.
struct Connection {
    pending: Option<Pending>,
    answers: bool,
}

impl Future for Connection {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(pending) = &self.pending {
            pending.meet();
        }
        if self.answers {
            if let Some(pending) = self.pending.take() {
                // Nothing has ended yet, so the caller still waits.
                pending.reply.send(7).expect("the caller waits");
            }
        }
        Poll::Ready(Err(Why("500 Internal Server Error")))
    }
}

fn run<D>(run: usize, driver: impl FnOnce(Pending) -> D) -> Answer
where
    D: Future<Output = Outcome> + Send + 'static,
{
    let session = Session::new();
    let (reply, answer) = oneshot::channel();
    let started = Arc::new(AtomicBool::new(false));
    let driver = session.drive(driver(Pending { reply, started: Arc::clone(&started), run }));
    let driver = thread::spawn(move || pollster::block_on(driver));
    let request = async move {
        started.store(true, SeqCst);
        answer.await
    };
    let outcome = pollster::block_on(request.try_supervised(&session));
    driver.join().expect("the driver does not panic");
    outcome
}

#[test]
fn r01_the_caller_gets_the_cause_in_every_run() {
    let mut echoes = 0;
    for at in 0..runs() {
        let error = run(at, |pending| Connection { pending: Some(pending), answers: false }).unwrap_err();
        let cause = error.cause().expect("the echo without its cause");
        assert_eq!(cause.error(), Some(&Why("500 Internal Server Error")));
        echoes += usize::from(error.request_error().is_some());
    }
    println!("{} runs, {echoes} with the echo beside the cause", runs());
}

#[test]
fn r02_an_answer_that_was_sent_is_never_discarded() {
    for at in 0..runs() {
        let outcome = run(at, |pending| Connection { pending: Some(pending), answers: true });
        assert_eq!(outcome.expect("the answer was sent before the end"), 7, "run {at}");
    }
}

#[test]
fn r04_the_cause_beats_an_echo_from_inside_the_drivers_last_poll() {
    // An async block drops its locals before it resolves, and an unwinding before it is caught: the
    // echo comes before anybody can know the cause. The request waits for that poll to be over.
    let mut echoes = 0;
    for at in 0..runs() {
        let error = run(at, |pending| async move {
            pending.meet();
            Err(Why("500 Internal Server Error"))
        })
        .unwrap_err();
        let cause = error.cause().expect("the echo without its cause");
        assert_eq!(cause.error(), Some(&Why("500 Internal Server Error")));
        echoes += usize::from(error.request_error().is_some());
    }
    println!("an async block as the driver: {} runs, {echoes} with the echo beside the cause", runs());
}

#[test]
fn r12_the_cause_beats_the_echo_of_an_unwinding() {
    for at in 0..runs().min(300) {
        let session = Session::<Why>::new();
        let (reply, answer) = oneshot::channel::<u8>();
        let started = Arc::new(AtomicBool::new(false));
        let pending = Pending { reply, started: Arc::clone(&started), run: at };
        let driver = session.drive(async move {
            pending.meet();
            match pending.run {
                usize::MAX => Ok(()),
                _ => std::panic::resume_unwind(Box::new("oh")), // without a message on stderr
            }
        });
        let driver = thread::spawn(move || pollster::block_on(driver));
        let request = async move {
            started.store(true, SeqCst);
            answer.await
        };
        let error = pollster::block_on(request.try_supervised(&session)).unwrap_err();
        assert!(driver.join().unwrap().is_panicked());
        assert!(matches!(error.cause(), Some(Cause::Panicked(message)) if message.as_str() == "oh"));
    }
}
