//! [`Script`]: what a mock server answers, and what it has received.

use super::Received;
use super::reply::Reply;
use crate::protocol::handshake::Revision;
use crate::protocol::message::RpcError;
use crate::protocol::stateless::{DISCOVER, SERVER_INFO};
use async_channel::{Receiver, Sender, unbounded};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub(super) type Handler = Arc<dyn Fn(Value) -> Reply + Send + Sync>;

const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;

/// What a server has a list of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Tool,
    Resource,
    Prompt,
}

impl Listed {
    const ALL: [Self; 3] = [Self::Tool, Self::Resource, Self::Prompt];

    /// Its name in capabilities, in results and in the method that lists it.
    fn plural(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Resource => "resources",
            Self::Prompt => "prompts",
        }
    }

    /// The method that uses one, and the parameter that names it.
    fn used_by(self) -> (&'static str, &'static str) {
        match self {
            Self::Tool => ("tools/call", "name"),
            Self::Resource => ("resources/read", "uri"),
            Self::Prompt => ("prompts/get", "name"),
        }
    }
}

struct Entry {
    kind: Listed,
    key: String,
    listed: Value,
    handler: Handler,
}

#[derive(Default)]
pub(super) struct Script {
    entries: Vec<Entry>,
    methods: HashMap<String, Handler>,
    once: HashMap<String, VecDeque<Reply>>,
    received: Vec<Received>,
    arrivals: HashMap<String, (Sender<Received>, Receiver<Received>)>,
}

/// What is to be done with a request. Handlers run when the script is unlocked.
pub(super) enum Answer {
    Reply(Reply),
    Handler(Handler, Value),
}

impl Script {
    /// Returns what it replaces, to be dropped when the script is unlocked.
    pub(super) fn list(
        &mut self,
        kind: Listed,
        key: &str,
        listed: Value,
        handler: Handler,
    ) -> Option<Handler> {
        match self.entries.iter_mut().find(|it| it.kind == kind && it.key == key) {
            Some(entry) => {
                entry.listed = listed;
                Some(std::mem::replace(&mut entry.handler, handler))
            }
            None => {
                self.entries.push(Entry { kind, key: key.to_owned(), listed, handler });
                None
            }
        }
    }

    pub(super) fn answer(&mut self, method: &str, handler: Handler) -> Option<Handler> {
        self.methods.insert(method.to_owned(), handler)
    }

    pub(super) fn answer_once(&mut self, method: &str, reply: Reply) {
        self.once.entry(method.to_owned()).or_default().push_back(reply);
    }

    pub(super) fn received(&self) -> &[Received] {
        &self.received
    }

    /// Notes it, and returns where to tell of its arrival when the script is unlocked.
    pub(super) fn note(&mut self, received: &Received) -> Sender<Received> {
        self.received.push(received.clone());
        self.channel(&received.method).0.clone()
    }

    pub(super) fn arrivals(&mut self, method: &str) -> Receiver<Received> {
        self.channel(method).1.clone()
    }

    fn channel(&mut self, method: &str) -> &(Sender<Received>, Receiver<Received>) {
        self.arrivals.entry(method.to_owned()).or_insert_with(unbounded)
    }

    pub(super) fn decide(&mut self, request: &Received) -> Answer {
        let Received { method, params, .. } = request;
        if let Some(reply) = self.once.get_mut(method).and_then(VecDeque::pop_front) {
            return Answer::Reply(reply);
        }
        if let Some(handler) = self.methods.get(method) {
            return Answer::Handler(Arc::clone(handler), params.clone());
        }
        let reply = match &**method {
            "initialize" => Reply::result(json!({
                "protocolVersion": offered(params),
                "capabilities": self.capabilities(),
                "serverInfo": server_info(),
            })),
            DISCOVER => Reply::result(json!({
                "supportedVersions": [Revision::LATEST.as_str()],
                "capabilities": self.capabilities(),
                "_meta": { SERVER_INFO: server_info() },
            })),
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                Reply::result(json!({}))
            }
            "resources/templates/list" => Reply::result(json!({ "resourceTemplates": [] })),
            method => return self.use_or_list(method, params),
        };
        Answer::Reply(reply)
    }

    fn use_or_list(&self, method: &str, params: &Value) -> Answer {
        for kind in Listed::ALL {
            if method.strip_suffix("/list") == Some(kind.plural()) {
                return Answer::Reply(Reply::result(json!({ kind.plural(): self.listed(kind) })));
            }
            let (user, parameter) = kind.used_by();
            if method == user {
                let key = params[parameter].as_str().unwrap_or_default();
                return match self.entries.iter().find(|it| it.kind == kind && it.key == key) {
                    Some(entry) => Answer::Handler(Arc::clone(&entry.handler), params["arguments"].clone()),
                    None => refused(INVALID_PARAMS, format!("{} has no {key:?}", kind.plural())),
                };
            }
        }
        refused(METHOD_NOT_FOUND, format!("no method {method:?}"))
    }

    fn listed(&self, kind: Listed) -> Vec<&Value> {
        self.entries.iter().filter(|it| it.kind == kind).map(|it| &it.listed).collect()
    }

    fn capabilities(&self) -> Value {
        let has = |kind: &Listed| self.entries.iter().any(|it| it.kind == *kind);
        let kinds = Listed::ALL.into_iter().filter(has);
        kinds.map(|kind| (kind.plural().to_owned(), json!({ "listChanged": true }))).collect()
    }
}

fn refused(code: i64, message: String) -> Answer {
    Answer::Reply(Reply::error(RpcError::new(code, message)))
}

fn server_info() -> Value {
    json!({ "name": "mock", "version": "0" })
}

/// The client's revision, where it is one with a handshake.
fn offered(params: &Value) -> &'static str {
    let offered = params["protocolVersion"].as_str().and_then(Revision::from_name);
    offered.filter(|revision| !revision.is_stateless()).unwrap_or(Revision::LATEST_WITH_HANDSHAKE).as_str()
}

/// Arguments as a handler's type. Where there are none, both `{}` and `null` will do.
pub(super) fn parsed<A: DeserializeOwned>(arguments: Value) -> Result<A, RpcError> {
    let parsed = match arguments {
        Value::Null => serde_json::from_value(json!({})).or_else(|_| serde_json::from_value(Value::Null)),
        arguments => serde_json::from_value(arguments),
    };
    parsed.map_err(|error| RpcError::new(INVALID_PARAMS, error.to_string()))
}
