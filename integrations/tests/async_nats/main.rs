//! async-nats, which reconnects by itself, against nats-server, before and after.
//!
//! Needs `INTEGRATIONS_NATS`, the path of the program.

mod ends;
mod kit;
mod lines;

/// nats-server. The test is skipped where it is not.
const VARIABLE: &str = "INTEGRATIONS_NATS";
