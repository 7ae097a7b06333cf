//! What a server asks for before it answers a call: the client's handlers answer, one after the other (MR-02, MR-06 to
//! MR-08).

use super::Caller;
use crate::error::{Delivery, Error, ErrorKind, Violation};
use crate::inbox::deadline::{Budget, within};
use crate::protocol::stateless::InputRequest;
use crate::types::Json;
use serde_json::value::RawValue;
use shared_fate::SupervisedExt;
use std::time::Duration;

/// The answers to what is `wanted`, by the server's keys. Where nothing is, the server wants to be asked again, and is
/// given some time first, the more the later the round.
pub(super) async fn answer_input(
    caller: Caller<'_>,
    wanted: &[(String, InputRequest)],
    round: usize,
    budget: Budget<'_>,
) -> Result<Vec<(String, Box<RawValue>)>, Error> {
    let inbox = &*caller.connection.inbox;
    let limit = inbox.limits().server_requests;
    if wanted.len() > limit {
        return Err(Error::limit("requests for input at a time", limit, Delivery::Answered));
    }
    let answer = async {
        if wanted.is_empty() {
            let wait = 50u64 << round.min(3);
            inbox.sleep(Duration::from_millis(wait.min(250))).await;
        }
        let mut answers = Vec::new();
        for (key, request) in wanted {
            let params = request.params.clone().map(Json::from);
            let Some(answer) = inbox.config().handlers.answer(&request.method, params) else {
                return Err(Error::protocol(Violation::InputNotOffered(request.method.clone())));
            };
            let answer = answer.await;
            let answer = answer.map_err(|error| Error::new(ErrorKind::Handler(error), Delivery::Answered))?;
            answers.push((key.clone(), answer.into_raw()));
        }
        Ok(answers)
    };
    let answer = answer.try_supervised(inbox.session());
    let answer = async { answer.await.map_err(|failed| Error::from_request(failed, false)) };
    within(inbox, budget.left(), answer).await.map_err(|error| match error.kind() {
        ErrorKind::Timeout(_) => caller.out_of_time(Delivery::Answered),
        _ => error,
    })
}
