//! Pages that a server wants the user to have visited before it does what it is asked (REV-05).

use super::client::Client;
use super::error::{Delivery, Error};
use super::handlers::{ELICIT, is_acceptance};
use super::modern::Budget;
use super::protocol::message::RpcError;
use super::protocol::modern::InputRequest;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The server's refusal until then (2025-11-25).
pub(crate) const VISIT_REQUIRED: i64 = -32042;

impl Client {
    /// Has the pages visited that `refusal` names, one after the other, and repeats the request once: the
    /// server has not acted on it.
    pub(crate) async fn after_visits(
        &self,
        method: &str,
        params: Option<&RawValue>,
        refusal: Error,
        budget: Budget<'_>,
    ) -> Result<Box<RawValue>, Error> {
        let Some(visits) = refusal.rpc().and_then(visits) else { return Err(refusal) };
        let limit = self.limits().server_requests;
        if visits.len() > limit {
            return Err(Error::limit("requests for input at a time", limit, Delivery::Answered));
        }
        for visit in visits {
            let answers = self.answer_input(&[(String::new(), visit)], 0, budget.left()).await?;
            if !answers.iter().all(|(_, answer)| is_acceptance(answer)) {
                return Err(refusal);
            }
        }
        if budget.left().is_some_and(|left| left.is_zero()) {
            return Err(self.out_of_time(Delivery::Answered));
        }
        let result = self.once(method, params, &[], None, budget.left()).await;
        result.map_err(Error::of_answered)
    }
}

/// What to ask the user for; `None` if it is not just pages.
fn visits(refusal: &RpcError) -> Option<Vec<InputRequest>> {
    #[derive(Deserialize)]
    struct Data {
        elicitations: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Elicitation {
        mode: String,
    }
    let Data { elicitations } = serde_json::from_str(refusal.data()?).ok()?;
    let visit = |params: Box<RawValue>| {
        let elicitation: Elicitation = serde_json::from_str(params.get()).ok()?;
        let method = ELICIT.to_owned();
        (elicitation.mode == "url").then_some(InputRequest { method, params: Some(params) })
    };
    let visits: Option<Vec<_>> = elicitations.into_iter().map(visit).collect();
    visits.filter(|visits| !visits.is_empty())
}
