//! A reply's result, split off its envelope without a scan.
//!
//! A result may be long, and whoever wants it decodes it: that reads it anyway. So where a reply has the usual form, its
//! result is taken as what lies between the envelope's beginning and its end, unread. If that is one JSON value, the
//! message is what it seems to be, and [`parse`](super::parse) would have found the same by its scan. If it is not, the
//! message has other members behind its result, or is damaged: then the scan is made up for, with its outcome.
//!
//! Invariants:
//!
//! 1. A [`RawValue`] is made of nothing but text that has been read as JSON.
//! 2. The outcome is that of the scan, with one exception. A message of the usual form is attributed by the id of that
//!    form, at once. Where the scan finds another id (a second member `id`) or none (the end of a reply behind
//!    something that is damaged), the message is [malformed](MalformedReason::OtherId) or what the scan says, for
//!    the call whose reply it looks like.
//! 3. Of several messages in one text none is lost, where all of them say their version, or none does. To find out about
//!    those who mix them would cost each reply 3 % of its instructions.

use super::run_on::run_on;
use super::{Batch, Malformed, MalformedReason, Message, ResponseId, RpcError, parse_object};
use crate::protocol::json::surrogates::mended;
use memchr::memmem;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::LazyLock;

/// A result as JSON text, perhaps unread yet.
#[derive(Debug)]
pub(crate) struct ResultText(Text);

#[derive(Debug)]
enum Text {
    Checked(Box<RawValue>),
    Unchecked { text: Box<str>, id: u64, id_first: bool },
}

/// Why what came for a call is no result.
#[derive(Debug)]
pub(crate) enum ReplyError {
    Rpc(RpcError),
    Malformed(MalformedReason),
    /// The reply is longer than the transport takes; the limit.
    TooLong(usize),
}

impl ResultText {
    /// The id and the result of a reply in the usual form: an object with the members `jsonrpc`, `id` and `result`, in
    /// any order, with any spaces, and no others. The result is an object. `None` for anything else.
    pub(super) fn split(message: &str) -> Option<(u64, Self)> {
        let (head, rest) = Envelope::default().read_head(message.as_bytes())?;
        let (envelope, result) = head.clone().read_tail(rest)?;
        // `null` may mean that there is no result. And if the end is another one, there is more than a result.
        if !(result.starts_with(b"{") && result.ends_with(b"}")) {
            return None;
        }
        if !is_alone(message, result, envelope.version) {
            return None;
        }
        let id = envelope.id?;
        let start = message.len() - rest.len();
        let text = message.get(start..start + result.len())?.into();
        Some((id, Self(Text::Unchecked { text, id, id_first: head.id.is_some() })))
    }

    /// The result, or what seems to be one. It is JSON if any reader of JSON takes it as a whole.
    pub(crate) fn text(&self) -> &str {
        match &self.0 {
            Text::Checked(raw) => raw.get(),
            Text::Unchecked { text, .. } => text,
        }
    }

    /// The result as JSON and as Unicode: half a surrogate in it is U+FFFD.
    pub(crate) fn into_checked(self) -> Result<Box<RawValue>, ReplyError> {
        let raw = match self.0 {
            Text::Checked(raw) => raw,
            Text::Unchecked { text, id, id_first } => check(&text, id, id_first)?,
        };
        let mended = match mended(&raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(mended) => Some(mended),
        };
        Ok(mended.unwrap_or(raw))
    }
}

impl From<Box<RawValue>> for ResultText {
    fn from(raw: Box<RawValue>) -> Self {
        Self(Text::Checked(raw))
    }
}

/// Messages in a row look like one, until somebody looks between them. Whoever says the version says it in each of them;
/// where nobody says it, only a scan tells.
fn is_alone(message: &str, result: &[u8], version: bool) -> bool {
    static VERSION: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new("\"jsonrpc\""));
    if version {
        return VERSION.find(result).is_none();
    }
    let mut values = serde_json::Deserializer::from_str(message).into_iter::<IgnoredAny>();
    // What is damaged has nothing behind it that would be taken.
    !matches!(values.next(), Some(Ok(_))) || message[values.byte_offset()..].trim_ascii().is_empty()
}

fn check(text: &str, id: u64, id_first: bool) -> Result<Box<RawValue>, ReplyError> {
    serde_json::from_str(text).or_else(|_| scan(text, id, id_first))
}

/// Reads the message as if it had not been split. Of the envelope only what matters is written again.
#[cold]
fn scan(text: &str, id: u64, id_first: bool) -> Result<Box<RawValue>, ReplyError> {
    let message = match id_first {
        true => format!(r#"{{"id":{id},"result":{text}}}"#),
        false => format!(r#"{{"result":{text},"id":{id}}}"#),
    };
    match parse_object(&message) {
        Ok(Message::Response { id: found, outcome }) if found == ResponseId::Ours(id) => {
            outcome.map_err(ReplyError::Rpc)?.into_checked()
        }
        Ok(Message::Response { .. }) => Err(ReplyError::Malformed(MalformedReason::OtherId)),
        // A second `result`, which is null.
        Ok(Message::Request { .. } | Message::Notification { .. }) => {
            Err(ReplyError::Malformed(MalformedReason::MethodAndOutcome))
        }
        // Words behind it, perhaps.
        Err(Malformed { reason, .. }) => match run_on(&message).and_then(|batch| reply_in(batch, id)) {
            Some(outcome) => outcome.map_err(ReplyError::Rpc)?.into_checked(),
            None => Err(ReplyError::Malformed(reason)),
        },
    }
}

fn reply_in(batch: Batch, id: u64) -> Option<Result<ResultText, RpcError>> {
    batch.filter_map(Result::ok).find_map(|message| match message {
        Message::Response { id: found, outcome } if found == ResponseId::Ours(id) => Some(outcome),
        _ => None,
    })
}

/// What has been read of an envelope.
#[derive(Clone, Debug, Default)]
struct Envelope {
    id: Option<u64>,
    version: bool,
}

impl Envelope {
    /// Reads up to the result. Returns what is left.
    fn read_head(mut self, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = after(bytes, b"{")?;
        loop {
            if let Some(value) = after(rest, b"\"result\"") {
                return Some((self, trim_start(after(value, b":")?)));
            }
            rest = after(self.read_first(rest)?, b",")?;
        }
    }

    fn read_first<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(value) = after(bytes, b"\"jsonrpc\"").filter(|_| !self.version) {
            self.version = true;
            return after(after(value, b":")?, b"\"2.0\"");
        }
        let value = after(bytes, b"\"id\"").filter(|_| self.id.is_none())?;
        let value = trim_start(after(value, b":")?);
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.id = Some(number(&value[..digits])?);
        Some(&value[digits..])
    }

    /// Reads from the end up to the result. Returns what is left.
    fn read_tail(mut self, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = trim_end(before(bytes, b"}")?);
        while let Some(left) = self.read_last(rest) {
            rest = trim_end(before(left, b",")?);
        }
        Some((self, rest))
    }

    /// `None` if the last member is none of the envelope's.
    fn read_last<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        // So ends the result, and neither of the others.
        if bytes.ends_with(b"}") {
            return None;
        }
        if let Some(left) = bytes.strip_suffix(b"\"2.0\"").filter(|_| !self.version) {
            let left = before(before(left, b":")?, b"\"jsonrpc\"")?;
            self.version = true;
            return Some(left);
        }
        if self.id.is_some() {
            return None;
        }
        let digits = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (left, digits) = bytes.split_at(bytes.len() - digits);
        let left = before(before(left, b":")?, b"\"id\"")?;
        self.id = Some(number(digits)?);
        Some(left)
    }
}

/// A number as we write them; `None` for what is no JSON, or more than our counter can have counted.
fn number(digits: &[u8]) -> Option<u64> {
    match digits {
        [] | [b'0', _, ..] => None,
        _ => digits
            .iter()
            .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))),
    }
}

/// What is behind a token, which begins with no space. Few servers write spaces there.
fn after<'a>(bytes: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    bytes.strip_prefix(token).or_else(|| trim_start(bytes).strip_prefix(token))
}

/// What is in front of a token, which ends with no space.
fn before<'a>(bytes: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    bytes.strip_suffix(token).or_else(|| trim_end(bytes).strip_suffix(token))
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
