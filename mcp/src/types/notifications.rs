//! What a server says unasked.

use super::Json;
use super::object::object;
use super::words::LoggingLevel;
use serde::Deserialize;

object! {
    /// A line of a server's log.
    pub struct LogMessage {
        /// How grave it is.
        level: "level" => LoggingLevel,
        /// Which part of the server says so.
        logger: "logger" => Option<String>,
        /// What it says: often a string, possibly any JSON.
        data: "data" => Json,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl LogMessage {
    /// The task that it is about, by its id.
    pub fn task(&self) -> Option<String> {
        related_task(self.meta.as_ref())
    }
}

object! {
    /// How far a call has come.
    pub struct Progress needs progress: "progress" {
        /// Should grow from one report to the next. A report in which it does not grow is passed on, too: its message may be
        /// new.
        progress: "progress" => f64,
        /// What `progress` will be at the end, if that is known.
        total: "total" => Option<f64>,
        /// What is going on.
        message: "message" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

/// The id of the task that a message is about, out of its metadata. Whatever else is there is no error.
pub(super) fn related_task(meta: Option<&Json>) -> Option<String> {
    #[derive(Deserialize)]
    struct Meta {
        #[serde(rename = "io.modelcontextprotocol/related-task")]
        task: Related,
    }
    #[derive(Deserialize)]
    struct Related {
        #[serde(rename = "taskId")]
        id: String,
    }
    meta?.parse().ok().map(|meta: Meta| meta.task.id)
}
