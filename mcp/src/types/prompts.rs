//! Prompts and completion: what the methods take and return.

use super::capabilities::Icon;
use super::object::object;
use super::words::Role;
use super::{Content, Json};
use serde::{Deserialize, Serialize};

object! {
    /// One page of `prompts/list`.
    pub struct ListPromptsResult needs prompts: "prompts" {
        /// The prompts.
        prompts: "prompts" => Vec<Prompt>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A prompt.
    pub struct Prompt needs name: "name" {
        /// Its name.
        name: "name" => String,
        /// Its name for people.
        title: "title" => Option<String>,
        /// What it is for.
        description: "description" => Option<String>,
        /// What it takes.
        arguments: "arguments" => Option<Vec<PromptArgument>>,
        /// Its icons.
        icons: "icons" => Vec<Icon>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl Prompt {
    /// A name to show to people: the title, or else the name.
    pub fn display_name(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }
}

object! {
    /// An argument of a prompt.
    pub struct PromptArgument needs name: "name" {
        /// Its name.
        name: "name" => String,
        /// Its name for people.
        title: "title" => Option<String>,
        /// What it is.
        description: "description" => Option<String>,
        /// Whether the prompt needs it.
        required: "required" => bool,
    }
}

object! {
    /// The result of `prompts/get`.
    pub struct GetPromptResult needs messages: "messages" {
        /// What the prompt is.
        description: "description" => Option<String>,
        /// The messages.
        messages: "messages" => Vec<PromptMessage>,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A message of a prompt.
    pub struct PromptMessage {
        /// Who says it.
        role: "role" => Role,
        /// What is said.
        content: "content" => Content,
    }
}

object! {
    /// The result of `completion/complete`.
    pub struct CompleteResult needs completion: "completion" {
        /// The suggestions.
        completion: "completion" => Completion,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// Suggestions for an argument's value.
    pub struct Completion needs values: "values" {
        /// The values.
        values: "values" => Vec<String>,
        /// How many there are in all.
        total: "total" => Option<u64>,
        /// Whether there are more than these.
        has_more: "hasMore" => bool,
    }
}

/// What an argument to be completed belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum CompletionTarget {
    /// A prompt, by its name.
    #[serde(rename = "ref/prompt")]
    Prompt {
        /// Its name.
        name: String,
    },
    /// A resource template, by its URI template.
    #[serde(rename = "ref/resource")]
    ResourceTemplate {
        /// The template.
        uri: String,
    },
}
