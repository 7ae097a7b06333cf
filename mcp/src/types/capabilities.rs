//! What the two sides say of themselves.

use super::Json;
use super::object::object;

object! {
    /// A picture for people.
    pub struct Icon (omitted_if_none) needs src: "src" {
        /// Its address: `https:` or `data:`. This crate never fetches it.
        src: "src" => String,
        /// Its media type.
        mime_type: "mimeType" => Option<String>,
        /// Its sizes, such as `48x48` or `any`.
        sizes: "sizes" => Option<Vec<String>>,
        /// The background that it is made for: `light` or `dark`.
        theme: "theme" => Option<String>,
    }
}

object! {
    /// The name and version of a program.
    pub struct Implementation needs name: "name" {
        /// Its name.
        name: "name" => String,
        /// Its name for people.
        title: "title" => Option<String>,
        /// Its version.
        version: "version" => Option<String>,
        /// What it does.
        description: "description" => Option<String>,
        /// Where to read about it.
        website_url: "websiteUrl" => Option<String>,
        /// Its icons.
        icons: "icons" => Vec<Icon>,
    }
}

impl Implementation {
    /// A program of this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: Some(version.into()), ..Self::default() }
    }
}

object! {
    /// What a server offers. A member that is there is offered.
    pub struct ServerCapabilities {
        /// Tools.
        tools: "tools" => Option<ListCapability>,
        /// Resources.
        resources: "resources" => Option<ResourcesCapability>,
        /// Prompts.
        prompts: "prompts" => Option<ListCapability>,
        /// Completion of arguments.
        completions: "completions" => Option<Json>,
        /// A log.
        logging: "logging" => Option<Json>,
        /// Tasks of revision 2025-11-25.
        tasks: "tasks" => Option<TasksCapability>,
        /// Extensions, by their keys.
        extensions: "extensions" => Option<Json>,
        /// What no standard knows.
        experimental: "experimental" => Option<Json>,
    }
}

impl ServerCapabilities {
    /// Whether it has tools.
    pub fn supports_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// Whether it has resources.
    pub fn supports_resources(&self) -> bool {
        self.resources.is_some()
    }

    /// Whether it has prompts.
    pub fn supports_prompts(&self) -> bool {
        self.prompts.is_some()
    }
}

object! {
    /// A list that a server offers.
    pub struct ListCapability {
        /// Whether it tells of changes.
        list_changed: "listChanged" => bool,
    }
}

object! {
    /// Resources that a server offers.
    pub struct ResourcesCapability {
        /// Whether it tells of changes of one resource to those who subscribe.
        subscribe: "subscribe" => bool,
        /// Whether it tells of changes of the list.
        list_changed: "listChanged" => bool,
    }
}

object! {
    /// Tasks of revision 2025-11-25.
    pub struct TasksCapability {
        /// Whether tasks can be listed.
        list: "list" => Option<Json>,
        /// Whether tasks can be cancelled.
        cancel: "cancel" => Option<Json>,
        /// The requests that can become tasks, by the parts of their methods.
        requests: "requests" => Option<Json>,
    }
}

object! {
    /// What a client offers. A member that is there is offered.
    ///
    /// Handlers declare what they answer; see [`Builder::capabilities`](crate::Builder::capabilities) for the rest.
    pub struct ClientCapabilities {
        /// Folders that the server may work in.
        roots: "roots" => Option<ListCapability>,
        /// A model.
        sampling: "sampling" => Option<SamplingCapability>,
        /// A user who can be asked.
        elicitation: "elicitation" => Option<ElicitationCapability>,
        /// Tasks of revision 2025-11-25.
        tasks: "tasks" => Option<TasksCapability>,
        /// Extensions, by their keys.
        extensions: "extensions" => Option<Json>,
        /// What no standard knows.
        experimental: "experimental" => Option<Json>,
    }
}

object! {
    /// What a client's model can do.
    pub struct SamplingCapability {
        /// It takes the context of other servers, if it is asked to.
        context: "context" => Option<Json>,
        /// It uses tools.
        tools: "tools" => Option<Json>,
    }
}

object! {
    /// How a client's user can be asked.
    pub struct ElicitationCapability {
        /// By a form.
        form: "form" => Option<Json>,
        /// By a page to visit.
        url: "url" => Option<Json>,
    }
}

object! {
    /// What the server said of itself in the handshake.
    pub struct InitializeResult needs protocol_version: "protocolVersion" {
        /// The protocol revision it chose.
        protocol_version: "protocolVersion" => String,
        /// What it can do.
        capabilities: "capabilities" => ServerCapabilities,
        /// Its name and version.
        server_info: "serverInfo" => Option<Implementation>,
        /// How to use it, for a model.
        instructions: "instructions" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// The result of `server/discover`.
    pub(crate) struct DiscoverResult {
        /// The protocol revisions it speaks.
        supported_versions: "supportedVersions" => Vec<String>,
        /// What it can do.
        capabilities: "capabilities" => ServerCapabilities,
        /// Its name and version; usually in the metadata.
        server_info: "serverInfo" => Option<Implementation>,
        /// How to use it, for a model.
        instructions: "instructions" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl Json {
    /// `{}`: a capability without details.
    pub fn empty_object() -> Self {
        Self::new(&serde_json::Map::new()).unwrap_or_default()
    }
}
