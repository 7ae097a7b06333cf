//! Foreign code that does its worst: wakers, errors and requests whose clone, drop or wake calls back, or panics.

mod support;

use shared_fate::{Session, SupervisedExt, TrySupervised};
use std::error::Error;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use support::{Outcome, Script, TestWaker, Why, no_deadlock, panic_of, script};

type Text = Session<Why>;

#[derive(Debug)]
struct Bomb(bool);

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bomb")
    }
}

impl Error for Bomb {}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "an error whose drop panics");
    }
}

#[test]
fn r12_a_late_errors_drop_does_not_unwind_from_run_until() {
    let session = Session::<Bomb>::new();
    let inside = session.clone();
    let driver = session.drive(Script::each(move |_| {
        inside.close();
        Poll::Ready(Err(Bomb(true)))
    }));
    let mut run = pin!(driver.run_until(script![Pending, Ready(7)]));
    let task = TestWaker::new();
    task.pending(&mut run);
    assert_eq!(task.ready(&mut run), 7);
}

#[test]
fn r12_a_late_errors_drop_leaves_the_driver_resolved() {
    let session = Session::<Bomb>::new();
    let inside = session.clone();
    let script = Script::each(move |_| {
        inside.close();
        Poll::Ready(Err(Bomb(true)))
    });
    let log = script.log();
    let mut driver = pin!(session.drive(script));
    assert!(TestWaker::new().ready(&mut driver).is_closed());
    assert_eq!(log.drops(), 1);
}

#[test]
fn r14_run_until_keeps_its_result_though_a_wakers_drop_panics() {
    let session = Text::new();
    let armed = Arc::new(AtomicUsize::new(0));
    let own = TestWaker::on_drop({
        let armed = Arc::clone(&armed);
        move || assert!(armed.fetch_add(1, SeqCst) != 0, "this waker's drop panics")
    });
    let mut run = Box::pin(session.drive(Script::<Outcome>::never()).run_until(script![Pending, Ready(7)]));
    own.pending(&mut run);
    assert_eq!(own.ready(&mut run), 7);
}

#[test]
fn sizes_of_a_fallible_request_do_not_grow_with_its_reply() {
    type Boxed = Pin<Box<dyn Future<Output = Result<[u8; 1024], u8>>>>;
    let beyond = size_of::<TrySupervised<Boxed, &Text>>() - size_of::<Boxed>();
    assert!(beyond <= 64, "{beyond} bytes");
}

#[test]
fn r11_a_waker_whose_clone_ends_the_session() {
    for registered_before in [false, true] {
        no_deadlock(move || {
            let session = Text::new();
            let inside = session.clone();
            let own = TestWaker::on_clone(move || {
                inside.fail(Why("from a waker's clone"));
            });
            let (mut request, mut lane) =
                (Box::pin(Script::<u8>::never().supervised(&session)), session.lane());
            let before = TestWaker::new();
            if registered_before {
                before.pending(&mut request);
            }
            let cause = own.ready(&mut request).unwrap_err();
            assert_eq!(cause.cause().error(), Some(&Why("from a waker's clone")));
            assert_eq!((own.registered(), before.registered()), (0, 0));
            let mut driver = pin!(session.drive(Script::<Outcome>::untouched()));
            own.ready(&mut driver);
            assert!(own.ready(&mut pin!(Script::<u8>::untouched().supervised(&mut lane))).is_err());
        });
    }
    // A driver's own.
    let session = Text::new();
    let inside = session.clone();
    let own = TestWaker::on_clone(move || {
        inside.close();
    });
    own.ready(&mut pin!(session.drive(Script::<Outcome>::never())));
    assert_eq!(own.registered(), 0);
}

#[test]
fn r11_a_request_whose_drop_calls_the_session_and_panics() {
    no_deadlock(|| {
        for wins in [false, true] {
            let session = Text::new();
            let inside = session.clone();
            let script = if wins { script![Pending, Ready(7)] } else { script![Pending] };
            let request = script.on_drop(move || {
                let ended = TestWaker::new().poll(&mut pin!(inside.ended())).is_ready();
                assert_eq!(ended, !wins);
                drop(inside.child());
                inside.close();
                panic!("a request whose drop panics");
            });
            let (task, sibling) = (TestWaker::new(), TestWaker::new());
            let mut request = Box::pin(request.supervised(&session));
            let mut other = pin!(Script::<u8>::never().supervised(&session));
            task.pending(&mut request);
            sibling.pending(&mut other);
            if !wins {
                session.fail(Why("reset"));
            }
            assert_eq!(panic_of(|| task.poll(&mut request)), "a request whose drop panics");
            assert_eq!((task.registered(), sibling.wakes()), (0, 1));
            assert!(panic_of(|| task.poll(&mut request)).contains("after completion"));
            assert!(sibling.ready(&mut other).is_err());
        }
    });
}

#[test]
fn r11_a_replaced_wakers_panicking_drop_leaves_the_new_one_in_place() {
    let session = Text::new();
    let armed = AtomicUsize::new(0);
    let old =
        TestWaker::on_drop(move || assert!(armed.fetch_add(1, SeqCst) != 0, "this waker's drop panics"));
    let new = TestWaker::new();
    let mut request = pin!(Script::<u8>::never().supervised(&session));
    old.pending(&mut request);
    assert_eq!(panic_of(|| new.poll(&mut request)), "this waker's drop panics");
    assert_eq!((old.registered(), new.registered()), (0, 1));
    session.fail(Why("reset"));
    assert_eq!((old.wakes(), new.wakes()), (0, 1));
    assert!(new.ready(&mut request).is_err());
}

#[test]
fn r11_a_wakers_memory_that_is_used_again_is_another_waker() {
    // The registration remembers an address. After the end that waker is gone, and its address may come back.
    for _ in 0..100 {
        let session = Text::new();
        let mut lane = session.lane();
        let mut request = pin!(Script::<u8>::never().supervised(&mut lane));
        let old = TestWaker::new();
        old.pending(&mut request);
        session.fail(Why("reset"));
        drop(old);
        let new = TestWaker::new();
        assert!(new.ready(&mut request).is_err(), "the verdict is asked first");
        assert_eq!((new.clones(), new.wakes()), (0, 0));
    }
}

#[test]
fn r16_children_that_come_and_go_from_inside_an_end() {
    no_deadlock(|| {
        let parent = Text::new();
        let shelf = Arc::new(Mutex::new((0..4).map(|_| parent.child()).collect::<Vec<_>>()));
        let (theirs, above) = (Arc::clone(&shelf), parent.clone());
        let task = TestWaker::on_wake(move || {
            let born = above.child();
            assert_eq!(born.cause().unwrap().error(), Some(&Why("reset")));
            let mut shelf = theirs.lock().unwrap();
            let gone: Vec<_> = shelf.drain(..2).collect();
            drop(gone);
            shelf.push(born);
        });
        let child = parent.child();
        let mut below = pin!(child.ended());
        task.pending(&mut below);
        assert!(parent.fail(Why("reset")));
        assert!(shelf.lock().unwrap().iter().all(Session::is_ended));
        assert_eq!(shelf.lock().unwrap().len(), 3);
    });
}

#[test]
fn r04_an_echo_over_nested_sessions_looks_at_its_own_only() {
    let (inner, outer) = (Text::new(), Text::new());
    outer.fail(Why("outer"));
    let request = script![Ready(Err::<u8, _>("echo"))].try_supervised(&inner).supervised(&outer);
    assert!(!TestWaker::new().ready(&mut pin!(request)).unwrap_err().request_started());
}
