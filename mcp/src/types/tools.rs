//! Tools: what the methods that list and call them return.

use super::capabilities::Icon;
use super::content::text_of;
use super::object::object;
use super::words::words;
use super::{Content, Json};
use crate::error::{FormError, excerpt};
use serde::Deserialize;

object! {
    /// One page of `tools/list`.
    pub struct ListToolsResult needs tools: "tools" {
        /// The tools.
        tools: "tools" => Vec<Tool>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A tool.
    pub struct Tool needs name: "name" {
        /// Its name.
        name: "name" => String,
        /// Its name for people.
        title: "title" => Option<String>,
        /// What it does.
        description: "description" => Option<String>,
        /// The JSON Schema of its arguments. Never fetched from or looked into here.
        input_schema: "inputSchema" => Option<Json>,
        /// The JSON Schema of its structured result.
        output_schema: "outputSchema" => Option<Json>,
        /// Hints; not to be trusted.
        annotations: "annotations" => Option<Box<ToolAnnotations>>,
        /// How it can be called.
        execution: "execution" => Option<Box<ToolExecution>>,
        /// Its icons.
        icons: "icons" => Vec<Icon>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl Tool {
    /// A name to show to people: the title, or else the name.
    pub fn display_name(&self) -> &str {
        let annotated = || self.annotations.as_ref().and_then(|it| it.title.as_deref());
        self.title.as_deref().or_else(annotated).unwrap_or(&self.name)
    }
}

object! {
    /// Hints of a server about a tool. Not to be trusted: a server says of itself what it likes.
    pub struct ToolAnnotations {
        /// Its name for people.
        title: "title" => Option<String>,
        /// It changes nothing.
        read_only_hint: "readOnlyHint" => Option<bool>,
        /// It may destroy something.
        destructive_hint: "destructiveHint" => Option<bool>,
        /// Calling it twice does no more than calling it once.
        idempotent_hint: "idempotentHint" => Option<bool>,
        /// It deals with the world outside.
        open_world_hint: "openWorldHint" => Option<bool>,
    }
}

object! {
    /// How a tool can be called.
    pub struct ToolExecution {
        /// Whether as a task.
        task_support: "taskSupport" => Option<TaskSupport>,
    }
}

words! {
    /// Whether a tool is called as a task.
    pub enum TaskSupport {
        /// Never.
        Forbidden = "forbidden",
        /// If the caller likes.
        Optional = "optional",
        /// Always.
        Required = "required",
    }
}

object! {
    /// The result of `tools/call`.
    pub struct CallToolResult needs content: "content" {
        /// What the tool returned, for a model.
        content: "content" => Vec<Content>,
        /// What the tool returned, for a program: any value, `null` included.
        structured_content: "structuredContent" => Option<Json>,
        /// Whether the tool failed; `content` says how.
        is_error: "isError" => bool,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl CallToolResult {
    /// The text parts, one to a line.
    pub fn text(&self) -> String {
        text_of(&self.content)
    }

    /// What the tool returned for a program, as a type of the caller's.
    ///
    /// # Errors
    ///
    /// When it does not have `T`'s form. A result without structured content is read as `null`, which an `Option` accepts.
    pub fn structured<'a, T: Deserialize<'a>>(&'a self) -> Result<T, FormError> {
        match &self.structured_content {
            Some(structured) => structured.parse(),
            None => serde_json::from_str("null").map_err(FormError::new::<T>),
        }
    }

    /// The result of a tool that has done its work.
    ///
    /// # Errors
    ///
    /// When the tool failed by itself, which is no error of the call.
    pub fn into_result(self) -> Result<Self, ToolError> {
        match self.is_error {
            true => Err(ToolError { result: Box::new(self) }),
            false => Ok(self),
        }
    }
}

/// A tool has failed by itself, and says how.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the tool failed: {}", excerpt(.result.text().as_bytes(), 1024))]
pub struct ToolError {
    result: Box<CallToolResult>,
}

impl ToolError {
    /// All that the tool has said.
    pub fn result(&self) -> &CallToolResult {
        &self.result
    }
}
