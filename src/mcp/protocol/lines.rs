//! Splits a byte stream into lines, one message each.
//!
//! Invariants:
//! 1. The lines do not depend on how the stream was cut into chunks.
//! 2. At most `max` bytes of an unfinished line are kept (and one CR that may belong to its end).
//! 3. An oversized line is reported once, as soon as it is known to be one, and costs only itself.

#[cfg(test)]
mod tests;

use super::bytes::{BomFilter, append, position, reset};

/// How much of an oversized line is reported: enough to find out which request it answers.
const PREFIX: usize = 4096;

/// A line without its LF or CRLF.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Complete(&'a [u8]),
    Oversized { prefix: &'a [u8] },
}

/// The state between two chunks.
#[derive(Debug)]
pub(crate) struct LineDecoder {
    max: usize,
    bom: BomFilter,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// The rest of this line has been reported as oversized and is skipped.
    discarding: bool,
}

impl LineDecoder {
    /// A decoder for lines of at most `max` bytes, line ends not counted.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, bom: BomFilter::default(), partial: Vec::new(), discarding: false }
    }

    /// Calls `on_line` for each line that `chunk` completes. Blank lines are skipped; a line wholly
    /// inside one chunk is not copied.
    pub(crate) fn feed(&mut self, chunk: &[u8], mut on_line: impl FnMut(Line<'_>)) {
        let (held_back, mut rest) = self.bom.strip(chunk);
        self.keep(held_back, &mut on_line);
        while let Some(len) = position(rest, |byte| byte == b'\n') {
            self.finish(&rest[..len], &mut on_line);
            rest = &rest[len + 1..];
        }
        self.keep(rest, &mut on_line);
    }

    /// The unterminated tail, which is no message; empty while an oversized line is being skipped.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Adds `bytes`, in which no line ends, to the unfinished line.
    fn keep(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Line<'_>)) {
        if self.discarding || bytes.is_empty() {
            return;
        }
        let len = self.partial.len().saturating_add(bytes.len());
        let limit = self.max.saturating_add(1);
        // The last byte allowed beyond the limit is a CR, because an LF may follow it.
        if len > limit || (len == limit && !bytes.ends_with(b"\r")) {
            let missing = self.max.min(PREFIX).saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            on_line(self.oversized(&self.partial));
            reset(&mut self.partial);
            self.discarding = true;
        } else {
            append(&mut self.partial, bytes, limit);
        }
    }

    /// Ends the unfinished line with `bytes`.
    fn finish(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Line<'_>)) {
        if self.partial.is_empty() && !self.discarding {
            return self.report(bytes, on_line);
        }
        self.keep(bytes, on_line);
        if !self.discarding {
            self.report(&self.partial, on_line);
            reset(&mut self.partial);
        }
        self.discarding = false;
    }

    fn report(&self, line: &[u8], on_line: &mut impl FnMut(Line<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.max {
            on_line(self.oversized(line));
        } else if !line.trim_ascii().is_empty() {
            on_line(Line::Complete(line));
        }
    }

    /// The prefix is never longer than the limit, so that it does not depend on the chunks either.
    fn oversized<'a>(&self, line: &'a [u8]) -> Line<'a> {
        Line::Oversized { prefix: &line[..line.len().min(self.max).min(PREFIX)] }
    }
}
