//! What the methods return: small types, lenient in what they take, lossless in what they keep.
//!
//! Every object keeps the members this crate does not know in `extra`, and schemas, arguments and
//! metadata as JSON text ([`Json`]), so that a value that is serialized again is the one that came.

use crate::error::{Error, Violation};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

mod content;
mod object;
mod prompts;
mod resources;
mod tasks;
mod tools;

pub use content::{
    AudioContent, Content, EmbeddedResource, ImageContent, ResourceContents, ResourceLink, TextContent,
};
use object::object;
pub use object::{CacheHint, Extra};
pub use prompts::{
    CompleteResult, Completion, CompletionTarget, GetPromptResult, ListPromptsResult, Prompt, PromptArgument,
    PromptMessage,
};
pub use resources::{
    ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource, ResourceTemplate,
};
pub(crate) use tasks::CreateTaskResult;
pub use tasks::{ListTasksResult, Task, TaskStatus};
pub use tools::{CallToolResult, ListToolsResult, Tool};

/// JSON text, kept as it was written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Any serializable value as JSON text.
    ///
    /// # Errors
    ///
    /// When the value cannot be made JSON, for instance a map whose keys are not strings.
    pub fn new(value: &impl Serialize) -> Result<Self, Error> {
        let raw = serde_json::value::to_raw_value(value)
            .map_err(|_| Error::invalid(crate::error::InvalidInput::Params("they cannot be made JSON")))?;
        Ok(Self(raw))
    }

    /// The JSON text: of a string with its quotes.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    pub(crate) fn into_raw(self) -> Box<RawValue> {
        self.0
    }

    pub(crate) fn as_raw(&self) -> &RawValue {
        &self.0
    }

    /// The value in it.
    ///
    /// # Errors
    ///
    /// When it does not have `T`'s form.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(self.0.get()).map_err(|error| Error::protocol_with(Violation::Result, error))
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Json {
    /// By text: `{"a":1}` and `{ "a": 1 }` differ.
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// A method's result from JSON text.
pub(crate) fn decode<T: DeserializeOwned>(result: &RawValue) -> Result<T, Error> {
    serde_json::from_str(result.get()).map_err(|error| Error::protocol_with(Violation::Result, error))
}

object! {
    /// What the server said of itself in the handshake.
    pub struct InitializeResult {
        /// The protocol revision it chose.
        protocol_version: "protocolVersion" => String,
        /// What it can do, as JSON text.
        capabilities: "capabilities" => Option<Json>,
        /// Its name and version.
        server_info: "serverInfo" => Option<Implementation>,
        /// How to use it, for a model.
        instructions: "instructions" => Option<String>,
    }
}

object! {
    /// The result of `server/discover`.
    pub(crate) struct DiscoverResult {
        /// The protocol revisions it speaks.
        supported_versions: "supportedVersions" => Vec<String>,
        /// What it can do, as JSON text.
        capabilities: "capabilities" => Option<Json>,
        /// Its name and version; usually in the metadata.
        server_info: "serverInfo" => Option<Implementation>,
        /// How to use it, for a model.
        instructions: "instructions" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// The name and version of a program.
    pub struct Implementation {
        /// Its name.
        name: "name" => String,
        /// Its name for people.
        title: "title" => Option<String>,
        /// Its version.
        version: "version" => Option<String>,
    }
}

#[cfg(test)]
mod tests;
