//! Prompts and completion.

use super::*;

object! {
    /// One page of `prompts/list`.
    pub struct ListPromptsResult {
        /// The prompts.
        prompts: "prompts" => Vec<Prompt>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A prompt.
    pub struct Prompt {
        /// Its name.
        name: "name" => String,
        /// Its name for people.
        title: "title" => Option<String>,
        /// What it is for.
        description: "description" => Option<String>,
        /// What it takes.
        arguments: "arguments" => Option<Vec<PromptArgument>>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// An argument of a prompt.
    pub struct PromptArgument {
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
    pub struct GetPromptResult {
        /// What the prompt is.
        description: "description" => Option<String>,
        /// The messages.
        messages: "messages" => Vec<PromptMessage>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A message of a prompt.
    pub struct PromptMessage {
        /// `user` or `assistant`.
        role: "role" => String,
        /// What is said.
        content: "content" => Content,
    }
}

object! {
    /// The result of `completion/complete`.
    pub struct CompleteResult {
        /// The suggestions.
        completion: "completion" => Completion,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// Suggestions for an argument's value.
    pub struct Completion {
        /// The values.
        values: "values" => Vec<String>,
        /// How many there are in all.
        total: "total" => Option<Json>,
        /// Whether there are more than these.
        has_more: "hasMore" => bool,
    }
}

impl object::Member for Completion {}

/// What an argument to be completed belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
