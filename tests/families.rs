//! Parents and children: one cause, the same for every thread (R5, R16).

mod support;

use shared_fate::{Cause, Session, SupervisedExt};
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use support::{TestWaker, Why, no_deadlock, script};

const RUNS: usize = 10_000;

/// A parent's driver is one of those that its end wakes. It drops the connection, and with it a child's driver.
/// The child was alive when its parent ended, so its cause is the parent's, whichever thread is faster.
#[test]
fn r05_a_child_of_an_ended_parent_has_its_parents_cause() {
    let mut others = 0;
    for _ in 0..RUNS {
        let parent = Session::new();
        let child = parent.child();
        let driver = child.drive(std::future::pending());
        let start = Arc::new(Barrier::new(2));
        let connection = thread::spawn({
            let (parent, start) = (parent.clone(), Arc::clone(&start));
            move || {
                start.wait();
                while !parent.is_ended() {
                    thread::yield_now();
                }
                drop(driver);
            }
        });
        // Foreign code that the end runs into first, as on every executor: wakers.
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let mut ended = Box::pin(parent.ended());
                let waker = TestWaker::on_wake(thread::yield_now);
                waker.pending(&mut ended);
                ended
            })
            .collect();
        start.wait();
        assert!(parent.fail(Why("reset")));
        connection.join().unwrap();
        others += usize::from(child.cause() != parent.cause());
        drop(waiting);
    }
    assert_eq!(others, 0, "of {RUNS} children so many have another cause than their ended parent");
}

/// Every thread that sees the parent ended sees all below it ended, with the same cause, and starts nothing there.
#[test]
fn r16_whoever_sees_the_parent_ended_sees_its_descendants_ended() {
    let (mut unended, mut late, mut started) = (0, 0, 0);
    for _ in 0..RUNS {
        let parent = Session::new();
        let child = parent.child();
        let grandchild = child.child();
        let start = Arc::new(Barrier::new(2));
        let reporter = thread::spawn({
            let (parent, start) = (parent.clone(), Arc::clone(&start));
            move || {
                start.wait();
                parent.fail(Why("reset"))
            }
        });
        start.wait();
        while !parent.is_ended() {
            thread::yield_now();
        }
        unended += usize::from(!grandchild.is_ended());
        let request = pin!(std::future::pending::<()>().supervised(&child));
        let poll = request.poll(&mut Context::from_waker(Waker::noop()));
        started += usize::from(!matches!(poll, Poll::Ready(Err(ended)) if !ended.request_started()));
        late += usize::from(grandchild.fail(Why("late")));
        assert!(reporter.join().unwrap());
        assert_eq!(grandchild.cause().unwrap().error(), Some(&Why("reset")));
    }
    assert_eq!((unended, late, started), (0, 0, 0), "of {RUNS}");
}

/// An error whose drop calls back into its own family.
struct Meddler {
    family: Mutex<Vec<Session<Self>>>,
    dropped: Arc<AtomicUsize>,
}

impl Meddler {
    fn new(family: &[Session<Self>], dropped: &Arc<AtomicUsize>) -> Self {
        Self { family: Mutex::new(family.to_vec()), dropped: Arc::clone(dropped) }
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, SeqCst);
        for session in self.family.get_mut().unwrap().drain(..) {
            let child = session.child();
            assert_eq!(child.is_ended(), session.is_ended());
            _ = session.cause();
            session.close();
            child.close();
            assert!(session.is_ended());
        }
    }
}

impl fmt::Debug for Meddler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddler")
    }
}

impl fmt::Display for Meddler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a meddler")
    }
}

impl Error for Meddler {}

#[test]
fn r16_an_error_that_calls_its_family_when_it_is_dropped() {
    no_deadlock(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let parent = Session::new();
        let (child, sibling) = (parent.child(), parent.child());
        let grandchild = child.child();
        assert!(child.close());
        // It loses, and is dropped by the call.
        assert!(!child.fail(Meddler::new(&[sibling.clone(), parent.clone(), grandchild], &dropped)));
        assert_eq!(dropped.load(SeqCst), 1);
        assert!(sibling.cause().unwrap().is_closed() && parent.cause().unwrap().is_closed());
        // It is dropped with the last child that has it, during the end of another family.
        let (parent, other) = (Session::new(), Session::new());
        let last = parent.child();
        assert!(parent.fail(Meddler::new(&[other.clone(), other.child()], &dropped)));
        drop(parent);
        assert_eq!(dropped.load(SeqCst), 1);
        drop(last);
        assert_eq!(dropped.load(SeqCst), 2);
        assert!(other.cause().unwrap().is_closed());
    });
}

/// The losing report of many at the same time.
#[test]
fn r16_errors_that_call_their_family_from_two_threads() {
    no_deadlock(|| {
        for _ in 0..500 {
            let dropped = Arc::new(AtomicUsize::new(0));
            let parent = Session::new();
            let children: Vec<_> = (0..4).map(|_| parent.child()).collect();
            thread::scope(|scope| {
                for child in &children {
                    scope.spawn(|| {
                        let all = [parent.clone(), child.clone()];
                        child.fail(Meddler::new(&all, &dropped));
                        parent.fail(Meddler::new(&all, &dropped));
                    });
                }
            });
            assert!(parent.is_ended() && children.iter().all(Session::is_ended));
        }
    });
}

/// The last handle of a child is dropped while the parent ends: by another thread, or by a waker of that end.
#[test]
fn r16_the_last_handle_of_a_child_is_dropped_during_the_end() {
    for _ in 0..RUNS {
        let parent = Session::new();
        let (child, sibling) = (parent.child(), parent.child());
        let grandchild = child.child();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                let last = (child, grandchild);
                start.wait();
                drop(last);
            });
            start.wait();
            assert!(parent.fail(Why("reset")));
        });
        assert_eq!(sibling.cause(), parent.cause());
    }
    let parent = Session::new();
    let child = Arc::new(Mutex::new(Some(parent.child())));
    let weak = child.lock().unwrap().as_ref().unwrap().downgrade();
    let waker = TestWaker::on_wake({
        let child = Arc::clone(&child);
        move || drop(child.lock().unwrap().take())
    });
    let mut ended = Box::pin(parent.ended());
    waker.pending(&mut ended);
    assert!(parent.fail(Why("reset")));
    assert!(weak.upgrade().is_none() && child.lock().unwrap().is_none());
}

#[test]
fn r16_a_family_ten_thousand_deep() {
    let parent = Session::new();
    let mut line = vec![parent.child()];
    for _ in 0..10_000 {
        let last = line.last().unwrap();
        line.push(last.child());
    }
    let last = line.last().unwrap().clone();
    let task = TestWaker::new();
    let mut request = Box::pin(script![Pending, Ready(Err::<u8, _>(Why("echo")))].try_supervised(&last));
    task.pending(&mut request);
    assert!(parent.fail(Why("reset")));
    assert_eq!(task.wakes(), 1);
    let error = task.ready(&mut request).unwrap_err();
    assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
    assert!(line.iter().all(|session| session.cause() == parent.cause()));
    // The last one keeps them all, and lets go of all.
    drop(request);
    drop((parent, line));
    drop(last);
}

#[test]
fn r16_a_child_that_has_ended_keeps_its_own_cause_and_its_line_has_it() {
    let parent = Session::new();
    let child = parent.child();
    let grandchild = child.child();
    assert!(child.fail(Why("one stream")));
    assert_eq!(grandchild.cause().unwrap().error(), Some(&Why("one stream")));
    assert!(!parent.is_ended());
    let late = child.child();
    assert_eq!(late.cause().unwrap().error(), Some(&Why("one stream")), "it is born ended");
    assert!(parent.fail(Why("the connection")));
    assert_eq!(child.cause().unwrap().error(), Some(&Why("one stream")));
}

/// A session with its parent, by its place, and the cause that it must have.
type Member = (Session<Why>, Option<usize>, Option<Cause<Why>>);

/// Births, deaths and ends from everywhere. The tree is right if every child that was alive has the cause.
#[test]
fn r16_random_families() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    for _ in 0..300 {
        let mut all: Vec<Member> = vec![(Session::new(), None, None)];
        let mut held: Vec<bool> = vec![true];
        for step in 0..100 {
            let at = random(all.len());
            if !held[at] {
                continue;
            }
            match random(10) {
                0..7 => {
                    let child = (all[at].0.child(), Some(at), all[at].2.clone());
                    all.push(child);
                    held.push(true);
                }
                7 if step > 50 => {
                    let cause = Cause::from(Why(["a", "b", "c"][random(3)]));
                    let first = all[at].0.end(cause.clone());
                    assert_eq!(first, all[at].2.is_none());
                    for below in at..all.len() {
                        let is_below =
                            std::iter::successors(Some(below), |&at| all[at].1).any(|above| above == at);
                        if is_below && all[below].2.is_none() {
                            all[below].2 = Some(cause.clone());
                        }
                    }
                }
                _ => {
                    // A handle goes, if no other one of this test's needs it.
                    let is_parent = all.iter().any(|(_, parent, _)| *parent == Some(at));
                    if !is_parent && at > 0 {
                        all[at].0 = Session::new();
                        all[at].1 = None;
                        all[at].2 = None;
                        held[at] = false;
                    }
                }
            }
            for (number, (session, _, cause)) in all.iter().enumerate() {
                assert!(!held[number] || session.cause() == *cause, "session {number}");
            }
        }
    }
}
