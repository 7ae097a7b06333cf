//! Decodes Server-Sent Events (WHATWG HTML, "Interpreting an event stream"), whatever the chunks.
//!
//! Invariants:
//! 1. The events do not depend on how the stream was cut into chunks.
//! 2. An event's lines are counted as they arrive, before they are decoded, against one limit.
//!    Comments are dropped byte by byte and count nothing. At most three times the limit is held: the
//!    line that is unfinished, what the finished ones said, and the cursor.
//! 3. The cursor changes only when an event is dispatched, and is always fit for a header value.
//! 4. An event without its blank line is never dispatched: it may be cut off anywhere.

#[cfg(test)]
mod tests;

use std::fmt;

use super::bytes::{BomFilter, append, reset};
use memchr::{memchr, memchr2};

/// The longest reconnection delay believed, 49 days: longer than any deadline, and safe to add to
/// any clock.
const MAX_RETRY_MILLIS: u64 = u32::MAX as u64;

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The event's type; `None` if the stream named none.
    pub(crate) name: Option<String>,
    /// Not decoded; empty for an event that only carried an id or a delay.
    pub(crate) data: Vec<u8>,
}

/// An event longer than the limit. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventTooLarge {
    pub(crate) limit: usize,
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for EventTooLarge {}

/// The state between two chunks.
#[derive(Debug)]
pub(crate) struct EventDecoder {
    max_event: usize,
    failed: bool,
    bom: BomFilter,
    /// The last line ended with CR: an LF that follows belongs to that end.
    after_cr: bool,
    /// The unfinished line is a comment.
    in_comment: bool,
    /// The unfinished line, unless it is a comment.
    partial: Vec<u8>,
    pending: Pending,
    /// The lines so far, as long as none of them is a field: this may be no event stream at all.
    foreign: Option<Vec<u8>>,
    last_event_id: Option<String>,
    retry_millis: Option<u64>,
}

/// What is left of a stream that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// An event whose blank line did not come, for people.
    Unfinished(Event),
    /// The lines of a stream that has no field at all, and so is none.
    Foreign(Vec<u8>),
}

/// The fields of the event that is not dispatched yet.
#[derive(Debug, Default)]
struct Pending {
    /// Length of its finished lines as they arrived.
    len: usize,
    name: Option<String>,
    data: Option<Vec<u8>>,
    id: Option<String>,
    retry: bool,
}

impl EventDecoder {
    /// A decoder for events whose lines are at most `max_event` bytes together, line ends and
    /// comments not counted.
    pub(crate) fn new(max_event: usize) -> Self {
        Self {
            max_event,
            failed: false,
            bom: BomFilter::default(),
            after_cr: false,
            in_comment: false,
            partial: Vec::new(),
            pending: Pending::default(),
            foreign: Some(Vec::new()),
            last_event_id: None,
            retry_millis: None,
        }
    }

    /// How much memory the event takes that is not whole yet, and the cursor.
    pub(crate) fn held(&self) -> usize {
        let Pending { name, data, id, .. } = &self.pending;
        let texts = [name, id, &self.last_event_id].into_iter().flatten().map(String::capacity);
        let bytes = [data, &self.foreign].into_iter().flatten().map(Vec::capacity);
        self.partial.capacity() + bytes.sum::<usize>() + texts.sum::<usize>()
    }

    /// Calls `on_event` for each event that `chunk` completes, those with empty data but an id or a
    /// delay included.
    ///
    /// After an error all further input is refused with the same error.
    pub(crate) fn feed(
        &mut self,
        chunk: &[u8],
        mut on_event: impl FnMut(Event),
    ) -> Result<(), EventTooLarge> {
        let fed = self.feed_lines(chunk, &mut on_event);
        if fed.is_err() && !self.failed {
            self.failed = true;
            self.partial = Vec::new();
            self.pending = Pending::default();
            self.foreign = None;
        }
        fed
    }

    /// At the end of the stream, what is left.
    pub(crate) fn rest(&mut self) -> Option<Rest> {
        let line = std::mem::take(&mut self.partial);
        if line.starts_with(b"data") || self.foreign.is_some() && !line.is_empty() {
            self.field(&line);
        }
        let Pending { name, data, .. } = std::mem::take(&mut self.pending);
        let foreign = self.foreign.take().filter(|text| !text.is_empty());
        match data {
            Some(data) => Some(Rest::Unfinished(Event { name, data })),
            None => foreign.map(Rest::Foreign),
        }
    }

    /// The cursor: the id of the last dispatched event that had one. It is empty if that took the one before back.
    pub(crate) fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// The latest reconnection delay the stream asked for.
    pub(crate) fn retry_millis(&self) -> Option<u64> {
        self.retry_millis
    }

    fn feed_lines(&mut self, chunk: &[u8], on_event: &mut impl FnMut(Event)) -> Result<(), EventTooLarge> {
        if self.failed {
            return Err(EventTooLarge { limit: self.max_event });
        }
        let (held_back, mut rest) = self.bom.strip(chunk);
        self.keep(held_back)?;
        loop {
            if self.after_cr && !rest.is_empty() {
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                self.after_cr = false;
            }
            let Some(len) = memchr2(b'\n', b'\r', rest) else {
                return self.keep(rest);
            };
            self.finish(&rest[..len], on_event)?;
            self.after_cr = rest[len] == b'\r';
            rest = &rest[len + 1..];
        }
    }

    /// Adds `bytes`, in which no line ends, to the unfinished line.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        self.in_comment |= self.partial.is_empty() && bytes.starts_with(b":");
        if !self.in_comment {
            let left = self.left_for(self.partial.len(), bytes)?;
            append(&mut self.partial, bytes, left);
        }
        Ok(())
    }

    /// Ends the unfinished line with `bytes`.
    fn finish(&mut self, bytes: &[u8], on_event: &mut impl FnMut(Event)) -> Result<(), EventTooLarge> {
        if self.partial.is_empty() {
            let comment = std::mem::take(&mut self.in_comment) || bytes.starts_with(b":");
            if bytes.is_empty() && !comment {
                self.dispatch(on_event);
            } else if !comment {
                self.left_for(0, bytes)?;
                self.field(bytes);
            }
            return Ok(());
        }
        self.keep(bytes)?;
        let mut line = std::mem::take(&mut self.partial);
        self.field(&line);
        reset(&mut line);
        self.partial = line;
        Ok(())
    }

    /// Checks that `bytes` still fit behind `started` bytes of the same line; returns the room for
    /// the whole line.
    fn left_for(&self, started: usize, bytes: &[u8]) -> Result<usize, EventTooLarge> {
        let left = self.max_event - self.pending.len;
        if bytes.len() > left - started {
            return Err(EventTooLarge { limit: self.max_event });
        }
        Ok(left)
    }

    /// Takes in one finished line that is neither blank nor a comment.
    fn field(&mut self, line: &[u8]) {
        self.pending.len += line.len();
        let colon = memchr(b':', line).unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.data(value),
            b"event" => {
                // Repaired, it would be three times as long.
                let name = std::str::from_utf8(value).unwrap_or("\u{fffd}").to_owned();
                self.pending.name = Some(name).filter(|name| !name.is_empty());
            }
            b"id" => {
                if let Some(id) = read_id(value) {
                    self.pending.id = Some(id.to_owned());
                }
            }
            b"retry" => {
                if let Some(millis) = read_retry(value) {
                    self.retry_millis = Some(millis);
                    self.pending.retry = true;
                }
            }
            _ => return self.keep_foreign(line),
        }
        self.foreign = None;
    }

    fn keep_foreign(&mut self, line: &[u8]) {
        if let Some(text) = &mut self.foreign {
            if line.len() < self.max_event - text.len() {
                append(text, line, self.max_event);
                append(text, b"\n", self.max_event);
            }
        }
    }

    fn data(&mut self, value: &[u8]) {
        match &mut self.pending.data {
            Some(data) => {
                append(data, b"\n", self.max_event);
                append(data, value, self.max_event);
            }
            None => self.pending.data = Some(value.to_vec()),
        }
    }

    fn dispatch(&mut self, on_event: &mut impl FnMut(Event)) {
        let Pending { name, data, id, retry, .. } = std::mem::take(&mut self.pending);
        let news = data.is_some() || id.is_some() || retry;
        if id.is_some() {
            self.last_event_id = id;
        }
        if news {
            on_event(Event { name, data: data.unwrap_or_default() });
        }
    }
}

/// An id that can go back in a header value; others are ignored, and so is one that is not UTF-8,
/// because a repaired id would be a different one.
fn read_id(value: &[u8]) -> Option<&str> {
    let legal = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    std::str::from_utf8(value).ok().filter(|_| value.iter().all(legal))
}

/// Digits only; a number too large for us is the largest we believe.
fn read_retry(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |millis, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some((millis * 10 + digit).min(MAX_RETRY_MILLIS))
    })
}
