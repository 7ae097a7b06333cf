//! Anything that ends can supervise; supervision nests, and runs in the caller's task.

mod support;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::stream::{self, Stream};
use shared_fate::stream::SupervisedStreamExt;
use shared_fate::{Cause, Session, SessionEnded, SupervisedExt, Supervisor};
use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::task::{Context, Poll};
use support::{Outcome, Script, TestWaker, Why, script};
use tokio_util::sync::CancellationToken;

type Text = Session<Why>;

#[test]
fn r15_any_future_can_supervise() {
    let task = TestWaker::new();
    // A token.
    let token = CancellationToken::new();
    let mut request = pin!(script![Pending::<u8>].supervised(token.cancelled()));
    task.pending(&mut request);
    token.cancel();
    assert_eq!(task.wakes(), 1);
    let ended = task.ready(&mut request).unwrap_err();
    assert!(ended.request_started());
    let () = ended.into_cause();
    let dead = Script::<u8>::untouched().supervised(token.clone().cancelled_owned());
    assert!(!task.ready(&mut pin!(dead)).unwrap_err().request_started());

    // A reply channel, `Shared`, a session's own future.
    let (end, ended) = oneshot::channel();
    let ended = ended.shared();
    let mut one = pin!(script![Pending::<u8>].supervised(ended.clone()));
    let mut two = pin!(script![Pending, Ready(2_u8)].supervised(ended.clone()));
    task.pending(&mut one);
    task.pending(&mut two);
    end.send("the cause").unwrap();
    assert_eq!(task.ready(&mut one).unwrap_err().cause(), &Ok("the cause"));
    assert_eq!(task.ready(&mut two), Ok(2), "the request goes first, under any supervisor");
    let session = Text::new();
    let mut three = pin!(script![Pending::<u8>].supervised(session.ended()));
    task.pending(&mut three);
    session.fail(Why("reset"));
    assert_eq!(task.ready(&mut three).unwrap_err().cause().error(), Some(&Why("reset")));

    // One that is ready at once, and one that never is.
    let dead = Script::<u8>::untouched().supervised(std::future::ready("now"));
    assert_eq!(task.ready(&mut pin!(dead)).unwrap_err().into_cause(), "now");
    let alive = script![Ready(4)].supervised(std::future::pending::<()>());
    assert_eq!(task.ready(&mut pin!(alive)), Ok(4));
}

#[test]
fn r15_pending_then_one_wake_under_a_future() {
    let (end, ended) = oneshot::channel::<&str>();
    let request = script![Pending::<u8>];
    let log = request.log();
    let task = TestWaker::new();
    let mut request = pin!(request.supervised(ended));
    task.pending(&mut request);
    end.send("why").unwrap();
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.ready(&mut request).unwrap_err().into_cause(), Ok("why"));
    // Once more than under a session, whose end can be seen before the request is polled.
    assert_eq!((log.polls(), log.drops()), (3, 1));
}

#[test]
fn r15_a_supervising_future_is_never_polled_after_it_resolved() {
    // Strict supervisors: `Script` panics if it is polled past its end.
    let task = TestWaker::new();
    let echo = |request: Script<Result<u8, &'static str>>, supervisor: Script<&'static str>| {
        let mut request = pin!(request.try_supervised(supervisor));
        match task.poll(&mut request) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => task.ready(&mut request),
        }
    };
    // Pending when the request is started, ready when its echo is looked at.
    let error = echo(script![Ready(Err("echo"))], script![Pending, Ready("why")]).unwrap_err();
    assert_eq!((error.cause(), error.request_error()), (Some(&"why"), Some(&"echo")));
    // Ready where the request is pending.
    let error = echo(script![Pending], script![Pending, Ready("why")]).unwrap_err();
    assert_eq!((error.cause(), error.request_error()), (Some(&"why"), None));
    // Ready before the request is started.
    let error = echo(Script::untouched(), script![Ready("why")]).unwrap_err();
    assert!(!error.request_started());
    // Not there yet.
    let error = echo(script![Ready(Err("mine"))], script![Pending, Pending]).unwrap_err();
    assert_eq!(error.into_parts(), (Some("mine"), None));
}

#[test]
fn r15_a_supervising_future_is_polled_once_in_each_poll() {
    // Before the request in the first poll, and after it in the later ones.
    let supervisor = Script::<u8>::never();
    let log = supervisor.log();
    let task = TestWaker::new();
    let mut request = pin!(Script::<u8>::never().supervised(supervisor));
    for polls in 1..=3 {
        task.pending(&mut request);
        assert_eq!(log.polls(), polls);
    }
    // A request that fails has its supervisor asked once more.
    let supervisor = Script::<u8>::never();
    let log = supervisor.log();
    let request = script![Pending, Ready(Err::<u8, _>("404"))];
    let mut request = pin!(request.try_supervised(supervisor));
    task.pending(&mut request);
    assert_eq!(task.ready(&mut request).unwrap_err().into_parts(), (Some("404"), None));
    assert_eq!(log.polls(), 2);
    // And a stream.
    let supervisor = Script::<u8>::never();
    let log = supervisor.log();
    let mut items = pin!(SupervisedStreamExt::supervised(stream::pending::<u8>(), supervisor));
    for polls in 1..=3 {
        assert!(items.as_mut().poll_next(&mut Context::from_waker(task.waker())).is_pending());
        assert_eq!(log.polls(), polls);
    }
}

#[test]
fn r15_a_stream_never_polls_a_future_after_it_resolved() {
    // `Script` panics if it is polled past its end.
    let task = TestWaker::new();
    let mut cx = Context::from_waker(task.waker());
    // Complete, in the poll that finds the end.
    let mut items = pin!(SupervisedStreamExt::supervised(stream::empty::<u8>(), script![Ready("why")]));
    let Poll::Ready(Some(Err(ended))) = items.as_mut().poll_next(&mut cx) else { panic!("no cause") };
    assert_eq!(ended.into_cause(), "why");
    assert!(items.as_mut().poll_next(&mut cx).is_ready());
    // Pending.
    let mut items = pin!(SupervisedStreamExt::supervised(stream::pending::<u8>(), script![Ready("why")]));
    let Poll::Ready(Some(Err(ended))) = items.as_mut().poll_next(&mut cx) else { panic!("no cause") };
    assert_eq!(ended.into_cause(), "why");
    // An item that is an error.
    let rows = stream::iter([Err::<u8, _>("closed"), Err("closed")]);
    let mut rows = pin!(rows.try_supervised(script![Ready("why")]));
    let Poll::Ready(Some(Err(failed))) = rows.as_mut().poll_next(&mut cx) else { panic!("no cause") };
    assert_eq!((failed.cause(), failed.request_error()), (Some(&"why"), Some(&"closed")));
    assert!(matches!(rows.as_mut().poll_next(&mut cx), Poll::Ready(None)));
}

#[test]
fn r15_a_join_handle_supervises() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let driver = tokio::spawn(async { "500" });
        let ended = Script::<u8>::never().supervised(driver).await.unwrap_err();
        assert_eq!(ended.into_cause().unwrap(), "500");
        let driver = tokio::spawn(std::future::pending::<()>());
        driver.abort();
        let ended = Script::<u8>::never().supervised(driver).await.unwrap_err();
        assert!(ended.into_cause().unwrap_err().is_cancelled());
    });
}

#[test]
fn r15_a_driver_and_its_join_handle_supervise() {
    let task = TestWaker::new();
    // Failed, panicked and finished: the output is the session's cause. Done is none, and reads `Finished`.
    type Ends = (fn() -> Script<Outcome>, fn(&Cause<Why>) -> bool);
    let ends: [Ends; 3] = [
        (|| script![Pending, Ready(Err(Why("reset")))], |cause| cause.error() == Some(&Why("reset"))),
        (|| script![Pending].then(|_| panic!("a bad driver")), Cause::is_panicked),
        (|| script![Pending, Ready(Ok(()))], Cause::is_finished),
    ];
    for (driver, is_it) in ends {
        let session = Text::new();
        let mut request = pin!(Script::<u8>::never().supervised(session.drive(driver())));
        let outcome = match task.poll(&mut request) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => task.ready(&mut request),
        };
        let cause = outcome.unwrap_err().into_cause();
        assert!(is_it(&cause), "{cause:?}");
        assert_eq!(session.cause(), Some(cause));
    }
    let session = Text::new();
    let mut request = pin!(Script::<u8>::never().supervised(session.monitor(script![Ready(Ok(()))])));
    assert!(task.ready(&mut request).unwrap_err().into_cause().is_finished());
    assert!(!session.is_ended());

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let session = Session::<Infallible>::new();
        let handle = tokio::spawn(session.drive(Script::each(|_| panic!("a bad driver"))));
        let ended = Script::<u8>::never().supervised(handle).await.unwrap_err();
        assert!(ended.into_cause().expect("the task did not panic").is_panicked());
    });
}

#[test]
fn r16_supervision_nests() {
    for inner_ends in [true, false] {
        let (connection, stream) = (Text::new(), Session::<fmt::Error>::new());
        let request = script![Pending::<u8>];
        let log = request.log();
        let task = TestWaker::new();
        let mut request = pin!(request.supervised(&stream).supervised(&connection));
        task.pending(&mut request);
        assert_eq!(task.registered(), 2, "with both");
        if inner_ends {
            stream.fail(fmt::Error);
            let ended = task.ready(&mut request).unwrap().unwrap_err();
            assert_eq!(ended.cause().error(), Some(&fmt::Error));
        } else {
            connection.fail(Why("reset"));
            let ended = task.ready(&mut request).unwrap_err();
            assert_eq!(ended.cause().error(), Some(&Why("reset")));
        }
        assert_eq!((log.polls(), log.drops()), (2, 1));
        assert_eq!((task.wakes(), task.registered()), (1, 0));
    }
    // A dead outer session keeps the whole nest from being polled.
    let (connection, stream) = (Text::new(), Text::new());
    connection.close();
    let ended = TestWaker::new()
        .ready(&mut pin!(Script::<u8>::untouched().supervised(&stream).supervised(&connection)));
    assert!(!ended.unwrap_err().request_started());
}

#[test]
fn r16_an_owned_session_supervises_a_spawned_request() {
    let session = Text::new();
    let request = Box::pin(Script::<u8>::never().supervised(session.clone()));
    let waiting = std::thread::spawn(move || pollster::block_on(request));
    session.fail(Why("reset"));
    let ended = waiting.join().unwrap().unwrap_err();
    assert_eq!(ended.cause().error(), Some(&Why("reset")));
}

#[test]
fn r17_requests_are_polled_in_the_callers_task() {
    tokio::task_local!(static WHO: &'static str);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let session = Text::new();
        let seen = WHO
            .scope("the caller", async {
                let request = async {
                    tokio::task::yield_now().await;
                    WHO.get()
                };
                request.supervised(&session).await.unwrap()
            })
            .await;
        assert_eq!(seen, "the caller");
        let driver = session.drive(async {
            tokio::task::yield_now().await;
            Ok(())
        });
        let seen = WHO.scope("run_until", driver.run_until(async { WHO.get() })).await;
        assert_eq!(seen, "run_until");
    });
}

#[test]
fn r17_requests_need_not_be_send_nor_static() {
    let session = Text::new();
    let text = std::cell::RefCell::new(String::new());
    let request = async {
        let shared = std::rc::Rc::new(&text);
        futures::pending!();
        shared.borrow_mut().push('x');
    };
    let task = TestWaker::new();
    let mut request = pin!(request.supervised(&session));
    task.pending(&mut request);
    assert_eq!(task.ready(&mut request).unwrap(), ());
    assert_eq!(text.take(), "x");
}

/// A library that is generic over what supervises its requests.
async fn fetch<S: Supervisor>(supervisor: S) -> Result<u8, S::Cause> {
    std::future::ready(7).supervised(supervisor).await.map_err(SessionEnded::into_cause)
}

#[test]
fn r15_a_library_may_leave_the_supervisor_open() {
    let session = Session::<Why>::new();
    assert_eq!(pollster::block_on(fetch(&session)).unwrap(), 7);
    session.fail(Why("reset"));
    assert_eq!(pollster::block_on(fetch(&session)).unwrap_err().error(), Some(&Why("reset")));
    assert_eq!(pollster::block_on(fetch(std::future::ready("over"))).unwrap_err(), "over");
}
