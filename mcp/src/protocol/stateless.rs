//! Revision 2026-07-28: what goes with every request, what its results mean, and how to tell a server
//! of that kind from an older one.

use super::handshake::Revision;
use super::json::object::{Object, read_object};
use super::json::surrogates::mend;
use super::message::{RpcError, own_id};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;

pub(crate) const DISCOVER: &str = "server/discover";
pub(crate) const LISTEN: &str = "subscriptions/listen";
pub(crate) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// ERR-02.
pub(crate) const HEADER_MISMATCH: i64 = -32020;
const MISSING_CAPABILITY: i64 = -32021;
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;

/// Whether only a server of revision 2026-07-28 says so.
#[cfg(feature = "http")]
pub(crate) fn is_stateless_error(error: &RpcError) -> bool {
    matches!(error.code(), HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION)
}

/// What goes into the `_meta` of every request (MOD-01, MOD-02).
pub(crate) fn request_meta(
    revision: Revision,
    capabilities: &impl Serialize,
    identity: &impl Serialize,
) -> Vec<(&'static str, Box<RawValue>)> {
    let raw = |value: serde_json::Result<Box<RawValue>>| value.expect("strings and JSON");
    vec![
        (PROTOCOL_VERSION, raw(to_raw_value(revision.as_str()))),
        (CLIENT_CAPABILITIES, raw(to_raw_value(capabilities))),
        (CLIENT_INFO, raw(to_raw_value(identity))),
    ]
}

/// What a server's answer to the probe says about it (ERA-03 to ERA-15).
#[derive(Debug, PartialEq)]
pub(crate) enum ProbeAnswer {
    /// It speaks this revision, without a handshake.
    Stateless(Revision),
    /// It wants a handshake; it may have said at which revision.
    Handshake(Option<Revision>),
    /// It is of the new kind, and wants the request at another revision.
    Again(Revision),
    /// It is of the new kind, and we have no revision in common; those it speaks.
    NoCommonRevision(Vec<String>),
    /// It is of the new kind, and refuses the request for another reason.
    Refused,
}

/// The result of `server/discover` (ERA-07, ERA-10, ERA-11).
pub(crate) fn answer_of_result(result: &str) -> ProbeAnswer {
    match names(result, "supportedVersions") {
        Some(supported) => choose(supported, None),
        None => ProbeAnswer::Handshake(None),
    }
}

/// An error answer to `server/discover` sent at `sent` (ERA-08, ERA-09, ERA-12, ERA-15).
pub(crate) fn answer_of_error(error: &RpcError, sent: Revision) -> ProbeAnswer {
    match error.code() {
        UNSUPPORTED_VERSION => match error.data().and_then(|data| names(data, "supported")) {
            Some(supported) => choose(supported, Some(sent)),
            None => ProbeAnswer::Refused,
        },
        HEADER_MISMATCH | MISSING_CAPABILITY => ProbeAnswer::Refused,
        _ => ProbeAnswer::Handshake(None),
    }
}

/// The strings in a list that is a member of `json`. What else is in it says nothing.
fn names(json: &str, member: &str) -> Option<Vec<String>> {
    let json = mend(json);
    let object = Object::read(&json)?;
    let list: Vec<&RawValue> = serde_json::from_str(object.get(member)?.get()).ok()?;
    Some(list.into_iter().filter_map(|name| serde_json::from_str(name.get()).ok()).collect())
}

/// The newest common revision. `refused` is the one that the server has just refused, if it has: it may
/// name it all the same, and then it is worth one more try.
fn choose(supported: Vec<String>, refused: Option<Revision>) -> ProbeAnswer {
    let known: Vec<_> = supported.iter().filter_map(|name| Revision::from_name(name)).collect();
    let stateless = known.iter().copied().filter(|revision| revision.is_stateless()).max();
    match (stateless, known.into_iter().max(), refused) {
        (Some(revision), _, None) => ProbeAnswer::Stateless(revision),
        (Some(revision), _, Some(_)) => ProbeAnswer::Again(revision),
        (None, Some(newest), _) => ProbeAnswer::Handshake(Some(newest)),
        (None, None, _) => ProbeAnswer::NoCommonRevision(supported),
    }
}

/// What a result is (M-18, M-19).
#[derive(Debug)]
pub(crate) enum Outcome {
    Complete,
    InputRequired(InputRequired),
    /// The server works on it; ask again later.
    Task(TaskState),
    /// Of a kind that this client did not offer to take.
    Unknown,
}

/// The server needs something before it goes on (MR-01 to MR-08).
#[derive(Debug)]
pub(crate) struct InputRequired {
    /// By the server's own keys.
    pub(crate) requests: Vec<(String, InputRequest)>,
    /// To be sent back byte for byte.
    pub(crate) state: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct InputRequest {
    pub(crate) method: String,
    pub(crate) params: Option<Box<RawValue>>,
}

/// The methods whose results may ask for input (MR-01).
const MAY_ASK: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// `tasks` is whether this client has offered to take tasks. `None` for what is not exactly one JSON object.
pub(crate) fn outcome(method: &str, result: &str, tasks: bool) -> Option<Outcome> {
    let members = Object::read(result)?;
    let kind = members
        .get("resultType")
        .filter(|kind| kind.get() != "null")
        .map(|kind| serde_json::from_str::<Cow<'_, str>>(kind.get()));
    Some(match kind {
        None => Outcome::Complete,
        Some(Ok(kind)) if kind == "complete" => Outcome::Complete,
        Some(Ok(kind)) if kind == "input_required" && MAY_ASK.contains(&method) => {
            read_input_required(&members).map_or(Outcome::Unknown, Outcome::InputRequired)
        }
        Some(Ok(kind)) if kind == "task" && tasks && method == "tools/call" => {
            task_state(result).map_or(Outcome::Unknown, Outcome::Task)
        }
        Some(_) => Outcome::Unknown,
    })
}

/// The tasks extension: its name, and how a task stands (TSK-05, TSK-06).
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

#[derive(Debug)]
pub(crate) struct TaskState {
    pub(crate) task_id: String,
    pub(crate) status: String,
    pub(crate) ttl_ms: Option<f64>,
    pub(crate) poll_interval_ms: Option<f64>,
    pub(crate) result: Option<Box<RawValue>>,
    pub(crate) error: Option<Box<RawValue>>,
    pub(crate) requests: Vec<(String, InputRequest)>,
}

/// How a task stands. Only its name and its status are needed: a number of another form is as good as none.
pub(crate) fn task_state(result: &str) -> Option<TaskState> {
    let members = Object::read(result)?;
    let text = |name| serde_json::from_str::<String>(&mend(members.get(name)?.get())).ok();
    let number = |name| serde_json::from_str::<f64>(members.get(name)?.get()).ok();
    let json = |name| present(&members, name).map(RawValue::to_owned);
    let status = text("status")?;
    let requests = match &*status {
        // None may be left while the server has not taken note of the answers yet.
        "input_required" => read_requests(&members)?,
        _ => Vec::new(),
    };
    Some(TaskState {
        task_id: text("taskId")?,
        status,
        ttl_ms: number("ttlMs"),
        poll_interval_ms: number("pollIntervalMs"),
        result: json("result"),
        error: json("error"),
        requests,
    })
}

fn read_input_required(members: &Object<'_>) -> Option<InputRequired> {
    let state = present(members, "requestState").map(RawValue::to_owned);
    let requests = read_requests(members)?;
    // Neither is invalid (MR-07).
    (!requests.is_empty() || state.is_some()).then_some(InputRequired { requests, state })
}

/// What is asked for; `None` if that cannot be read.
fn read_requests(members: &Object<'_>) -> Option<Vec<(String, InputRequest)>> {
    let Some(wanted) = present(members, "inputRequests") else { return Some(Vec::new()) };
    // The state goes back as it came; this is for a handler to read.
    let read = |(key, request): (&str, &RawValue)| Some((key.to_owned(), read_object(&mend(request.get()))?));
    Object::read(wanted.get())?.iter().map(read).collect()
}

/// A member that is there: `null` is as good as none.
fn present<'a>(members: &'a Object<'_>, name: &str) -> Option<&'a RawValue> {
    members.get(name).filter(|json| json.get() != "null")
}

/// The original parameters with the answers (MR-02, MR-03). For this one repetition only (MR-05).
pub(crate) fn with_input(
    params: Option<&RawValue>,
    answers: &[(String, Box<RawValue>)],
    state: Option<&RawValue>,
) -> Box<RawValue> {
    let mut params = params.and_then(|params| Object::read(params.get())).unwrap_or_default();
    if !answers.is_empty() {
        let mut responses = Object::default();
        for (key, answer) in answers {
            responses.push(key, answer.clone());
        }
        params.set("inputResponses", Cow::Owned(responses.write()));
    }
    if let Some(state) = state {
        params.set("requestState", Cow::Owned(state.to_owned()));
    }
    params.write()
}

/// Which subscription a notification belongs to (SUB-04).
pub(crate) fn subscription_of(params: &str) -> Option<u64> {
    let params = Object::read(params)?;
    let meta = Object::read(params.get("_meta")?.get())?;
    own_id(meta.get(SUBSCRIPTION_ID)?)
}

#[cfg(test)]
mod tests;
