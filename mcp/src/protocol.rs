//! The protocol as plain functions and tables: no `async`, no clock, no I/O below this line.

pub(crate) mod by_id;
mod bytes;
pub(crate) mod challenge;
pub(crate) mod elicitation;
#[cfg(feature = "http")]
pub(crate) mod event_stream;
pub(crate) mod exchange;
pub(crate) mod handshake;
pub(crate) mod headers;
pub(crate) mod lines;
pub(crate) mod message;
pub(crate) mod meta;
pub(crate) mod modern;
pub(crate) mod object;
#[cfg(any(test, shared_fate_fuzz))]
pub mod properties;
pub(crate) mod salvage;
