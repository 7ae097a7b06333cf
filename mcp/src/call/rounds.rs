//! Calls of revision 2026-07-28: what goes with each, and the rounds in which a server asks for input
//! before it answers (MOD-01 to MOD-12, MR-01 to MR-11).

mod tasks;

use super::builder::Config;
use super::call::within;
use super::client::Client;
use super::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError, Violation};
use super::event::Event;
use super::inbox::Inbox;
use super::options::CallOptions;
use super::protocol::handshake::Revision;
use super::protocol::headers::{Mirrored, header_value, mirror, mirrored, name_of};
use super::protocol::modern::{HEADER_MISMATCH, InputRequest, Outcome, outcome, request_meta, with_input};
use super::protocol::object::Object;
use super::timer::millis;
use super::transport::Routing;
use super::types::{Json, Tool};
use crate::sync::Mutex;
use serde_json::value::RawValue;
use shared_fate::SupervisedExt;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What is not asked of a server of this revision any more.
const GONE: [&str; 7] = [
    "initialize",
    "logging/setLevel",
    "ping",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/list",
    "tasks/result",
];

/// What this client knows of a server without a handshake.
pub(crate) struct Modern {
    revision: Revision,
    meta: Vec<(&'static str, Box<RawValue>)>,
    tools: Mutex<Tools>,
}

/// The arguments that are repeated as headers, by tool (PAR-09).
#[derive(Default)]
struct Tools {
    listed: bool,
    mirrored: HashMap<String, Arc<[Mirrored]>>,
    good: Good,
    /// Of the list that was fetched last, whoever is going to read it.
    heard: Good,
}

/// For how long a list is good.
#[derive(Clone, Copy, Default)]
struct Good {
    /// When the server wants it to be fetched again, if it has said so.
    until: Option<u64>,
    /// How many changes the server had told of before.
    changes: u64,
}

impl Modern {
    pub(crate) fn new(revision: Revision, config: &Config) -> Self {
        let capabilities = config.handlers.modern_capabilities();
        let meta = request_meta(revision, &capabilities, &config.name, &config.version);
        Self { revision, meta, tools: Mutex::default() }
    }

    pub(crate) fn meta(&self) -> &[(&'static str, Box<RawValue>)] {
        &self.meta
    }

    pub(crate) fn routing(&self, name: Option<String>) -> Routing {
        let name = name.map(|name| header_value(&name).into_owned());
        Routing { revision: self.revision, name, arguments: Vec::new() }
    }

    /// `None` where the tool is not known, though the list may be.
    fn mirrored(&self, tool: &str) -> (bool, Option<Arc<[Mirrored]>>) {
        let tools = self.tools.lock();
        (tools.listed, tools.mirrored.get(tool).map(Arc::clone))
    }

    /// Whether the list is out of date. Of several calls one is told so, to fetch it; the others go on with
    /// what there is.
    fn take_out_of_date(&self, inbox: &Inbox) -> bool {
        let (changes, now) = (inbox.tool_changes(), inbox.clock());
        let mut tools = self.tools.lock();
        let Good { until, changes: then } = tools.good;
        let out_of_date = tools.listed && (changes != then || until.is_some_and(|until| now >= until));
        if out_of_date {
            tools.good = Good { until: None, changes };
        }
        out_of_date
    }

    /// Takes note of how long a page of the list of tools may be relied upon: no time at all means that
    /// the server does not say.
    fn note_list(&self, params: Option<&RawValue>, page: &str, changes: u64, inbox: &Inbox) {
        let member = |text: &str, name: &str| Object::read(text)?.get(name).map(ToOwned::to_owned);
        let ttl = member(page, "ttlMs").and_then(|ttl| serde_json::from_str::<f64>(ttl.get()).ok());
        let ttl = ttl.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
        let until = ttl.filter(|ttl| !ttl.is_zero()).map(|ttl| inbox.clock().saturating_add(millis(ttl)));
        let is_first = params.is_none_or(|params| member(params.get(), "cursor").is_none());
        let heard = &mut self.tools.lock().heard;
        match is_first {
            true => *heard = Good { until, changes },
            false => heard.until = heard.until.into_iter().chain(until).min(),
        }
    }
}

impl fmt::Debug for Modern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modern").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) async fn call_modern(
        &self,
        modern: &Modern,
        method: &str,
        params: Option<&RawValue>,
        total: Option<Duration>,
    ) -> Result<Box<RawValue>, Error> {
        if GONE.contains(&method) {
            let why = "the server's protocol revision does not have it any more";
            return Err(Error::invalid(InvalidInput::Method(why)));
        }
        let inbox = &*self.shared().inbox;
        let budget = Budget::new(inbox, total);
        let limit = inbox.limits().rounds;
        let mut repeated: Option<Box<RawValue>> = None;
        let changes = inbox.tool_changes();
        for round in 0..=limit {
            let result = self.routed(modern, method, repeated.as_deref().or(params), budget).await;
            // The server knows of the call since the first round.
            let result = result.map_err(|error| if round == 0 { error } else { error.of_answered() })?;
            let tasks = inbox.config().handlers.tasks;
            let wanted = match outcome(method, result.get(), tasks) {
                Outcome::Complete => {
                    if method == "tools/list" && self.shared().transport.exchanges() {
                        modern.note_list(params, result.get(), changes, inbox);
                    }
                    return Ok(result);
                }
                Outcome::Task(_) | Outcome::InputRequired(_) if self.options().interim => return Ok(result),
                Outcome::Task(task) => return self.follow(modern, task, budget).await,
                Outcome::Unknown => return Err(Error::protocol(Violation::ResultType)),
                Outcome::InputRequired(wanted) => wanted,
            };
            let answers = self.answer_input(&wanted.requests, round, budget.left()).await?;
            repeated = Some(with_input(params, &answers, wanted.state.as_deref()));
        }
        Err(Error::limit("rounds of input", limit, Delivery::Answered))
    }

    /// One request with its headers. A server that finds them wrong gets them right once, from a fresh
    /// list of its tools (PAR-08): it has not acted on what it refused.
    async fn routed(
        &self,
        modern: &Modern,
        method: &str,
        params: Option<&RawValue>,
        budget: Budget<'_>,
    ) -> Result<Box<RawValue>, Error> {
        if !self.shared().transport.exchanges() {
            return self.once(method, params, modern.meta(), None, budget.left()).await;
        }
        let mut routing = modern.routing(name_of(method, params));
        routing.arguments = self.argument_headers(modern, method, params, budget, false).await?;
        let result = self.once(method, params, modern.meta(), Some(routing.clone()), budget.left()).await;
        match result {
            Err(error)
                if method == "tools/call" && error.rpc().is_some_and(|rpc| rpc.code() == HEADER_MISMATCH) =>
            {
                let headers = self.argument_headers(modern, method, params, budget, true).await;
                routing.arguments = headers.map_err(Error::of_answered)?;
                let result = self.once(method, params, modern.meta(), Some(routing), budget.left()).await;
                result.map_err(Error::of_answered)
            }
            result => result,
        }
    }

    /// PAR-01, PAR-04, PAR-09.
    async fn argument_headers(
        &self,
        modern: &Modern,
        method: &str,
        params: Option<&RawValue>,
        budget: Budget<'_>,
        refresh: bool,
    ) -> Result<Vec<(String, String)>, Error> {
        let Some(call) =
            params.filter(|_| method == "tools/call").and_then(|params| Object::read(params.get()))
        else {
            return Ok(Vec::new());
        };
        let name = name_of(method, params).unwrap_or_default();
        let mut known = modern.mirrored(&name);
        if modern.take_out_of_date(budget.inbox) || refresh || (known.1.is_none() && !known.0) {
            // Calls of their own, without arguments. If they fail, the server judges by what it gets.
            let (silence, total) = (self.options().silence_limit(), budget.left());
            let lister = self.with_only(CallOptions::default().silence(silence).total(total));
            let listing = within(budget.inbox, total, Box::pin(lister.list_tools()));
            let _: Result<_, Error> = listing.await;
            if budget.left().is_some_and(|left| left.is_zero()) {
                return Err(self.out_of_time(Delivery::NotSent));
            }
            known = modern.mirrored(&name);
        }
        let mut headers = Vec::new();
        let (Some(mirrored), Some(arguments)) = (known.1, call.get("arguments")) else { return Ok(headers) };
        for argument in &*mirrored {
            let value = mirror(argument, arguments);
            if let Some(value) = value.map_err(|why| Error::invalid(InvalidInput::Params(why)))? {
                headers.push((argument.header.clone(), value));
            }
        }
        Ok(headers)
    }

    /// Takes note of a page of tools, and out of it those whose headers are invalid (PAR-02).
    pub(crate) fn note_tools(&self, tools: &mut Vec<Tool>, last: bool) {
        let Some(modern) = self.shared().modern() else { return };
        if !self.shared().transport.exchanges() {
            return;
        }
        let mut noted = Vec::new();
        tools.retain(|tool| {
            let schema = tool.input_schema.as_ref().map_or("{}", Json::as_str);
            match mirrored(schema, self.shared().inbox.limits().mirrored_arguments) {
                Ok(mirrored) => {
                    noted.push((tool.name.clone(), mirrored.into()));
                    true
                }
                Err(why) => {
                    self.shared().inbox.emit(&Event::ToolLeftOut { name: &tool.name, why });
                    false
                }
            }
        });
        let mut known = modern.tools.lock();
        known.listed |= last;
        known.good = known.heard;
        known.mirrored.extend(noted);
    }

    /// MR-02, MR-06 to MR-08.
    pub(super) async fn answer_input(
        &self,
        wanted: &[(String, InputRequest)],
        round: usize,
        left: Option<Duration>,
    ) -> Result<Vec<(String, Box<RawValue>)>, Error> {
        let inbox = &self.shared().inbox;
        let limit = inbox.limits().server_requests;
        if wanted.len() > limit {
            return Err(Error::limit("requests for input at a time", limit, Delivery::Answered));
        }
        let answer = async {
            if wanted.is_empty() {
                let wait = 50u64 << round.min(3);
                inbox.sleep(Duration::from_millis(wait.min(250))).await;
            }
            let mut answers = Vec::new();
            for (key, request) in wanted {
                let params = request.params.clone().map(Json::from);
                let Some(answer) = inbox.config().handlers.answer(&request.method, params) else {
                    return Err(Error::protocol(Violation::InputNotOffered(request.method.clone())));
                };
                let answer = answer.await;
                let answer =
                    answer.map_err(|error| Error::new(ErrorKind::Handler(error), Delivery::Answered))?;
                answers.push((key.clone(), answer.into_raw()));
            }
            Ok(answers)
        };
        let answer = answer.try_supervised(inbox.session());
        let answer = async { answer.await.map_err(|failed| Error::from_request(failed, false)) };
        within(inbox, left, answer).await.map_err(|error| match error.kind() {
            ErrorKind::Timeout(_) => self.out_of_time(Delivery::Answered),
            _ => error,
        })
    }

    pub(super) fn out_of_time(&self, delivery: Delivery) -> Error {
        let after = self.options().total_limit().unwrap_or_default();
        Error::new(ErrorKind::Timeout(TimeoutError { after, total: true }), delivery)
    }
}

/// How long a call may go on, over everything that it takes.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    inbox: &'a Inbox,
    end: Option<u64>,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(inbox: &'a Inbox, total: Option<Duration>) -> Self {
        Self { inbox, end: total.map(|total| inbox.clock().saturating_add(millis(total))) }
    }

    pub(crate) fn left(self) -> Option<Duration> {
        self.end.map(|end| Duration::from_millis(end.saturating_sub(self.inbox.clock())))
    }
}
