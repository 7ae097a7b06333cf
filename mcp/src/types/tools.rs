//! Tools.

use super::*;

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
        /// The JSON Schema of its arguments. Never fetched from or looked into here.
        input_schema: "inputSchema" => Option<Json>,
        /// The JSON Schema of its structured result.
        output_schema: "outputSchema" => Option<Json>,
        /// Hints; not to be trusted.
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
