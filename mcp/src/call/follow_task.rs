//! Tasks, which a server works on in its own time: the loop that asks after one until it has ended. It serves both kinds:
//! those that a client makes (revision 2025-11-25), and the extension of revision 2026-07-28, where the server makes one of
//! a call (TSK-05 to TSK-10).

use super::Caller;
use super::argument_headers::with_headers;
use super::exchange::{Params, Request, ask_without_waiting, pause};
use super::input::answer_input;
use super::reply::checked;
use crate::connection::Connection;
use crate::connection::stateless::Stateless;
use crate::error::{Delivery, Error, ErrorKind, TimeoutError, Violation};
use crate::inbox::deadline::Budget;
use crate::protocol::headers::name_of;
use crate::protocol::message::RpcError;
use crate::protocol::stateless::{TaskState, task_state, with_input};
use crate::runtime::timer::BoxFuture;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::HashSet;
use std::time::Duration;

/// One kind of question after a task.
pub(crate) trait Inquiry: Send {
    type Answer;

    /// Asks once. An error is that of the question: it may be worth another one.
    fn ask(&mut self) -> BoxFuture<'_, Result<Step<Self::Answer>, Error>>;

    /// When to ask again, if the server has said so.
    fn interval(&self) -> Option<Duration>;
}

/// What one question has brought.
pub(crate) enum Step<T> {
    /// There is no need to ask again.
    Done(Result<T, Error>),
    /// The task goes on.
    Later,
}

/// Asks until there is an answer. Between two questions it waits for as long as the server wishes, within the budget. A
/// question that fails in a way that may pass is repeated, [`Limits::task_failures`](crate::Limits::task_failures) times
/// in a row (TSK-09).
pub(crate) async fn follow<I: Inquiry>(
    caller: Caller<'_>,
    budget: Budget<'_>,
    inquiry: &mut I,
) -> Result<I::Answer, Error> {
    let (mut failures, limit) = (0, caller.connection.inbox.limits().task_failures);
    loop {
        match inquiry.ask().await {
            Ok(Step::Done(answer)) => return answer,
            Ok(Step::Later) => failures = 0,
            Err(error) if error.is_retryable() && failures < limit => failures += 1,
            Err(error) => return Err(error),
        }
        let interval = interval(inquiry.interval());
        pause(caller, budget.left().map_or(interval, |left| left.min(interval))).await?;
    }
}

/// How long to wait before a task is asked after again: what it says, or a second. One that says 0 is not to
/// be asked in a hot loop.
fn interval(wished: Option<Duration>) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(100);
    wished.unwrap_or(Duration::from_secs(1)).max(SHORTEST)
}

/// The parameters of all that is asked of a task.
pub(crate) fn by_id(task: &str) -> Box<RawValue> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ById<'a> {
        task_id: &'a str,
    }
    to_raw_value(&ById { task_id: task }).expect("a string")
}

/// Returns the result of a task that a server of revision 2026-07-28 has made of a call.
pub(super) async fn follow_extension(
    caller: Caller<'_>,
    stateless: &Stateless,
    task: TaskState,
    budget: Budget<'_>,
) -> Result<Box<RawValue>, Error> {
    let params = by_id(&task.task_id);
    let abandoned = Abandoned::new(caller.connection, &params);
    let begun = caller.connection.inbox.clock();
    let mut inquiry = Extension {
        caller,
        stateless,
        budget,
        params: &params,
        begun,
        ttl: None,
        interval: None,
        task: Some(task),
        answered: HashSet::new(),
        abandoned,
    };
    follow(caller, budget, &mut inquiry).await.map_err(Error::of_answered)
}

/// The length of all keys together of the input that a task asks for, in bytes: each is kept, as it is answered once.
const KEYS: usize = 64 * 1024;

struct Extension<'a> {
    caller: Caller<'a>,
    stateless: &'a Stateless,
    budget: Budget<'a>,
    params: &'a RawValue,
    begun: u64,
    /// For how long the server keeps the task, as it said last.
    ttl: Option<Duration>,
    interval: Option<Duration>,
    /// How it stands, if that is known without asking.
    task: Option<TaskState>,
    /// Each key is answered once.
    answered: HashSet<String>,
    abandoned: Abandoned<'a>,
}

impl Inquiry for Extension<'_> {
    type Answer = Box<RawValue>;

    fn ask(&mut self) -> BoxFuture<'_, Result<Step<Box<RawValue>>, Error>> {
        Box::pin(async {
            let task = match self.task.take() {
                Some(task) => task,
                None => match self.request("tasks/get", self.params).await {
                    Ok(state) => match task_state(state.get()) {
                        Some(task) => task,
                        None => {
                            let error = Error::protocol(Violation::Result).with_result(state.get());
                            return Ok(Step::Done(Err(error)));
                        }
                    },
                    Err(error) => {
                        return match self.overdue() {
                            Some(overdue) if error.is_timeout() => Ok(Step::Done(Err(overdue))),
                            // The server, or the session's end, has said more.
                            Some(_) => Ok(Step::Done(Err(error))),
                            None => Err(error),
                        };
                    }
                },
            };
            Ok(self.look(task).await.unwrap_or_else(|error| Step::Done(Err(error))))
        })
    }

    fn interval(&self) -> Option<Duration> {
        self.interval
    }
}

impl Extension<'_> {
    async fn request(&self, method: &str, params: &RawValue) -> Result<Box<RawValue>, Error> {
        with_headers(self.caller, self.stateless, method, Some(params), self.budget).await.and_then(checked)
    }

    /// What comes of the task as it stands.
    async fn look(&mut self, mut task: TaskState) -> Result<Step<Box<RawValue>>, Error> {
        match &*task.status {
            "completed" => {
                self.abandoned.disarm();
                return Ok(Step::Done(task.result.ok_or_else(|| Error::protocol(Violation::Result))));
            }
            "failed" => {
                self.abandoned.disarm();
                let error = task.error.as_deref().map(RpcError::read);
                let error = error.unwrap_or_else(|| RpcError::new(0, "the task failed"));
                return Err(Error::new(ErrorKind::Rpc(error), Delivery::Answered));
            }
            "cancelled" => {
                self.abandoned.disarm();
                return Err(Error::protocol(Violation::TaskCancelled));
            }
            _ => {}
        }
        let mut requests = std::mem::take(&mut task.requests);
        requests.retain(|(key, _)| !self.answered.contains(key));
        let keys = self.answered.iter().chain(requests.iter().map(|(key, _)| key));
        if keys.map(String::len).sum::<usize>() > KEYS {
            return Err(Error::limit("the keys of a task's input", KEYS, Delivery::Answered));
        }
        if !requests.is_empty() {
            let answers = answer_input(self.caller, &requests, 0, self.budget).await?;
            self.answered.extend(requests.into_iter().map(|(key, _)| key));
            let update = with_input(Some(self.params), &answers, None);
            self.request("tasks/update", &update).await?;
        }
        (self.ttl, self.interval) = (millis(task.ttl_ms), millis(task.poll_interval_ms));
        match self.overdue() {
            Some(overdue) => Err(overdue),
            None => Ok(Step::Later),
        }
    }

    /// That there is no time left to ask again.
    fn overdue(&self) -> Option<Error> {
        let inbox = &self.caller.connection.inbox;
        let age = Duration::from_millis(inbox.clock().saturating_sub(self.begun));
        if let Some(after) = self.ttl.filter(|ttl| age > *ttl) {
            let error = TimeoutError { after, total: true };
            return Some(Error::new(ErrorKind::Timeout(error), Delivery::Answered));
        }
        self.budget.is_spent().then(|| self.caller.out_of_time(Delivery::Answered))
    }
}

/// A wire's number of milliseconds; what is no duration is none.
fn millis(number: Option<f64>) -> Option<Duration> {
    number.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok())
}

/// A task whose caller is gone is worked on for nobody: the server is asked to stop, once and best effort
/// (CAN-05, TSK-07).
pub(crate) struct Abandoned<'a> {
    connection: &'a Connection,
    params: &'a RawValue,
    armed: bool,
}

impl<'a> Abandoned<'a> {
    pub(crate) fn new(connection: &'a Connection, params: &'a RawValue) -> Self {
        Self { connection, params, armed: true }
    }

    /// The task has ended.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        const METHOD: &str = "tasks/cancel";
        if !self.armed {
            return;
        }
        let stateless = self.connection.stateless();
        let routed = stateless.filter(|_| self.connection.transport.is_request_response());
        let request = Request {
            method: METHOD,
            params: Params::Text(Some(self.params)),
            meta: stateless.map_or(&[], Stateless::meta),
            routing: routed.map(|stateless| stateless.routing(name_of(METHOD, Some(self.params)))),
        };
        ask_without_waiting(self.connection, request);
    }
}
