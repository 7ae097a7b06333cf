//! What the methods return: small types, lenient in what they take, lossless in what they keep.
//!
//! Every object keeps the members this crate does not know in `extra`, and schemas, arguments and
//! metadata as JSON text ([`Json`]), so that a value that is serialized again is the one that came
//! (M-20, META-01).

use super::error::{Error, Violation};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

mod content;
mod object;

pub use content::{
    AudioContent, Content, EmbeddedResource, ImageContent, ResourceContents, ResourceLink, TextContent,
};
pub use object::Extra;
use object::object;

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
            .map_err(|_| Error::invalid(super::error::InvalidInput::Params("they cannot be made JSON")))?;
        Ok(Self(raw))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
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
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Json {
    /// By text: `{"a":1}` and `{ "a": 1 }` differ.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
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

object! {
    /// One page of `tools/list`.
    pub struct ListToolsResult {
        /// The tools.
        tools: "tools" => Vec<Tool>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A tool.
    pub struct Tool {
        /// Its name.
        name: "name" => String,
        /// Its name for people.
        title: "title" => Option<String>,
        /// What it does.
        description: "description" => Option<String>,
        /// The JSON Schema of its arguments. Never fetched from or looked into here (M-21).
        input_schema: "inputSchema" => Option<Json>,
        /// The JSON Schema of its structured result.
        output_schema: "outputSchema" => Option<Json>,
        /// Hints; not to be trusted (SEC-12).
        annotations: "annotations" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// The result of `tools/call`.
    pub struct CallToolResult {
        /// What the tool returned, for a model.
        content: "content" => Vec<Content>,
        /// What the tool returned, for a program.
        structured_content: "structuredContent" => Option<Json>,
        /// Whether the tool failed; `content` says how.
        is_error: "isError" => bool,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl CallToolResult {
    /// The text parts, one to a line.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|content| match content {
            Content::Text(text) => Some(&*text.text),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

object! {
    /// One page of `resources/list`.
    pub struct ListResourcesResult {
        /// The resources.
        resources: "resources" => Vec<Resource>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A resource.
    pub struct Resource {
        /// Its address.
        uri: "uri" => String,
        /// Its name.
        name: "name" => Option<String>,
        /// Its name for people.
        title: "title" => Option<String>,
        /// What it is.
        description: "description" => Option<String>,
        /// Its media type.
        mime_type: "mimeType" => Option<String>,
        /// Its size in bytes.
        size: "size" => Option<Json>,
        /// Hints.
        annotations: "annotations" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// The result of `resources/read`.
    pub struct ReadResourceResult {
        /// The contents; a resource may have several.
        contents: "contents" => Vec<ResourceContents>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

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

#[cfg(test)]
mod tests;
