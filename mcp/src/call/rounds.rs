//! Calls of revision 2026-07-28: the rounds in which a server asks for input before it answers (MR-01 to MR-11).

use super::Caller;
use super::argument_headers::with_headers;
use super::follow_task::follow_extension;
use super::input::answer_input;
use super::reply::checked;
use crate::connection::stateless::Stateless;
use crate::error::{Delivery, Error, InvalidInput, Violation};
use crate::inbox::deadline::Budget;
use crate::protocol::message::ResultText;
use crate::protocol::stateless::{Outcome, outcome, with_input};
use serde_json::value::RawValue;
use std::time::Duration;

/// The methods that this revision has removed.
const REMOVED_METHODS: [&str; 7] = [
    "initialize",
    "logging/setLevel",
    "ping",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/list",
    "tasks/result",
];

/// One call, with as many requests as it takes until the server has what it needs.
pub(super) async fn with_rounds(
    caller: Caller<'_>,
    stateless: &Stateless,
    method: &str,
    params: Option<&RawValue>,
    total: Option<Duration>,
) -> Result<ResultText, Error> {
    if REMOVED_METHODS.contains(&method) {
        let why = "the server's protocol revision does not have it any more";
        return Err(Error::invalid(InvalidInput::Method(why)));
    }
    let inbox = &*caller.connection.inbox;
    let budget = Budget::new(inbox, total);
    let limit = inbox.limits().rounds;
    let mut repeated: Option<Box<RawValue>> = None;
    for round in 0..=limit {
        let params_now = repeated.as_deref().or(params);
        let result = with_headers(caller, stateless, method, params_now, budget).await;
        // The server knows of the call since the first round.
        let mut result = result.map_err(|error| if round == 0 { error } else { error.of_answered() })?;
        let tasks = inbox.config().handlers.tasks;
        let mut found = outcome(method, result.text(), tasks);
        if found.is_none() {
            result = checked(result)?.into();
            found = outcome(method, result.text(), tasks);
        }
        // What is no object is of no kind.
        let wanted = match found.unwrap_or(Outcome::Complete) {
            Outcome::Complete => return Ok(result),
            Outcome::Task(_) | Outcome::InputRequired(_) if caller.options.interim => return Ok(result),
            Outcome::Task(task) => {
                return follow_extension(caller, stateless, task, budget).await.map(ResultText::from);
            }
            Outcome::Unknown => {
                return Err(Error::protocol(Violation::ResultType).with_result(result.text()));
            }
            Outcome::InputRequired(wanted) => wanted,
        };
        let answers = answer_input(caller, &wanted.requests, round, budget).await?;
        repeated = Some(with_input(params, &answers, wanted.state.as_deref()));
    }
    Err(Error::limit("rounds of input", limit, Delivery::Answered))
}
