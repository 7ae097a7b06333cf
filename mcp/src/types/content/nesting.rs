//! How deep blocks of content may be nested: results of tools, which are the only blocks that have blocks in them.
//!
//! Each level costs stack, and `serde_json`'s own limit does not hold here: where a block's type does not come first, each
//! member's text is read by a reader of its own, which counts from the beginning.

use std::cell::Cell;

/// So many levels are read; the schema has one. What is deeper is kept as JSON.
const DEEPEST: usize = 8;

thread_local! {
    /// How many levels this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether there may be one level more.
pub(super) fn may_nest() -> bool {
    DEPTH.get() < DEEPEST
}

/// One level more. **Drop:** it is left.
pub(super) struct Level(());

impl Level {
    pub(super) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
