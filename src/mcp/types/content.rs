//! Content blocks: what tools and prompts are made of.

use super::*;

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
    /// A kind of block that this crate does not know.
    Other(Json),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "type", default)]
            kind: Cow<'a, str>,
        }
        fn block<'de, T: Deserialize<'de>, E: de::Error>(text: &'de str) -> Result<T, E> {
            serde_json::from_str(text).map_err(E::custom)
        }

        let raw = <&RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let Kind { kind } = block(text)?;
        Ok(match &*kind {
            "text" => Self::Text(block(text)?),
            "image" => Self::Image(block(text)?),
            "audio" => Self::Audio(block(text)?),
            "resource_link" => Self::ResourceLink(block(text)?),
            "resource" => Self::Resource(block(text)?),
            _ => Self::Other(Json(raw.to_owned())),
        })
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
