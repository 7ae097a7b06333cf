//! The typed methods: each one line over the choke point.

use super::client::{Client, params_of};
use super::error::{Delivery, Error, Violation};
use super::types::{
    CallToolResult, GetPromptResult, ListPromptsResult, ListResourcesResult, ListToolsResult, Prompt,
    ReadResourceResult, Resource, Tool, decode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

const NOT_AN_OBJECT: &str = "arguments must be a JSON object";

#[derive(Serialize)]
struct Page<'a> {
    cursor: &'a str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ByUri<'a> {
    uri: &'a str,
}

/// What a page has in common.
trait Paged: DeserializeOwned {
    type Item;
    fn into_parts(self) -> (Vec<Self::Item>, Option<String>);
}

macro_rules! paged {
    ($($page:ty, $items:ident: $item:ty;)*) => { $(
        impl Paged for $page {
            type Item = $item;
            fn into_parts(self) -> (Vec<$item>, Option<String>) {
                (self.$items, self.next_cursor)
            }
        }
    )* };
}
paged! {
    ListToolsResult, tools: Tool;
    ListResourcesResult, resources: Resource;
    ListPromptsResult, prompts: Prompt;
}

/// The methods of the protocol.
impl Client {
    /// Asks for a sign of life.
    pub async fn ping(&self) -> Result<(), Error> {
        self.call("ping", None).await.map(drop)
    }

    /// All tools, over all pages.
    ///
    /// # Errors
    ///
    /// Also when the server repeats a cursor, or after [`Limits::pages`](super::Limits::pages).
    pub async fn list_tools(&self) -> Result<Vec<Tool>, Error> {
        self.all::<ListToolsResult>("tools/list").await
    }

    /// One page of tools; `None` for the first.
    pub async fn list_tools_page(&self, cursor: Option<&str>) -> Result<ListToolsResult, Error> {
        self.page("tools/list", cursor).await
    }

    /// Calls a tool. `arguments` must serialize to a JSON object, or to `null` for none.
    ///
    /// A tool that fails by itself is a result with
    /// [`is_error`](CallToolResult::is_error) set, not an `Err` (ERR-06).
    pub async fn call_tool(&self, name: &str, arguments: impl Serialize) -> Result<CallToolResult, Error> {
        let arguments = params_of(&arguments, NOT_AN_OBJECT)?;
        self.ask("tools/call", &Named { name, arguments: arguments.as_deref() }).await
    }

    /// All resources, over all pages; errors as for [`list_tools`](Self::list_tools).
    pub async fn list_resources(&self) -> Result<Vec<Resource>, Error> {
        self.all::<ListResourcesResult>("resources/list").await
    }

    /// One page of resources; `None` for the first.
    pub async fn list_resources_page(&self, cursor: Option<&str>) -> Result<ListResourcesResult, Error> {
        self.page("resources/list", cursor).await
    }

    /// Reads a resource.
    pub async fn read_resource(&self, uri: &str) -> Result<ReadResourceResult, Error> {
        self.ask("resources/read", &ByUri { uri }).await
    }

    /// All prompts, over all pages; errors as for [`list_tools`](Self::list_tools).
    pub async fn list_prompts(&self) -> Result<Vec<Prompt>, Error> {
        self.all::<ListPromptsResult>("prompts/list").await
    }

    /// One page of prompts; `None` for the first.
    pub async fn list_prompts_page(&self, cursor: Option<&str>) -> Result<ListPromptsResult, Error> {
        self.page("prompts/list", cursor).await
    }

    /// Fills a prompt in. `arguments` as for [`call_tool`](Self::call_tool).
    pub async fn get_prompt(&self, name: &str, arguments: impl Serialize) -> Result<GetPromptResult, Error> {
        let arguments = params_of(&arguments, NOT_AN_OBJECT)?;
        self.ask("prompts/get", &Named { name, arguments: arguments.as_deref() }).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, params: &impl Serialize) -> Result<T, Error> {
        let params = params_of(params, NOT_AN_OBJECT)?;
        decode(&*self.call(method, params.as_deref()).await?)
    }

    async fn page<T: DeserializeOwned>(&self, method: &str, cursor: Option<&str>) -> Result<T, Error> {
        match cursor {
            None => decode(&*self.call(method, None).await?),
            Some(cursor) => self.ask(method, &Page { cursor }).await,
        }
    }

    /// PAG-01, PAG-03.
    async fn all<P: Paged>(&self, method: &str) -> Result<Vec<P::Item>, Error> {
        let mut items = Vec::new();
        let mut cursors: Vec<String> = Vec::new();
        loop {
            let page: P = self.page(method, cursors.last().map(String::as_str)).await?;
            let (page, next) = page.into_parts();
            items.extend(page);
            let Some(next) = next else { return Ok(items) };
            if cursors.contains(&next) {
                return Err(Error::protocol(Violation::CursorLoop));
            }
            cursors.push(next);
            let limit = self.limits().pages;
            if cursors.len() >= limit {
                return Err(Error::limit("pages", limit, Delivery::Answered));
            }
        }
    }
}
