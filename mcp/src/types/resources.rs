//! Resources.

use super::*;

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
    /// One page of `resources/templates/list`.
    pub struct ListResourceTemplatesResult {
        /// The templates.
        resource_templates: "resourceTemplates" => Vec<ResourceTemplate>,
        /// Where the next page begins, if there is one.
        next_cursor: "nextCursor" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A family of resources.
    pub struct ResourceTemplate {
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
        /// Hints.
        annotations: "annotations" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}
