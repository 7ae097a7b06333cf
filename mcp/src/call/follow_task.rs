//! The tasks extension of revision 2026-07-28: a tool call that the server works on in its own time
//! (TSK-05 to TSK-10).

use super::{Budget, Client, Modern};
use crate::error::{Delivery, Error, ErrorKind, TimeoutError, Violation};
use crate::protocol::message::RpcError;
use crate::protocol::modern::{TaskState, task_state, with_input};
use crate::task::{Abandoned, by_id, interval};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::time::Duration;

impl Client {
    /// Asks after a task until it has ended, and returns its result.
    pub(super) async fn follow(
        &self,
        modern: &Modern,
        mut task: TaskState,
        budget: Budget<'_>,
    ) -> Result<Box<RawValue>, Error> {
        let inbox = &self.shared().inbox;
        let params = by_id(&task.task_id);
        let begun = inbox.clock();
        // Each key is answered once (TSK-06).
        let mut answered = HashSet::new();
        let (mut failures, limit) = (0, self.limits().task_failures);
        let mut abandoned = Abandoned::new(self.shared(), &params);
        loop {
            match &*task.status {
                "completed" => {
                    abandoned.disarm();
                    return task.result.ok_or_else(|| Error::protocol(Violation::Result));
                }
                "failed" => {
                    abandoned.disarm();
                    let error = task.error.as_deref().map(RpcError::read);
                    let error = error.unwrap_or_else(|| RpcError::new(0, "the task failed"));
                    return Err(Error::new(ErrorKind::Rpc(error), Delivery::Answered));
                }
                "cancelled" => {
                    abandoned.disarm();
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
            let interval = interval(millis(task.poll_interval_ms));
            self.pause(left.map_or(interval, |left| left.min(interval))).await.map_err(Error::of_answered)?;
            match self.routed(modern, "tasks/get", Some(&params), budget).await {
                Ok(state) => {
                    failures = 0;
                    task = task_state(state.get()).ok_or_else(|| Error::protocol(Violation::Result))?;
                }
                Err(error) if error.is_retryable() && failures < limit => failures += 1,
                Err(error) => return Err(error.of_answered()),
            }
        }
    }
}

/// A wire's number of milliseconds; what is no duration is none.
fn millis(number: Option<f64>) -> Option<Duration> {
    number.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok())
}
