//! The kit for the tests of driver crates: what breaks a connection, and what tells how callers took it.
//!
//! Each file of `tests/` is one driver crate. It shows the crate plain and under a session, prints a table
//! (`cargo test -- --nocapture`), and asserts it.

pub mod broker;
pub mod drivers;
pub mod lines;
pub mod panicking;
pub mod proxy;
pub mod runtimes;
pub mod seen;
pub mod servers;
pub mod table;
pub mod texts;
pub mod waits;

/// The recipes are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/drivers.md")]
struct Drivers;
