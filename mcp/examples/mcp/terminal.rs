//! Standard error: a line of progress that is written over, and the lines of the server's log.

use shared_fate_mcp::types::Progress;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};

/// Moves to the beginning of the line, and erases it.
const OVER: &str = "\r\x1b[K";

/// Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Terminal {
    is_terminal: bool,
    /// Whether a line of progress is there to be written over.
    in_progress: Arc<Mutex<bool>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), in_progress: Arc::default() }
    }

    /// Writes progress over the last one where standard error is a terminal, else in a line of its own.
    pub(crate) fn progress(&self, progress: &Progress) {
        let mut text = format!("{}", progress.progress);
        if let Some(total) = progress.total {
            write!(text, " of {total}").expect("a string takes everything");
        }
        if let Some(message) = &progress.message {
            write!(text, ": {}", one_line(message)).expect("a string takes everything");
        }
        self.write(&text, self.is_terminal);
    }

    pub(crate) fn line(&self, text: &str) {
        self.write(&one_line(text), false);
    }

    /// Takes the line of progress away, for what comes on standard output.
    pub(crate) fn clear(&self) {
        if std::mem::take(&mut *self.in_progress.lock().expect("nobody panics")) {
            eprint!("{OVER}");
        }
    }

    fn write(&self, text: &str, to_be_written_over: bool) {
        let mut in_progress = self.in_progress.lock().expect("nobody panics");
        let over = if *in_progress { OVER } else { "" };
        let end = if to_be_written_over { "" } else { "\n" };
        // If standard error is closed, nobody wants to read this.
        let mut stderr = io::stderr();
        let _ = write!(stderr, "{over}mcp: {text}{end}").and_then(|()| stderr.flush());
        *in_progress = to_be_written_over;
    }
}

/// The text without control characters: what a server says moves no cursor and changes no colour.
fn one_line(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}
