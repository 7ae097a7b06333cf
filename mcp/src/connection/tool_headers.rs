//! [`ToolHeaders`]: which arguments of which tools are repeated as headers (PAR-09).
//!
//! Invariants:
//!
//! 1. Only tools with annotations are kept: those of one whole list, and of the pages that came since.
//! 2. A whole list replaces everything. Pages of a list that is never read to its end are replaced by those of the next.
//! 3. One fetch goes on at a time. While a failed one is remembered, none begins.

#[cfg(test)]
mod tests;

use crate::inbox::Inbox;
use crate::protocol::headers::HeaderArgument;
use crate::runtime::timer::millis;
use crate::sync::Mutex;
use crate::sync::shared_future::{SharedFuture, Waiter};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// For how long a list that could not be fetched is not asked for again, unless there is a reason to.
const FAILURE_IS_REMEMBERED: Duration = Duration::from_secs(60);

/// What the list of tools says about headers, as far as it was read.
#[derive(Default)]
pub(crate) struct ToolHeaders(Mutex<Known>);

/// The annotated arguments of one tool.
pub(crate) type Arguments = Arc<[HeaderArgument]>;

#[derive(Default)]
struct Known {
    /// From the last list that was read to its end, without the tools that a later page has, too.
    whole: HashMap<String, Arguments>,
    pages: Pages,
    heard: Heard,
    fetch: Option<SharedFuture<()>>,
    failure: Option<Failure>,
}

/// The pages since the last whole list.
#[derive(Default)]
struct Pages {
    by_tool: HashMap<String, Arguments>,
    /// How much text that is, about, in bytes.
    length: usize,
    /// The cursor of the page that follows.
    next: Option<String>,
    /// Whether they are one list, from its first page on.
    gapless: bool,
}

/// How much of lists has been heard.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    pages: u64,
    pub(crate) whole_lists: u64,
}

/// That the list could not be fetched.
struct Failure {
    /// When it is forgotten.
    until: u64,
    /// How many changes the server had told of when the list was asked for.
    changes: u64,
    /// For how long somebody has waited in vain, in milliseconds. `u64::MAX` if it is not a matter of time.
    waited: u64,
}

/// A page of the list: what was asked for, what came, and what comes next.
pub(crate) struct Page<'a> {
    pub(crate) cursor: Option<&'a str>,
    pub(crate) annotated: Vec<(String, Arguments)>,
    pub(crate) next: Option<&'a str>,
}

impl ToolHeaders {
    /// How much is known, and the annotated arguments of this tool, if it has any.
    pub(crate) fn get(&self, tool: &str) -> (Heard, Option<Arguments>) {
        let known = self.0.lock();
        let found = known.pages.by_tool.get(tool).or_else(|| known.whole.get(tool));
        (known.heard, found.map(Arc::clone))
    }

    pub(crate) fn heard(&self) -> Heard {
        self.0.lock().heard
    }

    /// Takes note of a tool that has no annotations, or none that are valid.
    pub(crate) fn forget(&self, tool: &str) {
        let mut known = self.0.lock();
        let forgotten = (known.whole.remove(tool), known.pages.by_tool.remove(tool));
        drop(known);
        drop(forgotten);
    }

    /// Takes note of a page. `limit` is for the text of all pages that are not a whole list yet.
    pub(crate) fn note(&self, page: Page<'_>, limit: usize) {
        let replaced = self.0.lock().note(page, limit);
        drop(replaced);
    }

    /// That there is a list after all: the application has read it, or a part of it, or a fetch has.
    pub(crate) fn forget_failure(&self) {
        self.0.lock().failure = None;
    }

    /// Joins those who wait for the list, and begins to fetch it if nobody does. `None` if that is known to be in
    /// vain for somebody who waits for `patience` at most. After others have given up, only who waits for more than
    /// twice as long tries again, so that calls alike do not all wait.
    pub(crate) fn fetch(
        &self,
        inbox: &Inbox,
        patience: Option<Duration>,
        fetch: impl Future<Output = ()> + Send + 'static,
    ) -> Option<Waiter<()>> {
        let (changes, now) = (inbox.tool_changes(), inbox.clock());
        let mut known = self.0.lock();
        if let Some(waiter) = known.fetch.as_ref().and_then(SharedFuture::waiter) {
            return Some(waiter);
        }
        let in_vain = known.failure.as_ref().is_some_and(|failure| {
            let outlasted =
                patience.is_none_or(|patience| millis(patience) > failure.waited.saturating_mul(2));
            let passed = now >= failure.until || changes != failure.changes;
            !passed && (!outlasted || failure.waited == u64::MAX)
        });
        if in_vain {
            return None;
        }
        let (shared, waiter) = SharedFuture::start(fetch);
        known.failure = None;
        let left_over = known.fetch.replace(shared);
        drop(known);
        drop(left_over);
        Some(waiter)
    }

    /// Remembers that the list could not be fetched. `changes` as they were when it was asked for. `waited` is set if
    /// somebody has given up after so many milliseconds.
    pub(crate) fn failed(&self, inbox: &Inbox, changes: u64, waited: Option<u64>) {
        let until = inbox.clock().saturating_add(millis(FAILURE_IS_REMEMBERED));
        let failure = Failure { until, changes, waited: waited.unwrap_or(u64::MAX) };
        self.0.lock().failure = Some(failure);
    }
}

impl Known {
    /// Returns what is not needed any more.
    fn note(&mut self, page: Page<'_>, limit: usize) -> [HashMap<String, Arguments>; 2] {
        let mut replaced = [HashMap::new(), HashMap::new()];
        let follows = page.cursor.is_some() && page.cursor == self.pages.next.as_deref();
        if !follows || self.pages.length > limit {
            let gapless = page.cursor.is_none();
            let old = std::mem::replace(&mut self.pages, Pages { gapless, ..Pages::default() });
            replaced[0] = old.by_tool;
        }
        for (name, arguments) in page.annotated {
            self.whole.remove(&name);
            self.pages.length += name.len() + arguments.iter().map(HeaderArgument::size).sum::<usize>();
            self.pages.by_tool.insert(name, arguments);
        }
        self.pages.next = page.next.map(str::to_owned);
        self.heard.pages += 1;
        if self.pages.gapless && page.next.is_none() {
            self.heard.whole_lists += 1;
            let mut whole = std::mem::take(&mut self.pages).by_tool;
            whole.shrink_to_fit();
            replaced[1] = std::mem::replace(&mut self.whole, whole);
        }
        replaced
    }
}
