//! A call, from a method to the wire.
//!
//! ```text
//! request ─▶ with_rounds ─▶ with_headers ─▶ exchange_once ─▶ Transport::send     a server without a handshake
//!    └─────▶ with_required_urls ──────────▶ exchange_once ─▶ Transport::send     a server with one
//! ```
//!
//! Every step calls the next one and none before it. [`exchange`] is the choke point: whatever asks something of a
//! server gets its id there, and its end.

mod argument_headers;
pub(crate) mod exchange;
pub(crate) mod follow_task;
pub(crate) mod header_list;
mod input;
pub(crate) mod options;
mod required_urls;
mod rounds;

use crate::connection::Connection;
use crate::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError, Violation};
use crate::inbox::Inbox;
use crate::inbox::event::Event;
use crate::types::{Findings, decode};
use options::CallOptions;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::time::Duration;

/// Where calls are made, and how they behave.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) options: &'a CallOptions,
}

impl Caller<'_> {
    /// The error of a call whose time as a whole is over.
    pub(crate) fn out_of_time(self, delivery: Delivery) -> Error {
        let after = self.options.total_limit().unwrap_or_default();
        Error::new(ErrorKind::Timeout(TimeoutError { after, total: true }), delivery)
    }
}

/// One call, in the way of the negotiated revision. `total` is what is left of the limit for the call as a whole.
pub(crate) async fn request(
    caller: Caller<'_>,
    method: &str,
    params: Option<&RawValue>,
    total: Option<Duration>,
) -> Result<Box<RawValue>, Error> {
    match caller.connection.stateless() {
        None => required_urls::with_required_urls(caller, method, params, total).await,
        Some(stateless) => rounds::with_rounds(caller, stateless, method, params, total).await,
    }
}

/// A method's result as a value. What is odd about it is told.
pub(crate) fn read_result<T: DeserializeOwned>(
    inbox: &Inbox,
    method: &str,
    result: &RawValue,
) -> Result<T, Error> {
    read_result_within(inbox, method, result, inbox.limits().decoded).map(|(value, _)| value)
}

/// [`read_result`] within so many bytes; and how many it took.
pub(crate) fn read_result_within<T: DeserializeOwned>(
    inbox: &Inbox,
    method: &str,
    result: &RawValue,
    limit: usize,
) -> Result<(T, usize), Error> {
    let (value, Findings { taken, exceeded, oddities }) = decode(result.get(), limit);
    for what in &oddities {
        inbox.emit(&Event::OddResult { method, what });
    }
    match value {
        Ok(value) => Ok((value, taken)),
        Err(_) if exceeded => {
            let limit = inbox.limits().decoded;
            Err(Error::limit("the memory of a result", limit, Delivery::Answered).with_result(result.get()))
        }
        Err(error) => Err(Error::protocol_with(Violation::Result, error).with_result(result.get())),
    }
}

/// Parameters as JSON text: an object, or nothing.
pub(crate) fn params_of(
    params: &impl Serialize,
    not_object: &'static str,
) -> Result<Option<Box<RawValue>>, Error> {
    let invalid = |why| Err(Error::invalid(InvalidInput::Params(why)));
    match to_raw_value(params) {
        Ok(raw) if raw.get() == "null" => Ok(None),
        Ok(raw) if raw.get().trim_start().starts_with('{') => Ok(Some(raw)),
        Ok(_) => invalid(not_object),
        Err(_) => invalid("they cannot be made JSON"),
    }
}
