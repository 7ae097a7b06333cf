//! [`ToolHeaders`]: which arguments of which tools are repeated as headers (PAR-09).

use crate::inbox::Inbox;
use crate::protocol::headers::HeaderArgument;
use crate::protocol::json::object::Object;
use crate::runtime::timer::millis;
use crate::sync::Mutex;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What the list of tools says about headers, as far as it was read.
#[derive(Default)]
pub(crate) struct ToolHeaders(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Whether the list was read to its end.
    listed: bool,
    by_tool: HashMap<String, Arc<[HeaderArgument]>>,
    freshness: Freshness,
    /// That of the list that was fetched last, whoever is going to read it.
    fetched: Freshness,
}

/// For how long a list is good.
#[derive(Clone, Copy, Default)]
struct Freshness {
    /// When the server wants it to be fetched again, if it has said so.
    until: Option<u64>,
    /// How many changes the server had told of before.
    changes: u64,
}

impl ToolHeaders {
    /// Whether the whole list is known; and the arguments of this tool, if it is.
    pub(crate) fn get(&self, tool: &str) -> (bool, Option<Arc<[HeaderArgument]>>) {
        let known = self.0.lock();
        (known.listed, known.by_tool.get(tool).map(Arc::clone))
    }

    /// Whether the list is out of date. Of several calls one is told so, to fetch it; the others go on with
    /// what there is.
    pub(crate) fn take_out_of_date(&self, inbox: &Inbox) -> bool {
        let (changes, now) = (inbox.tool_changes(), inbox.clock());
        let mut known = self.0.lock();
        let Freshness { until, changes: then } = known.freshness;
        let out_of_date = known.listed && (changes != then || until.is_some_and(|until| now >= until));
        if out_of_date {
            known.freshness = Freshness { until: None, changes };
        }
        out_of_date
    }

    /// Takes note of how long a page of the list may be relied upon: no time at all means that the server does not
    /// say. `changes` is how many the server had told of when the page was asked for.
    pub(crate) fn fetched(&self, params: Option<&RawValue>, page: &str, changes: u64, inbox: &Inbox) {
        let member = |text: &str, name: &str| Object::read(text)?.get(name).map(ToOwned::to_owned);
        let ttl = member(page, "ttlMs").and_then(|ttl| serde_json::from_str::<f64>(ttl.get()).ok());
        let ttl = ttl.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
        let until = ttl.filter(|ttl| !ttl.is_zero()).map(|ttl| inbox.clock().saturating_add(millis(ttl)));
        let is_first = params.is_none_or(|params| member(params.get(), "cursor").is_none());
        let fetched = &mut self.0.lock().fetched;
        match is_first {
            true => *fetched = Freshness { until, changes },
            false => fetched.until = fetched.until.into_iter().chain(until).min(),
        }
    }

    /// Takes note of tools, the last ones of the list or not.
    pub(crate) fn note(&self, tools: Vec<(String, Arc<[HeaderArgument]>)>, last: bool) {
        let mut known = self.0.lock();
        known.listed |= last;
        known.freshness = known.fetched;
        known.by_tool.extend(tools);
    }
}
