//! Tasks of revision 2025-11-25: requests that the server works on on its own time (TSK-01 to TSK-09).

use super::Client;
use super::methods::{Paged, paged};
use crate::call::follow_task::{Abandoned, Inquiry, Step, by_id, follow};
use crate::call::options::CallOptions;
use crate::call::{Asked, ByUri, NOT_AN_OBJECT, Named, params_of};
use crate::error::{Delivery, Error, InvalidInput, TimeoutError, Violation};
use crate::inbox::Inbox;
use crate::inbox::deadline::{Budget, Clock, within_either};
use crate::protocol::json::object::Object;
use crate::runtime::timer::BoxFuture;
use crate::types::{
    CallToolResult, CreateTaskResult, Json, ListTasksResult, ServerCapabilities, Task, TaskStatus,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Serialize)]
struct Augmentation {
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
}

paged! { ListTasksResult, tasks: Task; }

/// Whether the server makes tasks of such requests (TSK-01).
fn offers(capabilities: &ServerCapabilities, method: &str) -> bool {
    let tasks = capabilities.tasks.as_ref();
    let mut value =
        tasks.and_then(|tasks| tasks.requests.as_ref()).map(|requests| requests.as_raw().to_owned());
    for name in method.split('/') {
        value = value.and_then(|value| Object::read(value.get())?.get(name).map(RawValue::to_owned));
    }
    value.is_some()
}

/// Tasks need a server that declares them. With any other server a request to make a task fails before it is sent:
/// the server would carry it out at once.
///
/// If a server needs something for a task, it asks this client's handlers.
impl Client {
    /// Calls a tool as a task and returns its result, however long that takes: polls the task at the server's interval, and
    /// lets the handlers answer what the server asks for. A server of revision 2026-07-28 decides by itself what becomes a
    /// task, so with such a server this is [`call_tool`](Self::call_tool).
    ///
    /// The deadline is [`CallOptions::total`]. `ttl` is how long the server is asked to keep the result.
    ///
    /// # Errors
    ///
    /// Also when the task was cancelled, or when polling it failed more often in a row than
    /// [`Limits::task_failures`](crate::Limits::task_failures) says, in ways that may pass.
    ///
    /// **Cancel safety:** when the future is dropped, or out of time, the server is asked to cancel the task,
    /// best effort.
    pub async fn run_tool_as_task(
        &self,
        name: &str,
        arguments: impl Serialize,
        ttl: Option<Duration>,
    ) -> Result<CallToolResult, Error> {
        if self.revision().is_stateless() {
            return self.call_tool(name, arguments).await;
        }
        let budget = Budget::new(&self.connection().inbox, self.options().total_limit());
        let task = self.call_tool_as_task(name, arguments, ttl).await?;
        let params = by_id(&task.id);
        let abandoned = Abandoned::new(self.connection(), &params);
        let mut inquiry = Outcome { client: self, id: &task.id, interval: None, abandoned };
        let result = self.in_time(budget.left(), follow(self.caller(), budget, &mut inquiry)).await;
        let result = result.unwrap_or_else(|_| Err(self.caller().out_of_time(Delivery::Answered)));
        self.read_result("tools/call", result.map_err(Error::of_answered)?.into_raw().into())
    }

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

    /// Reads a resource as a task, where the server offers that.
    pub async fn read_resource_as_task(&self, uri: &str, ttl: Option<Duration>) -> Result<Task, Error> {
        self.request_as_task("resources/read", &ByUri { uri }, ttl).await
    }

    /// Fills a prompt in as a task, where the server offers that.
    pub async fn get_prompt_as_task(
        &self,
        name: &str,
        arguments: impl Serialize,
        ttl: Option<Duration>,
    ) -> Result<Task, Error> {
        let arguments = params_of(&arguments, NOT_AN_OBJECT)?;
        self.request_as_task("prompts/get", &Named { name, arguments: arguments.as_deref() }, ttl).await
    }

    /// Makes any request a task, where the server offers that.
    pub async fn request_as_task(
        &self,
        method: &str,
        params: impl Serialize,
        ttl: Option<Duration>,
    ) -> Result<Task, Error> {
        if self.revision().is_stateless() || !offers(&self.server().capabilities, method) {
            return Err(Error::invalid(InvalidInput::Method(
                "this server does not support tasks for this method",
            )));
        }
        let params = params_of(&params, NOT_AN_OBJECT)?;
        let params = params.as_deref().map_or("{}", RawValue::get);
        let mut params = Object::read(params).unwrap_or_default();
        let ttl = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        params.set("task", Cow::Owned(to_raw_value(&Augmentation { ttl }).expect("a number")));
        let token = Token { inbox: &self.connection().inbox, token: Arc::default() };
        let task_token = Some(Arc::clone(&token.token));
        let client = self.with_only(CallOptions { task_token, ..self.options().clone() });
        let created = client.call(method, Asked::Text(Some(params.write()))).await?;
        let task = self.read_result::<CreateTaskResult>(method, created)?.task;
        token.belongs_to(&task);
        Ok(task)
    }

    /// How far a task is.
    pub async fn get_task(&self, id: &str) -> Result<Task, Error> {
        self.noted(self.request_as("tasks/get", &by_id(id)).await?)
    }

    /// A task's result, which has the form of the original request's. The server answers when the task
    /// has ended, so this waits for it; mind the deadline, or use [`wait_task`](Self::wait_task) first.
    pub async fn task_result(&self, id: &str) -> Result<Json, Error> {
        let result = self.request("tasks/result", by_id(id)).await;
        if is_answer(&result) {
            self.connection().inbox.reporters().task_ended(id);
        }
        result
    }

    /// All tasks, over all pages.
    pub async fn list_tasks(&self) -> Result<Vec<Task>, Error> {
        let tasks = self.all::<ListTasksResult>("tasks/list").await?;
        tasks.iter().for_each(|task| self.connection().inbox.note_task(task));
        Ok(tasks)
    }

    /// One page of tasks; `None` for the first.
    pub async fn list_tasks_page(&self, cursor: Option<&str>) -> Result<ListTasksResult, Error> {
        let page: ListTasksResult = self.page("tasks/list", cursor).await?;
        page.tasks.iter().for_each(|task| self.connection().inbox.note_task(task));
        Ok(page)
    }

    /// Asks the server to give a task up.
    pub async fn cancel_task(&self, id: &str) -> Result<Task, Error> {
        self.noted(self.request_as("tasks/cancel", &by_id(id)).await?)
    }

    /// Polls a task at the server's interval until it has ended or needs input. Then call
    /// [`task_result`](Self::task_result): a server asks for the input in answer to that. After `limit` the last status is
    /// returned, whatever it is.
    ///
    /// # Errors
    ///
    /// A timeout when there was no status within `limit`. Also when polling failed more often in a row than
    /// [`Limits::task_failures`](crate::Limits::task_failures) says, in ways that may pass.
    pub async fn wait_task(&self, id: &str, limit: Duration) -> Result<Task, Error> {
        let mut inquiry = Settled { client: self, id, last: None };
        let forever = Budget::new(&self.connection().inbox, None);
        match self.in_time(Some(limit), follow(self.caller(), forever, &mut inquiry)).await {
            Ok(result) => result,
            Err(timeout) => inquiry.last.ok_or(timeout),
        }
    }

    /// The outer error is that the time is over. It stands still while a person is asked to sign in.
    async fn in_time<T>(
        &self,
        limit: Option<Duration>,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Error> {
        let limit = limit.map(|after| TimeoutError { after, total: true });
        within_either(&self.connection().inbox, limit, Clock::Stops, async { Ok(future.await) }).await
    }

    fn noted(&self, task: Task) -> Result<Task, Error> {
        self.connection().inbox.note_task(&task);
        Ok(task)
    }
}

/// Whether a task has ended, or needs input.
struct Settled<'a> {
    client: &'a Client,
    id: &'a str,
    /// How it stood before that.
    last: Option<Task>,
}

impl Inquiry for Settled<'_> {
    type Answer = Task;

    fn ask(&mut self) -> BoxFuture<'_, Result<Step<Task>, Error>> {
        Box::pin(async {
            let task = self.client.get_task(self.id).await?;
            if task.status.is_terminal() || task.status == TaskStatus::InputRequired {
                return Ok(Step::Done(Ok(task)));
            }
            self.last = Some(task);
            Ok(Step::Later)
        })
    }

    fn interval(&self) -> Option<Duration> {
        self.last.as_ref().and_then(interval_of)
    }
}

/// A task's result, once it has ended. One that needs input gets it by being asked for its result.
struct Outcome<'a> {
    client: &'a Client,
    id: &'a str,
    interval: Option<Duration>,
    abandoned: Abandoned<'a>,
}

impl Inquiry for Outcome<'_> {
    type Answer = Json;

    fn ask(&mut self) -> BoxFuture<'_, Result<Step<Json>, Error>> {
        Box::pin(async {
            let task = self.client.get_task(self.id).await?;
            self.interval = interval_of(&task);
            let ended = task.status.is_terminal();
            if !ended && task.status != TaskStatus::InputRequired {
                return Ok(Step::Later);
            }
            if ended {
                self.abandoned.disarm();
            }
            if task.status == TaskStatus::Cancelled {
                return Ok(Step::Done(Err(Error::protocol(Violation::TaskCancelled))));
            }
            let result = self.client.task_result(self.id).await;
            if is_answer(&result) {
                self.abandoned.disarm();
                return Ok(Step::Done(result));
            }
            // Perhaps the server needs more time than silence may last.
            result.map(|result| Step::Done(Ok(result)))
        })
    }

    fn interval(&self) -> Option<Duration> {
        self.interval
    }
}

fn interval_of(task: &Task) -> Option<Duration> {
    task.poll_interval.map(Duration::from_millis)
}

/// Whether `tasks/result` was answered. There is no answer before the task has ended, whatever it says.
fn is_answer(result: &Result<Json, Error>) -> bool {
    result.as_ref().map_or_else(|error| error.rpc().is_some(), |_| true)
}

/// The progress token of a request that is to become a task.
struct Token<'a> {
    inbox: &'a Inbox,
    token: Arc<AtomicU64>,
}

impl Token<'_> {
    fn belongs_to(&self, task: &Task) {
        let token = self.token.load(Ordering::Relaxed);
        self.inbox.reporters().became_task(token, &task.id, self.inbox.limits().reported_tasks);
        self.inbox.note_task(task);
    }
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        self.inbox.reporters().no_task(self.token.load(Ordering::Relaxed));
    }
}
