//! `Session`: one cause, latched; everything that waits is told; nothing else is affected.

mod support;

use futures::future::FusedFuture;
use shared_fate::{Cause, Session, SessionEnded, SupervisedExt};
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use support::{Script, TestWaker, Why, script};

type Text = Session<Why>;

#[test]
fn r05_the_first_cause_stays_and_later_reports_say_so() {
    let session = Text::new();
    assert!(!session.is_ended());
    assert!(session.cause().is_none());
    assert!(session.fail(Why("first")));
    assert!(!session.fail(Why("second")));
    assert!(!session.close());
    assert!(!session.end(Cause::Dropped));
    for _ in 0..2 {
        assert!(session.is_ended());
        assert_eq!(session.cause().unwrap().error(), Some(&Why("first")));
    }
    assert_eq!(session.clone().cause().unwrap().error(), Some(&Why("first")), "clones are the same session");
}

#[test]
fn r05_late_callers_get_the_same_cause_without_waiting() {
    let session = Text::new();
    session.fail(Why("first"));
    let task = TestWaker::new();
    let mut ended = pin!(session.ended());
    assert!(!ended.is_terminated());
    assert_eq!(task.ready(&mut ended).error(), Some(&Why("first")));
    assert!(ended.is_terminated());
    assert_eq!(task.ready(&mut ended).error(), Some(&Why("first")), "asked again, it says the same");
    assert_eq!((task.clones(), task.wakes()), (0, 0), "nothing was registered");
}

/// An error that says which thread reported it.
#[derive(Debug, PartialEq)]
struct Reporter(usize);

impl fmt::Display for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reported by {}", self.0)
    }
}

impl Error for Reporter {}

#[test]
fn r05_of_many_reporters_exactly_one_is_first_and_all_see_its_cause() {
    for _ in 0..200 {
        let session = Session::<Reporter>::new();
        let task = TestWaker::new();
        let mut ended = pin!(session.ended());
        task.pending(&mut ended);
        let start = Barrier::new(4);
        let first = AtomicUsize::new(usize::MAX);
        thread::scope(|scope| {
            for id in 0..4 {
                let (session, start, first) = (&session, &start, &first);
                scope.spawn(move || {
                    start.wait();
                    if session.fail(Reporter(id)) {
                        assert_eq!(first.swap(id, SeqCst), usize::MAX, "two were first");
                    }
                    // A reporter can read a verdict at once, its own or another's.
                    assert!(session.is_ended());
                    assert!(session.cause().is_some());
                });
            }
        });
        let first = first.load(SeqCst);
        assert_eq!(session.cause().unwrap().error(), Some(&Reporter(first)));
        assert_eq!(task.ready(&mut ended).error(), Some(&Reporter(first)));
        assert_eq!(task.wakes(), 1);
    }
}

#[test]
fn r06_five_ends_are_told_apart() {
    let failed = Text::new();
    failed.fail(Why("why"));
    let dropped = Text::new();
    drop(dropped.drive(Script::never()));
    let finished = Text::new();
    TestWaker::new().ready(&mut pin!(finished.drive(script![Ready(Ok(()))])));
    let closed = Text::new();
    closed.close();
    let panicked = Text::new();
    TestWaker::new().ready(&mut pin!(panicked.drive(Script::each(|_| panic!("at the disco")))));
    let cause = |session: &Text| session.cause().unwrap();
    assert!(matches!(cause(&failed), Cause::Failed(error) if *error == Why("why")));
    assert!(matches!(cause(&panicked), Cause::Panicked(message) if message.as_str() == "at the disco"));
    assert!(matches!(cause(&dropped), Cause::Dropped));
    assert!(matches!(cause(&finished), Cause::Finished));
    assert!(matches!(cause(&closed), Cause::Closed));
    let all = [&failed, &panicked, &dropped, &finished, &closed];
    for (number, session) in all.into_iter().enumerate() {
        let cause = cause(session);
        let is = [
            cause.is_failed(),
            cause.is_panicked(),
            cause.is_dropped(),
            cause.is_finished(),
            cause.is_closed(),
        ];
        assert_eq!(is, std::array::from_fn(|end| end == number), "{cause:?}");
        assert_eq!(cause.is_orderly(), number >= 3, "{cause:?}");
        assert_eq!((cause.error().is_some(), cause.panic_message().is_some()), (number == 0, number == 1));
        for (other, session) in all.into_iter().enumerate() {
            assert_eq!(cause == session.cause().unwrap(), other == number, "equal to itself alone");
        }
    }
    let said = all.map(|session| cause(session).to_string());
    assert_eq!(
        said,
        [
            "the session failed",
            "the session's driver panicked: at the disco",
            "the session's driver was dropped",
            "the session's driver finished",
            "the session was closed"
        ]
    );
}

#[test]
fn r07_anyone_may_report_from_any_thread() {
    let session = Text::new();
    let task = TestWaker::new();
    let mut ended = pin!(session.ended());
    task.pending(&mut ended);
    assert_eq!((task.registered(), task.wakes()), (1, 0));
    let reader_half = session.clone();
    assert!(thread::spawn(move || reader_half.fail(Why("end of file"))).join().unwrap());
    assert_eq!((task.registered(), task.wakes()), (0, 1));
    assert_eq!(task.ready(&mut ended).error(), Some(&Why("end of file")));
    assert_eq!(task.wakes(), 1);
}

#[test]
fn r08_a_cause_is_shared_and_its_source_is_the_original_value() {
    // `io::Error` is not `Clone`.
    let session = Session::<io::Error>::new();
    session.fail(io::Error::from_raw_os_error(104));
    let (one, two) = (session.cause().unwrap(), session.cause().unwrap());
    assert!(std::ptr::eq(one.error().unwrap(), two.clone().error().unwrap()), "one value, shared");
    let original = one.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(original.raw_os_error(), Some(104));

    // From a caller's error, two steps down, and no text twice on the way.
    let ended: SessionEnded<Cause<io::Error>> =
        TestWaker::new().ready(&mut pin!(Script::<()>::untouched().supervised(&session))).unwrap_err();
    let boxed: Box<dyn Error + Send + Sync> = ended.into();
    let mut chain = vec![boxed.to_string()];
    let mut at: &dyn Error = &*boxed;
    while let Some(source) = at.source() {
        chain.push(source.to_string());
        at = source;
    }
    assert_eq!(at.downcast_ref::<io::Error>().unwrap().raw_os_error(), Some(104));
    assert_eq!(chain.len(), 3);
    assert!(!chain[0].contains(&chain[1]) && !chain[1].contains(&chain[2]), "{chain:?}");
}

#[test]
fn r08_an_error_type_is_an_error_and_needs_nothing_more() {
    // Neither `Clone` nor `PartialEq`, and what it holds need not be `Send`.
    #[derive(Debug)]
    struct Opaque(std::rc::Rc<u8>);
    impl fmt::Display for Opaque {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "opaque {}", self.0)
        }
    }
    impl Error for Opaque {}
    let session = Session::new();
    session.fail(Opaque(std::rc::Rc::new(7)));
    let cause: Cause<Opaque> = session.cause().unwrap().clone();
    assert!(cause.error().is_some());
    assert_eq!(cause.to_string(), "the session failed");
    assert_eq!(format!("{cause:#}"), "the session failed: opaque 7");
    assert!(format!("{session:?}").contains("ended: true"));
}

#[test]
fn r08_an_error_type_need_not_be_sized() {
    type Any = dyn Error + Send + Sync;
    let session = Session::<Any>::new();
    let mut request = pin!(Script::<u8>::never().supervised(&session));
    let task = TestWaker::new();
    task.pending(&mut request);
    let connection = script![Ready(Err::<(), _>(io::Error::from_raw_os_error(104)))];
    let mut driver = pin!(session.drive_map(connection, |output| output.err().map(Cause::any)));
    TestWaker::new().ready(&mut driver);
    let through = |ended: SessionEnded<Cause<Any>>| -> Result<(), Box<Any>> { Err(ended)? };
    let boxed = through(task.ready(&mut request).unwrap_err()).unwrap_err();
    let original = boxed.source().unwrap().source().unwrap();
    assert_eq!(original.downcast_ref::<io::Error>().unwrap().raw_os_error(), Some(104));
    // From a box at hand, too.
    let session = Session::<Any>::new();
    assert!(session.end(Cause::from(Box::<Any>::from("why"))));
    assert_eq!(session.cause().unwrap().error().unwrap().to_string(), "why");
}

#[test]
fn r10_a_dropped_waiter_is_unregistered_and_its_siblings_are_not() {
    let session = Text::new();
    let tasks: [TestWaker; 3] = std::array::from_fn(|_| TestWaker::new());
    let mut waiting: Vec<_> = tasks.iter().map(|_| Some(Box::pin(session.ended()))).collect();
    for (task, ended) in tasks.iter().zip(&mut waiting) {
        task.pending(ended.as_mut().unwrap());
    }
    waiting[1] = None;
    assert_eq!(tasks.each_ref().map(TestWaker::registered), [1, 0, 1]);
    assert!(!session.is_ended());
    session.close();
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1, 0, 1]);
    assert_eq!(tasks.each_ref().map(TestWaker::registered), [0, 0, 0]);
}

#[test]
fn r10_a_waiter_that_moves_to_another_task_tells_the_new_one_only() {
    let session = Text::new();
    let (old, new) = (TestWaker::new(), TestWaker::new());
    let mut ended = pin!(session.ended());
    for _ in 0..3 {
        old.pending(&mut ended);
    }
    assert_eq!(old.clones(), 1, "the same waker is registered once");
    new.pending(&mut ended);
    assert_eq!((old.registered(), new.registered()), (0, 1));
    session.close();
    assert_eq!((old.wakes(), new.wakes()), (0, 1));
    new.ready(&mut ended);
}

#[test]
fn r10_two_kinds_of_waker_over_the_same_data_are_two_wakers() {
    let session = Text::new();
    let one = TestWaker::new();
    let twin = one.twin();
    let mut ended = pin!(session.ended());
    for clones in [1, 2, 3] {
        let task = if clones == 2 { &twin } else { &one };
        task.pending(&mut ended);
        task.pending(&mut ended);
        assert_eq!((one.clones(), one.registered()), (clones, 1));
    }
}

#[test]
fn r11_a_hundred_thousand_waiters_are_each_woken_once() {
    const WAITERS: usize = 100_000;
    let session = Text::new();
    let tasks: Vec<_> = (0..WAITERS).map(|_| TestWaker::new()).collect();
    let mut waiting: Vec<_> = tasks.iter().map(|_| Some(Box::pin(session.ended()))).collect();
    for (task, ended) in tasks.iter().zip(&mut waiting) {
        task.pending(ended.as_mut().unwrap());
    }
    // Half of them give up, scattered over the table.
    for ended in waiting.iter_mut().step_by(2) {
        *ended = None;
    }
    let reporter = session.clone();
    assert!(thread::spawn(move || reporter.fail(Why("all at once"))).join().unwrap());
    for (number, (task, ended)) in tasks.iter().zip(&mut waiting).enumerate() {
        assert_eq!(task.wakes(), number % 2);
        assert_eq!(task.registered(), 0);
        if let Some(ended) = ended {
            assert_eq!(task.ready(ended).error(), Some(&Why("all at once")));
        }
    }
}

#[test]
fn r11_ended_while_half_of_the_waiters_are_being_dropped() {
    const WAITERS: usize = 20_000;
    for _ in 0..5 {
        let session = Text::new();
        let tasks: Vec<_> = (0..WAITERS).map(|_| TestWaker::new()).collect();
        let mut waiting: Vec<_> = tasks.iter().map(|_| Box::pin(session.ended())).collect();
        for (task, ended) in tasks.iter().zip(&mut waiting) {
            task.pending(ended);
        }
        let rest = waiting.split_off(WAITERS / 2);
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                drop(waiting);
            });
            start.wait();
            session.fail(Why("meanwhile"));
        });
        assert!(tasks.iter().all(|task| task.registered() == 0));
        for (task, mut ended) in tasks.iter().skip(WAITERS / 2).zip(rest) {
            assert_eq!(task.wakes(), 1);
            task.ready(&mut ended);
        }
    }
}

#[test]
fn r16_a_child_ends_with_its_parent_and_its_waiters_are_woken_once() {
    let parent = Text::new();
    let child = parent.child();
    let grandchild = child.child();
    let task = TestWaker::new();
    let mut ended = pin!(grandchild.ended());
    task.pending(&mut ended);
    parent.fail(Why("the connection"));
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.ready(&mut ended).error(), Some(&Why("the connection")));
    assert_eq!(child.cause().unwrap().error(), Some(&Why("the connection")));
}

#[test]
fn r16_a_child_never_ends_its_parent() {
    let parent = Text::new();
    let (child, sibling) = (parent.child(), parent.child());
    assert!(child.fail(Why("one stream")));
    assert!(!parent.is_ended() && !sibling.is_ended());
    parent.fail(Why("the connection"));
    assert_eq!(child.cause().unwrap().error(), Some(&Why("one stream")), "its own cause stays");
    assert_eq!(sibling.cause().unwrap().error(), Some(&Why("the connection")));
}

#[test]
fn r16_the_child_of_an_ended_parent_is_born_with_its_cause() {
    let parent = Text::new();
    parent.fail(Why("before"));
    let child = parent.child();
    assert_eq!(child.cause().unwrap().error(), Some(&Why("before")));
    assert_eq!(child.child().cause().unwrap().error(), Some(&Why("before")));
}

#[test]
fn r16_a_childs_driver_and_its_drop_stay_below() {
    let parent = Text::new();
    let child = parent.child();
    drop(child.drive(Script::never()));
    assert!(matches!(child.cause(), Some(Cause::Dropped)));
    assert!(!parent.is_ended());
}

#[test]
fn r16_a_parent_ended_from_inside_a_childs_waker() {
    support::no_deadlock(|| {
        let parent = Text::new();
        let child = parent.child();
        let up = parent.clone();
        let first = Arc::new(AtomicUsize::new(0));
        let (child_task, parent_task) = (
            TestWaker::on_wake({
                let first = Arc::clone(&first);
                move || {
                    first.fetch_add(usize::from(up.fail(Why("from the child's waker"))), SeqCst);
                }
            }),
            TestWaker::new(),
        );
        let (mut below, mut above) = (pin!(child.ended()), pin!(parent.ended()));
        child_task.pending(&mut below);
        parent_task.pending(&mut above);
        assert!(child.fail(Why("one stream")));
        assert_eq!(first.load(SeqCst), 1);
        assert_eq!(parent_task.wakes(), 1);
        assert_eq!(parent_task.ready(&mut above).error(), Some(&Why("from the child's waker")));
        assert_eq!(child_task.ready(&mut below).error(), Some(&Why("one stream")));
        // The other way round: the parent's end wakes the child, whose waker reports to the parent.
        let parent = Text::new();
        let child = parent.child();
        let up = parent.clone();
        let task = TestWaker::on_wake(move || assert!(!up.fail(Why("too late"))));
        let mut below = pin!(child.ended());
        task.pending(&mut below);
        assert!(parent.fail(Why("first")));
        assert_eq!(task.ready(&mut below).error(), Some(&Why("first")));
    });
}

#[test]
fn r16_the_last_handle_of_a_child_dropped_from_inside_its_parents_end() {
    support::no_deadlock(|| {
        let parent = Text::new();
        let slot = Arc::new(std::sync::Mutex::new(None));
        let task = TestWaker::on_wake({
            let slot = Arc::clone(&slot);
            move || drop::<Option<(Text, Text)>>(slot.lock().unwrap().take())
        });
        let mut ended = pin!(parent.ended());
        task.pending(&mut ended);
        *slot.lock().unwrap() = Some((parent.child(), parent.child()));
        assert!(parent.close());
        assert!(slot.lock().unwrap().is_none());
    });
}

#[test]
fn r16_a_request_outlives_its_childs_handle() {
    let parent = Text::new();
    let task = TestWaker::new();
    let request = script![Pending::<u8>];
    let log = request.log();
    let mut request: Pin<Box<_>> = Box::pin(request.supervised(parent.child()));
    task.pending(&mut request);
    parent.fail(Why("the connection"));
    assert_eq!(task.wakes(), 1);
    let ended = task.ready(&mut request).unwrap_err();
    assert_eq!(ended.cause().error(), Some(&Why("the connection")));
    assert_eq!((log.polls(), log.drops()), (2, 1));
}
