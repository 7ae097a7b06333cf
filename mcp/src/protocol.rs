//! The protocol as plain functions and tables: no `async`, no clock, no I/O below this line.

pub(crate) mod bytes;
pub(crate) mod elicitation;
#[cfg(feature = "http")]
pub(crate) mod event_stream;
pub(crate) mod excerpt;
pub(crate) mod handshake;
pub(crate) mod headers;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod message;
pub(crate) mod meta;
#[cfg(feature = "oauth")]
pub(crate) mod oauth;
pub(crate) mod outgoing;
pub(crate) mod pending_calls;
#[cfg(any(test, shared_fate_fuzz))]
pub mod properties;
pub(crate) mod stateless;
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "only HTTP has them"))]
pub(crate) mod www_authenticate;
