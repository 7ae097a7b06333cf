//! The members of a batch, one after the other.
//!
//! It may have any number of them: nothing is kept of those that have been read, and of the others only
//! their text. What bounds it is what bounds the text.

use super::{Malformed, MalformedReason, Message, parse_batch_member};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A valid array that is not empty, and how far it has been read.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    json: Box<str>,
    /// Where the next member begins, or the white space before it.
    at: usize,
}

impl Batch {
    /// `json` begins with white space and a bracket.
    pub(super) fn new(json: &str) -> Result<Self, Malformed> {
        if serde_json::from_str::<IgnoredAny>(json).is_err() {
            return Err(MalformedReason::NotJson.into());
        }
        let at = json.find('[').map_or(json.len(), |bracket| bracket + 1);
        if json[at..].trim_start().starts_with(']') {
            return Err(MalformedReason::EmptyBatch.into());
        }
        Ok(Self { json: json.into(), at })
    }
}

impl Iterator for Batch {
    type Item = Result<Message, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.json[self.at..];
        let mut members = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let member = members.next()?.ok()?;
        // Past what follows it: a comma, or the bracket, and then nothing is left to be read.
        let end = self.at + members.byte_offset();
        let separator = self.json[end..].find([',', ']']).map_or(self.json.len(), |found| end + found);
        let is_last = self.json[separator..].starts_with(']');
        self.at = if is_last { self.json.len() } else { separator + 1 };
        Some(parse_batch_member(member))
    }
}
