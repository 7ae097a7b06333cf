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
pub(crate) mod reply;
mod required_urls;
mod rounds;

use crate::connection::Connection;
use crate::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError};
use crate::protocol::message::ResultText;
use options::CallOptions;
use serde::Serialize;
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
) -> Result<ResultText, Error> {
    match caller.connection.stateless() {
        None => required_urls::with_required_urls(caller, method, params, total).await,
        Some(stateless) => rounds::with_rounds(caller, stateless, method, params, total).await,
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
