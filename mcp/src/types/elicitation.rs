//! Elicitation: a server asks the user.

use super::Json;
use super::notifications::related_task;
use super::object::object;

object! {
    /// A form that a server asks the user to fill in.
    pub struct ElicitForm needs schema: "requestedSchema" {
        /// What the server wants to know, and why.
        message: "message" => String,
        /// The form: a flat JSON Schema, as the server wrote it.
        schema: "requestedSchema" => Json,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A page that a server asks the user to visit. Show the whole URL and ask before opening it; this crate never does.
    pub struct ElicitUrl needs url: "url" {
        /// What it is for.
        message: "message" => String,
        /// The address.
        url: "url" => String,
        /// What the server calls this request in `notifications/elicitation/complete`.
        id: "elicitationId" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl ElicitForm {
    /// The task that needs it, by its id.
    pub fn task(&self) -> Option<String> {
        related_task(self.meta.as_ref())
    }
}

impl ElicitUrl {
    /// The task that needs it, by its id.
    pub fn task(&self) -> Option<String> {
        related_task(self.meta.as_ref())
    }
}

/// What the user decided.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "the protocol's three answers")]
pub enum Elicited {
    /// The user agreed. For a form, the fields as a JSON object; those left out get the defaults that
    /// the form gives. For a URL, ignored: [`Json::default`] will do.
    Accept(Json),
    /// The user refused.
    Decline,
    /// The user did not decide.
    Cancel,
}
