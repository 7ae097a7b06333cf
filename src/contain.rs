//! Panics of foreign code that must go no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs foreign code whose panic is no business of the caller's: the panic hook has reported it.
pub(crate) fn contain(foreign: impl FnOnce()) {
    discard(catch_unwind(AssertUnwindSafe(foreign)).err());
}

/// Drops a panic's payload. That may panic too, with a payload of its own: a few in a row are dropped,
/// and one that never ends is leaked, for there is no one left to tell.
pub(crate) fn discard(mut payload: Option<Payload>) {
    for _ in 0..4 {
        match payload {
            None => return,
            some => payload = catch_unwind(AssertUnwindSafe(|| drop(some))).err(),
        }
    }
    std::mem::forget(payload);
}
