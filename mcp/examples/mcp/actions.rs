//! What can be done with a server.

use super::arguments::Action;
use shared_fate_mcp::types::{Content, ResourceContents};
use shared_fate_mcp::{Client, Error};
use std::fmt::Write as _;

/// What the server has said: lines for standard output.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) text: String,
    /// Whether the tool has reported an error; the text says which.
    pub(crate) has_failed: bool,
}

impl Output {
    fn line(&mut self, line: impl std::fmt::Display) {
        writeln!(self.text, "{line}").expect("a string takes everything");
    }

    /// What a list has: its kind, its name, the first line of its description.
    fn item(&mut self, kind: &str, name: &str, description: Option<&str>) {
        let description = description.unwrap_or_default().lines().next().unwrap_or_default();
        self.line(format_args!("{kind}\t{name}\t{description}"));
    }
}

pub(crate) async fn act(client: &Client, action: Action<'_>) -> Result<Output, Error> {
    let mut output = Output::default();
    match action {
        // Signing in needs no session.
        #[cfg(feature = "oauth")]
        Action::SignIn(_) => {}
        Action::Ping => {
            client.ping().await?;
            let server = client.server().server_info.as_ref();
            let name = server.map_or("a server without a name", |server| &server.name);
            output.line(format_args!("{name} is alive (protocol {})", client.revision()));
        }
        Action::List => list(client, &mut output).await?,
        Action::Call { tool, arguments } => {
            let result = client.call_tool(tool, arguments).await?;
            result.content.iter().for_each(|content| output.line(shown(content)));
            output.has_failed = result.is_error;
        }
        Action::Read { uri } => {
            for contents in client.read_resource(uri).await?.contents {
                output.line(shown_contents(&contents));
            }
        }
        Action::Prompt { name, arguments } => {
            for message in client.get_prompt(name, arguments).await?.messages {
                output.line(format_args!("{}: {}", message.role, shown(&message.content)));
            }
        }
    }
    Ok(output)
}

/// All that the server says it has.
async fn list(client: &Client, output: &mut Output) -> Result<(), Error> {
    let offered = &client.server().capabilities;
    if offered.supports_tools() {
        for it in client.list_tools().await? {
            output.item("tool", &it.name, it.description.as_deref());
        }
    }
    if offered.supports_resources() {
        for it in client.list_resources().await? {
            output.item("resource", &it.uri, it.description.as_deref().or(it.name.as_deref()));
        }
        for it in client.list_resource_templates().await? {
            output.item("template", &it.uri_template, it.description.as_deref().or(it.name.as_deref()));
        }
    }
    if offered.supports_prompts() {
        for it in client.list_prompts().await? {
            output.item("prompt", &it.name, it.description.as_deref());
        }
    }
    Ok(())
}

/// Text as it is, anything else as JSON.
fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) => text.text.clone(),
        other => serde_json::to_string(other).expect("it came as JSON"),
    }
}

fn shown_contents(contents: &ResourceContents) -> String {
    match &contents.text {
        Some(text) => text.clone(),
        None => serde_json::to_string(contents).expect("it came as JSON"),
    }
}
