//! Tasks of revision 2025-11-25.

use super::Json;
use super::object::object;
use super::words::words;

object! {
    /// Work that a server does on its own time.
    pub struct Task needs id: "taskId" {
        /// Its id.
        id: "taskId" => String,
        /// How far it is.
        status: "status" => TaskStatus,
        /// The status in words, for people.
        status_message: "statusMessage" => Option<String>,
        /// When it was created (ISO 8601).
        created_at: "createdAt" => Option<String>,
        /// When it last changed (ISO 8601).
        last_updated_at: "lastUpdatedAt" => Option<String>,
        /// For how long after its creation the server keeps it, in milliseconds; absent or null: for ever.
        ttl: "ttl" => Option<u64>,
        /// How often to ask, in milliseconds.
        poll_interval: "pollInterval" => Option<u64>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// The answer to a request that was made a task.
    pub(crate) struct CreateTaskResult needs task: "task" {
        /// The task.
        task: "task" => Task,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// One page of `tasks/list`.
    pub struct ListTasksResult needs tasks: "tasks" {
        /// The tasks.
        tasks: "tasks" => Vec<Task>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

words! {
    /// How far a task is.
    #[derive(Default)]
    pub enum TaskStatus {
        /// It is being worked on.
        #[default]
        Working = "working",
        /// It waits for something from this client: ask for its result, and answer what comes.
        InputRequired = "input_required",
        /// It is done, and has a result.
        Completed = "completed",
        /// It has failed.
        Failed = "failed",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

impl TaskStatus {
    /// Whether the status is final.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
