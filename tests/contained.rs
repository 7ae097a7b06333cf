//! What goes wrong in a driver stays there; and a driver inline, in the task of its users.

mod support;

use futures::future::FusedFuture;
use shared_fate::{Cause, Session, SupervisedExt};
use std::panic::panic_any;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use support::{Outcome, Script, TestWaker, Why, panic_of, script, waiter};

type Text = Session<Why>;

#[test]
fn r12_a_panic_is_published_and_unwinds_nowhere() {
    type Payload = fn();
    let payloads: [(Payload, &str); 4] = [
        (|| panic!("a literal"), "a literal"),
        (|| panic!("number {}", 7), "number 7"),
        (|| panic_any(String::from("a string")), "a string"),
        (|| panic_any(7_u8), "a value that is not a string"),
    ];
    for (payload, published) in payloads {
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
        let cause = own.ready(&mut driver);
        assert_eq!(cause.panic_message().unwrap().as_str(), published);
        assert_eq!((log.polls(), log.drops()), (2, 1), "nothing polls what has panicked");
        assert!(driver.is_terminated());
        assert_eq!(own.ready(&mut driver), cause);
        assert_eq!(task.wakes(), 1);
        assert_eq!(task.ready(&mut ended), cause);
    }
}

#[test]
fn r12_a_panic_after_the_end_leaves_the_first_cause_in_place() {
    let session = Text::new();
    let inside = session.clone();
    let script = Script::<Outcome>::each(move |_| {
        inside.fail(Why("first"));
        panic!("second");
    });
    let cause = TestWaker::new().ready(&mut pin!(session.drive(script)));
    assert_eq!(cause.error(), Some(&Why("first")), "the driver's output is the session's cause");
    assert_eq!(session.cause(), Some(cause));
}

#[test]
fn r12_the_drop_of_the_inner_future_panics() {
    // It goes no further; the verdict is out and the waiters are woken.
    let session = Text::new();
    let (task, mut ended) = waiter(&session);
    let mut driver = pin!(session.drive(script![Ready(Err(Why("reset")))].on_drop(|| panic!("in drop"))));
    assert_eq!(TestWaker::new().ready(&mut driver).error(), Some(&Why("reset")));
    assert_eq!(task.ready(&mut ended).error(), Some(&Why("reset")));
    assert_eq!(task.wakes(), 1);
    assert!(driver.is_terminated());
    // Both panic: the poll's is the cause.
    let session = Text::new();
    let script = Script::<Outcome>::each(|_| panic!("in poll")).on_drop(|| panic!("in drop"));
    let cause = TestWaker::new().ready(&mut pin!(session.drive(script)));
    assert_eq!(cause.panic_message().unwrap().as_str(), "in poll");
    // A driver that is dropped.
    let session = Text::new();
    let (task, mut ended) = waiter(&session);
    drop(session.drive(Script::<Outcome>::never().on_drop(|| panic!("in drop"))));
    assert!(matches!(task.ready(&mut ended), Cause::Dropped));
    // A driver that is done.
    let session = Text::new();
    let script = script![Ready(Ok(()))].on_drop(|| panic!("in drop"));
    assert!(TestWaker::new().ready(&mut pin!(session.monitor(script))).is_finished());
    assert!(!session.is_ended(), "what its drop does is no end");
}

#[test]
fn r12_neither_a_panic_nor_a_panicking_drop_unwinds_from_run_until() {
    let polls = |outcome: fn() -> Script<Outcome>, app: fn(Text) -> Script<Option<Cause<Why>>>| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut run = pin!(session.drive(outcome()).run_until(app(session.clone())));
        task.pending(&mut run);
        task.ready(&mut run)
    };
    let app: fn(Text) -> _ = |session| script![Pending].then(move |_| Poll::Ready(session.cause()));
    let cause = polls(|| Script::each(|_| panic!("oh")), app);
    assert!(matches!(cause, Some(Cause::Panicked(message)) if message.as_str() == "oh"));
    let cause = polls(|| Script::each(|_| panic!("oh")).on_drop(|| panic!("in drop")), app);
    assert!(matches!(cause, Some(Cause::Panicked(message)) if message.as_str() == "oh"));
    let cause = polls(|| script![Ready(Err(Why("reset")))].on_drop(|| panic!("in drop")), app);
    assert_eq!(cause.unwrap().error(), Some(&Why("reset")));
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
        let mut driver = Box::pin(session.drive(script![Pending, Ready(Outcome::Err(Why("reset")))]));
        own.pending(&mut driver);
        // Nor does it unwind from there: it is no failure of the driver's.
        if resolves {
            own.ready(&mut driver);
        } else {
            drop(driver);
        }
        assert_eq!((task.wakes(), armed.load(SeqCst)), (1, false));
        assert_eq!(task.ready(&mut ended).error(), resolves.then_some(&Why("reset")));
    }
}

#[test]
fn r14_run_until_polls_the_application_first_and_then_in_turns() {
    let session = Text::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(name)
    };
    let (in_app, in_driver) = (note("app"), note("driver"));
    let app = Script::<u8>::each(move |_| {
        in_app();
        Poll::Pending
    });
    let driver = Script::<Outcome>::each(move |_| {
        in_driver();
        Poll::Pending
    });
    let task = TestWaker::new();
    let mut run = pin!(session.drive(driver).run_until(app));
    for _ in 0..3 {
        task.pending(&mut run);
    }
    assert_eq!(*order.lock().unwrap(), ["app", "driver", "driver", "app", "app", "driver"]);

    // `run_during` does the same with a driver that is only lent.
    order.lock().unwrap().clear();
    let (in_app, in_driver) = (note("app"), note("driver"));
    let mut driver = Box::pin(session.drive(Script::<Outcome>::each(move |_| {
        in_driver();
        Poll::Pending
    })));
    let app = script![Pending, Pending].then(move |_| {
        in_app();
        Poll::Ready(7)
    });
    let log = app.log();
    let mut run = pin!(driver.as_mut().run_during(app));
    task.pending(&mut run);
    task.pending(&mut run);
    assert!(!run.is_terminated());
    assert_eq!(task.ready(&mut run), 7);
    assert!(run.is_terminated());
    assert_eq!(
        *order.lock().unwrap(),
        ["driver", "driver", "app"],
        "the third poll begins with the application"
    );
    assert_eq!((log.polls(), log.drops()), (3, 1));
    assert!(!session.is_ended());
    task.pending(&mut driver);
    drop(driver);
    assert!(session.cause().unwrap().is_dropped());
}

#[test]
fn r14_run_until_keeps_no_result_back() {
    // Where the application goes first: in the first poll, the third, and so on.
    let session = Text::new();
    let (app, driver) = (script![Ready(7)], Script::<Outcome>::untouched());
    let log = driver.log();
    let task = TestWaker::new();
    let mut run = pin!(session.drive(driver).run_until(app));
    assert_eq!(task.ready(&mut run), 7);
    assert_eq!((log.polls(), log.drops()), (0, 1));
    assert!(session.cause().unwrap().is_closed());
    // Where the driver does.
    let session = Text::new();
    let (app, driver) = (script![Pending, Ready(7)], script![Pending::<Outcome>]);
    let (app_log, driver_log) = (app.log(), driver.log());
    let at_drop = Arc::new(AtomicBool::new(false));
    let driver = driver.on_drop({
        let (session, at_drop) = (session.clone(), Arc::clone(&at_drop));
        move || at_drop.store(session.is_ended(), SeqCst)
    });
    let task = TestWaker::new();
    let mut run = pin!(session.drive(driver).run_until(app));
    task.pending(&mut run);
    assert!(!run.is_terminated());
    assert_eq!((app_log.polls(), driver_log.polls()), (1, 1));
    assert_eq!(task.ready(&mut run), 7);
    assert_eq!((app_log.polls(), driver_log.polls(), driver_log.drops()), (2, 2, 1));
    assert!(at_drop.load(SeqCst), "the session was closed before the driver was dropped");
    assert!(session.cause().unwrap().is_closed());
    assert!(run.is_terminated());
    assert_eq!((task.registered(), task.wakes()), (0, 0), "what is done wakes nothing, least of all itself");
}

#[test]
fn r14_run_until_goes_on_after_the_driver_and_its_requests_get_the_cause() {
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
    let mut run = pin!(session.drive(script![Ready(Err(Why("reset")))]).run_until(app));
    task.pending(&mut run);
    assert_eq!(task.wakes(), 1, "the application's task is woken by the driver's end");
    let (first, second) = task.ready(&mut run);
    assert_eq!(first.cause().error(), Some(&Why("reset")));
    assert!(first.request_started() && !second.request_started());
    assert_eq!((log.polls(), log.drops(), task.wakes(), task.registered()), (2, 1, 1, 0));
}

#[test]
fn r14_run_until_dropped_ends_the_session() {
    let session = Text::new();
    let (task, mut ended) = waiter(&session);
    let (app, driver) = (Script::<u8>::never(), Script::<Outcome>::never());
    let (app_log, driver_log) = (app.log(), driver.log());
    drop(session.drive(driver).run_until(app));
    assert_eq!((app_log.drops(), driver_log.drops(), task.wakes()), (1, 1, 1));
    assert!(matches!(task.ready(&mut ended), Cause::Dropped));
}

#[test]
fn r14_the_applications_panic_is_its_own() {
    let session = Text::new();
    let mut run =
        Box::pin(session.drive(Script::<Outcome>::never()).run_until(Script::<u8>::each(|_| panic!("app"))));
    assert_eq!(panic_of(|| TestWaker::new().poll(&mut run)), "app");
    drop(run);
    assert!(matches!(session.cause(), Some(Cause::Dropped)));
}

#[test]
fn r17_a_driver_need_not_be_send() {
    let session = Text::new();
    let local = std::rc::Rc::new(7);
    let driver = session.drive(async move {
        drop(local);
        Ok(())
    });
    let answer = driver.run_until(async { std::rc::Rc::new(1) });
    assert_eq!(*pollster::block_on(answer), 1);
    assert!(session.cause().unwrap().is_closed());
}

/// A driver that was ended from elsewhere lets go of its mapping with its future.
#[test]
fn r07_a_resolved_driver_keeps_nothing_of_its_mapping() {
    let session = Session::<Why>::new();
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let mut driver = Box::pin(session.drive_map(std::future::pending::<()>(), move |()| {
        drop(inside);
        None
    }));
    let task = TestWaker::new();
    task.pending(&mut driver);
    session.close();
    assert!(task.ready(&mut driver).is_closed());
    task.ready(&mut Box::pin(session.drivers_gone()));
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn r12_the_drop_of_a_mapping_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let (session, bomb) = (Session::<Why>::new(), Bomb);
    drop(session.drive_map(std::future::pending::<()>(), move |()| {
        let _bomb = &bomb;
        None
    }));
    assert!(session.cause().unwrap().is_dropped());
}
