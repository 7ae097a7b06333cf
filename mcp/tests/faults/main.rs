//! What becomes of calls when something goes wrong: one test for each row of the liveness table
//! (LIV-01, …), each named after its row.
//!
//! Deadlines run on a clock that stands still unless the test moves it. So a call that ends in one of
//! these tests ends because of what happened, never because time ran out.
#![cfg(all(any(unix, windows), feature = "stdio", feature = "http"))]
#![cfg_attr(
    windows,
    allow(dead_code, unused_imports, reason = "some tests start a shell, which windows does not have")
)]

#[path = "../fault/mod.rs"]
mod fault;

mod alarm;
mod cancel;
mod check;
mod deadlines;
mod driver;
mod http_answers;
mod http_connect;
mod http_limits;
mod http_session;
mod input;
mod limits;
mod stdio_end;
mod stdio_lines;
mod stress;
