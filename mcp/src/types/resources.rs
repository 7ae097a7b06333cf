//! Resources: what the methods that list and read them return.

use super::capabilities::Icon;
use super::object::object;
use super::words::Annotations;
use super::{Json, ResourceContents};

object! {
    /// One page of `resources/list`.
    pub struct ListResourcesResult needs resources: "resources" {
        /// The resources.
        resources: "resources" => Vec<Resource>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A resource.
    pub struct Resource needs uri: "uri" {
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

impl Resource {
    /// A name to show to people: the title, or else the name, or else the address.
    pub fn display_name(&self) -> &str {
        self.title.as_deref().or(self.name.as_deref()).unwrap_or(&self.uri)
    }
}

object! {
    /// The result of `resources/read`.
    pub struct ReadResourceResult needs contents: "contents" {
        /// The contents; a resource may have several.
        contents: "contents" => Vec<ResourceContents>,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// One page of `resources/templates/list`.
    pub struct ListResourceTemplatesResult needs resource_templates: "resourceTemplates" {
        /// The templates.
        resource_templates: "resourceTemplates" => Vec<ResourceTemplate>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Of what kind the result is (2026-07-28).
        result_type: "resultType" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A family of resources.
    pub struct ResourceTemplate needs uri_template: "uriTemplate" {
        /// Their addresses, as an RFC 6570 template.
        uri_template: "uriTemplate" => String,
        /// Its name.
        name: "name" => Option<String>,
        /// Its name for people.
        title: "title" => Option<String>,
        /// What they are.
        description: "description" => Option<String>,
        /// Their media type, if they share one.
        mime_type: "mimeType" => Option<String>,
        /// Its icons.
        icons: "icons" => Vec<Icon>,
        /// Hints.
        annotations: "annotations" => Option<Box<Annotations>>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}
