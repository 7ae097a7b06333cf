//! A lock without poison, panics of foreign code that go no further, two ways to wait, and a turn for others.

pub(crate) mod shared_future;
pub(crate) mod wait_cell;

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};
use std::task::Poll;

/// `std::sync::Mutex` without poison: no foreign code runs under a lock, so a panic leaves nothing half done there.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pending once: others have their turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| match std::mem::replace(&mut yielded, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Runs foreign code. A panic in it is reported by the panic hook, and by nothing else.
pub(crate) fn contain(foreign: impl FnOnce()) {
    let mut payload: Option<Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(foreign)).err();
    // Dropping what a panic carries may panic, too. One that never ends is leaked.
    for _ in 0..4 {
        match payload {
            None => return,
            some => payload = catch_unwind(AssertUnwindSafe(|| drop(some))).err(),
        }
    }
    std::mem::forget(payload);
}
