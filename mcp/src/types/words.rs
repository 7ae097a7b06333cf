//! Words, and hints.

use super::Json;
use super::object::{object, word_members, words};

words! {
    /// Who says something, or whom it is for.
    pub enum Role {
        /// The user.
        User = "user",
        /// The model.
        Assistant = "assistant",
    }
}

#[allow(clippy::derivable_impls, reason = "the words' macro has no place for it")]
impl Default for Role {
    fn default() -> Self {
        Self::User
    }
}

words! {
    /// How grave a line of a log is (RFC 5424).
    pub enum LoggingLevel {
        /// For those who look for a fault.
        Debug = "debug",
        /// All is well.
        Info = "info",
        /// All is well, and it matters.
        Notice = "notice",
        /// Something may go wrong.
        Warning = "warning",
        /// Something went wrong.
        Error = "error",
        /// A part has failed.
        Critical = "critical",
        /// Somebody must act at once.
        Alert = "alert",
        /// Nothing works.
        Emergency = "emergency",
    }
}

#[allow(clippy::derivable_impls, reason = "the words' macro has no place for it")]
impl Default for LoggingLevel {
    fn default() -> Self {
        Self::Info
    }
}

word_members! {
    Role, true;
    LoggingLevel;
}

object! {
    /// Hints about a resource or a block of content.
    pub struct Annotations {
        /// Whom it is for.
        audience: "audience" => Vec<Role>,
        /// How much it matters, from 0 to 1.
        priority: "priority" => Option<f64>,
        /// When it last changed (ISO 8601).
        last_modified: "lastModified" => Option<String>,
    }
}

object! {
    /// A file or folder that a server may work in.
    pub struct Root needs uri: "uri" {
        /// Its address, a `file://` URI.
        uri: "uri" => String,
        /// Its name for people.
        name: "name" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl Root {
    /// A root without a name.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), ..Self::default() }
    }
}
