//! The JSON-RPC 2.0 envelope: lenient about what comes in, strict about what goes out.
//!
//! Invariants:
//! 1. No input panics, recurses or is scanned more than a fixed number of times.
//! 2. Whatever looks like an answer to us keeps its id, also when it is malformed, so that its
//!    request is settled.
//! 3. Parameters, results and error data stay JSON text and are passed on byte for byte.
//! 4. An outbound message contains no line break and never a null `params`.
//!
//! Parsing a response allocates its result and nothing else; a request allocates its id, its method
//! and its parameters. While it scans nested values the parser keeps one byte per level.

mod encode;
mod id;
mod members;
mod rpc_error;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::bytes::BOM;
use super::salvage::recover_response_id;
use members::members;

pub(crate) use encode::{encode_error, encode_notification, encode_request, encode_result};
pub(super) use id::own_id;
pub(crate) use id::{RequestId, ResponseId};
pub use rpc_error::RpcError;

/// Members of a batch beyond this number are dropped and reported as one malformed message.
pub(crate) const MAX_BATCH: usize = 1000;

/// One message of the peer.
#[derive(Debug)]
pub(crate) enum Message {
    Request { id: RequestId, method: String, params: Option<Box<RawValue>> },
    Notification { method: String, params: Option<Box<RawValue>> },
    Response { id: ResponseId, outcome: Result<Box<RawValue>, RpcError> },
}

/// What one line, body or event carried.
#[derive(Debug)]
pub(crate) enum Inbound {
    One(Message),
    /// An array of messages, each judged by itself; never empty.
    Batch(Vec<Result<Message, Malformed>>),
}

/// Input that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) reason: MalformedReason,
    /// The id of the request of ours that it seems to answer.
    pub(crate) id: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MalformedReason {
    NotUtf8,
    NotJson,
    NotAnObject,
    EmptyBatch,
    BatchTooLong,
    BadMethod,
    BadRequestId,
    MethodAndOutcome,
    ResultAndError,
    NoMethodNoOutcome,
}

/// Reads one message or one batch.
pub(crate) fn parse(text: &[u8]) -> Result<Inbound, Malformed> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let Ok(json) = str::from_utf8(text) else {
        return Err(Malformed::damaged(MalformedReason::NotUtf8, text));
    };
    match json.bytes().find(|byte| !b" \t\r\n".contains(byte)) {
        Some(b'{') => parse_object(json).map(Inbound::One),
        Some(b'[') => parse_batch(json).map(Inbound::Batch),
        _ if serde_json::from_str::<IgnoredAny>(json).is_ok() => Err(MalformedReason::NotAnObject.into()),
        _ => Err(MalformedReason::NotJson.into()),
    }
}

impl Malformed {
    /// JSON or not, its beginning may still tell which request it answers.
    fn damaged(reason: MalformedReason, text: &[u8]) -> Self {
        Self { reason, id: recover_response_id(text) }
    }
}

impl From<MalformedReason> for Malformed {
    fn from(reason: MalformedReason) -> Self {
        Self { reason, id: None }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{} (answers request {id})", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for Malformed {}

impl MalformedReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "message is not UTF-8",
            Self::NotJson => "message is not valid JSON",
            Self::NotAnObject => "message is not an object",
            Self::EmptyBatch => "batch is empty",
            Self::BatchTooLong => "batch has too many members",
            Self::BadMethod => "method is not a string",
            Self::BadRequestId => "request id is neither a string nor a number",
            Self::MethodAndOutcome => "message has both a method and a result or error",
            Self::ResultAndError => "response has both a result and an error",
            Self::NoMethodNoOutcome => "message has neither a method nor a result nor an error",
        }
    }
}

impl fmt::Display for MalformedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn parse_object(json: &str) -> Result<Message, Malformed> {
    let names = ["id", "method", "params", "result", "error"];
    let Ok([id, method, params, result, error]) = members(json, names) else {
        return Err(Malformed::damaged(MalformedReason::NotJson, json.as_bytes()));
    };
    // Some peers write every member they know, so null counts as absent; only a result may be null.
    match present(method) {
        Some(_) if present(result).or_else(|| present(error)).is_some() => {
            Err(Malformed { reason: MalformedReason::MethodAndOutcome, id: ResponseId::read(id).ours() })
        }
        Some(method) => parse_call(id, method, params),
        None => parse_response(ResponseId::read(id), result, present(error)),
    }
}

fn parse_call(
    id: Option<&RawValue>,
    method: &RawValue,
    params: Option<&RawValue>,
) -> Result<Message, Malformed> {
    let method = rpc_error::string(method).ok_or(MalformedReason::BadMethod)?;
    let params = present(params).map(RawValue::to_owned);
    match id {
        None => Ok(Message::Notification { method, params }),
        Some(id) => {
            let id = RequestId::new(id).ok_or(MalformedReason::BadRequestId)?;
            Ok(Message::Request { id, method, params })
        }
    }
}

fn parse_response(
    id: ResponseId,
    result: Option<&RawValue>,
    error: Option<&RawValue>,
) -> Result<Message, Malformed> {
    let outcome = match (result, error) {
        (Some(result), None) => Ok(result.to_owned()),
        (_, Some(error)) if present(result).is_none() => Err(RpcError::read(error)),
        (Some(_), Some(_)) => {
            return Err(Malformed { reason: MalformedReason::ResultAndError, id: id.ours() });
        }
        (None, _) => {
            return Err(Malformed { reason: MalformedReason::NoMethodNoOutcome, id: id.ours() });
        }
    };
    Ok(Message::Response { id, outcome })
}

fn present(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|raw| raw.get() != "null")
}

fn parse_batch(json: &str) -> Result<Vec<Result<Message, Malformed>>, Malformed> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let parsed = parser.deserialize_seq(BatchMembers { max: MAX_BATCH });
    let (Ok((raw, overflow)), Ok(())) = (parsed, parser.end()) else {
        return Err(MalformedReason::NotJson.into());
    };
    if raw.is_empty() {
        return Err(MalformedReason::EmptyBatch.into());
    }
    let mut batch: Vec<_> = raw.into_iter().map(parse_batch_member).collect();
    if overflow {
        batch.push(Err(MalformedReason::BatchTooLong.into()));
    }
    Ok(batch)
}

fn parse_batch_member(raw: &RawValue) -> Result<Message, Malformed> {
    if raw.get().starts_with('{') {
        parse_object(raw.get())
    } else {
        Err(MalformedReason::NotAnObject.into())
    }
}

/// Splits an array into its first `max` members, and tells whether there were more.
struct BatchMembers {
    max: usize,
}

impl<'de> Visitor<'de> for BatchMembers {
    type Value = (Vec<&'de RawValue>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while members.len() < self.max {
            match seq.next_element()? {
                Some(member) => members.push(member),
                None => return Ok((members, false)),
            }
        }
        let mut overflow = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            overflow = true;
        }
        Ok((members, overflow))
    }
}
