//! [`Builder`]: how a client is made.

use super::driver::Driver;
use super::{Client, negotiation};
use crate::error::Error;
use crate::inbox::call_hook::{CallEnd, CallStart};
use crate::inbox::config::{Config, Mode};
use crate::inbox::event::Event;
use crate::inbox::handlers::HandlerResult;
use crate::inbox::limits::{Limits, Timeouts};
use crate::inbox::server_kinds::ServerKindCache;
use crate::protocol::message::RpcError;
use crate::protocol::stateless::TASKS;
use crate::runtime::timer::Timer;
use crate::transport::Transport;
use crate::types::{
    ClientCapabilities, CreateMessageParams, CreateMessageResult, ElicitForm, ElicitUrl, Elicited,
    Implementation, Json, LoggingLevel, Root,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Configures a [`Client`] before it connects.
///
/// ```no_run
/// # #[cfg(feature = "stdio")]
/// # async fn connect() -> Result<(), shared_fate_mcp::Error> {
/// use shared_fate_mcp::{Client, Stdio, Timeouts};
/// use std::process::Command;
/// use std::time::Duration;
///
/// let (client, driver) = Client::builder()
///     .identity("my-app", "1.0.0")
///     .timeouts(Timeouts::default().silence(Duration::from_secs(10)))
///     .connect(Stdio::spawn(Command::new("my-server"))?)
///     .await?;
/// # Ok(()) }
/// ```
///
/// # Who asks a handler, and when
///
/// It depends on the revision that is agreed on, which [`Client::revision`] tells, when a server may use the handlers for
/// [roots](Self::roots), [sampling](Self::on_sampling), [forms](Self::on_elicit_form) and [pages](Self::on_elicit_url):
///
/// | the server's revision | it asks | by |
/// |---|---|---|
/// | 2024-11-05 to 2025-11-25 | at any time, while the driver is polled | a request of its own; over HTTP on the stream of a call, or on its own |
/// | 2026-07-28 | only while a `tools/call`, `prompts/get` or `resources/read` of this client waits | its interim answer to that call, which is repeated with what the handler says |
///
/// Forms exist since 2025-06-18, pages since 2025-11-25. The handler is the same for all. A handler for any other request
/// ([`on_request`](Self::on_request)) is asked by servers with a handshake alone.
///
/// Some servers speak 2026-07-28, and have tools that still want to ask by a request of their own. They cannot, so such a
/// tool fails. [`Mode::Legacy`] shakes hands with them, and they ask.
#[derive(Clone)]
pub struct Builder {
    pub(super) config: Config,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { config: Config::new() }
    }

    /// The name and version that the server is told.
    pub fn identity(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        let Implementation { name: our_name, version: our_version, .. } = &mut self.config.identity;
        (*our_name, *our_version) = (name.into(), Some(version.into()));
        self
    }

    /// All that the server is told about the client: also a title, a description, a website and icons.
    pub fn implementation(mut self, implementation: Implementation) -> Self {
        self.config.identity = implementation;
        self
    }

    /// Declares capabilities beside those that the handlers declare: for instance that the model uses tools, or experimental
    /// ones. A capability that is given here replaces the one that a handler has declared.
    ///
    /// ```
    /// use shared_fate_mcp::Client;
    /// use shared_fate_mcp::types::{ClientCapabilities, Json, SamplingCapability};
    ///
    /// let sampling = SamplingCapability { tools: Some(Json::empty_object()), ..Default::default() };
    /// let builder = Client::builder()
    ///     .capabilities(ClientCapabilities { sampling: Some(sampling), ..Default::default() })?;
    /// # Ok::<(), shared_fate_mcp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`extension`](Self::extension), where there are extensions among them.
    pub fn capabilities(mut self, capabilities: ClientCapabilities) -> Result<Self, Error> {
        self.config.handlers.declare(capabilities)?;
        Ok(self)
    }

    /// Upper bounds on what the server may send.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// How long the client waits.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// Where deadlines come from. Default: [`AsyncIoTimer`](crate::runtime::AsyncIoTimer).
    pub fn timer(mut self, timer: impl Timer) -> Self {
        self.config.timer = Arc::new(timer);
        self
    }

    /// Uses the timers, sockets and pipes of the tokio runtime in which the client is polled, in place of those of
    /// `async-io`: that saves its thread.
    ///
    /// ```no_run
    /// # #[cfg(feature = "http")]
    /// # mod m {
    /// use shared_fate_mcp::{Client, Error, Http};
    ///
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn main() -> Result<(), Error> {
    ///     let http = Http::new("http://localhost:8080/mcp")?;
    ///     let (client, driver) = Client::builder().on_tokio().connect(http).await?;
    ///     tokio::spawn(driver);
    ///     println!("{}", client.call_tool("hello", ()).await?.text());
    ///     client.close().await;
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// It holds for `Http`, `Sse` and `Stdio::spawn`. A timer or a network that is [given](Self::timer) after this is used in
    /// place of tokio's, and so is `Http::net`; `Stdio::over` has its streams already. On windows the pipes of a process are
    /// the same with and without this. For several runtimes see [`TokioTimer`](crate::runtime::TokioTimer) and `TokioNet`.
    ///
    /// # Errors
    ///
    /// Outside a runtime no socket and no pipe can be had: connecting fails, and the error's
    /// [`io_kind`](Error::io_kind) is [`Unsupported`](std::io::ErrorKind::Unsupported).
    ///
    /// # Panics
    ///
    /// The client's futures panic in a runtime without I/O (`enable_io`) or timers (`enable_time`), as all of tokio does.
    #[cfg(feature = "tokio")]
    pub fn on_tokio(mut self) -> Self {
        self.config.reactor = crate::runtime::Reactor::Tokio;
        self.timer(crate::runtime::TokioTimer)
    }

    /// Called for everything that belongs to no call: changed lists, the server's log, stray messages. The driver and calls
    /// call it, so it must not block. Panics in it are caught.
    pub fn on_event(mut self, on_event: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.on_event = Some(Arc::new(on_event));
        self
    }

    /// Is told when a request begins, and may add to it: members of its `_meta`, and headers. What it returns is told how the
    /// request has ended. So a span may be begun here and ended there, and its context travel with the request:
    ///
    /// ```
    /// use shared_fate_mcp::{CallEnd, CallStart, Client};
    ///
    /// let builder = Client::builder().on_call(|call: &mut CallStart<'_>| {
    ///     let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"; // of a new span
    ///     call.meta("traceparent", traceparent).expect("a string");
    ///     call.header("traceparent", traceparent);
    ///     let what = format!("{} {}", call.method(), call.id());
    ///     move |end: &CallEnd<'_>| match end.error() {
    ///         Some(error) => eprintln!("{what}: {error:#} ({:?}) after {:?}", end.delivery(), end.elapsed()),
    ///         None => eprintln!("{what}: {:?}", end.elapsed()),
    ///     }
    /// });
    /// ```
    ///
    /// A request is a message with an id of its own: a list of three pages is three, a call that the server answers with a
    /// question is two. The requests that this client makes by itself belong to them: `initialize`, `server/discover`, pings.
    /// Notifications do not, nor what nobody waits for (that a task is cancelled whose caller has gone).
    ///
    /// It is called in the task of the caller, where a call has its span, so it must not block. Every beginning has one end:
    /// dropped, the call ends with the drop. A panic in either goes no further. Without this, nothing is paid for it.
    pub fn on_call<E>(mut self, hook: impl Fn(&mut CallStart<'_>) -> E + Send + Sync + 'static) -> Self
    where
        E: FnOnce(&CallEnd<'_>) + Send + 'static,
    {
        self.config.on_call = Some(Arc::new(move |start| Box::new(hook(start))));
        self
    }

    /// Which protocol revisions to speak. Default: [`Mode::Auto`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Which lines of its log the server is to send from the beginning on: [`Event::Log`]. Without this, servers of revision
    /// 2026-07-28 send none, and older ones those that they like.
    ///
    /// It is the same for all revisions: a server of 2026-07-28 is asked with each request, one with a handshake and a log
    /// (`logging` among its capabilities) once, when it is connected to. That it refuses then is no reason not to be
    /// connected, and is told ([`Event::NotDelivered`]). Change the level with [`Client::set_logging_level`], and for a few
    /// calls with [`CallOptions::log_level`](crate::CallOptions::log_level).
    ///
    /// ```
    /// use shared_fate_mcp::types::LoggingLevel;
    /// use shared_fate_mcp::{Client, Event};
    ///
    /// let builder = Client::builder().log_level(LoggingLevel::Warning).on_event(|event| {
    ///     if let Event::Log(line) = event {
    ///         eprintln!("{:?}: {}", line.level, line.data.text());
    ///     }
    /// });
    /// ```
    pub fn log_level(mut self, level: LoggingLevel) -> Self {
        self.config.log_level = Some(level);
        self
    }

    /// Where the kinds of servers are remembered. Default: a cache that only the clones of this builder share.
    pub fn server_kinds(mut self, cache: ServerKindCache) -> Self {
        self.config.server_kinds = cache;
        self
    }

    /// Tells the server which files and folders it may work in, and serves `roots/list`. Change them
    /// with [`Client::set_roots`]. Servers of all revisions may ask: see [who and when](Self#who-asks-a-handler-and-when).
    pub fn roots(mut self, roots: impl IntoIterator<Item = Root>) -> Self {
        self.config.handlers.serve_roots(roots.into_iter().collect());
        self
    }

    /// Lets the server use a model: `handler` takes the parameters of `sampling/createMessage` and
    /// returns its result. Handlers run in the driver, side by side; a panic in one is the server's
    /// error −32603.
    ///
    /// Servers of all revisions may ask, those of 2026-07-28 only within a call: see
    /// [who and when](Self#who-asks-a-handler-and-when), and what helps if none does.
    pub fn on_sampling<F, T>(mut self, handler: F) -> Self
    where
        F: Fn(CreateMessageParams) -> T + Send + Sync + 'static,
        T: Future<Output = Result<CreateMessageResult, RpcError>> + Send + 'static,
    {
        self.config.handlers.serve_sampling(handler);
        self
    }

    /// Lets the server ask the user to fill in a form. Fields that the answer leaves out get the
    /// defaults that the form gives.
    ///
    /// Servers from 2025-06-18 on may ask, those of 2026-07-28 only within a call: see
    /// [who and when](Self#who-asks-a-handler-and-when), and what helps if none does.
    pub fn on_elicit_form<F, T>(mut self, handler: F) -> Self
    where
        F: Fn(ElicitForm) -> T + Send + Sync + 'static,
        T: Future<Output = Elicited> + Send + 'static,
    {
        self.config.handlers.serve_forms(handler);
        self
    }

    /// Lets the server ask the user to visit a page.
    ///
    /// Servers from 2025-11-25 on may ask, those of 2026-07-28 only within a call: see
    /// [who and when](Self#who-asks-a-handler-and-when), and what helps if none does.
    ///
    /// A server of revision 2025-11-25 may also refuse a call until the user has visited some pages (error −32042). Then the
    /// handler is called for each page, and if it accepts all of them, the call is repeated once. So accept when the user is
    /// *done*; some servers say so by [`Event::ElicitationComplete`].
    pub fn on_elicit_url<F, T>(mut self, handler: F) -> Self
    where
        F: Fn(ElicitUrl) -> T + Send + Sync + 'static,
        T: Future<Output = Elicited> + Send + 'static,
    {
        self.config.handlers.serve_urls(handler);
        self
    }

    /// Lets a server of revision 2026-07-28 make a task of a tool call (`io.modelcontextprotocol/tasks`).
    /// [`Client::call_tool`] then polls the task at the server's interval, lets the handlers answer what the server asks for,
    /// and returns the task's result, within the deadline of the call. Dropping the call asks the server to cancel the task.
    /// A call fails if the keys of all that its task asks for have more than 64 KiB together.
    pub fn task_extension(self) -> Self {
        self.extension(TASKS, &BTreeMap::<String, ()>::new()).expect("a valid key")
    }

    /// Tells servers of revision 2026-07-28 that the application knows an extension, with these settings: a
    /// JSON object. The application handles the extension's messages itself: see [`Builder::on_event`],
    /// [`Client::request`] and [`Client::notify`].
    ///
    /// # Errors
    ///
    /// When `key` is not a prefix of dotted labels, a slash and a name (`com.example/thing`), or the settings
    /// are no object.
    pub fn extension(mut self, key: &str, settings: &impl Serialize) -> Result<Self, Error> {
        self.config.handlers.extend(key, settings)?;
        Ok(self)
    }

    /// Answers any request of a server's that has a handshake. What has no handler is refused with −32601; `ping` is
    /// always answered. A handler that needs the client is given a [`WeakClient`](crate::WeakClient).
    pub fn on_request<F, T>(mut self, method: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Option<Json>) -> T + Send + Sync + 'static,
        T: Future<Output = HandlerResult> + Send + 'static,
    {
        self.config.handlers.insert(method, handler);
        self
    }

    /// Connects, runs `app` with the driver beside it, and closes: see [`Client::run`].
    pub async fn run<T, E: From<Error>>(
        self,
        transport: impl Transport,
        app: impl AsyncFnOnce(Client) -> Result<T, E>,
    ) -> Result<T, E> {
        let (client, driver) = self.connect(transport).await?;
        driver
            .run_until(async {
                let output = app(client.clone()).await;
                client.close().await;
                output
            })
            .await
    }

    /// Connects: see [`Client::connect`].
    pub async fn connect(self, transport: impl Transport) -> Result<(Client, Driver), Error> {
        negotiation::connect_with(self.config, Box::new(transport), None).await
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("identity", &self.config.identity)
            .field("limits", &self.config.limits)
            .field("timeouts", &self.config.timeouts)
            .finish_non_exhaustive()
    }
}
