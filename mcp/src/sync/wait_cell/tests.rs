//! A waker's clone cannot be seen from safe code: `tests/mcp_wakers.rs` does that.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;

/// Comes back to what it is registered with: when it is woken, and when it is dropped.
struct Reentrant {
    watched: Weak<WaitCell<u32>>,
    wakes: AtomicUsize,
}

impl Reentrant {
    fn new(watched: &Arc<WaitCell<u32>>) -> (Arc<Self>, Waker) {
        let this = Arc::new(Self { watched: Arc::downgrade(watched), wakes: AtomicUsize::new(0) });
        (Arc::clone(&this), this.into())
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        if let Some(watched) = self.watched.upgrade() {
            watched.change(|state| *state += 100);
        }
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.upgrade() {
            watched.change(|state| *state += 1_000);
        }
    }
}

/// Finds a state other than zero, and leaves none.
fn take(watched: &WaitCell<u32>, waker: &Waker) -> Poll<u32> {
    watched.poll(&mut Context::from_waker(waker), |state| Some(std::mem::take(state)).filter(|it| *it > 0))
}

#[test]
fn a_change_wakes_who_waits_and_only_then() {
    let watched = Arc::new(WaitCell::new(0));
    let (task, waker) = Reentrant::new(&watched);
    assert!(take(&watched, &waker).is_pending());
    watched.with(|state| *state = 0);
    assert_eq!(task.wakes(), 0);
    assert_eq!(watched.change(|state| std::mem::replace(state, 7)), 0);
    assert_eq!((task.wakes(), take(&watched, &waker)), (1, Poll::Ready(107)));
    watched.change(|state| *state = 1);
    assert_eq!(task.wakes(), 1, "nobody waited");
}

#[test]
fn the_last_one_to_ask_is_woken_and_the_other_wakers_drop_may_come_back() {
    let watched = Arc::new(WaitCell::new(0));
    let (first, waker) = Reentrant::new(&watched);
    assert!(take(&watched, &waker).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&first), 2);
    drop(first);
    // The drop of what is replaced changes the state, and wakes the new one.
    let (second, waker) = Reentrant::new(&watched);
    assert!(take(&watched, &waker).is_pending());
    assert_eq!((second.wakes(), take(&watched, &waker)), (1, Poll::Ready(1_100)));
}

#[test]
fn a_waker_that_would_do_is_not_registered_again() {
    let watched = Arc::new(WaitCell::new(0));
    let (task, waker) = Reentrant::new(&watched);
    for _ in 0..3 {
        assert!(take(&watched, &waker).is_pending());
        assert_eq!(Arc::strong_count(&task), 3);
    }
    watched.forget();
    assert_eq!(Arc::strong_count(&task), 2);
    watched.change(|state| *state = 1);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn what_is_forgotten_may_come_back() {
    let watched = Arc::new(WaitCell::new(0));
    let (task, waker) = Reentrant::new(&watched);
    assert!(take(&watched, &waker).is_pending());
    drop((task, waker));
    watched.forget();
    assert_eq!(watched.with(|state| *state), 1_000);
}
