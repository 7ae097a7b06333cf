//! From a reply to a value: its result is read once, where it is decoded.

use crate::error::{Delivery, Error, ErrorKind, Violation};
use crate::protocol::json::surrogates::mend;
use crate::protocol::message::{ReplyError, ResultText};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The result as JSON, for whoever passes it on or has no use for it.
pub(crate) fn checked(reply: ResultText) -> Result<Box<RawValue>, Error> {
    reply.into_checked().map_err(failure)
}

/// The result as a value. It is mended before it is read: the value may keep parts of it as JSON text, which would be read
/// as Unicode later. Where no value can be had of it, it may be no result at all, or not the whole text may be.
pub(crate) fn decode_reply<T: DeserializeOwned>(reply: ResultText) -> Result<T, Error> {
    match decode_text(&mend(reply.text())) {
        Ok(value) => Ok(value),
        Err(_) => decode_text(checked(reply)?.get()),
    }
}

/// The one place where a result's text becomes a value.
fn decode_text<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::protocol_with(Violation::Result, error))
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
