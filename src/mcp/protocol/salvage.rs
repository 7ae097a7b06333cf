//! Finds out which request a damaged message answers, so that the request fails at once instead of
//! never.
//!
//! The message may be cut off anywhere, and may contain what JSON forbids (NaN, control characters,
//! bytes that are no UTF-8). Invariants:
//! 1. An id inside a string or a nested value is never taken for the message's own.
//! 2. At the first sign that the nesting is not what it seems, the scan stops and keeps what it has
//!    found.
//! 3. One pass, no recursion; memory is one byte per level of nesting.

#[cfg(test)]
mod tests;

use serde_json::value::RawValue;

use super::bytes::{BOM, position};
use super::message::own_id;

/// The id in the first bytes of a damaged response to one of our requests.
///
/// A message with a `method` is the peer's own request, and its id none of ours. A number counts
/// only if something follows it: the rest of its digits may be missing. Of duplicate members the
/// last wins, as in an intact message.
pub(crate) fn recover_response_id(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let mut scan = Scanner { text, at: 0 };
    let (mut id, mut has_method) = (None, false);
    if scan.token()? != b'{' {
        return None;
    }
    while let Some(key) = scan.key() {
        let value = scan.value_of_member();
        if is_key(key, "id") {
            id = value.and_then(|json| own_id(serde_json::from_slice::<&RawValue>(json).ok()?));
        } else if is_key(key, "method") {
            has_method = value != Some(b"null");
        }
        if value.is_none() {
            break;
        }
    }
    if has_method { None } else { id }
}

/// Compares a quoted key, which may be written with escapes.
fn is_key(quoted: &[u8], name: &str) -> bool {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted).is_ok_and(|key| key == name);
    }
    quoted.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) == Some(name.as_bytes())
}

/// Reads the outermost object member by member. Every method returns `None` at the cut and at
/// damage.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The quoted name of the next member.
    fn key(&mut self) -> Option<&'a [u8]> {
        if self.peek()? == b',' {
            self.at += 1;
        }
        if self.peek()? == b'"' { self.string() } else { None }
    }

    /// The value after a key; it counts only if the object goes on, ends or is cut off right behind
    /// it.
    fn value_of_member(&mut self) -> Option<&'a [u8]> {
        if self.token()? != b':' {
            return None;
        }
        let value = match self.peek()? {
            b'"' => self.string()?,
            b'{' | b'[' => self.nested()?,
            _ => self.scalar()?,
        };
        matches!(self.peek(), Some(b',' | b'}') | None).then_some(value)
    }

    /// A string with its quotes, which are the first byte and the next one that is not escaped.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut end = start + 1;
        loop {
            end += position(self.text.get(end..)?, |byte| matches!(byte, b'"' | b'\\'))?;
            if self.text[end] == b'"' {
                self.at = end + 1;
                return Some(&self.text[start..self.at]);
            }
            end += 2;
        }
    }

    /// An array or object with its brackets. Nothing in it matters but where it ends.
    fn nested(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut closers = Vec::new();
        loop {
            match *self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' => closers.push(b'}'),
                b'[' => closers.push(b']'),
                closer @ (b'}' | b']') if closers.pop() != Some(closer) => return None,
                _ => {}
            }
            self.at += 1;
            if closers.is_empty() {
                return Some(&self.text[start..self.at]);
            }
        }
    }

    /// A number or a word, up to the byte that ends it.
    fn scalar(&mut self) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        let len = position(rest, |byte| is_space(byte) || b",:\"{}[]".contains(&byte))?;
        self.at += len;
        Some(&rest[..len])
    }

    /// Consumes the next byte that is no space.
    fn token(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Moves to the next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        self.at += self.text[self.at..].iter().take_while(|byte| is_space(**byte)).count();
        self.text.get(self.at).copied()
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
