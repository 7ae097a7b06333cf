//! What the methods take and return: ordinary serde types, lenient in what they read, lossless in what they keep.
//!
//! Every object keeps the members this crate does not know in `extra`, and schemas, arguments and
//! metadata as JSON text ([`Json`]), so that a value that is written and read again is the one that came. A member that has
//! another form than the schema says does not decide over its object: it is kept in `extra`, too, and told
//! ([`Event::OddResult`](crate::Event::OddResult)). An item of a list that cannot be used is left out, and told.
//!
//! All of them read from text, readers and [`serde_json::Value`]s, also in untagged and flattened places; they have a
//! `Default`, so tests can make them:
//!
//! ```
//! use shared_fate_mcp::types::{CallToolResult, Tool};
//!
//! let tool = Tool { name: "add".into(), title: Some("Add numbers".into()), ..Tool::default() };
//! assert_eq!(tool.display_name(), "Add numbers");
//!
//! let result: CallToolResult = serde_json::from_value(serde_json::json!({
//!     "content": [{ "type": "text", "text": "3" }],
//!     "structuredContent": { "sum": 3 },
//! }))?;
//! assert_eq!(result.text(), "3");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod capabilities;
mod content;
mod decoding;
mod elicitation;
mod json;
mod member;
mod notifications;
mod object;
mod prompts;
mod resources;
mod rpc_error;
mod sampling;
mod tasks;
mod tools;
mod transcode;
mod words;

#[cfg(test)]
mod tests;

pub use crate::error::FormError;
pub(crate) use capabilities::DiscoverResult;
pub use capabilities::{
    ClientCapabilities, ElicitationCapability, Icon, Implementation, InitializeResult, ListCapability,
    ResourcesCapability, SamplingCapability, ServerCapabilities, TasksCapability,
};
pub use content::{
    AudioContent, Blocks, Content, EmbeddedResource, ImageContent, ResourceContents, ResourceLink,
    TextContent, ToolResultContent, ToolUseContent,
};
pub(crate) use decoding::Findings;
pub use elicitation::{ElicitForm, ElicitUrl, Elicited};
pub use json::Json;
pub use notifications::{LogMessage, Progress};
pub use object::{CacheHint, Extra};
pub use prompts::{
    CompleteResult, Completion, CompletionTarget, GetPromptResult, ListPromptsResult, Prompt, PromptArgument,
    PromptMessage,
};
pub use resources::{
    ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource, ResourceTemplate,
};
pub use sampling::{
    CreateMessageParams, CreateMessageResult, IncludeContext, ModelHint, ModelPreferences, SamplingMessage,
    StopReason, ToolChoice, ToolChoiceMode,
};
pub(crate) use tasks::CreateTaskResult;
pub use tasks::{ListTasksResult, Task, TaskStatus};
pub use tools::{
    CallToolResult, ListToolsResult, TaskSupport, Tool, ToolAnnotations, ToolError, ToolExecution,
};
pub use words::{Annotations, LoggingLevel, Role, Root};

use serde::de::DeserializeOwned;

/// A method's result out of JSON text, within so many bytes; and what was found beside it.
pub(crate) fn decode<T: DeserializeOwned>(
    text: &str,
    limit: usize,
) -> (Result<T, serde_json::Error>, Findings) {
    decoding::observe(limit, || serde_json::from_str(text))
}
