//! Content blocks: what tools and prompts are made of.

use super::*;
use crate::protocol::json::object::{Key, Object};
use serde::de::value::MapDeserializer;

object! {
    /// Text.
    pub struct TextContent {
        /// The text.
        text: "text" => String,
        /// Hints.
        annotations: "annotations" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// An image.
    pub struct ImageContent {
        /// Its bytes, in Base64.
        data: "data" => String,
        /// Its media type.
        mime_type: "mimeType" => String,
        /// Hints.
        annotations: "annotations" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A sound.
    pub struct AudioContent {
        /// Its bytes, in Base64.
        data: "data" => String,
        /// Its media type.
        mime_type: "mimeType" => String,
        /// Hints.
        annotations: "annotations" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A resource that can be read, by its address.
    pub struct ResourceLink {
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
        /// Hints.
        annotations: "annotations" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A resource with its contents.
    pub struct EmbeddedResource {
        /// The contents.
        resource: "resource" => ResourceContents,
        /// Hints.
        annotations: "annotations" => Option<Json>,
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

impl object::Member for ResourceContents {}

/// A content block.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text(TextContent),
    /// An image.
    Image(ImageContent),
    /// A sound.
    Audio(AudioContent),
    /// A resource, by its address.
    ResourceLink(ResourceLink),
    /// A resource, with its contents.
    Resource(EmbeddedResource),
    /// A kind of block that this crate does not know: its members as they came.
    Other(Json),
}

impl Content {
    /// The block of this kind, if it is a known one. `extra` are the members that were read already.
    fn read<'de, A: MapAccess<'de>>(kind: &str, map: A, extra: Extra) -> Result<Option<Self>, A::Error> {
        Ok(Some(match kind {
            "text" => Self::Text(TextContent::read(map, extra)?),
            "image" => Self::Image(ImageContent::read(map, extra)?),
            "audio" => Self::Audio(AudioContent::read(map, extra)?),
            "resource_link" => Self::ResourceLink(ResourceLink::read(map, extra)?),
            "resource" => Self::Resource(EmbeddedResource::read(map, extra)?),
            _ => return Ok(None),
        }))
    }

    /// The block with these members, the type wherever it is among them.
    fn from_members(members: &Object<'_>) -> serde_json::Result<Self> {
        let kind = members.get("type").map(|kind| serde_json::from_str::<Cow<'_, str>>(kind.get()));
        let kind = kind.transpose()?.unwrap_or_default();
        let map = MapDeserializer::new(members.iter());
        let known = Self::read(&kind, map, Extra::default())?;
        Ok(known.unwrap_or_else(|| Self::Other(Json(members.write()))))
    }
}

impl<'de> Deserialize<'de> for Content {
    /// In one pass where the type comes first, as it nearly always does: a text may be long.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a content block")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
                let mut members = Object::default();
                if let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    if key.0 == "type" {
                        let mut extra = Extra::default();
                        extra.push("type", Json(value.to_owned()));
                        let kind = value.get().trim_matches('"');
                        if let Some(known) = Content::read(kind, &mut map, extra)? {
                            return Ok(known);
                        }
                    }
                    members.add(key, value);
                }
                members.extend(map)?;
                Content::from_members(&members).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_map(ContentVisitor)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(block) => block.serialize(serializer),
            Self::Image(block) => block.serialize(serializer),
            Self::Audio(block) => block.serialize(serializer),
            Self::ResourceLink(block) => block.serialize(serializer),
            Self::Resource(block) => block.serialize(serializer),
            Self::Other(json) => json.serialize(serializer),
        }
    }
}
