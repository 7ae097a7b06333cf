//! The protocol as plain functions over bytes: no `async`, no clock, no I/O below this line.

mod bytes;
pub(crate) mod event_stream;
pub(crate) mod lines;
pub(crate) mod message;
pub(crate) mod salvage;
