//! Content blocks: what tools, prompts and samples are made of.

mod nesting;

use super::capabilities::Icon;
use super::decoding::{charge, odd};
use super::member::{Member, Read, null_and_wrappers, odd_scalars, start};
use super::object::{Extra, Object, object};
use super::transcode::Transcoded;
use super::words::Annotations;
use super::{CallToolResult, Json};
use crate::protocol::json::object::Key;
use nesting::{Level, may_nest};
use serde::de::value::MapDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::borrow::Cow;
use std::fmt;

object! {
    /// Text.
    pub struct TextContent {
        /// The text.
        text: "text" => String,
        /// Hints.
        annotations: "annotations" => Option<Box<Annotations>>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// An image.
    pub struct ImageContent needs data: "data" {
        /// Its bytes, in Base64.
        data: "data" => String,
        /// Its media type.
        mime_type: "mimeType" => String,
        /// Hints.
        annotations: "annotations" => Option<Box<Annotations>>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A sound.
    pub struct AudioContent needs data: "data" {
        /// Its bytes, in Base64.
        data: "data" => String,
        /// Its media type.
        mime_type: "mimeType" => String,
        /// Hints.
        annotations: "annotations" => Option<Box<Annotations>>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A resource that can be read, by its address.
    pub struct ResourceLink needs uri: "uri" {
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
        size: "size" => Option<u64>,
        /// Its icons.
        icons: "icons" => Vec<Icon>,
        /// Hints.
        annotations: "annotations" => Option<Box<Annotations>>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A resource with its contents.
    pub struct EmbeddedResource needs resource: "resource" {
        /// The contents.
        resource: "resource" => ResourceContents,
        /// Hints.
        annotations: "annotations" => Option<Box<Annotations>>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// What is in a resource: text or bytes.
    pub struct ResourceContents {
        /// Its address.
        uri: "uri" => String,
        /// Its media type.
        mime_type: "mimeType" => Option<String>,
        /// The text, if it is text.
        text: "text" => Option<String>,
        /// The bytes in Base64, if it is not.
        blob: "blob" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A model wants a tool to be used (sampling).
    pub struct ToolUseContent needs id: "id" {
        /// What this use is called in its [result](ToolResultContent::tool_use_id).
        id: "id" => String,
        /// The tool.
        name: "name" => String,
        /// Its arguments.
        input: "input" => Json,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// What the use of a tool has brought (sampling). It is read up to eight levels deep, one in the other; what is deeper
    /// is [`Content::Other`].
    pub struct ToolResultContent needs tool_use_id: "toolUseId" {
        /// The [use](ToolUseContent::id).
        tool_use_id: "toolUseId" => String,
        /// What the tool returned, for a model.
        content: "content" => Vec<Content>,
        /// What the tool returned, for a program.
        structured_content: "structuredContent" => Option<Json>,
        /// Whether the tool failed.
        is_error: "isError" => bool,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

/// A content block.
///
/// ```
/// use shared_fate_mcp::types::Content;
///
/// let block = Content::from("hello");
/// assert_eq!(serde_json::to_string(&block)?, r#"{"type":"text","text":"hello"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text(TextContent),
    /// An image.
    Image(Box<ImageContent>),
    /// A sound.
    Audio(Box<AudioContent>),
    /// A resource, by its address.
    ResourceLink(Box<ResourceLink>),
    /// A resource, with its contents.
    Resource(Box<EmbeddedResource>),
    /// A model wants a tool to be used. In sampling only.
    ToolUse(Box<ToolUseContent>),
    /// What the use of a tool has brought. In sampling only.
    ToolResult(Box<ToolResultContent>),
    /// A block that this crate cannot read, as it came: of an unknown type, or without what its type needs.
    Other(Json),
}

impl Content {
    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Image(_) => "image",
            Self::Audio(_) => "audio",
            Self::ResourceLink(_) => "resource_link",
            Self::Resource(_) => "resource",
            Self::ToolUse(_) => "tool_use",
            Self::ToolResult(_) => "tool_result",
            Self::Other(_) => "",
        }
    }

    /// The block of this kind, if it is a known one.
    fn read_kind<'de, A: MapAccess<'de>>(kind: &str, map: A) -> Result<Option<Self>, A::Error> {
        fn read<'de, T: Object, A: MapAccess<'de>>(map: A) -> Result<Box<T>, A::Error> {
            charge(size_of::<T>())?;
            T::read_members(map, Extra::default()).map(Box::new)
        }
        let block = match kind {
            "text" => Self::Text(TextContent::read_members(map, Extra::default())?),
            "image" => Self::Image(read(map)?),
            "audio" => Self::Audio(read(map)?),
            "resource_link" => Self::ResourceLink(read(map)?),
            "resource" => Self::Resource(read(map)?),
            "tool_use" => Self::ToolUse(read(map)?),
            "tool_result" => {
                let _level = Level::enter();
                Self::ToolResult(read(map)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(block.checked()))
    }

    /// A block without what its type needs is no more than its text.
    fn checked(self) -> Self {
        let missing = match &self {
            // A text may be empty, but it must be there.
            Self::Text(text) => text.extra.get("text").map(|_| "text"),
            Self::Image(block) => block.missing(),
            Self::Audio(block) => block.missing(),
            Self::ResourceLink(block) => block.missing(),
            Self::Resource(block) => block.missing(),
            Self::ToolUse(block) => block.missing(),
            Self::ToolResult(block) => block.missing(),
            Self::Other(_) => None,
        };
        match missing {
            None => self,
            Some(name) => {
                let json = Json::new(&self).unwrap_or_default();
                odd(|| format!("a block of content lacks `{name}`: {}", start(&json)));
                Self::Other(json)
            }
        }
    }

    /// The block with these members, the type wherever it is among them.
    fn from_members(members: Extra) -> Result<Self, serde_json::Error> {
        let kind = members.get("type").and_then(|kind| kind.parse::<Box<str>>().ok());
        if let Some(kind) = kind.filter(|kind| is_readable(kind)) {
            let rest = members.iter().filter(|(name, _)| *name != "type");
            let map = MapDeserializer::new(rest.map(|(name, value)| (name, value.as_raw())));
            if let Some(block) = Self::read_kind(&kind, map)? {
                return Ok(block);
            }
        }
        Ok(Self::Other(Json::new(&members).unwrap_or_default()))
    }

    fn other(text: String) -> Self {
        match Read::<Self>::odd(text) {
            Read::Odd(json) => {
                odd(|| format!("a block of content is no object: {}", start(&json)));
                Self::Other(json)
            }
            _ => unreachable!("it is odd"),
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(TextContent { text, ..TextContent::default() })
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Default for Content {
    /// An empty text.
    fn default() -> Self {
        String::new().into()
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a content block")
    }

    /// In one pass where the type comes first, as it nearly always does: a text may be long.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut members = Extra::default();
        if let Some(name) = map.next_key::<Key<'de>>()? {
            if name.0 == "type" {
                let kind = match map.next_value_seed(Kind)? {
                    Read::Value(kind) => kind,
                    Read::Null => Cow::Borrowed(""),
                    Read::Odd(json) => {
                        members.push("type", json)?;
                        Cow::Borrowed("")
                    }
                };
                if is_readable(&kind) {
                    return Content::read_kind(&kind, map).map(Option::unwrap_or_default);
                }
                if members.is_empty() {
                    members.push("type", Json::new(&*kind).unwrap_or_default())?;
                }
            } else {
                members.push(&name.0, map.next_value()?)?;
            }
        }
        while let Some(name) = map.next_key::<Key<'de>>()? {
            members.push(&name.0, map.next_value()?)?;
        }
        Content::from_members(members).map_err(de::Error::custom)
    }

    /// Some servers write a text without its block.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
        charge(text.len())?;
        odd(|| "a block of content is a mere string".to_owned());
        Ok(text.into())
    }

    null_and_wrappers!(Content, Content::other("null".to_owned()));
    odd_scalars!(Content, Content::other);

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Content, A::Error> {
        Transcoded::of_seq(items).map(Content::other)
    }
}

impl Member for Content {
    const ONE_IS_A_LIST: bool = true;

    /// Whatever it is: what cannot be read is kept as it came.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Self>, D::Error> {
        deserializer.deserialize_any(ContentVisitor).map(Read::Value)
    }
}

/// The types that this crate knows.
const KINDS: [&str; 7] = ["text", "image", "audio", "resource_link", "resource", "tool_use", "tool_result"];

fn is_readable(kind: &str) -> bool {
    KINDS.contains(&kind) && (kind != "tool_result" || may_nest())
}

/// Reads a type: borrowed where the text allows.
struct Kind;

impl<'de> DeserializeSeed<'de> for Kind {
    type Value = Read<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kind {
    type Value = Read<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a content block's type")
    }

    fn visit_borrowed_str<E>(self, kind: &'de str) -> Result<Self::Value, E> {
        Ok(Read::Value(Cow::Borrowed(kind)))
    }

    fn visit_str<E>(self, kind: &str) -> Result<Self::Value, E> {
        Ok(Read::Value(Cow::Owned(kind.to_owned())))
    }

    null_and_wrappers!(Self::Value, Read::odd("null".to_owned()));
    odd_scalars!(Self::Value, Read::odd);

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Transcoded::of_seq(items).map(Read::odd)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        Transcoded::of_map(members).map(Read::odd)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

impl Serialize for Content {
    /// The type comes first, so that reading it again takes one pass.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::Other(json) = self {
            return json.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.kind())?;
        match self {
            Self::Text(block) => block.write_members(&mut map)?,
            Self::Image(block) => block.write_members(&mut map)?,
            Self::Audio(block) => block.write_members(&mut map)?,
            Self::ResourceLink(block) => block.write_members(&mut map)?,
            Self::Resource(block) => block.write_members(&mut map)?,
            Self::ToolUse(block) => block.write_members(&mut map)?,
            Self::ToolResult(block) => block.write_members(&mut map)?,
            Self::Other(_) => {}
        }
        map.end()
    }
}

/// The blocks of a sampled message: one or several. A single one is written by itself, as revisions before 2025-11-25 want
/// it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks(pub Vec<Content>);

impl Blocks {
    /// The text blocks, one to a line.
    pub fn text(&self) -> String {
        text_of(&self.0)
    }
}

/// The text blocks, one to a line.
pub(super) fn text_of(blocks: &[Content]) -> String {
    let texts: Vec<_> = blocks.iter().filter_map(Content::as_text).collect();
    texts.join("\n")
}

impl<T: Into<Content>> From<T> for Blocks {
    fn from(block: T) -> Self {
        Self(vec![block.into()])
    }
}

impl From<Vec<Content>> for Blocks {
    fn from(blocks: Vec<Content>) -> Self {
        Self(blocks)
    }
}

impl Member for Blocks {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Self>, D::Error> {
        Vec::read(deserializer).map(|read| read.map(Self))
    }
}

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [block] if !matches!(block, Content::Other(_)) => block.serialize(serializer),
            blocks => blocks.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Self::read(deserializer)? {
            Read::Value(blocks) => Ok(blocks),
            Read::Null | Read::Odd(_) => Err(de::Error::custom("neither a content block nor a list of them")),
        }
    }
}

impl ToolResultContent {
    /// The result of a tool as the result of a model's use of it.
    pub fn new(tool_use_id: impl Into<String>, result: CallToolResult) -> Self {
        let CallToolResult { content, structured_content, is_error, meta, extra, .. } = result;
        Self { tool_use_id: tool_use_id.into(), content, structured_content, is_error, meta, extra }
    }
}
