//! The list of tools, as far as it is about headers: taken note of when the application reads it, and fetched for the
//! headers alone when a server refuses a call that goes without them (PAR-02, PAR-08, PAR-09).
//!
//! Invariants:
//!
//! 1. One fetch serves all calls that wait, and any of them carries it on. When the last one goes, so does the fetch.
//! 2. Each page counts as soon as it is there. Whatever becomes of those after it, nobody waits for them in vain twice.
//! 3. No error of a fetch reaches a call.

use super::Caller;
use super::exchange::{Params, Request, exchange_once};
use super::options::CallOptions;
use super::reply::checked;
use crate::connection::Connection;
use crate::connection::stateless::Stateless;
use crate::connection::tool_headers::{Arguments, Heard, Page};
use crate::inbox::deadline::{Budget, within};
use crate::inbox::event::Event;
use crate::protocol::headers::{HeaderArgument, header_arguments, read_page};
use crate::sync::shared_future::Waiter;
use crate::sync::yield_now;
use crate::types::{Json, Tool};
use serde_json::value::to_raw_value;
use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// Takes note of tools that the application has read, and takes those out of the list whose headers are invalid
/// (PAR-02). They are the page that `cursor` stands for; `next` stands for the one after it.
pub(crate) fn note_tools(
    connection: &Connection,
    tools: &mut Vec<Tool>,
    cursor: Option<&str>,
    next: Option<&str>,
) {
    let Some(stateless) = connection.stateless().filter(|_| connection.transport.is_request_response())
    else {
        return;
    };
    let limits = connection.inbox.limits();
    let mut annotated = Vec::new();
    tools.retain(|tool| {
        let schema = tool.input_schema.as_ref().map_or("{}", Json::text);
        let arguments = header_arguments(schema, limits.mirrored_arguments);
        sort(connection, stateless, &tool.name, arguments, &mut annotated)
    });
    stateless.tool_headers.note(Page { cursor, annotated, next }, limits.list);
    stateless.tool_headers.forget_failure();
}

/// Sorts a tool by what is known of its headers now. `false` if they are invalid.
fn sort(
    connection: &Connection,
    stateless: &Stateless,
    name: &str,
    arguments: Result<Vec<HeaderArgument>, &'static str>,
    annotated: &mut Vec<(String, Arguments)>,
) -> bool {
    match arguments {
        Ok(arguments) if arguments.is_empty() => stateless.tool_headers.forget(name),
        Ok(arguments) => annotated.push((name.to_owned(), arguments.into())),
        Err(why) => {
            stateless.tool_headers.forget(name);
            connection.inbox.emit(&Event::ToolLeftOut { name: name.into(), why: why.into() });
            return false;
        }
    }
    true
}

/// A call that waits for the list.
pub(super) struct ListWait<'a> {
    caller: Caller<'a>,
    stateless: &'a Stateless,
    budget: Budget<'a>,
    waiter: Option<Waiter<()>>,
    begun: u64,
    /// How many changes the server had told of before.
    changes: u64,
}

impl<'a> ListWait<'a> {
    pub(super) fn new(caller: Caller<'a>, stateless: &'a Stateless, budget: Budget<'a>) -> Self {
        let inbox = &caller.connection.inbox;
        let (begun, changes) = (inbox.clock(), inbox.tool_changes());
        Self { caller, stateless, budget, waiter: None, begun, changes }
    }

    /// Waits until more is known than what was `heard`. `false` if there is nothing to wait for any more: the list was
    /// read or cannot be had, or the time is over that this call has, as a whole or for silence.
    pub(super) async fn more_than(&mut self, heard: Heard) -> bool {
        let Caller { connection, options } = self.caller;
        let (inbox, known) = (&*connection.inbox, &self.stateless.tool_headers);
        let patience = options.silence_limit().into_iter().chain(self.budget.left()).min();
        if patience.is_some_and(|patience| patience.is_zero()) {
            return false;
        }
        if self.waiter.is_none() {
            self.waiter = known.fetch(inbox, patience, fetch(Arc::clone(connection)));
        }
        let Some(waiter) = &mut self.waiter else { return false };
        let news = poll_fn(|cx| match Pin::new(&mut *waiter).poll(cx) {
            Poll::Ready(_) => Poll::Ready(Ok(false)),
            Poll::Pending if known.heard() != heard => Poll::Ready(Ok(true)),
            Poll::Pending => Poll::Pending,
        });
        within(inbox, patience, news).await.unwrap_or_else(|_| {
            let waited = inbox.clock().saturating_sub(self.begun);
            known.failed(inbox, self.changes, Some(waited));
            false
        })
    }
}

/// Fetches the list, and remembers it if that fails.
async fn fetch(connection: Arc<Connection>) {
    let changes = connection.inbox.tool_changes();
    let is_whole = fetch_pages(&connection).await.is_some();
    let Some(stateless) = connection.stateless() else { return };
    match is_whole {
        true => stateless.tool_headers.forget_failure(),
        false => stateless.tool_headers.failed(&connection.inbox, changes, None),
    }
}

/// Reads page after page. `None` if that does not come to an end. The requests are nobody's in particular, so they have
/// the client's own deadlines, and nothing that the options of a call add.
async fn fetch_pages(connection: &Arc<Connection>) -> Option<()> {
    let (stateless, inbox) = (connection.stateless()?, &*connection.inbox);
    let (limits, timeouts) = (inbox.limits(), inbox.timeouts());
    let options = CallOptions::default().silence(timeouts.silence).total(timeouts.total);
    let (caller, budget) = (Caller { connection, options: &options }, Budget::new(inbox, timeouts.total));
    let (mut cursors, mut length) = (HashSet::new(), 0);
    let mut cursor: Option<String> = None;
    for _ in 0..limits.pages {
        let params = cursor.as_ref().map(|cursor| to_raw_value(&BTreeMap::from([("cursor", cursor)])));
        let params = params.transpose().ok()?;
        let (meta, routing) = (stateless.meta(), Some(stateless.routing(None)));
        let request =
            Request { method: "tools/list", params: Params::Text(params.as_deref()), meta, routing };
        let page = exchange_once(caller, request, budget.left()).await.and_then(checked).ok()?;
        length += page.get().len();
        if length > limits.list {
            return None;
        }
        let mut annotated = Vec::new();
        let next = read_page(page.get(), limits.mirrored_arguments, |name, arguments| {
            sort(connection, stateless, name, arguments, &mut annotated);
        });
        let next = next.ok()?;
        let page = Page { cursor: cursor.as_deref(), annotated, next: next.as_deref() };
        stateless.tool_headers.note(page, limits.list);
        let next = match next {
            None => return Some(()),
            // So do servers end a list that know no pages.
            Some(next) if next.is_empty() && cursor.as_deref() == Some("") => return Some(()),
            Some(next) if cursors.insert(next.clone()) => next,
            Some(_) => return None,
        };
        cursor = Some(next);
        // All calls that wait look at the page that has come: a wake of the shared future is theirs.
        yield_now().await;
    }
    None
}
