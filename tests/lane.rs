//! `Lane`: the rules of `&session`, and a registration that stays between calls.

mod support;

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::future::FusedFuture;
use shared_fate::stream::SupervisedStreamExt;
use shared_fate::{Cause, Lane, Session, Supervised, SupervisedExt};
use std::future::Ready;
use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::{io, thread};
use support::{Script, TestWaker, Why, no_deadlock, panic_of, script};

type Text = Session<Why>;

/// One call that pends once.
fn call(task: &TestWaker, lane: &mut Lane<Why>) {
    let mut call = pin!(script![Pending, Ready(7)].supervised(lane));
    task.pending(&mut call);
    assert_eq!(task.ready(&mut call).unwrap(), 7);
}

#[test]
fn a_task_registers_once_for_all_its_calls() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    assert_eq!(task.clones(), 0);
    for _ in 0..100 {
        call(&task, &mut lane);
        assert_eq!((task.clones(), task.registered(), task.wakes()), (1, 1, 0));
    }
    drop(lane);
    assert_eq!((task.registered(), task.wakes()), (0, 0));
}

#[test]
fn a_call_that_never_waits_registers_nothing() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    let request = script![Ready(7)];
    let log = request.log();
    let mut request = pin!(request.supervised(&mut lane));
    assert_eq!(task.ready(&mut request).unwrap(), 7);
    assert!(request.is_terminated());
    assert_eq!((log.polls(), log.drops(), task.clones()), (1, 1, 0));
}

#[test]
fn another_waker_takes_the_registration_over() {
    let session = Text::new();
    let mut lane = session.lane();
    let (first, second) = (TestWaker::new(), TestWaker::new());
    call(&first, &mut lane);
    // The lane moves to another task.
    call(&second, &mut lane);
    assert_eq!((first.registered(), second.registered()), (0, 1));
    // And within one call: the waker of the last poll that said `Pending` counts.
    let mut waiting = pin!(Script::<()>::never().supervised(&mut lane));
    second.pending(&mut waiting);
    first.pending(&mut waiting);
    assert_eq!((first.registered(), second.registered()), (1, 0));
    session.fail(Why("reset"));
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    assert_eq!(first.ready(&mut waiting).unwrap_err().into_cause().error(), Some(&Why("reset")));
}

#[test]
fn the_end_wakes_an_idle_lane_once() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    call(&task, &mut lane);
    session.fail(Why("reset"));
    assert_eq!((task.wakes(), task.registered()), (1, 0), "spurious, as documented");
    // A lane that is registered no more says what a session says, and does not register again.
    let request = Script::<()>::untouched();
    let log = request.log();
    let ended = task.ready(&mut pin!(request.supervised(&mut lane))).unwrap_err();
    assert_eq!((ended.cause().error(), ended.request_started()), (Some(&Why("reset")), false));
    assert_eq!((log.polls(), log.drops()), (0, 1));
    drop(lane);
    assert_eq!((task.wakes(), task.registered(), task.clones()), (1, 0, 1));
}

#[test]
fn a_lane_that_never_waited_is_not_woken() {
    let session = Text::new();
    let lane = session.lane();
    let task = TestWaker::new();
    session.close();
    drop(lane);
    assert_eq!((task.clones(), task.wakes()), (0, 0));
}

#[test]
fn lanes_are_woken_beside_other_waiters_and_each_by_itself() {
    let session = Text::new();
    let (one, two, three) = (TestWaker::new(), TestWaker::new(), TestWaker::new());
    let (mut first, mut second) = (session.lane(), session.lane());
    call(&one, &mut first);
    call(&two, &mut second);
    let mut third = pin!(Script::<()>::never().supervised(&session));
    three.pending(&mut third);
    drop(first);
    session.close();
    assert_eq!([&one, &two, &three].map(TestWaker::wakes), [0, 1, 1]);
    assert_eq!([&one, &two, &three].map(TestWaker::registered), [0, 0, 0]);
}

#[test]
fn r02_a_reply_that_arrives_with_the_end_is_delivered() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    call(&task, &mut lane);
    let (reply, request) = oneshot::channel();
    let mut request = pin!(request.supervised(&mut lane));
    task.pending(&mut request);
    session.fail(Why("reset"));
    reply.send(7).unwrap();
    assert_eq!(task.ready(&mut request).unwrap(), Ok(7));
}

#[test]
fn r02_a_reply_that_arrives_while_the_request_is_polled_and_before_the_end() {
    for calls_before in [0, 1] {
        let session = Text::new();
        let mut lane = session.lane();
        let task = TestWaker::new();
        (0..calls_before).for_each(|_| call(&task, &mut lane));
        let (inside, mut polls) = (session.clone(), 0);
        let request = Script::each(move |_| {
            polls += 1;
            if polls == 1 {
                inside.fail(Why("reset"));
                return Poll::Pending;
            }
            Poll::Ready(7)
        });
        let log = request.log();
        let mut request = pin!(request.supervised(&mut lane));
        if calls_before > 0 {
            // Registered, so it is woken and need not look again by itself.
            task.pending(&mut request);
            assert_eq!(task.wakes(), 1);
        }
        assert_eq!(task.ready(&mut request).unwrap(), 7, "asked once more");
        assert_eq!((log.polls(), log.drops(), task.registered()), (2, 1, 0));
    }
}

#[test]
fn r03_on_a_dead_session_the_request_is_never_polled() {
    let session = Text::new();
    let mut lane = session.lane();
    session.fail(Why("reset"));
    let task = TestWaker::new();
    for _ in 0..2 {
        let request = Script::<()>::untouched();
        let log = request.log();
        let mut request = pin!(request.supervised(&mut lane));
        let ended = task.ready(&mut request).unwrap_err();
        assert!(!ended.request_started());
        assert_eq!((log.polls(), log.drops(), task.clones()), (0, 1, 0));
    }
}

#[test]
fn r03_a_session_that_ends_between_two_calls() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    call(&task, &mut lane);
    let mut request = pin!(Script::<()>::untouched().supervised(&mut lane));
    session.close();
    let ended = task.ready(&mut request).unwrap_err();
    assert!(ended.cause().is_closed() && !ended.request_started());
}

#[test]
fn r04_the_cause_beats_its_echo() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    call(&task, &mut lane);
    let mut request = pin!(script![Pending, Ready(Err::<(), _>("echo"))].try_supervised(&mut lane));
    task.pending(&mut request);
    session.fail(Why("reset"));
    let failed = task.ready(&mut request).unwrap_err();
    assert_eq!(failed.cause().and_then(Cause::error), Some(&Why("reset")));
    assert_eq!(failed.request_error(), Some(&"echo"));

    let session = Text::new();
    let mut lane = session.lane();
    let mut request = pin!(script![Ready(Err::<(), _>("its own"))].try_supervised(&mut lane));
    let failed = task.ready(&mut request).unwrap_err();
    assert_eq!(failed.into_parts(), (Some("its own"), None), "it lives");
}

#[test]
fn r09_the_loser_is_dropped_inside_the_poll_that_decides() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    let request = Script::<()>::never();
    let log = request.log();
    let mut request = pin!(request.supervised(&mut lane));
    task.pending(&mut request);
    session.fail(Why("reset"));
    assert_eq!(log.drops(), 0);
    assert!(task.ready(&mut request).unwrap_err().request_started());
    assert_eq!((log.polls(), log.drops()), (2, 1));
    assert!(panic_of(|| task.poll(&mut request)).contains("after completion"));
}

#[test]
fn r10_cancelling_a_call_is_dropping_it() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    for _ in 0..3 {
        let request = Script::<()>::never();
        let log = request.log();
        let mut request = Box::pin(request.supervised(&mut lane));
        task.pending(&mut request);
        drop(request);
        assert_eq!((log.polls(), log.drops()), (1, 1));
        assert_eq!((task.clones(), task.registered()), (1, 1), "the lane stays registered");
    }
    assert!(!session.is_ended());
    drop(lane);
    assert_eq!((task.registered(), task.wakes()), (0, 0));
}

#[test]
fn r10_a_call_that_is_forgotten_leaves_the_lane_in_order() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    // On the stack, so that nothing is leaked but the drop.
    let mut request = ManuallyDrop::new(Script::<()>::never().supervised(&mut lane));
    task.pending(&mut Pin::new(&mut *request));
    let _never_dropped = request;
    call(&task, &mut lane);
    drop(lane);
    assert_eq!((task.clones(), task.registered()), (1, 0));
}

#[test]
fn r11_a_waker_whose_drop_drops_the_lane_and_one_that_calls_back() {
    no_deadlock(|| {
        let session = Text::new();
        // Replaced by another task's waker, its drop looks at the session and registers elsewhere.
        let inside = session.clone();
        let calls_back = TestWaker::on_drop(move || {
            let task = TestWaker::new();
            call(&task, &mut inside.lane());
            assert_eq!(task.registered(), 0);
        });
        let mut lane = session.lane();
        call(&calls_back, &mut lane);
        call(&TestWaker::new(), &mut lane);
        assert_eq!(calls_back.registered(), 0);
        drop(calls_back);
        // Woken by the end, it drops the lane that is registered with it: an executor that is gone.
        let shelf = Arc::new(Mutex::new(None::<Lane<Why>>));
        let theirs = Arc::clone(&shelf);
        let drops_lane = TestWaker::on_wake(move || {
            let lane = theirs.lock().unwrap().take();
            drop(lane);
        });
        let mut lane = session.lane();
        call(&drops_lane, &mut lane);
        *shelf.lock().unwrap() = Some(lane);
        assert!(session.close());
        assert!(shelf.lock().unwrap().is_none());
        assert_eq!((drops_lane.wakes(), drops_lane.registered()), (1, 0));
    });
}

#[test]
fn r11_a_waker_whose_clone_panics_leaves_the_registration_as_it_is() {
    let session = Text::new();
    let mut lane = session.lane();
    let (good, bad) = (TestWaker::new(), TestWaker::on_clone(|| panic!("this clone panics")));
    call(&good, &mut lane);
    let mut request = pin!(Script::<()>::never().supervised(&mut lane));
    assert!(panic_of(|| bad.poll(&mut request)).contains("this clone panics"));
    session.fail(Why("reset"));
    assert_eq!((good.wakes(), bad.wakes()), (1, 0));
    assert!(good.ready(&mut request).unwrap_err().request_started());
}

#[test]
fn r13_a_stream_over_a_lane() {
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    for _ in 0..2 {
        let (items, stream) = mpsc::unbounded();
        let mut stream = stream.supervised(&mut lane);
        task.pending(&mut Box::pin(stream.next()));
        items.unbounded_send(7).unwrap();
        assert_eq!(task.ready(&mut Box::pin(stream.next())).unwrap().unwrap(), 7);
    }
    assert_eq!((task.clones(), task.registered()), (3, 1), "each channel took one, the lane one for both");
    session.fail(Why("reset"));
    let (_items, stream) = mpsc::unbounded::<u8>();
    let mut stream = stream.supervised(&mut lane);
    let ended = task.ready(&mut Box::pin(stream.next())).unwrap().unwrap_err();
    assert_eq!(ended.cause().error(), Some(&Why("reset")));
    assert!(task.ready(&mut Box::pin(stream.next())).is_none());
}

#[test]
fn r16_lanes_nest_and_belong_to_children() {
    let (outer, inner) = (Text::new(), Text::new());
    let child = outer.child();
    let (mut of_child, mut of_inner) = (child.lane(), inner.lane());
    assert!(!of_child.session().is_ended());
    let task = TestWaker::new();
    let mut request = pin!(Script::<()>::never().supervised(&mut of_inner).supervised(&mut of_child));
    task.pending(&mut request);
    task.pending(&mut request);
    assert_eq!(task.clones(), 2);
    outer.fail(Why("outer"));
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.ready(&mut request).unwrap_err().cause().error(), Some(&Why("outer")));
}

#[test]
fn r17_a_lane_may_change_threads() {
    fn send_sync_unpin<T: Send + Sync + Unpin>() {}
    send_sync_unpin::<Lane<io::Error>>();
    let session = Text::new();
    let mut lane = session.lane();
    let task = TestWaker::new();
    call(&task, &mut lane);
    let task = thread::spawn(move || {
        call(&task, &mut lane);
        task
    });
    let task = task.join().unwrap();
    assert_eq!((task.clones(), task.registered()), (1, 0));
}

/// Ends the session at every moment of a task that makes calls: nothing hangs, nothing is left registered.
#[test]
fn the_end_comes_at_any_time() {
    for _ in 0..200 {
        let session = Text::new();
        let reporter = session.clone();
        let task = TestWaker::new();
        let end = thread::spawn(move || reporter.fail(Why("reset")));
        let mut lane = session.lane();
        let mut calls = 0;
        let ended = loop {
            let mut call = pin!(script![Pending, Ready(7)].supervised(&mut lane));
            let polls = [task.poll(&mut call), Poll::Pending];
            let ended = match polls[0] {
                Poll::Ready(Ok(_)) => None,
                Poll::Ready(Err(ref ended)) => Some(ended.clone()),
                Poll::Pending => task.ready(&mut call).err(),
            };
            calls += 1;
            if let Some(ended) = ended {
                break ended;
            }
            if calls % 64 == 0 {
                thread::yield_now();
            }
        };
        assert_eq!(ended.cause().error(), Some(&Why("reset")));
        assert!(end.join().unwrap());
        assert!(task.wakes() <= 1 && task.clones() <= 1);
        drop(lane);
        assert_eq!(task.registered(), 0);
    }
}

#[test]
fn sizes() {
    let word = size_of::<usize>();
    // A seat's number has 32 bits everywhere. Where that is a whole word, it takes one of its own.
    let words = if cfg!(target_pointer_width = "64") { 4 } else { 5 };
    assert_eq!(size_of::<Lane<io::Error>>(), words * word);
    type Request = Ready<usize>;
    let beyond = size_of::<Supervised<Request, &mut Lane<io::Error>>>() - size_of::<Request>();
    assert!(beyond <= 3 * word, "{beyond}");
}

#[test]
fn a_lane_knows_its_session() {
    let session = Text::new();
    let lane = session.lane();
    assert!(!lane.session().is_ended());
    session.fail(Why("reset"));
    assert_eq!(lane.session().cause().unwrap().error(), Some(&Why("reset")));
}
