//! What goes on beside the decoding of one result: how much memory it takes, and what was odd about it.
//!
//! serde has no place for either, so both are kept by thread while [`decode`](super::decode) runs. A host that reads a value
//! by itself is not bounded, and is told nothing.

use serde::de;
use std::cell::{Cell, RefCell};

thread_local! {
    /// How many bytes may still be taken, or [`EXCEEDED`]; `None` where no result is being decoded.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    static ODDITIES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// More were to be taken than there were.
const EXCEEDED: usize = usize::MAX;

/// How many oddities of one result are told.
const TOLD: usize = 16;

/// What decoding one result has brought, beside the value.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// How many bytes it has taken, by the count of [`charge`].
    pub(crate) taken: usize,
    pub(crate) exceeded: bool,
    /// What could not be read, and was passed over or kept as it came.
    pub(crate) oddities: Vec<String>,
}

/// Decodes within `limit` bytes.
pub(super) fn observe<T>(limit: usize, decode: impl FnOnce() -> T) -> (T, Findings) {
    struct Restore(Option<usize>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _restore = Restore(LEFT.replace(Some(limit.min(EXCEEDED - 1))));
    let decoded = decode();
    let left = LEFT.get().unwrap_or(EXCEEDED);
    let exceeded = left == EXCEEDED;
    let taken = if exceeded { limit } else { limit.min(EXCEEDED - 1) - left };
    (decoded, Findings { taken, exceeded, oddities: ODDITIES.take() })
}

/// Counts bytes that a decoded value takes.
#[inline]
pub(super) fn charge<E: de::Error>(bytes: usize) -> Result<(), E> {
    match LEFT.get() {
        None => Ok(()),
        Some(left) if bytes <= left && left != EXCEEDED => {
            LEFT.set(Some(left - bytes));
            Ok(())
        }
        Some(_) => {
            LEFT.set(Some(EXCEEDED));
            Err(E::custom("the decoded value would take too much memory"))
        }
    }
}

/// Takes note of something that could not be read.
#[cold]
pub(super) fn odd(what: impl FnOnce() -> String) {
    if LEFT.get().is_some() {
        ODDITIES.with_borrow_mut(|oddities| {
            if oddities.len() < TOLD {
                oddities.push(what());
            }
        });
    }
}
