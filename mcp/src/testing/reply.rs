//! [`Reply`]: what a mock server does with a request, faults included; [`Gate`]: when it does so.

use crate::error::{Delivery, Error, ErrorKind, HttpError, ServerExited, excerpt};
use crate::inbox::handlers::HandlerResult;
use crate::process::ExitStatus;
use crate::protocol::message::RpcError;
use crate::sync::Mutex;
use crate::types::{CallToolResult, GetPromptResult, ReadResourceResult};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// What a [`MockServer`](super::MockServer) does with a request.
///
/// ```
/// use serde_json::{Value, json};
/// use shared_fate_mcp::RpcError;
/// use shared_fate_mcp::testing::{Gate, MockServer, Reply};
///
/// let gate = Gate::new();
/// let opened = gate.clone();
/// let schema = || json!({ "type": "object" });
/// let server = MockServer::new()
///     .tool("fine", schema(), |_: Value| "a text")
///     .tool("slow", schema(), move |_: Value| Reply::text("at last").after(&opened))
///     .tool("hangs", schema(), |_: Value| Reply::never())
///     .tool("refuses", schema(), |_: Value| RpcError::new(-32000, "no"))
///     .tool("crashes", schema(), |_: Value| Reply::exit(7, "disk full"))
///     .tool("chatters", schema(), |_: Value| {
///         Reply::text("done").after_notification("notifications/message", json!({ "level": "info", "data": "…" }))
///     })
///     .tool("asks", schema(), |_: Value| {
///         let form = json!({ "message": "Your name?", "requestedSchema": { "type": "object", "properties": {} } });
///         Reply::ask("elicitation/create", form, |answer| match answer {
///             Ok(answer) => Reply::text(answer.text()),
///             Err(refused) => Reply::error(refused),
///         })
///     });
/// // Now the tool `slow` answers, and so do its calls that are waiting.
/// gate.open();
/// ```
#[must_use = "it is what a handler returns"]
pub struct Reply {
    pub(super) before: Vec<Step>,
    pub(super) end: End,
    pub(super) is_cut_short: bool,
}

/// What comes before the end of a reply.
pub(super) enum Step {
    Tell(String, Value),
    Progress(f64, Option<f64>),
    Wait(Gate),
}

/// What becomes of the request.
pub(super) enum End {
    /// A text, in the form of the method's results.
    Text(String),
    /// A tool's structured content; of other methods the whole result.
    Value(Value),
    Result(Value),
    Error(RpcError),
    Raw(String),
    Never,
    /// The call fails; the session goes on.
    Failure(Error),
    /// The session ends.
    Death(Error),
    Ask {
        method: String,
        params: Value,
        then: Then,
    },
}

pub(super) type Then = Box<dyn FnOnce(HandlerResult) -> Reply + Send>;

impl Reply {
    fn new(end: End) -> Self {
        Self { before: Vec::new(), end, is_cut_short: false }
    }

    /// A text, in the form of the method's results: a tool's content, a resource's contents, a message of a prompt.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(End::Text(text.into()))
    }

    /// The whole result, whatever the method.
    ///
    /// # Panics
    ///
    /// When it cannot be made JSON.
    pub fn result(result: impl Serialize) -> Self {
        Self::new(End::Result(to_value(&result)))
    }

    /// A JSON-RPC error: [`ErrorKind::Rpc`].
    pub fn error(error: RpcError) -> Self {
        Self::new(End::Error(error))
    }

    /// A tool that fails by itself: a result with [`is_error`](CallToolResult::is_error) set.
    pub fn tool_error(text: impl Into<String>) -> Self {
        let content = json!([{ "type": "text", "text": text.into() }]);
        Self::result(json!({ "content": content, "isError": true }))
    }

    /// A fault: any text in the place of the reply; `$id` in it stands for the request's id. If the client can tell which
    /// call the text is for, that fails as [`ErrorKind::Protocol`]; if not, the text is stray output.
    pub fn raw(text: impl Into<String>) -> Self {
        Self::new(End::Raw(text.into()))
    }

    /// A fault: no reply ever comes. The call waits for its deadline.
    pub fn never() -> Self {
        Self::new(End::Never)
    }

    /// A fault: the call fails with this error, and the session goes on. [`Error::io`] makes one.
    pub fn failure(error: Error) -> Self {
        Self::new(End::Failure(error))
    }

    /// A fault: the call fails as one over HTTP does that is answered with this status: [`ErrorKind::Http`].
    pub fn http_status(status: u16, body: &str) -> Self {
        let error = HttpError {
            status,
            retry_after: None,
            www_authenticate: Vec::new(),
            challenges: Vec::new(),
            location: None,
            body: excerpt(body.as_bytes(), HttpError::EXCERPT),
            rpc: None,
        };
        Self::failure(Error::new(ErrorKind::Http(error), Delivery::Answered))
    }

    /// A fault: the session ends with this error as its cause, and all calls with it. [`Error::io`] makes one.
    pub fn end_session(error: Error) -> Self {
        Self::new(End::Death(error))
    }

    /// A fault: the session ends as one with a child process does that exits: [`ErrorKind::ServerExited`], with this exit
    /// status and these last words.
    pub fn exit(code: i32, last_words: &str) -> Self {
        let error = ServerExited {
            status: Some(ExitStatus { code: Some(code), signal: None }),
            stderr: last_words.to_owned(),
            stdout: String::new(),
        };
        Self::end_session(Error::new(ErrorKind::ServerExited(error), Delivery::MaybeSent))
    }

    /// Asks the client something first (`sampling/createMessage`, `elicitation/create`, `roots/list`, `ping`, …); `then`
    /// makes the reply of its answer.
    ///
    /// With a handshake that is a request of the server's. At revision 2026-07-28 it is a result that asks for input, which
    /// only `tools/call`, `prompts/get` and `resources/read` may have.
    ///
    /// # Panics
    ///
    /// When the parameters cannot be made JSON.
    pub fn ask(
        method: &str,
        params: impl Serialize,
        then: impl FnOnce(HandlerResult) -> Self + Send + 'static,
    ) -> Self {
        let method = method.to_owned();
        Self::new(End::Ask { method, params: to_value(&params), then: Box::new(then) })
    }

    /// Holds the reply back until the gate is open. What comes before a reply comes in the order in which it was added.
    pub fn after(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Sends a notification before the reply.
    ///
    /// # Panics
    ///
    /// When the parameters cannot be made JSON.
    pub fn after_notification(self, method: &str, params: impl Serialize) -> Self {
        self.step(Step::Tell(method.to_owned(), to_value(&params)))
    }

    /// Reports progress before the reply, if the call asks for progress.
    pub fn after_progress(self, progress: f64, total: impl Into<Option<f64>>) -> Self {
        self.step(Step::Progress(progress, total.into()))
    }

    /// A fault: half a line. The message ends in the middle of its result or its error, and so the call fails as
    /// [`ErrorKind::Protocol`].
    pub fn cut_short(mut self) -> Self {
        self.is_cut_short = true;
        self
    }

    /// Takes a value for the whole result.
    pub(super) fn whole(mut self) -> Self {
        if let End::Value(value) = self.end {
            self.end = End::Result(value);
        }
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.before.push(step);
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl From<&str> for Reply {
    /// See [`Reply::text`].
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Reply {
    /// See [`Reply::text`].
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Value> for Reply {
    /// In reply to a tool's call it is the structured content, with its JSON as text beside it; in reply to any other method
    /// it is the whole result.
    fn from(value: Value) -> Self {
        Self::new(End::Value(value))
    }
}

impl From<RpcError> for Reply {
    fn from(error: RpcError) -> Self {
        Self::error(error)
    }
}

macro_rules! from_result {
    ($($result:ty),*) => { $(
        impl From<$result> for Reply {
            fn from(result: $result) -> Self {
                Self::result(result)
            }
        }
    )* };
}
from_result!(CallToolResult, GetPromptResult, ReadResourceResult);

impl<T: Into<Self>, E: Into<Self>> From<Result<T, E>> for Reply {
    fn from(result: Result<T, E>) -> Self {
        result.map_or_else(Into::into, Into::into)
    }
}

pub(super) fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("it can be made JSON")
}

/// What a [`Reply`] waits for: the test opens it, and it stays open. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<Mutex<GateState>>,
}

#[derive(Default)]
struct GateState {
    is_open: bool,
    waiting: Vec<Box<dyn FnOnce() + Send>>,
}

impl Gate {
    /// A gate that is closed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate. The replies that wait for it go on in here, in the order in which they came.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.is_open = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(|go_on| go_on());
    }

    /// Goes on at once if the gate is open.
    pub(super) fn pass(&self, go_on: impl FnOnce() + Send + 'static) {
        {
            let mut state = self.state.lock();
            if !state.is_open {
                state.waiting.push(Box::new(go_on));
                return;
            }
        }
        go_on();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("is_open", &self.state.lock().is_open).finish_non_exhaustive()
    }
}
