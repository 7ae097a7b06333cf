//! What only the inside can see: that nothing is left in the table.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task(AtomicUsize::new(0)));
    (Arc::clone(&task), Waker::from(task))
}

fn poll(ended: &mut Ended<()>, waker: &Waker) -> bool {
    Pin::new(ended).poll(&mut Context::from_waker(waker)).is_ready()
}

#[test]
fn r10_the_table_is_empty_when_the_waiters_are_gone() {
    let session = Session::<()>::new();
    let (_task, waker) = task();
    let mut waiting: Vec<_> = (0..100).map(|_| session.ended()).collect();
    assert_eq!(session.waiting(), 0, "nothing is registered before the first poll");
    for _ in 0..2 {
        for ended in &mut waiting {
            assert!(!poll(ended, &waker));
        }
        assert_eq!(session.waiting(), 100, "a second poll takes no second place");
    }
    for left in (0..100).rev() {
        drop(waiting.swap_remove(left / 2));
        assert_eq!(session.waiting(), left);
    }
}

#[test]
fn r10_places_are_used_again() {
    let session = Session::<()>::new();
    let (_task, waker) = task();
    for _ in 0..1000 {
        let mut pair = (session.ended(), session.ended());
        assert!(!poll(&mut pair.0, &waker) && !poll(&mut pair.1, &waker));
        assert_eq!((pair.0.seat.slot.min(pair.1.seat.slot), session.waiting()), (0, 2));
        assert!(pair.0.seat.slot.max(pair.1.seat.slot) < 2, "the table does not grow");
    }
}

#[test]
fn r11_a_place_given_back_after_the_end_is_nobody_elses() {
    // Seats of before the end must be worthless after it, whichever order they are given back in.
    let session = Session::<()>::new();
    let (counted, waker) = task();
    let (mut one, mut two) = (session.ended(), session.ended());
    assert!(!poll(&mut one, &waker) && !poll(&mut two, &waker));
    session.close();
    assert_eq!((session.waiting(), counted.0.load(SeqCst)), (0, 2));
    drop(one);
    assert!(poll(&mut two, &waker));
    let mut late = session.ended();
    assert!(poll(&mut late, &waker));
    assert_eq!(session.waiting(), 0);
}

#[test]
fn r16_a_child_leaves_its_parents_table_with_its_last_handle() {
    let parent = Session::<()>::new();
    let child = parent.child();
    let (grandchild, again) = (child.child(), child.clone());
    assert_eq!((parent.waiting(), child.waiting()), (1, 1));
    drop(child);
    assert_eq!(parent.waiting(), 1, "a clone is left");
    drop(again);
    assert_eq!(parent.waiting(), 1, "a grandchild keeps its line");
    drop(grandchild);
    assert_eq!(parent.waiting(), 0);
    assert_eq!(Arc::strong_count(&parent.inner), 1, "a child keeps no parent alive after itself");
}

#[test]
fn r16_an_ended_parent_keeps_no_child_registered() {
    let parent = Session::<()>::new();
    parent.close();
    let child = parent.child();
    assert!(child.is_ended());
    assert_eq!(parent.waiting(), 0);
}

#[test]
fn r16_a_parents_end_reaches_a_long_line() {
    let parent = Session::<()>::new();
    let mut line = vec![parent.child()];
    for _ in 0..100_000 {
        line.push(line[line.len() - 1].child());
    }
    parent.close();
    assert!(line.iter().all(Session::is_ended));
    // The last one keeps them all.
    let last = line.pop();
    drop((parent, line));
    drop(last);
}

#[test]
fn r16_a_place_among_children_is_used_again_and_never_after_the_end() {
    let parent = Session::<()>::new();
    let (first, second) = (parent.child(), parent.child());
    drop(first);
    let third = parent.child();
    assert_eq!(parent.waiting(), 2);
    parent.close();
    let late = parent.child();
    assert_eq!(parent.waiting(), 0);
    drop((second, third));
    drop(late);
    assert_eq!(Arc::strong_count(&parent.inner), 1);
}

#[test]
fn r11_who_comes_after_the_end_is_refused_under_the_lock() {
    let waiters = Waiters::default();
    let (mut empty, mut taken) = (Seat::default(), Seat::default());
    assert!(waiters.register(&mut taken, Waker::noop().clone(), || false));
    assert!(!waiters.register(&mut empty, Waker::noop().clone(), || true));
    assert!(!waiters.register(&mut taken, Waker::noop().clone(), || true));
    assert!(!empty.is_taken() && taken.is_taken());
    assert_eq!(waiters.len(), 1);
    waiters.leave(&mut taken);
    assert_eq!(waiters.len(), 0);
}
