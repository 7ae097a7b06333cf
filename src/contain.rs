//! Panics of foreign code that must go no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs foreign code whose panic is no business of the caller's: the panic hook has reported it.
pub(crate) fn contain(foreign: impl FnOnce()) {
    discard(catch_unwind(AssertUnwindSafe(foreign)).err());
}

/// Drops a panic's payload. That may panic too; the payload of *that* is leaked, for there is no one left
/// to tell.
pub(crate) fn discard(payload: Option<Payload>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}
