//! What goes wrong in a driver stays there; and a driver inline, in the task of its users.

mod support;

use futures::future::FusedFuture;
use shared_fate::{Cause, Ended, Session, SupervisedExt};
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Poll;
use support::{Script, TestWaker, panic_of, script};

type Text = Session<&'static str>;
type Outcome = Result<(), &'static str>;

/// A waiter with a task of its own.
fn waiter(session: &Text) -> (TestWaker, Pin<Box<Ended<&'static str>>>) {
    let (task, mut ended) = (TestWaker::new(), Box::pin(session.ended()));
    task.pending(&mut ended);
    (task, ended)
}

#[test]
fn r12_a_panic_is_published_and_raised_again_exactly_once() {
    type Payload = fn();
    let payloads: [(Payload, &str, &str); 4] = [
        (|| panic!("a literal"), "a literal", "a literal"),
        (|| panic!("number {}", 7), "number 7", "number 7"),
        (|| panic_any(String::from("a string")), "a string", "a string"),
        (|| panic_any(7_u8), "a value that is not a string", ""),
    ];
    for (payload, published, raised) in payloads {
        let session = Text::new();
        let script = script![Pending::<Outcome>].then(move |_| {
            payload();
            Poll::Pending
        });
        let log = script.log();
        let (task, mut ended) = waiter(&session);
        let own = TestWaker::new();
        let mut driver = pin!(session.drive(script));
        own.pending(&mut driver);
        assert_eq!(panic_of(|| own.poll(&mut driver)), raised, "the payload itself goes on");
        assert_eq!((log.polls(), log.drops()), (2, 1), "nobody polls what has panicked");
        assert!(driver.is_terminated());
        own.ready(&mut driver);
        assert_eq!(task.wakes(), 1);
        let cause = task.ready(&mut ended);
        assert!(matches!(cause, Cause::Panicked(message) if message.as_str() == published));
    }
}

#[test]
fn r12_a_panic_after_the_end_is_raised_and_the_first_cause_stays() {
    let session = Text::new();
    let inside = session.clone();
    let script = Script::<()>::each(move |_| {
        inside.fail("first");
        panic!("second");
    });
    assert_eq!(panic_of(|| TestWaker::new().poll(&mut pin!(session.drive(script)))), "second");
    assert_eq!(session.cause().unwrap().error(), Some(&"first"));
}

#[test]
fn r12_the_drop_of_the_inner_future_panics() {
    // Raised in the driver's own task, once; the verdict is out and the waiters are woken.
    let session = Text::new();
    let (task, mut ended) = waiter(&session);
    let mut driver = pin!(session.drive(script![Ready(Outcome::Err("reset"))].on_drop(|| panic!("in drop"))));
    assert_eq!(panic_of(|| TestWaker::new().poll(&mut driver)), "in drop");
    assert_eq!(task.ready(&mut ended).error(), Some(&"reset"));
    assert_eq!(task.wakes(), 1);
    TestWaker::new().ready(&mut driver);
    // Both panic: the first one is the one that is told.
    let session = Text::new();
    let script = Script::<Outcome>::each(|_| panic!("in poll")).on_drop(|| panic!("in drop"));
    assert_eq!(panic_of(|| TestWaker::new().poll(&mut pin!(session.drive(script)))), "in poll");
    // A driver that is dropped.
    let session = Text::new();
    let (task, mut ended) = waiter(&session);
    let driver = session.drive(Script::<Outcome>::never().on_drop(|| panic!("in drop")));
    assert_eq!(panic_of(|| drop(driver)), "in drop");
    assert!(matches!(task.ready(&mut ended), Cause::Dropped));
}

#[test]
fn r12_neither_a_panic_nor_a_panicking_drop_unwinds_from_with() {
    let polls = |outcome: fn() -> Script<Outcome>, app: fn(Text) -> Script<Option<Cause<&'static str>>>| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut with = pin!(session.drive(outcome()).with(app(session.clone())));
        task.pending(&mut with);
        task.ready(&mut with)
    };
    let app: fn(Text) -> _ = |session| script![Pending].then(move |_| Poll::Ready(session.cause()));
    let cause = polls(|| Script::each(|_| panic!("oh")), app);
    assert!(matches!(cause, Some(Cause::Panicked(message)) if message.as_str() == "oh"));
    let cause = polls(|| Script::each(|_| panic!("oh")).on_drop(|| panic!("in drop")), app);
    assert!(matches!(cause, Some(Cause::Panicked(message)) if message.as_str() == "oh"));
    let cause = polls(|| script![Ready(Err("reset"))].on_drop(|| panic!("in drop")), app);
    assert_eq!(cause.unwrap().error(), Some(&"reset"));
    // The application is done first: its result is not lost to a driver that goes badly.
    let cause = polls(|| Script::never().on_drop(|| panic!("in drop")), app);
    assert!(cause.is_none());
    // And a payload whose own drop panics stays in.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a payload that panics when dropped");
        }
    }
    let cause = polls(|| Script::each(|_| panic_any(Bomb)), app);
    assert!(matches!(cause, Some(Cause::Panicked(_))));
}

#[test]
fn r11_a_waker_whose_drop_panics_does_not_keep_a_verdict_back() {
    // The driver's own task: its registered waker is foreign code too.
    let panicking_drop = |armed: &Arc<AtomicBool>| {
        let armed = Arc::clone(armed);
        TestWaker::on_drop(move || assert!(!armed.swap(false, SeqCst), "this waker's drop panics"))
    };
    for resolves in [false, true] {
        let session = Text::new();
        let (task, mut ended) = waiter(&session);
        let armed = Arc::new(AtomicBool::new(true));
        let own = panicking_drop(&armed);
        let mut driver = Box::pin(session.drive(script![Pending, Ready(Outcome::Err("reset"))]));
        own.pending(&mut driver);
        // Nor does it unwind from there: it is no failure of the driver's.
        if resolves {
            own.ready(&mut driver);
        } else {
            drop(driver);
        }
        assert_eq!((task.wakes(), armed.load(SeqCst)), (1, false));
        assert_eq!(task.ready(&mut ended).error(), resolves.then_some(&"reset"));
    }
}

#[test]
fn r14_with_polls_the_application_first_and_keeps_no_result_back() {
    let session = Text::new();
    let (app, driver) = (script![Pending, Ready(7)], script![Pending::<Outcome>]);
    let (app_log, driver_log) = (app.log(), driver.log());
    let at_drop = Arc::new(AtomicBool::new(false));
    let driver = driver.on_drop({
        let (session, at_drop) = (session.clone(), Arc::clone(&at_drop));
        move || at_drop.store(session.is_ended(), SeqCst)
    });
    let task = TestWaker::new();
    let mut with = pin!(session.drive(driver).with(app));
    task.pending(&mut with);
    assert!(!with.is_terminated());
    assert_eq!((app_log.polls(), driver_log.polls()), (1, 1));
    assert_eq!(task.ready(&mut with), 7);
    assert_eq!((app_log.polls(), driver_log.polls(), driver_log.drops()), (2, 1, 1));
    assert!(at_drop.load(SeqCst), "the session was closed before the driver was dropped");
    assert!(session.cause().unwrap().is_closed());
    assert!(with.is_terminated());
    assert_eq!((task.registered(), task.wakes()), (0, 0), "who is done wakes nobody, least of all itself");
}

#[test]
fn r14_with_goes_on_after_the_driver_and_its_requests_get_the_cause() {
    let session = Text::new();
    let task = TestWaker::new();
    let request = Script::<u8>::never();
    let log = request.log();
    let app = {
        let session = session.clone();
        async move {
            let first = request.supervised(&session).await.unwrap_err();
            let second = Script::<u8>::untouched().supervised(&session).await.unwrap_err();
            (first, second)
        }
    };
    let mut with = pin!(session.drive(script![Ready(Outcome::Err("reset"))]).with(app));
    task.pending(&mut with);
    assert_eq!(task.wakes(), 1, "the application's task is woken by the driver's end");
    let (first, second) = task.ready(&mut with);
    assert_eq!(first.cause().error(), Some(&"reset"));
    assert!(first.request_started() && !second.request_started());
    assert_eq!((log.polls(), log.drops(), task.wakes(), task.registered()), (2, 1, 1, 0));
}

#[test]
fn r14_with_dropped_ends_the_session() {
    let session = Text::new();
    let (task, mut ended) = waiter(&session);
    let (app, driver) = (Script::<u8>::never(), Script::<()>::never());
    let (app_log, driver_log) = (app.log(), driver.log());
    drop(session.drive(driver).with(app));
    assert_eq!((app_log.drops(), driver_log.drops(), task.wakes()), (1, 1, 1));
    assert!(matches!(task.ready(&mut ended), Cause::Dropped));
}

#[test]
fn r14_the_applications_panic_is_its_own() {
    let session = Text::new();
    let mut with = Box::pin(session.drive(Script::<()>::never()).with(Script::<u8>::each(|_| panic!("app"))));
    assert_eq!(panic_of(|| TestWaker::new().poll(&mut with)), "app");
    drop(with);
    assert!(matches!(session.cause(), Some(Cause::Dropped)));
}

#[test]
fn r17_a_driver_need_not_be_send() {
    let session = Text::new();
    let local = std::rc::Rc::new(7);
    let answer = session.drive(async move { drop(local) }).with(async { std::rc::Rc::new(1) });
    assert_eq!(*pollster::block_on(answer), 1);
    assert!(session.cause().unwrap().is_closed());
}
