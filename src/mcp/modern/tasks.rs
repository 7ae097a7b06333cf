//! The tasks extension of revision 2026-07-28: a tool call that the server works on in its own time
//! (TSK-05 to TSK-10).

use super::{Budget, Client, Modern};
use crate::mcp::error::{Delivery, Error, ErrorKind, TimeoutError, Violation};
use crate::mcp::protocol::message::{self, RpcError};
use crate::mcp::protocol::meta::with_meta;
use crate::mcp::protocol::modern::{TaskState, task_state, with_input};
use crate::mcp::transport::Outgoing;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

/// How often a task is asked after that does not say so, and at the most.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// How many times in a row asking may fail in a passing way (TSK-09).
const FAILURES: usize = 3;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ById<'a> {
    task_id: &'a str,
}

impl Client {
    /// Asks after a task until it has ended, and returns its result.
    pub(super) async fn follow(
        &self,
        modern: &Modern,
        mut task: TaskState,
        budget: Budget<'_>,
    ) -> Result<Box<RawValue>, Error> {
        let inbox = &self.shared().inbox;
        let params = to_raw_value(&ById { task_id: &task.task_id }).expect("a string");
        let begun = inbox.clock();
        // Each key is answered once (TSK-06).
        let mut answered = HashSet::new();
        let mut failures = 0;
        let mut cancel = CancelOnDrop { client: self, modern, params: &params, armed: true };
        loop {
            match &*task.status {
                "completed" => {
                    cancel.armed = false;
                    return task.result.ok_or_else(|| Error::protocol(Violation::Result));
                }
                "failed" => {
                    cancel.armed = false;
                    let error = task.error.as_deref().map(RpcError::read);
                    let error = error.unwrap_or_else(|| RpcError::new(0, "the task failed"));
                    return Err(Error::new(ErrorKind::Rpc(error), Delivery::Answered));
                }
                "cancelled" => {
                    cancel.armed = false;
                    return Err(Error::protocol(Violation::TaskCancelled));
                }
                _ => {}
            }
            let mut requests = std::mem::take(&mut task.requests);
            requests.retain(|(key, _)| !answered.contains(key));
            if !requests.is_empty() {
                let answers = self.answer_input(&requests, 0, budget.left()).await?;
                answered.extend(requests.into_iter().map(|(key, _)| key));
                let update = with_input(Some(&params), &answers, None);
                self.routed(modern, "tasks/update", Some(&update), budget)
                    .await
                    .map_err(Error::of_answered)?;
            }
            let age = Duration::from_millis(inbox.clock().saturating_sub(begun));
            if let Some(ttl) = millis(task.ttl_ms).filter(|ttl| age > *ttl) {
                let error = TimeoutError { after: ttl, total: true };
                return Err(Error::new(ErrorKind::Timeout(error), Delivery::Answered));
            }
            let left = budget.left();
            if left.is_some_and(|left| left.is_zero()) {
                return Err(self.out_of_time(Delivery::Answered));
            }
            let interval = millis(task.poll_interval_ms).unwrap_or(POLL_INTERVAL).max(SHORTEST_INTERVAL);
            self.pause(left.map_or(interval, |left| left.min(interval))).await.map_err(Error::of_answered)?;
            match self.routed(modern, "tasks/get", Some(&params), budget).await {
                Ok(state) => {
                    failures = 0;
                    task = task_state(state.get()).ok_or_else(|| Error::protocol(Violation::Result))?;
                }
                Err(error) if error.is_retryable() && failures < FAILURES => failures += 1,
                Err(error) => return Err(error.of_answered()),
            }
        }
    }
}

/// A wire's number of milliseconds; what is no duration is none.
fn millis(number: Option<f64>) -> Option<Duration> {
    number.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok())
}

/// A task whose caller is gone is worked on for nobody: the server is asked to stop, once and best effort
/// (TSK-07).
struct CancelOnDrop<'a> {
    client: &'a Client,
    modern: &'a Modern,
    params: &'a RawValue,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        const METHOD: &str = "tasks/cancel";
        let shared = self.client.shared();
        if !self.armed || shared.inbox.session().is_ended() {
            return;
        }
        // An id of its own, and nobody who waits for the acknowledgement.
        let Ok(id) = shared.inbox.begin() else { return };
        shared.inbox.forget(id);
        let meta: Vec<_> =
            self.modern.meta().iter().map(|(name, value)| (*name, Cow::Borrowed(&**value))).collect();
        let params = with_meta(Some(self.params), &meta);
        let name = super::name_of(METHOD, Some(&params));
        let routing = shared.transport.exchanges().then(|| self.modern.routing(name));
        let body = message::encode_request(id, METHOD, Some(&params));
        shared.inbox.post(Outgoing { id: Some(id), method: Some(METHOD.to_owned()), body, routing });
    }
}
