//! What several tests check.

use crate::fault::clock::Clock;
use crate::fault::run::on_tokio_io;
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{Builder, Client, Error, ErrorKind, Mode};
use std::error::Error as _;

/// What must never show up in an error.
pub(crate) const SECRETS: [&str; 4] = ["5ecre7", "t0ken", "passw0rd", "qu3ry"];

/// A client whose deadlines are on `clock`, with the sockets and pipes of this run.
pub(crate) fn on(clock: &Clock) -> Builder {
    let builder = Client::builder().mode(Mode::Legacy);
    #[cfg(feature = "tokio")]
    if on_tokio_io() {
        return builder.on_tokio().timer(clock.clone());
    }
    assert!(!on_tokio_io());
    builder.timer(clock.clone())
}

/// The error and its sources on one line. Checks what holds for every error.
pub(crate) fn story(error: &Error) -> String {
    let story = format!("{error:#}");
    assert!(!format!("{error}").is_empty());
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!(": {error}");
        source = error.source();
    }
    assert_eq!(story, told, "`{{:#}}` is the chain of sources");
    for text in [&story, &format!("{error:?}"), &format!("{error:#?}")] {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    story
}

/// How the server broke the protocol.
pub(crate) fn violation(error: &Error) -> &Violation {
    match error.kind() {
        ErrorKind::Protocol(error) => error.violation(),
        _ => panic!("no violation of the protocol: {error:#}"),
    }
}

/// The limit that was reached, and its name.
pub(crate) fn limit(error: &Error) -> (&str, usize) {
    match error.kind() {
        ErrorKind::Limit(limit) => (limit.what(), limit.limit()),
        _ => panic!("no limit: {error:#}"),
    }
}

/// The error that ended the session and this call with it.
pub(crate) fn cause(error: &Error) -> &Error {
    let cause = error.session_cause().unwrap_or_else(|| panic!("the session goes on: {error:#}"));
    cause.error().unwrap_or_else(|| panic!("no failure: {error:#}"))
}
