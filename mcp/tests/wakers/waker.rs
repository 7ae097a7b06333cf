//! A waker that calls a hook when it is cloned, woken or dropped.

#![allow(unsafe_code, reason = "only a custom vtable sees a clone")]

use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// What is done to a waker.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Clone,
    Wake,
    Drop,
}

type Hook = Box<dyn Fn(Act) + Send + Sync>;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker whose `hook` is told of all that is done to it and to its clones.
pub(crate) fn waker(hook: impl Fn(Act) + Send + Sync + 'static) -> Waker {
    let hook: Arc<Hook> = Arc::new(Box::new(hook));
    // SAFETY: every function of the vtable takes `data` for an `Arc<Hook>` that the waker owns; `Hook` is `Send` and
    // `Sync`.
    unsafe { Waker::new(Arc::into_raw(hook).cast(), &VTABLE) }
}

/// SAFETY of the four: called by `Waker` only, with the pointer from `waker` or `clone`.
unsafe fn clone(data: *const ()) -> RawWaker {
    let data = data.cast::<Hook>();
    // SAFETY: the waker being cloned holds a reference, for as long as the call takes.
    unsafe {
        (*data)(Act::Clone);
        Arc::increment_strong_count(data);
    }
    RawWaker::new(data.cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker is consumed, its reference is ours.
    let hook = unsafe { Arc::from_raw(data.cast::<Hook>()) };
    hook(Act::Wake);
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker holds a reference.
    unsafe { (*data.cast::<Hook>())(Act::Wake) };
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker is consumed, its reference is ours.
    let hook = unsafe { Arc::from_raw(data.cast::<Hook>()) };
    hook(Act::Drop);
}
