//! From a reply to a value: its result is read once, where it is decoded.

use crate::error::{Delivery, Error, ErrorKind, Violation, bounded};
use crate::inbox::Inbox;
use crate::inbox::event::Event;
use crate::protocol::json::surrogates::mend;
use crate::protocol::message::{ReplyError, ResultText};
use crate::types::{Findings, decode};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The result as JSON, for whoever passes it on or has no use for it.
pub(crate) fn checked(reply: ResultText) -> Result<Box<RawValue>, Error> {
    reply.into_checked().map_err(failure)
}

/// A method's result as a value, within [`Limits::decoded`](crate::Limits::decoded). What is odd about it is told.
pub(crate) fn read_result<T: DeserializeOwned>(
    inbox: &Inbox,
    method: &str,
    reply: ResultText,
) -> Result<T, Error> {
    read_result_within(inbox, method, reply, inbox.limits().decoded).map(|(value, _)| value)
}

/// [`read_result`] within so many bytes; and how many it took.
///
/// The text is mended before it is read: the value may keep parts of it as JSON text, which would be read as Unicode later.
/// Where no value can be had of it, it may be no result at all, or not the whole text may be.
pub(crate) fn read_result_within<T: DeserializeOwned>(
    inbox: &Inbox,
    method: &str,
    reply: ResultText,
    limit: usize,
) -> Result<(T, usize), Error> {
    let decoded = match decode_text(inbox, method, &mend(reply.text()), limit) {
        Err(error) if matches!(error.kind(), ErrorKind::Protocol(_)) => {
            checked(reply).and_then(|reply| decode_text(inbox, method, reply.get(), limit))
        }
        decoded => decoded,
    };
    decoded.map_err(|error| error.of_server(inbox.server()))
}

/// The one place where a result's text becomes a value.
fn decode_text<T: DeserializeOwned>(
    inbox: &Inbox,
    method: &str,
    text: &str,
    limit: usize,
) -> Result<(T, usize), Error> {
    let (value, Findings { taken, exceeded, oddities }) = decode(text, limit);
    match value {
        Ok(value) => {
            for what in &oddities {
                inbox.emit(&Event::OddResult { method: method.into(), what: what.into() });
            }
            Ok((value, taken))
        }
        Err(_) if exceeded => {
            let limit = inbox.limits().decoded;
            Err(Error::limit("the memory of a result", limit, Delivery::Answered).with_result(text))
        }
        Err(error) => Err(Error::protocol_with(Violation::Result, bounded(error)).with_result(text)),
    }
}

/// A call's error where its reply has no result.
pub(super) fn failure(error: ReplyError) -> Error {
    match error {
        ReplyError::Rpc(error) => Error::new(ErrorKind::Rpc(error), Delivery::Answered),
        ReplyError::Malformed(reason) => Error::protocol(Violation::Malformed(reason.as_str())),
        ReplyError::TooLong(limit) => Error::limit("the length of a reply", limit, Delivery::Answered),
    }
}

#[cfg(test)]
mod tests;
