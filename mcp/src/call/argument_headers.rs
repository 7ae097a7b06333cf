//! The headers of a request to a server without a handshake, over a transport that has headers: what the request is
//! about, and the arguments that the server wants to be repeated (PAR-01 to PAR-11).

use super::Caller;
use super::exchange::{Request, exchange_once};
use super::options::CallOptions;
use super::reply::decode_reply;
use crate::connection::stateless::Stateless;
use crate::error::{Delivery, Error, InvalidInput};
use crate::inbox::deadline::{Budget, within};
use crate::inbox::event::Event;
use crate::protocol::headers::{header_arguments, header_of, name_of};
use crate::protocol::json::object::Object;
use crate::protocol::message::ResultText;
use crate::protocol::stateless::HEADER_MISMATCH;
use crate::types::{Json, ListToolsResult, Tool};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, HashSet};

/// One request with its headers. A server that finds them wrong gets them right once, from a fresh list of its
/// tools (PAR-08): it has not acted on what it refused.
pub(super) async fn with_headers(
    caller: Caller<'_>,
    stateless: &Stateless,
    method: &str,
    params: Option<&RawValue>,
    budget: Budget<'_>,
) -> Result<ResultText, Error> {
    let meta = stateless.meta();
    if !caller.connection.transport.is_request_response() {
        return exchange_once(caller, Request { method, params, meta, routing: None }, budget.left()).await;
    }
    let mut routing = stateless.routing(name_of(method, params));
    routing.arguments = argument_headers(caller, stateless, method, params, budget, false).await?;
    let request = Request { method, params, meta, routing: Some(routing.clone()) };
    match exchange_once(caller, request, budget.left()).await {
        Err(error)
            if method == "tools/call" && error.rpc().is_some_and(|rpc| rpc.code() == HEADER_MISMATCH) =>
        {
            let headers = argument_headers(caller, stateless, method, params, budget, true).await;
            routing.arguments = headers.map_err(Error::of_answered)?;
            let request = Request { method, params, meta, routing: Some(routing) };
            exchange_once(caller, request, budget.left()).await.map_err(Error::of_answered)
        }
        result => result,
    }
}

/// PAR-01, PAR-04, PAR-09.
async fn argument_headers(
    caller: Caller<'_>,
    stateless: &Stateless,
    method: &str,
    params: Option<&RawValue>,
    budget: Budget<'_>,
    refresh: bool,
) -> Result<Vec<(String, String)>, Error> {
    let Some(call) = params.filter(|_| method == "tools/call").and_then(|params| Object::read(params.get()))
    else {
        return Ok(Vec::new());
    };
    let name = name_of(method, params).unwrap_or_default();
    let known = &stateless.tool_headers;
    let (listed, mut arguments) = known.get(&name);
    if known.take_out_of_date(&caller.connection.inbox) || refresh || (arguments.is_none() && !listed) {
        // If the list cannot be had, the server judges by what it gets.
        let list = Box::pin(fetch_list(caller, stateless, budget));
        let _: Result<(), Error> = within(&caller.connection.inbox, budget.left(), list).await;
        if budget.is_spent() {
            return Err(caller.out_of_time(Delivery::NotSent));
        }
        arguments = known.get(&name).1;
    }
    let mut headers = Vec::new();
    let (Some(wanted), Some(arguments)) = (arguments, call.get("arguments")) else { return Ok(headers) };
    for argument in &*wanted {
        let value = header_of(argument, arguments);
        if let Some(value) = value.map_err(|why| Error::invalid(InvalidInput::Params(why)))? {
            headers.push((argument.header.clone(), value));
        }
    }
    Ok(headers)
}

/// Reads the list of tools for their headers alone. Its requests are of their own: without what the options of the call
/// add.
async fn fetch_list(caller: Caller<'_>, stateless: &Stateless, budget: Budget<'_>) -> Result<(), Error> {
    const METHOD: &str = "tools/list";
    let inbox = &*caller.connection.inbox;
    let options = CallOptions::default().silence(caller.options.silence_limit());
    let lister = Caller { options: &options, ..caller };
    let mut params: Option<Box<RawValue>> = None;
    let (mut seen, mut length) = (HashSet::new(), 0);
    for _ in 0..inbox.limits().pages {
        let (changes, routing) = (inbox.tool_changes(), Some(stateless.routing(None)));
        let request = Request { method: METHOD, params: params.as_deref(), meta: stateless.meta(), routing };
        let page = exchange_once(lister, request, budget.left()).await?;
        stateless.tool_headers.fetched(params.as_deref(), page.text(), changes, inbox);
        length += page.text().len();
        let mut page: ListToolsResult = decode_reply(page)?;
        note_tools(caller, &mut page.tools, page.next_cursor.is_none());
        let Some(cursor) = page.next_cursor else { return Ok(()) };
        if length > inbox.limits().list || !seen.insert(cursor.clone()) {
            break;
        }
        params = Some(to_raw_value(&BTreeMap::from([("cursor", cursor)])).expect("a string"));
    }
    Ok(())
}

/// Takes note of tools, the last ones of the list or not, and out of the list those whose headers are invalid
/// (PAR-02).
pub(crate) fn note_tools(caller: Caller<'_>, tools: &mut Vec<Tool>, last: bool) {
    let connection = caller.connection;
    let Some(stateless) = connection.stateless().filter(|_| connection.transport.is_request_response())
    else {
        return;
    };
    let inbox = &connection.inbox;
    let mut noted = Vec::new();
    tools.retain(|tool| {
        let schema = tool.input_schema.as_ref().map_or("{}", Json::text);
        match header_arguments(schema, inbox.limits().mirrored_arguments) {
            Ok(arguments) => {
                noted.push((tool.name.clone(), arguments.into()));
                true
            }
            Err(why) => {
                inbox.emit(&Event::ToolLeftOut { name: &tool.name, why });
                false
            }
        }
    });
    stateless.tool_headers.note(noted, last);
}
