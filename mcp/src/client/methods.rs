//! The typed methods: each one line over the choke point.

use super::Client;
use crate::call::header_list::note_tools;
use crate::call::reply::{checked, read_result, read_result_within};
use crate::call::{Asked, ByUri, NOT_AN_OBJECT, exchange, request};
use crate::error::{Delivery, Error, InvalidInput, Violation};
use crate::inbox::deadline::Budget;
use crate::protocol::message::ResultText;
use crate::protocol::stateless::DISCOVER;
use crate::types::{
    CallToolResult, CompleteResult, CompletionTarget, GetPromptResult, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel, Prompt,
    ReadResourceResult, Resource, ResourceTemplate, Root, Tool,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashSet};

#[derive(Serialize)]
struct Page<'a> {
    cursor: &'a str,
}

pub(super) const SET_LEVEL: &str = "logging/setLevel";
pub(super) const SUBSCRIBE: &str = "resources/subscribe";

#[derive(Serialize)]
pub(super) struct Level<'a> {
    pub(super) level: &'a LoggingLevel,
}

/// What pages have in common.
pub(super) trait Paged: DeserializeOwned {
    type Item: PartialEq;
    /// The items, and where the next page begins; `Err` if it says that in a way that cannot be said again.
    fn into_parts(self) -> Result<(Vec<Self::Item>, Option<String>), Error>;
}

macro_rules! paged {
    ($($page:ty, $items:ident: $item:ty;)*) => { $(
        impl Paged for $page {
            type Item = $item;
            fn into_parts(self) -> Result<(Vec<$item>, Option<String>), Error> {
                match self.extra.get("nextCursor").filter(|cursor| cursor.text() != "false") {
                    None => Ok((self.$items, self.next_cursor)),
                    Some(_) => Err(Error::protocol_with(Violation::Result, "`nextCursor` is not a string")),
                }
            }
        }
    )* };
}
pub(super) use paged;
paged! {
    ListToolsResult, tools: Tool;
    ListResourcesResult, resources: Resource;
    ListResourceTemplatesResult, resource_templates: ResourceTemplate;
    ListPromptsResult, prompts: Prompt;
}

/// The methods of the protocol.
impl Client {
    /// Asks for a sign of life: a ping, or, where the revision has none, `server/discover`.
    pub async fn ping(&self) -> Result<(), Error> {
        let method = if self.connection().stateless().is_some() { DISCOVER } else { "ping" };
        checked(self.call(method, Asked::Text(None)).await?).map(drop)
    }

    /// All tools, over all pages.
    ///
    /// # Errors
    ///
    /// Also when the server repeats a cursor, or when [`Limits::pages`](crate::Limits::pages) or
    /// [`Limits::list`](crate::Limits::list) is reached. [`CallOptions::total`](crate::CallOptions::total) limits all pages
    /// together.
    pub async fn list_tools(&self) -> Result<Vec<Tool>, Error> {
        let mut tools = self.all::<ListToolsResult>("tools/list").await?;
        note_tools(self.connection(), &mut tools, None, None);
        Ok(tools)
    }

    /// One page of tools; `None` for the first.
    pub async fn list_tools_page(&self, cursor: Option<&str>) -> Result<ListToolsResult, Error> {
        let mut page: ListToolsResult = self.page("tools/list", cursor).await?;
        note_tools(self.connection(), &mut page.tools, cursor, page.next_cursor.as_deref());
        Ok(page)
    }

    /// Calls a tool. `arguments` must serialize to a JSON object, or to `null` for none.
    ///
    /// A tool that fails by itself is a result with
    /// [`is_error`](CallToolResult::is_error) set, not an `Err`.
    ///
    /// Over HTTP, a server of revision 2026-07-28 may want arguments to be repeated as headers; its list of tools says which
    /// ones. The call is sent at once. It has the headers that the last list asks for, if this client has read one
    /// ([`list_tools`](Self::list_tools)). If the server refuses the call for its headers, the client fetches the list, and
    /// repeats the call if the list says what was wrong. One `tools/list` serves all calls that wait for it. If that fails,
    /// the call's error is the refusal, and no call fetches the list again for a minute, unless the server says that it has
    /// changed, or the application lists the tools.
    pub async fn call_tool(&self, name: &str, arguments: impl Serialize) -> Result<CallToolResult, Error> {
        let asked = self.caller().asked_by_name("tools/call", name, &arguments)?;
        self.read_result("tools/call", self.call("tools/call", asked).await?)
    }

    /// All resources, over all pages; errors as for [`list_tools`](Self::list_tools).
    pub async fn list_resources(&self) -> Result<Vec<Resource>, Error> {
        self.all::<ListResourcesResult>("resources/list").await
    }

    /// One page of resources; `None` for the first.
    pub async fn list_resources_page(&self, cursor: Option<&str>) -> Result<ListResourcesResult, Error> {
        self.page("resources/list", cursor).await
    }

    /// All resource templates, over all pages; errors as for [`list_tools`](Self::list_tools).
    pub async fn list_resource_templates(&self) -> Result<Vec<ResourceTemplate>, Error> {
        self.all::<ListResourceTemplatesResult>("resources/templates/list").await
    }

    /// One page of resource templates; `None` for the first.
    pub async fn list_resource_templates_page(
        &self,
        cursor: Option<&str>,
    ) -> Result<ListResourceTemplatesResult, Error> {
        self.page("resources/templates/list", cursor).await
    }

    /// Reads a resource.
    pub async fn read_resource(&self, uri: &str) -> Result<ReadResourceResult, Error> {
        self.request_as("resources/read", &ByUri { uri }).await
    }

    /// Asks a server with a handshake to tell when a resource changes:
    /// [`Event::ResourceUpdated`](crate::Event::ResourceUpdated). For servers of all revisions there is
    /// [`listen`](Self::listen).
    ///
    /// It holds until [`unsubscribe_resource`](Self::unsubscribe_resource), whatever
    /// [`Subscription`](crate::Subscription)s to the same resource come and go.
    pub async fn subscribe_resource(&self, uri: &str) -> Result<(), Error> {
        let subscribing = self.connection().inbox.subscribing(uri);
        self.request_unit(SUBSCRIBE, &ByUri { uri }).await?;
        subscribing.agreed();
        Ok(())
    }

    /// The opposite of [`subscribe_resource`](Self::subscribe_resource): once, however often that was called. While a
    /// [`Subscription`](crate::Subscription) to the same resource lives, nothing is sent: when it is dropped, it takes back
    /// what it shares.
    pub async fn unsubscribe_resource(&self, uri: &str) -> Result<(), Error> {
        let inbox = &self.connection().inbox;
        inbox.unsubscribed(uri);
        match inbox.is_listening_to(uri) {
            true => Ok(()),
            false => self.request_unit("resources/unsubscribe", &ByUri { uri }).await,
        }
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
        let asked = self.caller().asked_by_name("prompts/get", name, &arguments)?;
        self.read_result("prompts/get", self.call("prompts/get", asked).await?)
    }

    /// Suggests values for the argument `name` of a prompt or a resource template that begin with
    /// `value`. `known` are the arguments that have their value already.
    pub async fn complete(
        &self,
        target: &CompletionTarget,
        name: &str,
        value: &str,
        known: &BTreeMap<String, String>,
    ) -> Result<CompleteResult, Error> {
        #[derive(Serialize)]
        struct Params<'a> {
            r#ref: &'a CompletionTarget,
            argument: Argument<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            context: Option<Context<'a>>,
        }
        #[derive(Serialize)]
        struct Argument<'a> {
            name: &'a str,
            value: &'a str,
        }
        #[derive(Serialize)]
        struct Context<'a> {
            arguments: &'a BTreeMap<String, String>,
        }
        let context = (!known.is_empty()).then_some(Context { arguments: known });
        let params = Params { r#ref: target, argument: Argument { name, value }, context };
        self.request_as("completion/complete", &params).await
    }

    /// Which lines of its log the server is to send from now on: [`Event::Log`](crate::Event::Log). A server of revision
    /// 2026-07-28 is asked with each request of all clones, and nothing is sent here.
    ///
    /// # Errors
    ///
    /// Also when `level` is none of the protocol's words, such as `warn`: nothing is sent then.
    pub async fn set_logging_level(&self, level: impl Into<LoggingLevel>) -> Result<(), Error> {
        let level = level.into();
        if let LoggingLevel::Other(_) = level {
            return Err(Error::invalid(InvalidInput::Params("this is no level of the protocol's logs")));
        }
        match self.connection().stateless() {
            Some(stateless) => {
                stateless.set_log_level(&level);
                Ok(())
            }
            None => self.request_unit(SET_LEVEL, &Level { level: &level }).await,
        }
    }

    /// Replaces the roots, and tells the server that they have changed. A server of revision 2026-07-28 is not told: it asks
    /// when it needs them.
    ///
    /// # Errors
    ///
    /// Also when the client was made without [`Builder::roots`](crate::Builder::roots).
    pub async fn set_roots(&self, roots: impl IntoIterator<Item = Root>) -> Result<(), Error> {
        let Some(served) = self.connection().inbox.config().handlers.roots() else {
            return Err(Error::invalid(InvalidInput::Method("the client was made without roots")));
        };
        let old = std::mem::replace(&mut *served.lock(), roots.into_iter().collect());
        drop(old);
        match self.revision().is_stateless() {
            true => Ok(()),
            false => exchange::notify(self.caller(), "notifications/roots/list_changed", None).await,
        }
    }

    pub(super) async fn request_as<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<T, Error> {
        let asked = self.caller().asked(method, params, NOT_AN_OBJECT)?;
        self.read_result(method, self.call(method, asked).await?)
    }

    pub(super) fn read_result<T: DeserializeOwned>(
        &self,
        method: &str,
        reply: ResultText,
    ) -> Result<T, Error> {
        read_result(&self.connection().inbox, method, reply)
    }

    /// A request whose result says nothing.
    async fn request_unit(&self, method: &str, params: &impl Serialize) -> Result<(), Error> {
        let asked = self.caller().asked(method, params, NOT_AN_OBJECT)?;
        checked(self.call(method, asked).await?).map(drop)
    }

    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        method: &str,
        cursor: Option<&str>,
    ) -> Result<T, Error> {
        match cursor {
            None => self.read_result(method, self.call(method, Asked::Text(None)).await?),
            Some(cursor) => self.request_as(method, &Page { cursor }).await,
        }
    }

    /// PAG-01, PAG-03. One limit for all pages (TO-02).
    pub(super) async fn all<P: Paged>(&self, method: &str) -> Result<Vec<P::Item>, Error> {
        self.all_pages::<P>(method).await.map_err(|error| self.caller().named(error))
    }

    async fn all_pages<P: Paged>(&self, method: &str) -> Result<Vec<P::Item>, Error> {
        let limits = self.limits();
        let inbox = &*self.connection().inbox;
        let budget = Budget::new(inbox, self.options().total_limit());
        let mut items = Vec::new();
        let mut seen = HashSet::new();
        let mut cursor: Option<String> = None;
        let (mut length, mut decoded, mut last_page) = (0, limits.decoded, 0);
        for _ in 0..limits.pages {
            let asked = match &cursor {
                None => Asked::Text(None),
                Some(_) if budget.is_spent() => {
                    return Err(self.caller().out_of_time(Delivery::Answered));
                }
                Some(cursor) => self.caller().asked(method, &Page { cursor }, NOT_AN_OBJECT)?,
            };
            let page = request(self.caller(), method, asked, budget.left()).await;
            // The server knows of it since the first page.
            let page = page.map_err(|error| if cursor.is_none() { error } else { error.of_answered() })?;
            length += page.text().len();
            if length > limits.list {
                return Err(Error::limit("the length of a list", limits.list, Delivery::Answered));
            }
            let (page, taken) = read_result_within::<P>(inbox, method, page, decoded)?;
            decoded -= taken;
            let (page, next) = page.into_parts()?;
            // Some servers know no pages, and give the same one whatever they are asked for; with others an empty cursor
            // is that of the next page (FastMCP, issue 5025).
            let leads_nowhere = cursor.as_deref() == Some("") && next == cursor;
            if leads_nowhere && page == items[last_page..] {
                return Ok(items);
            }
            last_page = items.len();
            items.extend(page);
            match next {
                Some(_) if leads_nowhere => return Ok(items),
                Some(next) if seen.insert(next.clone()) => cursor = Some(next),
                Some(_) => return Err(Error::protocol(Violation::CursorLoop)),
                None => return Ok(items),
            }
        }
        Err(Error::limit("pages", limits.pages, Delivery::Answered))
    }
}
