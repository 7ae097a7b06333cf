//! Pages that a server of revision 2025-11-25 wants the user to have visited before it does what it is asked (REV-05).

use super::Caller;
use super::exchange::{Params, Request, exchange_once};
use super::input::answer_input;
use crate::error::{Delivery, Error};
use crate::inbox::deadline::Budget;
use crate::inbox::handlers::{ELICIT, is_acceptance};
use crate::protocol::json::object::read_object;
use crate::protocol::message::{ResultText, RpcError};
use crate::protocol::stateless::InputRequest;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// The server's refusal until then.
const URL_REQUIRED: i64 = -32042;

/// One call of a server with a handshake. If the server wants the user to visit pages first, they are visited, one after
/// the other, and the request is repeated once: the server has not acted on it.
pub(super) async fn with_required_urls(
    caller: Caller<'_>,
    method: &str,
    params: Option<&RawValue>,
    total: Option<Duration>,
) -> Result<ResultText, Error> {
    let inbox = &*caller.connection.inbox;
    let request = || Request { method, params: Params::Text(params), meta: &[], routing: None };
    let budget = inbox.config().handlers.visits_urls().then(|| Budget::new(inbox, total));
    let refusal = match (exchange_once(caller, request(), total).await, budget) {
        (Err(error), Some(budget)) if error.rpc().is_some_and(|rpc| rpc.code() == URL_REQUIRED) => {
            (error, budget)
        }
        (result, _) => return result,
    };
    // Rare, and not a part of the size of every call.
    Box::pin(visit_and_repeat(caller, request(), refusal)).await
}

async fn visit_and_repeat(
    caller: Caller<'_>,
    request: Request<'_>,
    (refusal, budget): (Error, Budget<'_>),
) -> Result<ResultText, Error> {
    let Some(urls) = refusal.rpc().and_then(required_urls) else { return Err(refusal) };
    let limit = caller.connection.inbox.limits().server_requests;
    if urls.len() > limit {
        return Err(Error::limit("requests for input at a time", limit, Delivery::Answered));
    }
    for url in urls {
        let answers = answer_input(caller, &[(String::new(), url)], 0, budget).await?;
        if !answers.iter().all(|(_, answer)| is_acceptance(answer)) {
            return Err(refusal);
        }
    }
    if budget.is_spent() {
        return Err(caller.out_of_time(Delivery::Answered));
    }
    exchange_once(caller, request, budget.left()).await.map_err(Error::of_answered)
}

/// What to ask the user for; `None` if it is not just pages.
fn required_urls(refusal: &RpcError) -> Option<Vec<InputRequest>> {
    #[derive(Deserialize)]
    struct Data {
        elicitations: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Elicitation {
        mode: String,
    }
    let Data { elicitations } = read_object(refusal.data()?)?;
    let url = |params: Box<RawValue>| {
        let elicitation: Elicitation = read_object(params.get())?;
        let method = ELICIT.to_owned();
        (elicitation.mode == "url").then_some(InputRequest { method, params: Some(params) })
    };
    let urls: Option<Vec<_>> = elicitations.into_iter().map(url).collect();
    urls.filter(|urls| !urls.is_empty())
}
