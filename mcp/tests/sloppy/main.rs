//! Servers that are odd in one way each, as people have met them. This client skips what it cannot use. There is a table
//! for each transport, and each row says where such a server was reported.
//!
//! Nothing here turns a clock: a row that would have to wait for a deadline runs into the watchdog.
#![cfg(all(any(unix, windows), feature = "stdio", feature = "http"))]
#![cfg_attr(
    windows,
    allow(dead_code, unused_imports, reason = "some tests start a shell, which windows does not have")
)]

#[path = "../fault/mod.rs"]
mod fault;

mod ends;
mod http;
mod lines;
mod results;
mod scripts;

use fault::clock::Clock;
use shared_fate_mcp::types::CallToolResult;
use shared_fate_mcp::{Builder, Client, Error};

/// What a user expects of a call to the tool `odd`.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// The tool says `fine`.
    Fine,
    /// The call fails, and these words are in the error.
    Says(&'static str),
}

impl Expect {
    fn check(self, from: &str, result: Result<CallToolResult, Error>) {
        match (self, result) {
            (Self::Fine, Ok(result)) => assert_eq!(result.text(), "fine", "{from}"),
            (Self::Says(words), Err(error)) => {
                assert!(format!("{error:#}").contains(words), "{from}: {error:#}");
            }
            (expected, Ok(result)) => panic!("{from}: {expected:?}, but it says {:?}", result.text()),
            (expected, Err(error)) => panic!("{from}: {expected:?}, but it failed: {error:#}"),
        }
    }
}

fn client() -> Builder {
    Client::builder().timer(Clock::new())
}
