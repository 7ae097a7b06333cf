//! Any future as the supervisor (R15): every order of a request and a supervisor, for several kinds of futures.
//!
//! The rule: the request is asked first, but for the first poll. Where it succeeds, that is the answer. Where it
//! fails, the supervisor's output is handed out with the request's error. A supervisor that has resolved is
//! never polled again.

mod support;

use futures::FutureExt;
use shared_fate::{RequestFailed, Session, SupervisedExt};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use support::{TestWaker, Why};
use tokio_util::sync::CancellationToken;

/// What a request says in one poll.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    Pending,
    Reply,
    Error,
}

/// When the supervisor resolves: between two polls of the request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// Before the first poll.
    Before,
    /// In the poll of this number, while the request is being polled.
    Inside(usize),
    /// After the poll of this number.
    After(usize),
    Never,
}

/// Ends a supervisor: from now on it is ready with "why".
type End = Box<dyn Fn() + Send + Sync>;
type Supervisor = Pin<Box<dyn Future<Output = &'static str> + Send>>;

type Make = Box<dyn Fn() -> (Supervisor, End)>;

/// The kinds of supervisors, each with the way to end it.
fn kinds() -> Vec<(&'static str, Make)> {
    fn signal() -> (impl Future<Output = &'static str> + Send + 'static, End) {
        let state = Arc::new((AtomicBool::new(false), Mutex::new(None::<Waker>)));
        let shared = Arc::clone(&state);
        let future = std::future::poll_fn(move |cx: &mut Context<'_>| {
            *shared.1.lock().unwrap() = Some(cx.waker().clone());
            if shared.0.load(SeqCst) { Poll::Ready("why") } else { Poll::Pending }
        });
        let end = move || {
            state.0.store(true, SeqCst);
            if let Some(waker) = state.1.lock().unwrap().take() {
                waker.wake();
            }
        };
        (future, Box::new(end))
    }
    vec![
        (
            "an async block",
            Box::new(|| {
                let (signal, end) = signal();
                (
                    Box::pin(async move {
                        let why = signal.await;
                        assert_eq!(why, "why");
                        why
                    }),
                    end,
                )
            }),
        ),
        (
            "Shared",
            Box::new(|| {
                let (signal, end) = signal();
                (Box::pin(signal.shared()), end)
            }),
        ),
        (
            "one of many Shared",
            Box::new(|| {
                let (signal, end) = signal();
                let shared = signal.shared();
                // Another clone has seen the end before.
                let other = shared.clone();
                (
                    Box::pin(shared),
                    Box::new(move || {
                        end();
                        _ = other.clone().now_or_never();
                    }),
                )
            }),
        ),
        (
            "a fused future",
            Box::new(|| {
                let (signal, end) = signal();
                (Box::pin(signal.fuse()), end)
            }),
        ),
        (
            "CancellationToken",
            Box::new(|| {
                let token = CancellationToken::new();
                let cancelled = token.clone().cancelled_owned().map(|()| "why");
                (Box::pin(cancelled), Box::new(move || token.cancel()))
            }),
        ),
        (
            "Session::ended",
            Box::new(|| {
                let session = Session::<Why>::new();
                let ended = session.ended().map(|cause| cause.error().unwrap().0);
                (Box::pin(ended), Box::new(move || _ = session.fail(Why("why"))))
            }),
        ),
    ]
}

/// What a caller must see, from the rule.
fn expected(script: &[Says], ends: Ends) -> (Option<Says>, bool) {
    if ends == Ends::Before {
        return (None, true);
    }
    for (poll, says) in script.iter().enumerate() {
        let before = matches!(ends, Ends::After(at) | Ends::Inside(at) if at < poll);
        let inside = ends == Ends::Inside(poll);
        match says {
            Says::Reply => return (Some(Says::Reply), false),
            Says::Error => return (Some(Says::Error), before || inside),
            // The first poll has looked at the supervisor before, and does not look again: it is woken.
            Says::Pending if before || (inside && poll > 0) => {
                // The request is asked a last time, which is the next step of the script.
                return match script[poll + 1] {
                    Says::Reply => (Some(Says::Reply), false),
                    Says::Error => (Some(Says::Error), true),
                    Says::Pending => (None, true),
                };
            }
            Says::Pending => {}
        }
    }
    unreachable!("a script ends with an answer or its session does: {script:?} {ends:?}")
}

fn run(kind: &str, supervisor: Supervisor, end: End, script: &[Says], ends: Ends) {
    let at = format!("{kind}: {script:?}, the supervisor ends {ends:?}");
    let end = Arc::new(end);
    if ends == Ends::Before {
        end();
    }
    let (mut step, inner) = (0, script.to_vec());
    let during = Arc::clone(&end);
    let request = std::future::poll_fn(move |_| {
        let says = inner[step];
        if ends == Ends::Inside(step) {
            during();
        }
        step += 1;
        match says {
            Says::Pending => Poll::Pending,
            Says::Reply => Poll::Ready(Ok(7)),
            Says::Error => Poll::Ready(Err(Why("echo"))),
        }
    });
    let task = TestWaker::new();
    let mut request = pin!(request.try_supervised(supervisor));
    let mut poll = 0;
    let result = loop {
        let wakes = task.wakes();
        match task.poll(&mut request) {
            Poll::Ready(result) => break result,
            Poll::Pending => {
                assert!(ends != Ends::Inside(poll) || task.wakes() > wakes, "{at}: nothing wakes it");
                if ends == Ends::After(poll) {
                    end();
                    assert!(task.wakes() > wakes, "{at}: nothing wakes it");
                }
            }
        }
        poll += 1;
    };
    let (request, ended) = expected(script, ends);
    let seen = match &result {
        Ok(7) => (Some(Says::Reply), false),
        Ok(other) => panic!("{at}: {other}"),
        Err(error) => {
            assert!(error.cause().is_none_or(|cause| *cause == "why"), "{at}");
            (error.request_error().map(|_| Says::Error), error.cause().is_some())
        }
    };
    assert_eq!(seen, (request, ended), "{at}");
}

#[test]
fn r15_every_order_of_a_request_and_a_supervisor() {
    use Says::{Error, Pending, Reply};
    let mut orders = 0;
    for (kind, make) in kinds() {
        for polls in 0..4 {
            for last in [Reply, Error, Pending] {
                let mut script = vec![Pending; polls];
                script.push(last);
                let moments = (0..=polls).flat_map(|poll| [Ends::Inside(poll), Ends::After(poll)]);
                for ends in moments.chain([Ends::Before, Ends::Never]) {
                    // Without an answer and an end it never resolves.
                    if last == Pending && ends == Ends::Never {
                        continue;
                    }
                    // One more, for a poll after the last.
                    let mut script = script.clone();
                    script.extend([last, last]);
                    let (supervisor, end) = make();
                    run(kind, supervisor, end, &script, ends);
                    orders += 1;
                }
            }
        }
    }
    println!("{orders} orders");
}

/// A supervisor that owns the reply channel, which closes when it resolves: the normal case.
#[test]
fn r15_a_supervisor_that_owns_the_reply_channel() {
    let (sender, reply) = futures::channel::oneshot::channel::<u8>();
    let connection = async move {
        let _sender = sender;
        Why("reset")
    };
    // The supervisor resolves when it is polled after the request.
    let mut first = true;
    let connection = async move {
        std::future::poll_fn(|cx| {
            if std::mem::take(&mut first) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        connection.await
    };
    let task = TestWaker::new();
    let mut request = Box::pin(reply.try_supervised(connection));
    task.pending(&mut request);
    let error: RequestFailed<_, _> = task.ready(&mut request).unwrap_err();
    assert_eq!(error.cause(), Some(&Why("reset")));
    assert!(error.request_error().is_some());
}

/// tokio's `JoinHandle`, on two threads. It may become ready later than the echo: the one limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_a_join_handle_is_never_polled_after_it_resolved() {
    let (mut causes, mut echoes) = (0, 0);
    for _ in 0..10_000 {
        let (sender, reply) = tokio::sync::oneshot::channel::<u8>();
        let driver = tokio::spawn(async move {
            tokio::task::yield_now().await;
            drop(sender);
            Why("reset")
        });
        let error = reply.try_supervised(driver).await.unwrap_err();
        match error.cause() {
            Some(cause) => {
                assert_eq!(cause.as_ref().unwrap(), &Why("reset"));
                causes += 1;
            }
            None => echoes += 1,
        }
    }
    println!("a JoinHandle as the supervisor: {causes} causes, {echoes} echoes alone");
    assert!(causes > 0);
}

/// A driver is a future that resolves to the cause: to supervise by it, or by its handle, does the right thing.
#[tokio::test]
async fn r15_a_driver_and_its_join_handle_supervise() {
    let session = Session::<Why>::new();
    let driver = session.drive(async { Err(Why("reset")) });
    let ended = std::future::pending::<()>().supervised(driver).await.unwrap_err();
    assert_eq!(ended.cause().error(), Some(&Why("reset")));

    let session = Session::<Why>::new();
    let driver = tokio::spawn(session.drive(async { panic!("the driver panics") }));
    let ended = std::future::pending::<()>().supervised(driver).await.unwrap_err();
    let cause = ended.into_cause().expect("the panic is the cause, and unwinds nowhere");
    assert_eq!(cause.panic_message().unwrap().as_str(), "the driver panics");
}

/// A request that panics leaves nothing that the next poll, with another waker, takes for its own.
#[test]
fn r15_a_supervisor_is_registered_in_the_poll_after_a_panic() {
    let token = CancellationToken::new();
    let mut first = true;
    let request = std::future::poll_fn(move |_| {
        assert!(!std::mem::take(&mut first), "the request panics");
        Poll::<()>::Pending
    });
    let mut request = pin!(request.supervised(token.cancelled()));
    let (one, two) = (TestWaker::new(), TestWaker::new());
    support::panic_of(|| one.poll(&mut request));
    two.pending(&mut request);
    token.cancel();
    assert_eq!(two.wakes(), 1);
}
