//! [`MockServer`]: an MCP server in memory, for the tests of whoever uses the client.
//!
//! ```
//! use serde::Deserialize;
//! use serde_json::json;
//! use shared_fate_mcp::testing::{MockServer, Reply};
//! use shared_fate_mcp::{Client, Error};
//!
//! #[derive(Deserialize)]
//! struct Add {
//!     a: i64,
//!     b: i64,
//! }
//!
//! let server = MockServer::new()
//!     .tool("add", json!({ "type": "object" }), |add: Add| json!({ "sum": add.a + add.b }))
//!     .resource("file:///motd", || "hello")
//!     // The first listing of prompts fails as an overloaded HTTP server makes it fail.
//!     .once("prompts/list", Reply::http_status(503, "try later"));
//!
//! let test = Client::run(server.transport(), async |client| {
//!     let result = client.call_tool("add", json!({ "a": 1, "b": 2 })).await?;
//!     assert_eq!(result.structured_content, Some(json!({ "sum": 3 }).into()));
//!     let error = client.list_prompts().await.unwrap_err();
//!     assert!(error.is_retryable());
//!     assert!(client.list_prompts().await?.is_empty());
//!     Ok::<_, Error>(())
//! });
//! pollster::block_on(test)?;
//! assert_eq!(server.received("tools/call")[0].params["name"], "add");
//! # Ok::<(), Error>(())
//! ```
//!
//! The server needs no task and no executor: the client's calls and its [`Driver`](crate::Driver) run it. It answers at the
//! revision that the client asks for: with the handshake of 2025-11-25, or 2026-07-28 without one
//! ([`Mode`](crate::Mode) decides).
//!
//! Nothing here waits for a clock. What is to happen later waits for a [`Gate`] that the test opens, and a test waits for
//! what the client sends with [`MockServer::arrival`].

mod line;
mod reply;
mod script;
mod transport;

pub use reply::{Gate, Reply};
pub use transport::MockTransport;

use crate::error::Error;
use crate::inbox::handlers::HandlerResult;
use crate::sync::Mutex;
use line::Line;
use reply::to_value;
use script::{Handler, Listed, Script, parsed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// An MCP server in memory that does what a test says. Clones are the same server.
///
/// A handler is a closure from the request's arguments, as a type of the test's, to anything that is `Into<`[`Reply`]`>`: a
/// text, a JSON value, a typed result, an [`RpcError`](crate::RpcError), a `Result` of these, or a [`Reply`] with a fault in
/// it. Arguments that do not have the type's form are refused with the code -32602. Handlers run inside the client's call:
/// a panic in one is the test's panic. (What [`Reply::ask`] does with an answer runs in the driver: a panic there ends the
/// session.)
///
/// Unless the test says otherwise the server is well-behaved: it shakes hands, answers pings, and lists what it has on one
/// page. It refuses a method that it does not know with the code -32601.
///
/// **Drop:** nothing happens; a connection keeps what it needs.
#[derive(Clone, Default)]
pub struct MockServer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    /// The connection that was made last.
    line: Mutex<Option<Arc<Line>>>,
}

/// A request or a notification of the client's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// The request's id; `None` for a notification.
    pub id: Option<u64>,
    /// The method.
    pub method: String,
    /// The parameters; `Value::Null` where there are none.
    pub params: Value,
}

impl MockServer {
    /// A server that has nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool, with the JSON Schema of its arguments. One of the same name is replaced.
    pub fn tool<A: DeserializeOwned, R: Into<Reply>>(
        self,
        name: &str,
        input_schema: Value,
        handler: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self {
        let listed = json!({ "name": name, "inputSchema": input_schema });
        self.list(Listed::Tool, name, listed, handler)
    }

    /// Adds a resource. A text in reply is its contents. One of the same address is replaced.
    pub fn resource<R: Into<Reply>>(
        self,
        uri: &str,
        handler: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        self.list(Listed::Resource, uri, json!({ "uri": uri, "name": uri }), move |_: Value| handler())
    }

    /// Adds a prompt. A text in reply is one message of the user's. One of the same name is replaced.
    pub fn prompt<A: DeserializeOwned, R: Into<Reply>>(
        self,
        name: &str,
        handler: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self {
        self.list(Listed::Prompt, name, json!({ "name": name }), handler)
    }

    /// Answers a method, also one that the server would answer by itself, such as `initialize` or `tools/list`. The handler
    /// gets the parameters; a value that it returns is the whole result.
    pub fn method<P: DeserializeOwned, R: Into<Reply>>(
        self,
        method: &str,
        handler: impl Fn(P) -> R + Send + Sync + 'static,
    ) -> Self {
        let handler = typed(handler);
        let whole = Arc::new(move |params| handler(params).whole());
        let replaced = self.shared.script.lock().answer(method, whole);
        drop(replaced);
        self
    }

    /// The next request for `method` gets this reply, as if its handler had returned it, and no handler sees it. Several such
    /// replies are given one after the other.
    pub fn once(self, method: &str, reply: impl Into<Reply>) -> Self {
        self.shared.script.lock().answer_once(method, reply.into());
        self
    }

    /// A transport to this server. Each one is a new connection; so is one that
    /// [`Client::reconnect`](crate::Client::reconnect) makes.
    pub fn transport(&self) -> MockTransport {
        let line = Line::new();
        let previous = self.shared.line.lock().replace(Arc::clone(&line));
        drop(previous);
        MockTransport::new(self.clone(), line)
    }

    /// All requests and notifications for `method` so far, over all connections.
    pub fn received(&self, method: &str) -> Vec<Received> {
        self.shared.script.lock().received().iter().filter(|it| it.method == method).cloned().collect()
    }

    /// All requests and notifications so far, over all connections.
    pub fn all_received(&self) -> Vec<Received> {
        self.shared.script.lock().received().to_vec()
    }

    /// Waits for a request or a notification for `method`. Each is returned once, in order; one that came before is returned
    /// at once.
    ///
    /// **Cancel safety:** no message is lost. **Ties:** of several that wait, one gets it.
    pub async fn arrival(&self, method: &str) -> Received {
        let arrivals = self.shared.script.lock().arrivals(method);
        arrivals.recv().await.expect("the script keeps the other end")
    }

    /// Sends a notification over the connection that was made last. Returns whether the client is there.
    ///
    /// # Panics
    ///
    /// When the parameters cannot be made JSON.
    pub fn notify(&self, method: &str, params: impl Serialize) -> bool {
        let line = self.shared.line.lock().clone();
        line.is_some_and(|line| line.tell(method, &to_value(&params)))
    }

    /// Sends the client a request over the connection that was made last, and waits for the answer; `None` when the client
    /// is gone. Clients of revision 2026-07-28 answer none: there a server asks in its [reply](Reply::ask).
    ///
    /// # Panics
    ///
    /// When the parameters cannot be made JSON.
    ///
    /// **Cancel safety:** the request stays sent; its answer is dropped.
    pub async fn request(&self, method: &str, params: impl Serialize) -> Option<HandlerResult> {
        let line = self.shared.line.lock().clone()?;
        let (answered, answer) = async_channel::bounded(1);
        line.ask(method, &to_value(&params), move |result| drop(answered.try_send(result)));
        answer.recv().await.ok()
    }

    /// Ends the session of the connection that was made last, with this error as its cause. Returns whether the client is
    /// there.
    pub fn end_session(&self, error: Error) -> bool {
        let line = self.shared.line.lock().clone();
        line.is_some_and(|line| line.end(error))
    }

    fn list<A: DeserializeOwned, R: Into<Reply>>(
        self,
        kind: Listed,
        key: &str,
        listed: Value,
        handler: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self {
        let replaced = self.shared.script.lock().list(kind, key, listed, typed(handler));
        drop(replaced);
        self
    }
}

/// A handler of JSON. What has another form than its type is refused.
fn typed<A: DeserializeOwned, R: Into<Reply>>(handler: impl Fn(A) -> R + Send + Sync + 'static) -> Handler {
    Arc::new(move |arguments| match parsed(arguments) {
        Ok(arguments) => handler(arguments).into(),
        Err(error) => error.into(),
    })
}

impl fmt::Debug for MockServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = self.shared.script.lock().received().len();
        f.debug_struct("MockServer").field("received", &received).finish_non_exhaustive()
    }
}
