//! Splits a byte stream into lines, one message each.
//!
//! Invariants:
//! 1. The lines do not depend on how the stream was cut into chunks.
//! 2. At most `max` bytes of an unfinished line are kept (and one CR that may belong to its end). Of an
//!    oversized one that is not reported yet, its first [`PREFIX`] bytes and what [`Scan`] keeps.
//! 3. An oversized line is reported once, as soon as it is known to be one and whose reply it is, at the
//!    latest at its end; and it costs only itself.
//! 4. A line that is many times as long as one may be is reported as [endless](Line::Endless), once: calls would wait in
//!    vain for what comes after it. If what stands before that place makes it a reply to us, its call has failed by then,
//!    and it is given more time.

#[cfg(test)]
mod tests;

use super::bytes::{BomFilter, append, reset};
use super::message::recover_id::Scan;
use memchr::memchr;

/// How much of an oversized line is reported, for people.
const PREFIX: usize = 256;

/// A line that is this many times as long as one may be is taken to have no end.
const ENDLESS: usize = 5;
/// The same measure for a reply to us, which is given more time.
const ENDLESS_REPLY: usize = 100;

/// A line without its LF or CRLF.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Complete(&'a [u8]),
    Oversized {
        /// The request of ours that it answers.
        id: Option<u64>,
        prefix: &'a [u8],
    },
    /// The oversized line goes on and on.
    Endless,
}

/// The state between two chunks.
#[derive(Debug)]
pub(crate) struct LineDecoder {
    max: usize,
    bom: BomFilter,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// How long the unfinished line is by now; meaningless unless it is oversized.
    length: usize,
    skipping: Skipping,
}

/// What becomes of the rest of an unfinished line.
#[derive(Debug)]
enum Skipping {
    No,
    /// It is oversized, and searched for whose reply it is.
    Unreported(Scan),
    /// It is oversized and has been reported. If it was a reply to us where it became too long, it is given more time.
    Reported {
        is_ours: bool,
    },
    /// It has been reported, and reported as endless, too.
    Endless,
}

impl LineDecoder {
    /// A decoder for lines of at most `max` bytes, line ends not counted.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, bom: BomFilter::default(), partial: Vec::new(), length: 0, skipping: Skipping::No }
    }

    /// Calls `on_line` for each line that `chunk` completes. Blank lines are skipped; a line wholly
    /// inside one chunk is not copied.
    pub(crate) fn feed(&mut self, chunk: &[u8], mut on_line: impl FnMut(Line<'_>)) {
        let (held_back, mut rest) = self.bom.strip(chunk);
        self.keep(held_back, &mut on_line);
        while let Some(len) = memchr(b'\n', rest) {
            self.finish(&rest[..len], &mut on_line);
            rest = &rest[len + 1..];
        }
        self.keep(rest, &mut on_line);
    }

    /// The unterminated tail, which is no message; empty while an oversized line is being skipped.
    pub(crate) fn partial(&self) -> &[u8] {
        match self.skipping {
            Skipping::No => &self.partial,
            Skipping::Unreported(_) | Skipping::Reported { .. } | Skipping::Endless => &[],
        }
    }

    /// Adds `bytes`, in which no line ends, to the unfinished line.
    fn keep(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Line<'_>)) {
        if bytes.is_empty() {
            return;
        }
        if matches!(self.skipping, Skipping::No) {
            let len = self.partial.len().saturating_add(bytes.len());
            let limit = self.max.saturating_add(1);
            // The last byte allowed beyond the limit is a CR, because an LF may follow it.
            if len <= limit && (len < limit || bytes.ends_with(b"\r")) {
                return append(&mut self.partial, bytes, limit);
            }
            self.length = self.partial.len();
            let mut scan = Scan::default();
            scan.feed(&self.partial);
            // The prefix is never longer than the limit, so that it does not depend on the chunks.
            let prefix = self.max.min(PREFIX);
            let missing = prefix.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            self.partial.truncate(prefix);
            self.partial.shrink_to(prefix);
            self.skipping = Skipping::Unreported(scan);
        }
        // What the line is taken for where it is too long is decided by what stands before that place, however the
        // chunks were cut.
        let mut rest = bytes;
        for place in [endless(self.max, false), endless(self.max, true)] {
            let missing = place.saturating_sub(self.length);
            let (first, later) = rest.split_at(missing.min(rest.len()));
            self.skip(first, on_line);
            rest = later;
        }
        self.skip(rest, on_line);
    }

    /// Adds `bytes` to the oversized line, and reports what it is known to be by then.
    fn skip(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Line<'_>)) {
        self.length = self.length.saturating_add(bytes.len());
        if let Skipping::Unreported(scan) = &mut self.skipping {
            scan.feed(bytes);
            let id = scan.id();
            // A line that is longer, and not reported yet, was a reply to us at that length.
            let is_ours = id.is_some() || self.length > endless(self.max, false);
            if scan.is_done() || self.length >= endless(self.max, is_ours) {
                on_line(Line::Oversized { id, prefix: &self.partial });
                self.partial.clear();
                self.skipping = Skipping::Reported { is_ours };
            }
        }
        match self.skipping {
            Skipping::Reported { is_ours } if self.length >= endless(self.max, is_ours) => {
                on_line(Line::Endless);
                self.skipping = Skipping::Endless;
            }
            _ => {}
        }
    }

    /// Ends the unfinished line with `bytes`.
    fn finish(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Line<'_>)) {
        if self.partial.is_empty() && matches!(self.skipping, Skipping::No) && bytes.len() <= self.max {
            return report(bytes, on_line);
        }
        self.keep(bytes, on_line);
        match std::mem::replace(&mut self.skipping, Skipping::No) {
            Skipping::No => report(&self.partial, on_line),
            Skipping::Unreported(scan) => on_line(Line::Oversized { id: scan.id(), prefix: &self.partial }),
            Skipping::Reported { .. } | Skipping::Endless => {}
        }
        reset(&mut self.partial);
    }
}

/// The length at which a line is endless, where one of `max` bytes is not too long.
fn endless(max: usize, is_ours: bool) -> usize {
    max.saturating_mul(if is_ours { ENDLESS_REPLY } else { ENDLESS }).saturating_add(1)
}

/// Reports a whole line, unless it is blank. It may still end with the CR before its LF.
fn report(line: &[u8], on_line: &mut impl FnMut(Line<'_>)) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.trim_ascii().is_empty() {
        on_line(Line::Complete(line));
    }
}
