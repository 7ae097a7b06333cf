//! Why a process has ended, found in what it has printed.
//!
//! The last line is often the reason, and often it is not: a stack, a version, a hint where to read on comes after it. So
//! a line that names an error is looked for, too: the last one, as the innermost cause comes last.

use crate::protocol::excerpt::excerpt;
use std::fmt;
use std::io;

/// The lines that are shown.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Words<'a> {
    /// What names an error, if that is another line than the last.
    reason: Option<&'a str>,
    last: Option<&'a str>,
}

impl Words<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |line: &str| excerpt(line.as_bytes(), 300);
        match (self.reason.map(line), self.last.map(line)) {
            (Some(reason), Some(last)) => write!(f, "it said: {reason:?}; its last words: {last:?}"),
            (None, Some(last)) => write!(f, "its last words: {last:?}"),
            (_, None) => Ok(()),
        }
    }
}

/// A failure of a server that had said something that is no message, and may still be there.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct AfterWords {
    pub(super) words: String,
    pub(super) source: io::Error,
}

/// Finds the lines in standard error. Standard output, which is for messages, counts where standard error is empty, or names
/// no error.
pub(super) fn last_words<'a>(stderr: &'a str, stdout: &'a str) -> Words<'a> {
    let last = lines(stderr).next().or_else(|| lines(stdout).next());
    let reason = reason(stderr).or_else(|| reason(stdout)).filter(|reason| Some(*reason) != last);
    Words { reason, last }
}

/// The lines that are not blank, the last one first.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().rev().map(str::trim).filter(|line| !line.is_empty())
}

/// The last line that names an error, and is not a part of a stack.
fn reason(text: &str) -> Option<&str> {
    let mut after = None;
    for line in lines(text) {
        // A panic's message is on the line after it.
        if line.contains("panicked at") && line.ends_with(':') {
            return after.or(Some(line));
        }
        if names_error(line) {
            return Some(line);
        }
        after = Some(line);
    }
    None
}

fn names_error(line: &str) -> bool {
    const SIGNS: [&str; 16] = [
        "error",
        "exception",
        "panic",
        "fatal",
        "failed",
        "cannot",
        "can't",
        "could not",
        "denied",
        "not found",
        "no such",
        "not set",
        "missing",
        "invalid",
        "refused",
        "unable to",
    ];
    const STACK: [&str; 4] = ["at ", "note: ", "File \"", "npm ERR! A complete log"];
    let low = line.to_ascii_lowercase();
    !STACK.iter().any(|frame| line.starts_with(frame)) && SIGNS.iter().any(|sign| low.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(stderr: &str, stdout: &str) -> (Option<String>, Option<String>) {
        let Words { reason, last } = last_words(stderr, stdout);
        (reason.map(str::to_owned), last.map(str::to_owned))
    }

    #[test]
    fn the_last_line_is_enough_where_it_names_the_error_or_nothing_does() {
        let python = "Traceback (most recent call last):\n  File \"x.py\", line 1\nValueError: no key\n\n";
        for (stderr, stdout, last) in [
            (python, "", Some("ValueError: no key")),
            ("up\nbye\n", "", Some("bye")),
            ("", "Error: API_KEY is not set\n", Some("Error: API_KEY is not set")),
            ("", "", None),
            (" \n", "\n", None),
        ] {
            assert_eq!(words(stderr, stdout), (None, last.map(str::to_owned)), "{stderr} {stdout}");
        }
    }

    #[test]
    fn a_line_that_names_the_error_is_found_before_the_last() {
        let node = "x.js:1\nError: Cannot find module 'y'\n    at f (x.js:1)\n    at error (y.js)\n\nNode.js v22.1.0\n";
        let java = "Exception in thread \"main\" a.B\n\tat a.C\nCaused by: java.io.IOException: disk full\n\tat a.D\n\t... 3 more";
        let rust = "thread 'main' panicked at src/main.rs:1:1:\nno config\nnote: run with `RUST_BACKTRACE=1` to see an error\n";
        let go = "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\nexit status 2\n";
        for (stderr, stdout, reason, last) in [
            (node, "", "Error: Cannot find module 'y'", "Node.js v22.1.0"),
            (java, "", "Caused by: java.io.IOException: disk full", "... 3 more"),
            (rust, "", "no config", "note: run with `RUST_BACKTRACE=1` to see an error"),
            (go, "", "panic: runtime error: index out of range", "exit status 2"),
            ("shutting down\n", "Error: API_KEY is not set\n", "Error: API_KEY is not set", "shutting down"),
        ] {
            assert_eq!(words(stderr, stdout), (Some(reason.to_owned()), Some(last.to_owned())));
        }
    }
}
