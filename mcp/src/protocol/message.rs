//! The JSON-RPC 2.0 envelope: lenient about what comes in, strict about what goes out.
//!
//! Invariants:
//! 1. No input panics, recurses or is scanned more than a fixed number of times.
//! 2. Whatever looks like an answer to us keeps its id, also when it is malformed, so that its
//!    request is settled.
//! 3. Parameters, results and error data stay JSON text and are passed on byte for byte, but for half a
//!    surrogate, which is no Unicode.
//! 4. An outbound message contains no line break and never a null `params`.
//!
//! Parsing a response allocates its result and nothing else; a request allocates its id, its method
//! and its parameters; a batch allocates a copy of its text, and its members one at a time. While the parser scans nested
//! values it keeps one byte for each level.

mod batch;
mod draft;
mod encode;
mod id;
pub(crate) mod recover_id;
mod result_text;
mod rpc_error;
mod run_on;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::bytes::BOM;
use super::json::members::members;
use super::json::surrogates::{mend, mended};
use recover_id::recover_response_id;

pub(crate) use batch::Batch;
pub(crate) use draft::{Draft, NoParams};
pub(crate) use encode::{
    encode_error, encode_notification, encode_request, encode_request_of, encode_result,
};
pub(crate) use id::{RequestId, ResponseId, own_id};
pub(crate) use result_text::{ReplyError, ResultText};
pub use rpc_error::RpcError;
use run_on::run_on;

/// One message of the peer.
#[derive(Debug)]
pub(crate) enum Message {
    Request { id: RequestId, method: String, params: Option<Box<RawValue>> },
    Notification { method: String, params: Option<Box<RawValue>> },
    Response { id: ResponseId, outcome: Result<ResultText, RpcError> },
}

/// What one line, body or event carried.
#[derive(Debug)]
pub(crate) enum Inbound {
    One(Message),
    /// An array of messages, each judged by itself; never empty.
    Batch(Batch),
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
    BadMethod,
    BadRequestId,
    MethodAndOutcome,
    ResultAndError,
    NoMethodNoOutcome,
    OtherId,
}

/// Reads one message or one batch.
pub(crate) fn parse(text: &[u8]) -> Result<Inbound, Malformed> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let Ok(json) = std::str::from_utf8(text) else {
        return Err(Malformed::damaged(MalformedReason::NotUtf8, text));
    };
    let read = match json.bytes().find(|byte| !b" \t\r\n".contains(byte)) {
        Some(b'{') => match ResultText::split(json) {
            Some((id, result)) => {
                Ok(Inbound::One(Message::Response { id: ResponseId::Ours(id), outcome: Ok(result) }))
            }
            None => parse_object(json).map(Inbound::One),
        },
        Some(b'[') => Batch::new(json).map(Inbound::Batch),
        _ if serde_json::from_str::<IgnoredAny>(json).is_ok() => Err(MalformedReason::NotAnObject.into()),
        _ => Err(MalformedReason::NotJson.into()),
    };
    or_run_on(json, read)
}

/// The error in the body of an HTTP error. One that answers nobody has to be an object: what OAuth calls an `error` is a
/// word (RFC 6750, 3; RFC 6749, 5.2).
#[cfg(feature = "http")]
pub(crate) fn error_in(body: &[u8]) -> Option<RpcError> {
    let Ok(Inbound::One(Message::Response { id, outcome: Err(error) })) = parse(body) else { return None };
    if id == ResponseId::Absent {
        let json = std::str::from_utf8(body.strip_prefix(BOM).unwrap_or(body)).ok()?;
        let [error] = members(json, ["error"]).ok()?;
        error.filter(|error| error.get().starts_with('{'))?;
    }
    Some(error)
}

/// What was read, or, where the text is not one JSON value, the messages that are in it.
fn or_run_on(json: &str, read: Result<Inbound, Malformed>) -> Result<Inbound, Malformed> {
    match read {
        Err(malformed) if malformed.reason == MalformedReason::NotJson => {
            run_on(json).map(Inbound::Batch).ok_or(malformed)
        }
        read => read,
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
            Self::BadMethod => "method is not a string",
            Self::BadRequestId => "request id is no string or number of at most 1 KiB",
            Self::MethodAndOutcome => "message has both a method and a result or error",
            Self::ResultAndError => "response has both a result and an error",
            Self::OtherId => "message has two ids",
            Self::NoMethodNoOutcome => "message has neither a method nor a result nor an error",
        }
    }
}

impl fmt::Display for MalformedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the members of one message, with a scan of them all.
fn parse_object(json: &str) -> Result<Message, Malformed> {
    const NAMES: [&str; 5] = ["id", "method", "params", "result", "error"];
    let not_json = || Malformed::damaged(MalformedReason::NotJson, json.as_bytes());
    if let Ok(found) = members(json, NAMES) {
        return parse_members(found);
    }
    // Names are read, and this one may be no Unicode.
    match mend(json) {
        Cow::Borrowed(_) => Err(not_json()),
        Cow::Owned(mended) => parse_members(members(&mended, NAMES).map_err(|_| not_json())?),
    }
}

fn parse_members(members: [Option<&RawValue>; 5]) -> Result<Message, Malformed> {
    let [id, method, params, result, error] = members;
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
    let params = present(params).map(|params| mended(params).into_owned());
    let id = if method.starts_with("notifications/") { present(id) } else { id };
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
        (Some(result), None) => Ok(result.to_owned().into()),
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

/// An inbound message after its result has been read: that tells whether it is a result.
#[cfg(any(test, shared_fate_fuzz))]
pub(in crate::protocol) fn settled(inbound: Inbound) -> Result<Inbound, Malformed> {
    let Inbound::One(Message::Response { id, outcome: Ok(result) }) = inbound else { return Ok(inbound) };
    let outcome = match result.into_checked() {
        Ok(raw) => Ok(raw.into()),
        Err(ReplyError::Rpc(error)) => Err(error),
        Err(ReplyError::Malformed(reason)) => return Err(Malformed { reason, id: id.ours() }),
        Err(ReplyError::TooLong(_)) => unreachable!("it came"),
    };
    Ok(Inbound::One(Message::Response { id, outcome }))
}

/// [`parse`] without its short way, and with the same look into the result.
#[cfg(any(test, shared_fate_fuzz))]
pub(in crate::protocol) fn parse_by_scan(text: &[u8]) -> Result<Inbound, Malformed> {
    let json = std::str::from_utf8(text.strip_prefix(BOM).unwrap_or(text));
    match json {
        Ok(json) if json.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') => {
            or_run_on(json, parse_object(json).map(Inbound::One)).and_then(settled)
        }
        _ => parse(text).and_then(settled),
    }
}

fn parse_batch_member(raw: &RawValue) -> Result<Message, Malformed> {
    if raw.get().starts_with('{') {
        parse_object(raw.get())
    } else {
        Err(MalformedReason::NotAnObject.into())
    }
}
