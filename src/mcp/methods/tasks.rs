//! Tasks of revision 2025-11-25: requests that the server works on on its own time (TSK-01 to TSK-09).

use super::{Client, NOT_AN_OBJECT, Named, Paged, paged, params_of};
use crate::mcp::error::{Error, InvalidInput};
use crate::mcp::protocol::object::Object;
use crate::mcp::types::{CreateTaskResult, Json, ListTasksResult, Task, TaskStatus};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::time::Duration;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ById<'a> {
    task_id: &'a str,
}

#[derive(Serialize)]
struct Augmentation {
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
}

paged! { ListTasksResult, tasks: Task; }

/// How often a task is asked after that does not say so.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the server makes tasks of such requests (TSK-01).
fn offers(capabilities: Option<&Json>, method: &str) -> bool {
    let mut value: Option<Box<RawValue>> = capabilities.map(|all| all.as_raw().to_owned());
    for name in ["tasks", "requests"].into_iter().chain(method.split('/')) {
        value = value.and_then(|value| Object::read(value.get())?.get(name).map(RawValue::to_owned));
    }
    value.is_some()
}

/// Tasks: only with a server that declares them. Any other would not know that it is to make a task of
/// a request, and carry it out at once: such a request fails before it is sent.
impl Client {
    /// Calls a tool as a task: the server answers at once and works on. `ttl` is for how long it is
    /// asked to keep the result.
    pub async fn call_tool_as_task(
        &self,
        name: &str,
        arguments: impl Serialize,
        ttl: Option<Duration>,
    ) -> Result<Task, Error> {
        let arguments = params_of(&arguments, NOT_AN_OBJECT)?;
        self.request_as_task("tools/call", &Named { name, arguments: arguments.as_deref() }, ttl).await
    }

    /// Makes any request a task, where the server offers that.
    pub async fn request_as_task(
        &self,
        method: &str,
        params: impl Serialize,
        ttl: Option<Duration>,
    ) -> Result<Task, Error> {
        if self.revision().is_modern() || !offers(self.server().capabilities.as_ref(), method) {
            return Err(Error::invalid(InvalidInput::Method("the server does not make a task of it")));
        }
        let params = params_of(&params, NOT_AN_OBJECT)?;
        let params = params.as_deref().map_or("{}", RawValue::get);
        let mut params = Object::read(params).unwrap_or_default();
        let ttl = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        params.set("task", Cow::Owned(to_raw_value(&Augmentation { ttl }).expect("a number")));
        let created = self.call(method, Some(&params.write())).await?;
        crate::mcp::types::decode::<CreateTaskResult>(&created).map(|created| created.task)
    }

    /// How far a task is.
    pub async fn get_task(&self, id: &str) -> Result<Task, Error> {
        self.ask("tasks/get", &ById { task_id: id }).await
    }

    /// A task's result, which has the form of the original request's. The server answers when the task
    /// has ended, so this waits for it; mind the deadline, or use [`wait_task`](Self::wait_task) first.
    pub async fn task_result(&self, id: &str) -> Result<Json, Error> {
        self.request("tasks/result", ById { task_id: id }).await
    }

    /// All tasks, over all pages.
    pub async fn list_tasks(&self) -> Result<Vec<Task>, Error> {
        self.all::<ListTasksResult>("tasks/list").await
    }

    /// One page of tasks; `None` for the first.
    pub async fn list_tasks_page(&self, cursor: Option<&str>) -> Result<ListTasksResult, Error> {
        self.page("tasks/list", cursor).await
    }

    /// Asks the server to give a task up (CAN-05).
    pub async fn cancel_task(&self, id: &str) -> Result<Task, Error> {
        self.ask("tasks/cancel", &ById { task_id: id }).await
    }

    /// Asks after a task, as often as the server wishes, until it has ended or needs input. Then ask for
    /// its [result](Self::task_result).
    ///
    /// Bounded by `limit` (TSK-09): the last answer is returned then, whatever its status.
    pub async fn wait_task(&self, id: &str, limit: Duration) -> Result<Task, Error> {
        let inbox = &self.shared().inbox;
        let end = inbox.clock().saturating_add(crate::mcp::timer::millis(limit));
        loop {
            let task = self.get_task(id).await?;
            let left = Duration::from_millis(end.saturating_sub(inbox.clock()));
            if task.status.is_terminal() || task.status == TaskStatus::InputRequired || left.is_zero() {
                return Ok(task);
            }
            let interval = task.poll_interval.map_or(POLL_INTERVAL, Duration::from_millis);
            // A server that says 0 is not to be asked in a hot loop.
            let wait = interval.max(Duration::from_millis(10)).min(left);
            self.pause(wait).await?;
        }
    }
}
