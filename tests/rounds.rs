//! R4, continued: a failed request waits out the poll of the driver that may be the reason.

mod support;

use futures::channel::oneshot;
use shared_fate::{Cause, RequestFailed, Session, SupervisedExt};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use support::{Script, TestWaker, no_deadlock, script};

type Text = Session<&'static str>;

/// A driver on another thread that stays inside its poll for as long as `inside` runs.
fn in_a_poll<T>(
    session: &Text,
    ends: Poll<Result<(), &'static str>>,
    inside: impl FnOnce(&dyn Fn()) -> T,
) -> T {
    let (entered, wait) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let mut ends = Some(ends);
    let script = Script::each(move |_| {
        entered.send(()).unwrap();
        released.recv().unwrap();
        ends.take().unwrap()
    });
    let driver = session.drive(script);
    let (done, wait_done) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let driver = thread::spawn(move || {
        let mut driver = pin!(driver);
        let _: Poll<()> = TestWaker::new().poll(&mut driver);
        done.send(()).unwrap();
        finished.recv().unwrap();
    });
    wait.recv().unwrap();
    let output = inside(&|| {
        release.send(()).unwrap();
        wait_done.recv().unwrap();
    });
    finish.send(()).unwrap();
    driver.join().unwrap();
    output
}

#[test]
fn r04_an_echo_from_inside_the_last_poll_gets_its_cause() {
    for of_a_child in [false, true] {
        no_deadlock(move || {
            let session = Text::new();
            let supervisor = if of_a_child { session.child() } else { session.clone() };
            let request = script![Ready(Err::<u8, _>("channel closed"))];
            let log = request.log();
            let task = TestWaker::new();
            let mut request = pin!(request.try_supervised(supervisor));
            in_a_poll(&session, Poll::Ready(Err("reset")), |leave| {
                task.pending(&mut request);
                // Among the session's waiters, and among those who wait for the poll.
                assert_eq!((log.polls(), log.drops(), task.registered()), (1, 1, 2));
                task.pending(&mut request); // polled for another reason
                assert_eq!(log.polls(), 1, "a request that has failed is not polled again");
                leave();
            });
            assert_eq!(task.wakes(), 1);
            let error = task.ready(&mut request).unwrap_err();
            assert_eq!(task.registered(), 0);
            assert_eq!(error.cause().unwrap().error(), Some(&"reset"));
            assert_eq!(error.request_error(), Some(&"channel closed"));
        });
    }
}

#[test]
fn r04_an_echo_on_a_lane_gets_its_cause() {
    no_deadlock(|| {
        let session = Text::new();
        let mut lane = session.lane();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("channel closed"))].try_supervised(&mut lane));
        in_a_poll(&session, Poll::Ready(Err("reset")), |leave| {
            task.pending(&mut request);
            leave();
        });
        assert_eq!(task.wakes(), 1);
        let error = task.ready(&mut request).unwrap_err();
        assert_eq!(error.cause().unwrap().error(), Some(&"reset"));
    });
}

#[test]
fn r04_an_error_of_its_own_waits_for_one_poll_and_no_longer() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("404"))].try_supervised(&session));
        in_a_poll(&session, Poll::Pending, |leave| {
            task.pending(&mut request);
            leave();
            assert_eq!(task.wakes(), 1);
            // The driver lives, and is being polled again: not waited for.
            in_a_poll(&session, Poll::Pending, |leave| {
                let error = task.ready(&mut request).unwrap_err();
                assert!(matches!(error, RequestFailed::Request("404")));
                leave();
            });
        });
    });
}

#[test]
fn r04_somebody_elses_verdict_ends_the_wait() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("echo"))].try_supervised(&session));
        in_a_poll(&session, Poll::Pending, |leave| {
            task.pending(&mut request);
            session.fail("by another");
            assert_eq!(task.wakes(), 1);
            assert_eq!(task.ready(&mut request).unwrap_err().cause().unwrap().error(), Some(&"by another"));
            leave();
        });
    });
}

#[test]
fn r04_a_request_inside_its_own_drivers_poll_waits_for_nothing() {
    // It would wait for the poll that is below it on the stack.
    let session = Text::new();
    let inside = session.clone();
    let mut driver = pin!(session.drive(Script::<()>::each(move |_| {
        let request = script![Ready(Err::<u8, _>("404"))].try_supervised(&inside);
        assert!(matches!(pollster::block_on(request), Err(RequestFailed::Request("404"))));
        Poll::Pending
    })));
    TestWaker::new().pending(&mut driver);
}

#[test]
fn r10_a_waiting_echo_may_be_dropped_and_may_panic() {
    no_deadlock(|| {
        let session = Text::new();
        let (gone, bad, good) = (TestWaker::new(), TestWaker::panicking(), TestWaker::new());
        let mut requests = [(); 3].map(|()| {
            let (reply, answer) = oneshot::channel::<u8>();
            drop(reply);
            Box::pin(answer.try_supervised(session.clone()))
        });
        let [one, two, three] = &mut requests;
        in_a_poll(&session, Poll::Ready(Ok(())), |leave| {
            gone.pending(one);
            bad.pending(two);
            good.pending(three);
            one.set(oneshot::channel().1.try_supervised(session.clone()));
            leave();
        });
        assert_eq!([&gone, &bad, &good].map(TestWaker::wakes), [0, 1, 1]);
        assert!(matches!(good.ready(three).unwrap_err().cause(), Some(Cause::Closed)));
        drop(requests);
        assert_eq!(
            [&gone, &bad, &good].map(TestWaker::registered),
            [0; 3],
            "kept no longer than the request"
        );
    });
}

#[test]
fn r04_a_poll_that_is_over_is_waited_for_by_nobody() {
    let session = Text::new();
    let driver = session.drive(script![Pending::<Result<(), &'static str>>, Pending]);
    // Polled on another thread, and left there.
    let _driver = thread::spawn(move || {
        let mut driver = Box::pin(driver);
        TestWaker::new().pending(&mut driver);
        driver
    })
    .join()
    .unwrap();
    let task = TestWaker::new();
    let mut request = pin!(script![Ready(Err::<u8, _>("not found"))].try_supervised(&session));
    assert!(matches!(task.ready(&mut request), Err(RequestFailed::Request("not found"))));
}
