//! Finds out which request a damaged or oversized message answers, so that the request fails at once
//! instead of never.
//!
//! The message may be cut off anywhere, and may contain what JSON forbids (NaN, control characters,
//! bytes that are no UTF-8). Invariants:
//! 1. An id inside a string or a nested value is never taken for the message's own.
//! 2. At the first sign that the nesting is not what it seems, the scan stops and keeps what it has
//!    found.
//! 3. What is found does not depend on how the message was cut into chunks.
//! 4. One pass, no recursion; of the message itself at most [`KEPT`] bytes are kept, and one byte for each
//!    level of nesting, of which there may be [`DEPTH`].

#[cfg(test)]
mod tests;

use serde_json::value::RawValue;

use super::id::own_id;
use crate::protocol::bytes::BOM;
use memchr::memchr2;

/// How deep a message may be nested. The scan stops at one that is deeper.
const DEPTH: usize = 1 << 20;

/// The longest name or value that matters, in bytes, quotes included: twenty digits, every one of them
/// written as an escape, and some more.
const KEPT: usize = 160;

/// The id in the first bytes of a damaged response to one of our requests.
pub(crate) fn recover_response_id(text: &[u8]) -> Option<u64> {
    let mut scan = Scan::default();
    scan.feed(text.strip_prefix(BOM).unwrap_or(text));
    scan.id()
}

/// Reads the outermost object member by member, as it comes.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    at: At,
    /// Whether the string goes on with the byte after a backslash.
    escaped: bool,
    /// The member's name.
    name: Name,
    /// The name or the value that is being read, if it matters; one byte more than [`KEPT`] if it is
    /// longer.
    text: Vec<u8>,
    /// What closes the nested values that are open, the innermost last.
    closers: Vec<u8>,
    id: Option<u64>,
    has_method: bool,
    has_outcome: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum At {
    /// The object has not begun.
    #[default]
    Start,
    BeforeName,
    Name,
    Colon,
    BeforeValue,
    String,
    /// A number or a word, up to the byte that ends it.
    Scalar,
    /// An array or an object. Nothing in it matters but where it ends.
    Nested,
    NestedString,
    /// A value counts only if the object goes on, ends or is cut off right behind it.
    AfterValue,
    /// There is nothing more to learn.
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Name {
    Id,
    Method,
    Outcome,
    #[default]
    Other,
}

impl Scan {
    /// Whether the rest of the message cannot tell more.
    pub(crate) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// The id, should the message end here.
    ///
    /// A message with a `method` is the peer's own request, and its id none of ours. A number counts
    /// only if something follows it: the rest of its digits may be missing. Of duplicate members the
    /// last wins, as in an intact message, as long as it is not known yet that this is a response and
    /// whose.
    pub(crate) fn id(&self) -> Option<u64> {
        if self.has_method { None } else { self.id }
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let [first, ..] = bytes {
            let read = match self.at {
                At::Done => return,
                At::Name | At::String | At::NestedString => self.string(bytes),
                At::Scalar => self.scalar(bytes),
                At::Nested => self.nested(bytes),
                _ if is_space(*first) => 1,
                _ => self.token(*first),
            };
            bytes = &bytes[read..];
        }
    }

    /// A byte between names and values. Returns how many bytes it has used: 1 or 0.
    fn token(&mut self, byte: u8) -> usize {
        self.at = match (self.at, byte) {
            (At::Start, b'{') => At::BeforeName,
            (At::BeforeName, b'"') => {
                self.text.clear();
                self.keep(b"\"");
                At::Name
            }
            (At::Colon, b':') => At::BeforeValue,
            (At::BeforeValue, _) => return self.begin_value(byte),
            (At::AfterValue, b',') if self.is_known() => At::Done,
            (At::AfterValue, b',') => At::BeforeName,
            (At::AfterValue, b'}') => At::Done,
            (At::AfterValue, _) => {
                self.doubt();
                At::Done
            }
            _ => At::Done,
        };
        1
    }

    fn begin_value(&mut self, byte: u8) -> usize {
        self.text.clear();
        // Some peers write every member they know: what is null is not there.
        self.has_outcome |= self.name == Name::Outcome && byte != b'n';
        if self.is_known() {
            self.at = At::Done;
            return 1;
        }
        let (at, read) = match byte {
            b'"' => {
                self.keep(b"\"");
                (At::String, 1)
            }
            b'{' | b'[' => (At::Nested, 0),
            _ => (At::Scalar, 0),
        };
        self.at = at;
        read
    }

    /// A string ends with the next quote that is not escaped.
    fn string(&mut self, bytes: &[u8]) -> usize {
        let escaped = std::mem::take(&mut self.escaped);
        let read = if escaped { 1 } else { memchr2(b'"', b'\\', bytes).map_or(bytes.len(), |at| at + 1) };
        self.keep(&bytes[..read]);
        match bytes[read - 1] {
            b'\\' if !escaped => self.escaped = true,
            b'"' if !escaped => match self.at {
                At::Name => self.end_name(),
                At::NestedString => self.at = At::Nested,
                _ => self.end_value(),
            },
            _ => {}
        }
        read
    }

    fn scalar(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|&byte| is_space(byte) || b",:\"{}[]".contains(&byte));
        let read = end.unwrap_or(bytes.len());
        self.keep(&bytes[..read]);
        if end.is_some() {
            self.end_value();
        }
        read
    }

    fn nested(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => self.at = At::NestedString,
                b'{' | b'[' if self.closers.len() == DEPTH => self.at = At::Done,
                b'{' => self.closers.push(b'}'),
                b'[' => self.closers.push(b']'),
                b'}' | b']' if self.closers.pop() != Some(*byte) => self.at = At::Done,
                b'}' | b']' if self.closers.is_empty() => self.end_value(),
                _ => {}
            }
            if self.at != At::Nested {
                return at + 1;
            }
        }
        bytes.len()
    }

    fn end_name(&mut self) {
        let is = |name| is_name(&self.text, name);
        self.name = match () {
            () if is("id") => Name::Id,
            () if is("method") => Name::Method,
            () if is("result") || is("error") => Name::Outcome,
            () => Name::Other,
        };
        self.doubt();
        self.at = At::Colon;
    }

    fn end_value(&mut self) {
        match self.name {
            Name::Id if self.text.len() > KEPT => {}
            Name::Id => self.id = serde_json::from_slice::<&RawValue>(&self.text).ok().and_then(own_id),
            Name::Method => self.has_method = self.text != b"null",
            _ => {}
        }
        self.at = At::AfterValue;
    }

    /// What this member says is not known, or not to be trusted.
    fn doubt(&mut self) {
        match self.name {
            Name::Id => self.id = None,
            Name::Method => self.has_method = true,
            _ => {}
        }
    }

    /// Whether it is a response, and to which request.
    fn is_known(&self) -> bool {
        self.has_outcome && self.id().is_some()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let matters = match self.at {
            At::NestedString => false,
            At::BeforeName | At::Name => true,
            _ => matches!(self.name, Name::Id | Name::Method),
        };
        if matters {
            let room = (KEPT + 1).saturating_sub(self.text.len());
            self.text.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
    }
}

/// Compares a quoted name, which may be written with escapes.
fn is_name(quoted: &[u8], name: &str) -> bool {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted).is_ok_and(|key| key == name);
    }
    quoted.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) == Some(name.as_bytes())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
