//! Signing in, and staying signed in, against a scripted authorization server and MCP server on loopback: what becomes of
//! tokens when things go wrong at the worst moment.
//!
//! Tests are named after the rules of OAuth (`oa_…`) in the checklist. Nothing sleeps.
#![cfg(all(unix, feature = "stdio", feature = "oauth"))]

#[path = "../allocator/mod.rs"]
mod allocator;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../faults/check.rs"]
mod check;
#[path = "../fault/mod.rs"]
mod fault;

mod command_line;
mod costs;
mod dropped;
mod kit;
mod person;
mod processes;
mod refresh;
mod secrets;
mod sign_in;
mod store;
