//! The headers of a request to a server without a handshake, over a transport that has headers: what the request is
//! about, and the arguments that the server wants to be repeated (PAR-01 to PAR-11).
//!
//! Which arguments those are is in the list of tools. A call does not wait for that: it uses what is known of its tool,
//! out of date or not, and goes without if that is nothing. Only a server that refuses it for that is asked for the
//! list.

use super::Caller;
use super::exchange::{Params, Request, exchange_once};
use super::header_list::ListWait;
use crate::connection::stateless::Stateless;
use crate::connection::tool_headers::{Arguments, Heard};
use crate::error::{Error, InvalidInput};
use crate::inbox::deadline::Budget;
use crate::protocol::headers::{header_of, name_of};
use crate::protocol::json::object::Object;
use crate::protocol::message::ResultText;
use crate::protocol::stateless::HEADER_MISMATCH;
use serde_json::value::RawValue;

type Headers = Vec<(String, String)>;

/// One request with its headers. A call that the server refuses for them is repeated once, if the list of tools says
/// that they have to be others (PAR-08): the server has not acted on what it refused.
pub(super) async fn with_headers(
    caller: Caller<'_>,
    stateless: &Stateless,
    method: &str,
    params: Option<&RawValue>,
    budget: Budget<'_>,
) -> Result<ResultText, Error> {
    let meta = stateless.meta();
    if !caller.connection.transport.is_request_response() {
        return exchange_once(
            caller,
            Request { method, params: Params::Text(params), meta, routing: None },
            budget.left(),
        )
        .await;
    }
    let name = name_of(method, params);
    let tool = if method == "tools/call" { name.clone() } else { None };
    let mut routing = stateless.routing(name);
    let Some(tool) = tool else {
        let request = Request { method, params: Params::Text(params), meta, routing: Some(routing) };
        return exchange_once(caller, request, budget.left()).await;
    };
    let (heard, wanted) = stateless.tool_headers.get(&tool);
    routing.arguments = headers(wanted, params)?;
    let request = Request { method, params: Params::Text(params), meta, routing: Some(routing.clone()) };
    let refusal = match exchange_once(caller, request, budget.left()).await {
        Err(error) if error.rpc().is_some_and(|rpc| rpc.code() == HEADER_MISMATCH) => error,
        result => return result,
    };
    let refused = Refused { tool: &tool, params, sent: &routing.arguments, heard };
    let list = ListWait::new(caller, stateless, budget);
    // Boxed, as this is rare and calls are many.
    match Box::pin(refused.correct(stateless, list)).await.map_err(Error::of_answered)? {
        None => Err(refusal),
        Some(corrected) => {
            routing.arguments = corrected;
            let request = Request { method, params: Params::Text(params), meta, routing: Some(routing) };
            exchange_once(caller, request, budget.left()).await.map_err(Error::of_answered)
        }
    }
}

/// A call that was refused for its headers.
struct Refused<'a> {
    tool: &'a str,
    params: Option<&'a RawValue>,
    sent: &'a Headers,
    /// What was heard of the list of tools before the call was sent.
    heard: Heard,
}

impl Refused<'_> {
    /// The headers that it should have had; `None` if nothing says that they should have been others.
    async fn correct(&self, stateless: &Stateless, mut list: ListWait<'_>) -> Result<Option<Headers>, Error> {
        let mut goes_on = true;
        loop {
            let (heard, wanted) = stateless.tool_headers.get(self.tool);
            let headers = headers(wanted, self.params)?;
            if headers != *self.sent {
                return Ok(Some(headers));
            }
            // Another fetch than this call's may have brought all there is to know.
            if !goes_on || heard.whole_lists != self.heard.whole_lists {
                return Ok(None);
            }
            goes_on = list.more_than(heard).await;
        }
    }
}

/// PAR-01, PAR-04.
fn headers(wanted: Option<Arguments>, params: Option<&RawValue>) -> Result<Headers, Error> {
    let mut headers = Vec::new();
    let Some(wanted) = wanted else { return Ok(headers) };
    let Some(call) = params.and_then(|params| Object::read(params.get())) else { return Ok(headers) };
    let Some(arguments) = call.get("arguments") else { return Ok(headers) };
    for argument in &*wanted {
        let value = header_of(argument, arguments);
        if let Some(value) = value.map_err(|why| Error::invalid(InvalidInput::Params(why)))? {
            headers.push((argument.header.clone(), value));
        }
    }
    Ok(headers)
}
