//! A call, from a method to the wire.
//!
//! ```text
//! request ─▶ with_rounds ─▶ with_headers ─▶ exchange_once ─▶ Transport::send     a server without a handshake
//!    ├─────▶ with_required_urls ──────────▶ exchange_once ─▶ Transport::send     a server with one
//!    └────────────────────────────────────▶ exchange_once ─▶ Transport::send     … and nothing to be repeated or added
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
mod watch;

use crate::connection::Connection;
use crate::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError};
use crate::protocol::message::{Draft, NoParams, ResultText};
use exchange::{Params, Request, exchange_once};
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
    /// An error that says which server it is about.
    pub(crate) fn named(self, error: Error) -> Error {
        error.of_server(self.connection.inbox.server())
    }

    /// The error of a call whose time as a whole is over.
    pub(crate) fn out_of_time(self, delivery: Delivery) -> Error {
        let after = self.options.total_limit().unwrap_or_default();
        Error::new(ErrorKind::Timeout(TimeoutError { after, total: true }), delivery)
    }
}

/// What is asked for, and the parameters: made before anything else is done, so that what is wrong with them is known
/// first.
pub(crate) enum Asked {
    Text(Option<Box<RawValue>>),
    /// They are written into the message at once, where nothing has to be known of them later.
    Written(Draft),
}

impl Caller<'_> {
    /// A request's parameters: an object, or `null` for none.
    pub(crate) fn asked(
        self,
        method: &str,
        params: &impl Serialize,
        not_object: &'static str,
    ) -> Result<Asked, Error> {
        match self.asks_once() {
            true => Draft::new(method, params).map(Asked::Written).map_err(|why| invalid(why, not_object)),
            false => params_of(params, not_object).map(Asked::Text),
        }
    }

    /// The parameters `name` and `arguments`: an object, or `null` for none.
    pub(crate) fn asked_by_name(
        self,
        method: &'static str,
        name: &str,
        arguments: &impl Serialize,
    ) -> Result<Asked, Error> {
        if self.asks_once() {
            let draft = Draft::named(method, name, arguments);
            return draft.map(Asked::Written).map_err(|why| invalid(why, NOT_AN_OBJECT));
        }
        let arguments = params_of(arguments, NOT_AN_OBJECT)?;
        let named = Named { name, arguments: arguments.as_deref() };
        params_of(&named, NOT_AN_OBJECT).map(Asked::Text)
    }

    /// Whether a request is sent once at most, and with the caller's parameters and nothing else.
    fn asks_once(self) -> bool {
        let Caller { connection, options } = self;
        let visits_urls = connection.inbox.config().handlers.visits_urls();
        let is_watched = connection.inbox.config().on_call.is_some();
        connection.stateless().is_none() && !visits_urls && !is_watched && exchange::adds_nothing(options)
    }
}

pub(crate) const NOT_AN_OBJECT: &str = "arguments must be a JSON object";

/// The parameters of what is asked of a resource.
#[derive(Serialize)]
pub(crate) struct ByUri<'a> {
    pub(crate) uri: &'a str,
}

/// The parameters of what is called by its name.
#[derive(Serialize)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<&'a RawValue>,
}

/// One call, in the way of the negotiated revision. `total` is what is left of the limit for the call as a whole.
pub(crate) async fn request(
    caller: Caller<'_>,
    method: &str,
    asked: Asked,
    total: Option<Duration>,
) -> Result<ResultText, Error> {
    let params = match asked {
        Asked::Text(params) => params,
        Asked::Written(draft) => {
            let request = Request { method, params: Params::Written(draft), meta: &[], routing: None };
            return exchange_once(caller, request, total).await;
        }
    };
    let result = match caller.connection.stateless() {
        None => required_urls::with_required_urls(caller, method, params.as_deref(), total).await,
        Some(stateless) => rounds::with_rounds(caller, stateless, method, params.as_deref(), total).await,
    };
    result.map_err(|error| caller.named(error))
}

/// Parameters as JSON text: an object, or nothing.
pub(crate) fn params_of(
    params: &impl Serialize,
    not_object: &'static str,
) -> Result<Option<Box<RawValue>>, Error> {
    match to_raw_value(params) {
        Ok(raw) if raw.get() == "null" => Ok(None),
        Ok(raw) if raw.get().trim_start().starts_with('{') => Ok(Some(raw)),
        Ok(_) => Err(invalid(NoParams::NotAnObject, not_object)),
        Err(_) => Err(invalid(NoParams::NotJson, not_object)),
    }
}

fn invalid(why: NoParams, not_object: &'static str) -> Error {
    Error::invalid(InvalidInput::Params(match why {
        NoParams::NotAnObject => not_object,
        NoParams::NotJson => "they cannot be made JSON",
    }))
}
