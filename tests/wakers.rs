//! R11: wakers that panic, call back, or drop what they wake. Nobody is stranded, nothing deadlocks.

mod support;

use shared_fate::{Cause, Ended, Session, Supervised, SupervisedExt, stream::SupervisedStreamExt};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use support::{Log, Outcome, Script, TestWaker, Why, no_deadlock, panic_of, script};

type Text = Session<Why>;
type Request = Pin<Box<Supervised<Script<u8>, Text>>>;
type Slot = Option<(Request, Log)>;

fn request(session: &Text) -> (Request, Log) {
    let request = Script::never();
    let log = request.log();
    (Box::pin(request.supervised(session.clone())), log)
}

#[test]
fn r11_one_panicking_waker_among_five_strands_nobody() {
    for bad in 0..5 {
        let session = Text::new();
        let tasks: [_; 5] =
            std::array::from_fn(|at| if at == bad { TestWaker::panicking() } else { TestWaker::new() });
        let mut requests = [(); 5].map(|()| request(&session));
        for (task, (request, _)) in tasks.iter().zip(&mut requests) {
            task.pending(request);
        }
        assert!(session.fail(Why("gone")), "`fail` returns, and says that it was first");
        assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1; 5]);
        assert_eq!(tasks.each_ref().map(TestWaker::registered), [0; 5]);
        for (task, (request, log)) in tasks.iter().zip(&mut requests) {
            assert_eq!(task.ready(request).unwrap_err().cause().error(), Some(&Why("gone")));
            assert_eq!((log.polls(), log.drops()), (2, 1));
        }
        assert!(!session.close(), "the session is usable");
        assert_eq!(TestWaker::new().ready(&mut pin!(session.ended())).error(), Some(&Why("gone")));
    }
}

#[test]
fn r11_all_wakers_panic() {
    let session = Text::new();
    let tasks: [_; 5] = std::array::from_fn(|_| TestWaker::panicking());
    let mut requests = [(); 5].map(|()| request(&session));
    for (task, (request, _)) in tasks.iter().zip(&mut requests) {
        task.pending(request);
    }
    assert!(session.close());
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1; 5]);
}

#[test]
fn r11_a_panicking_waker_while_its_reporter_is_unwinding() {
    // A driver dropped by a panic ends the session in the middle of an unwinding. A waker that panics
    // then must not turn it into an abort.
    let session = Text::new();
    let tasks = [TestWaker::panicking(), TestWaker::new()];
    let (mut one, mut two) = (request(&session).0, request(&session).0);
    tasks[0].pending(&mut one);
    tasks[1].pending(&mut two);
    let said = panic_of(|| {
        let _driver = session.drive(Script::<Outcome>::never());
        panic!("the first panic");
    });
    assert_eq!(said, "the first panic");
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1, 1]);
    assert!(matches!(tasks[1].ready(&mut two).unwrap_err().cause(), Cause::Dropped));
}

#[test]
fn r11_a_wakers_panic_payload_may_panic_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a payload that panics when dropped");
        }
    }
    let session = Text::new();
    let tasks = [TestWaker::on_wake(|| std::panic::panic_any(Bomb)), TestWaker::new()];
    let (mut one, mut two) = (request(&session).0, request(&session).0);
    tasks[0].pending(&mut one);
    tasks[1].pending(&mut two);
    assert!(session.fail(Why("gone")));
    assert_eq!(tasks[1].wakes(), 1);
}

#[test]
fn r11_a_waker_whose_clone_panics_leaves_everything_as_it_was() {
    let session = Text::new();
    let armed = Arc::new(AtomicBool::new(true));
    let bad = TestWaker::on_clone({
        let armed = Arc::clone(&armed);
        move || assert!(!armed.load(SeqCst), "this clone panics")
    });
    let good = TestWaker::new();
    let (mut one, one_log) = request(&session);
    let (mut two, _) = request(&session);
    good.pending(&mut two);

    // At the first registration.
    assert_eq!(panic_of(|| bad.poll(&mut one)), "this clone panics");
    assert_eq!((one_log.polls(), bad.registered()), (1, 0));
    // At a replacement: the old waker stays.
    good.pending(&mut one);
    assert_eq!(good.registered(), 2);
    assert_eq!(panic_of(|| bad.poll(&mut one)), "this clone panics");
    assert_eq!(good.registered(), 2);
    // And it recovers.
    armed.store(false, SeqCst);
    bad.pending(&mut one);
    assert_eq!((bad.registered(), good.registered()), (1, 1));
    session.fail(Why("gone"));
    assert_eq!((bad.wakes(), good.wakes()), (1, 1));
    assert!(one_log.drops() == 0 && bad.ready(&mut one).is_err() && one_log.drops() == 1);
}

#[test]
fn r03_a_request_that_was_polled_never_counts_as_unstarted() {
    // Its first poll went wrong after the request had run: "safe to repeat" would be a lie.
    let session = Text::new();
    let bad = TestWaker::on_clone(|| panic!("this clone panics"));
    let (mut one, log) = request(&session);
    panic_of(|| bad.poll(&mut one));
    session.fail(Why("gone"));
    let ended = TestWaker::new().ready(&mut one).unwrap_err();
    assert!(ended.request_started(), "it was polled {} times", log.polls());

    // A request that panics in its first poll counts as started, too, inside a caller that survives the panic.
    let session = Text::new();
    let mut polls = 0;
    let request = Script::<u8>::each(move |_| {
        polls += 1;
        assert!(polls > 1, "the first poll panics");
        Poll::Pending
    });
    let mut request = pin!(request.supervised(&session));
    let task = TestWaker::new();
    panic_of(|| task.poll(&mut request));
    session.fail(Why("gone"));
    assert!(task.ready(&mut request).unwrap_err().request_started());
}

#[test]
fn r11_a_waker_that_calls_the_session_from_inside_wake() {
    no_deadlock(|| {
        let session = Text::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = TestWaker::on_wake({
            let (session, seen) = (session.clone(), Arc::clone(&seen));
            move || {
                assert!(!session.fail(Why("again")) && !session.close() && session.is_ended());
                let mut ended = pin!(session.ended());
                let cause = TestWaker::new().ready(&mut ended);
                seen.lock().unwrap().push(*cause.error().unwrap());
                assert!(session.child().is_ended());
                drop(session.drive(Script::<Outcome>::untouched()));
            }
        });
        let others: Vec<_> = (0..4).map(|_| TestWaker::new()).collect();
        let mut waiting: Vec<Pin<Box<Ended<_>>>> = (0..5).map(|_| Box::pin(session.ended())).collect();
        for (ended, task) in waiting.iter_mut().zip([&others[0], &others[1], &task, &others[2], &others[3]]) {
            task.pending(ended);
        }
        assert!(session.fail(Why("first")));
        assert_eq!(*seen.lock().unwrap(), [Why("first")]);
        assert!(others.iter().all(|other| other.wakes() == 1));
    });
}

#[test]
fn r11_a_waker_that_polls_and_drops_other_requests_from_inside_wake() {
    no_deadlock(|| {
        let session = Text::new();
        let slots: Arc<Mutex<Vec<Slot>>> = Arc::default();
        let inner_task = Arc::new(TestWaker::new());
        let task = TestWaker::on_wake({
            let (slots, inner_task) = (Arc::clone(&slots), Arc::clone(&inner_task));
            move || {
                let mut slots = slots.lock().unwrap();
                // Polled: it is told at once. Dropped: it leaves a table that is being emptied.
                let (polled, log) = slots[0].as_mut().unwrap();
                assert!(inner_task.ready(polled).is_err());
                assert_eq!((log.polls(), log.drops()), (2, 1));
                for slot in slots.iter_mut().skip(1) {
                    *slot = None;
                }
            }
        });
        *slots.lock().unwrap() = (0..6).map(|_| Some(request(&session))).collect();
        let others: Vec<_> = (0..6).map(|_| TestWaker::new()).collect();
        let mut waiting = request(&session).0;
        task.pending(&mut waiting);
        for (slot, other) in slots.lock().unwrap().iter_mut().zip(&others) {
            other.pending(&mut slot.as_mut().unwrap().0);
        }
        assert!(session.fail(Why("gone")));
        assert_eq!(task.wakes(), 1);
        assert!(others.iter().all(|other| other.registered() == 0));
        assert!(task.ready(&mut waiting).is_err());
    });
}

#[test]
fn r11_a_waker_whose_drop_calls_the_session() {
    no_deadlock(|| {
        for end_by_drop in [false, true] {
            let session = Text::new();
            let dropped = Arc::new(AtomicUsize::new(0));
            let bad = TestWaker::on_drop({
                let (session, dropped) = (session.clone(), Arc::clone(&dropped));
                move || {
                    dropped.fetch_add(1, SeqCst);
                    TestWaker::new().poll(&mut pin!(session.ended())).is_ready();
                    if end_by_drop {
                        session.fail(Why("from a waker's drop"));
                    }
                }
            });
            let (good, sibling) = (TestWaker::new(), TestWaker::new());
            let (mut one, mut two) = (request(&session).0, request(&session).0);
            sibling.pending(&mut two);
            // Replaced.
            bad.pending(&mut one);
            let replaced = good.poll(&mut one);
            assert_eq!(dropped.load(SeqCst), 1);
            // Ended inside the very poll that registered another waker: no task may sleep on that.
            assert!(replaced.is_ready() || good.wakes() == usize::from(end_by_drop));
            if !end_by_drop {
                // Unregistered by a drop, and by the end.
                bad.pending(&mut one);
                drop(one);
                assert_eq!(dropped.load(SeqCst), 2);
                session.fail(Why("gone"));
            }
            assert_eq!(sibling.wakes(), 1);
            assert!(sibling.ready(&mut two).is_err());
            assert_eq!((bad.registered(), sibling.registered()), (0, 0));
        }
    });
}

/// A task of an executor that is gone: waking it only drops it.
struct Orphan(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        let task = self.0.lock().unwrap().take();
        drop(task);
    }
}

#[test]
fn r11_waking_a_task_of_a_dead_executor_drops_it_and_that_unregisters() {
    no_deadlock(|| {
        let session = Text::new();
        let last = TestWaker::new();
        let mut logs = Vec::new();
        for _ in 0..4 {
            let script = Script::<()>::never();
            logs.push(script.log());
            // It waits in several ways at once, so its drop unregisters several.
            let session = session.clone();
            let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                let other = Script::<()>::never().supervised(&session);
                futures::join!(script.supervised(&session), other, session.ended()).2.is_closed();
            });
            let orphan = Arc::new(Orphan(Mutex::new(Some(task))));
            let waker = Waker::from(Arc::clone(&orphan));
            let mut task = orphan.0.lock().unwrap();
            assert!(task.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(session.drive(Script::<Outcome>::never()));
        let mut ended = pin!(session.ended());
        assert!(matches!(last.ready(&mut ended), Cause::Dropped));
        assert!(logs.iter().all(|log| log.drops() == 1), "woken by the end, dropped by the wake");
    });
}

#[test]
fn r11_streams_and_drivers_are_woken_past_a_panicking_waker() {
    let session = Text::new();
    let tasks = [TestWaker::new(), TestWaker::panicking(), TestWaker::new()];
    let mut stream = Box::pin(SupervisedStreamExt::supervised(futures::stream::pending::<u8>(), &session));
    let mut bad = request(&session).0;
    let script = script![Pending::<Outcome>];
    let log = script.log();
    let mut driver = pin!(session.drive(script));
    assert!(
        futures::Stream::poll_next(stream.as_mut(), &mut Context::from_waker(tasks[0].waker())).is_pending()
    );
    tasks[1].pending(&mut bad);
    tasks[2].pending(&mut driver);
    assert!(session.close());
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1, 1, 1]);
    tasks[2].ready(&mut driver);
    assert_eq!((log.polls(), log.drops()), (1, 1));
}
