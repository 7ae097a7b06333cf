//! Where pipes are read into: one buffer for each thread, not for each client, most of which only wait.

use std::cell::Cell;

/// How much is read or written at a time.
pub(super) const CHUNK: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The thread's buffer. Whoever reads in the course of reading finds none, and makes one.
pub(super) fn with_chunk<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut chunk = BUFFER.try_with(Cell::take).unwrap_or_default();
    chunk.resize(CHUNK, 0);
    let result = read(&mut chunk);
    let _ = BUFFER.try_with(|buffer| buffer.set(chunk));
    result
}
