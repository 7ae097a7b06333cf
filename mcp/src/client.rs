//! [`Client`]: the handle.

pub(crate) mod builder;
pub(crate) mod driver;
mod keep_alive;
mod methods;
mod negotiation;
pub(crate) mod reconnect;
pub(crate) mod subscription;
mod tasks;

use crate::call::options::CallOptions;
use crate::call::reply::checked;
use crate::call::{Asked, Caller, exchange, params_of, request};
use crate::connection::Connection;
use crate::error::{Error, InvalidInput};
use crate::inbox::Inbox;
use crate::inbox::config::Mode;
use crate::inbox::limits::Limits;
use crate::inbox::server_kinds::ServerKind;
use crate::protocol::handshake::Revision;
use crate::protocol::message::ResultText;
use crate::transport::Transport;
use crate::types::{InitializeResult, Json};
use builder::Builder;
use driver::Driver;
use serde::Serialize;
use shared_fate::Session;
use std::fmt;
use std::sync::{Arc, Weak};

/// A connected MCP client. Cheap to clone; clones share one session.
///
/// Made by [`Client::connect`] together with its [`Driver`], which must be polled for as long as the
/// client is used: spawn it on any executor, or run it beside the application with
/// [`Driver::run_until`]. Over HTTP a call carries its own exchange; over a pipe its reply comes only while the driver is
/// polled. When the last clone is dropped, the session is closed.
///
/// **Every call ends:** with its reply; with an error of its own; at once with the session's cause
/// when the session ends; or at its deadline ([`Timeouts`](crate::Timeouts)). A failed call does not
/// hurt others.
///
/// **Cancel safety:** dropping a call's future forgets the call and, if the server may have seen it,
/// sends a cancellation, best effort. Nothing else is affected.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    options: Arc<CallOptions>,
}

/// The clients' common part: the last one to go closes the session.
struct Handle {
    connection: Arc<Connection>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.inbox.session().close();
    }
}

impl Client {
    /// Connects to the server behind `transport` and shakes hands.
    ///
    /// Returns the client and the future that drives its connection. The driver is polled here during
    /// the handshake; from then on it is yours to run.
    ///
    /// ```no_run
    /// # #[cfg(feature = "http")]
    /// # fn main() -> Result<(), shared_fate_mcp::Error> {
    /// use shared_fate_mcp::{Client, Http};
    ///
    /// async_io::block_on(async {
    ///     let (client, driver) = Client::connect(Http::new("http://localhost:8080/mcp")?).await?;
    ///     driver
    ///         .run_until(async {
    ///             for tool in client.list_tools().await? {
    ///                 println!("{}", tool.name);
    ///             }
    ///             client.close().await;
    ///             Ok(())
    ///         })
    ///         .await
    /// })
    /// # }
    /// # #[cfg(not(feature = "http"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// When the handshake fails, or takes longer than [`Timeouts::handshake`](crate::Timeouts::handshake). The error has
    /// the server's own words. Everything that was opened for the connection is closed then, and a child is gone.
    ///
    /// **Cancel safety:** dropping the future gives the connection up; a child is killed and reaped.
    pub async fn connect(transport: impl Transport) -> Result<(Self, Driver), Error> {
        Self::builder().connect(transport).await
    }

    /// Connects, runs `app` with the driver beside it in one task, closes, and resolves to `app`'s output.
    ///
    /// ```no_run
    /// # #[cfg(feature = "stdio")]
    /// # fn main() -> Result<(), shared_fate_mcp::Error> {
    /// use shared_fate_mcp::{Client, Stdio};
    /// use std::process::Command;
    ///
    /// let server = Stdio::spawn(Command::new("my-server"))?;
    /// async_io::block_on(Client::run(server, async |client| {
    ///     for tool in client.list_tools().await? {
    ///         println!("{}", tool.name);
    ///     }
    ///     Ok(())
    /// }))
    /// # }
    /// # #[cfg(not(feature = "stdio"))]
    /// # fn main() {}
    /// ```
    ///
    /// The error may be of any type that is `From<Error>`. If the compiler cannot tell which one, the closure names it:
    /// `async |client| -> Result<_, Error> { … }`.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect): then `app` is not run. After that, those of `app` alone.
    ///
    /// **The session's end:** if the session fails while `app` runs, its calls fail at once with the cause, and `app` goes
    /// on. The output is what `app` returns: as a rule the error of the first failed call, passed on with `?`. An `app` that
    /// ignores failed calls may still succeed.
    ///
    /// **Ties:** as for [`Driver::run_until`]. A client that `app` has given away lives on, but its session is closed.
    ///
    /// **Cancel safety, drop:** dropping the future drops `app`, and gives the connection up; a child is killed and reaped.
    /// A panic in `app` does the same, and unwinds.
    pub async fn run<T, E: From<Error>>(
        transport: impl Transport,
        app: impl AsyncFnOnce(Self) -> Result<T, E>,
    ) -> Result<T, E> {
        Self::builder().run(transport, app).await
    }

    /// Begins to configure a client.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The session that all calls share: whether it lives, why it ended, when it ends.
    pub fn session(&self) -> &Session<Error> {
        self.inbox().session()
    }

    /// What the server said of itself, in the handshake or when it was discovered.
    pub fn server(&self) -> &InitializeResult {
        self.handle.connection.server.get().expect("set before the client is handed out")
    }

    /// The negotiated protocol revision.
    pub fn revision(&self) -> Revision {
        *self.handle.connection.revision.get().expect("set before the client is handed out")
    }

    /// A handle of this client with other options. Options that are not set stay as they are: see [`CallOptions`].
    ///
    /// ```no_run
    /// # async fn f(client: shared_fate_mcp::Client) -> Result<(), shared_fate_mcp::Error> {
    /// use shared_fate_mcp::CallOptions;
    /// use std::time::Duration;
    ///
    /// client.with_options(CallOptions::timeout(Duration::from_secs(5))).ping().await?;
    /// # Ok(()) }
    /// ```
    pub fn with_options(&self, options: CallOptions) -> Self {
        self.with_only(options.over(&self.options))
    }

    /// A handle of this client with these options and no others.
    fn with_only(&self, options: CallOptions) -> Self {
        Self { handle: Arc::clone(&self.handle), options: Arc::new(options) }
    }

    /// A weak handle, for use inside the client's own handlers.
    pub fn downgrade(&self) -> WeakClient {
        WeakClient { handle: Arc::downgrade(&self.handle), options: Arc::clone(&self.options) }
    }

    /// How many calls are pending on this session, over all clones.
    pub fn pending_calls(&self) -> usize {
        self.inbox().pending_calls()
    }

    /// Ends the session and releases what it holds, in an orderly way and in bounded time.
    ///
    /// All pending calls fail with [`Cause::Closed`](shared_fate::Cause::Closed) *before* anything else is
    /// done. Then an HTTP session is deleted. A child's standard input is closed; if the child has not exited after
    /// [`Timeouts::close`](crate::Timeouts::close), it gets a SIGTERM, after the same time again a SIGKILL (windows: it is
    /// killed after the first); and it is reaped.
    ///
    /// May be called more than once and concurrently: all callers and the driver wait for one shutdown.
    ///
    /// **Cancel safety:** if no other caller and no driver is left waiting, the shutdown is aborted and a child is
    /// killed.
    pub async fn close(&self) {
        negotiation::close(self.connection()).await;
    }

    /// Sends any request and returns its result as JSON text.
    ///
    /// `params` must serialize to a JSON object, or to `null` for none.
    ///
    /// # Errors
    ///
    /// Those of every call; and, before anything is sent, when the method is empty or the parameters are no JSON object.
    pub async fn request(&self, method: &str, params: impl Serialize) -> Result<Json, Error> {
        let asked = self.caller().asked(method, &params, "parameters must be a JSON object")?;
        self.call(method, asked).await.and_then(checked).map(Json::from)
    }

    /// Sends any notification. Resolves when it is handed to the transport.
    ///
    /// # Errors
    ///
    /// When it cannot be sent within the call's limits, or the session ends; and as for [`request`](Self::request).
    ///
    /// **Cancel safety:** dropped, it has sent the notification or not.
    pub async fn notify(&self, method: &str, params: impl Serialize) -> Result<(), Error> {
        let params = params_of(&params, "parameters must be a JSON object")?;
        exchange::notify(self.caller(), method, params.as_deref()).await
    }

    /// A new session with the same server: the same configuration, a new connection, a new handshake.
    ///
    /// The old session may have ended, but need not have. Nothing moves over to the new one: calls of the old session fail
    /// with its cause, and nothing is repeated.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect); and when the transport cannot be reopened: one over existing streams, or
    /// [`Memory`](crate::Memory).
    pub async fn reconnect(&self) -> Result<(Self, Driver), Error> {
        self.reconnect_over(self.renewed_transport()?).await
    }

    fn renewed_transport(&self) -> Result<Box<dyn Transport>, Error> {
        let renewed = self.connection().transport.renew();
        renewed.unwrap_or_else(|| Err(Error::invalid(InvalidInput::Transport)))
    }

    async fn reconnect_over(&self, transport: Box<dyn Transport>) -> Result<(Self, Driver), Error> {
        let mut config = self.inbox().config().clone();
        // What the server is does not change with the connection (ERA-01); if it is one without a
        // handshake, nothing makes it another (ERA-23).
        if self.revision().is_stateless() {
            config.mode = Mode::Stateless;
        }
        negotiation::connect_with(config, transport, Some(ServerKind::Handshake(None))).await
    }

    fn new(connection: Arc<Connection>, options: CallOptions) -> Self {
        Self { handle: Arc::new(Handle { connection }), options: Arc::new(options) }
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.handle.connection
    }

    fn caller(&self) -> Caller<'_> {
        Caller { connection: self.connection(), options: &self.options }
    }

    /// One call, in the way of the negotiated revision.
    async fn call(&self, method: &str, asked: Asked) -> Result<ResultText, Error> {
        request(self.caller(), method, asked, self.options.total_limit()).await
    }

    fn options(&self) -> &CallOptions {
        &self.options
    }

    fn limits(&self) -> &Limits {
        self.inbox().limits()
    }

    fn inbox(&self) -> &Arc<Inbox> {
        &self.handle.connection.inbox
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("session", self.session()).finish_non_exhaustive()
    }
}

/// A [`Client`] that keeps nothing alive: neither the session nor what the application put into it.
///
/// A client keeps its handlers. If a handler kept the client in turn, dropping all other clients would not close the
/// session. So give the handler a weak client. There is one only after the client was made, which is after its handlers
/// were made:
///
/// ```no_run
/// # async fn f(transport: impl shared_fate_mcp::Transport) -> Result<(), shared_fate_mcp::Error> {
/// use shared_fate_mcp::{Client, RpcError, WeakClient};
/// use std::sync::{Arc, OnceLock};
///
/// let later = Arc::new(OnceLock::<WeakClient>::new());
/// let weak = Arc::clone(&later);
/// let builder = Client::builder().on_request("example/look-again", move |_| {
///     let client = weak.get().and_then(WeakClient::upgrade);
///     async move {
///         // The server asks before the client is there, or after it is gone.
///         let client = client.ok_or_else(|| RpcError::new(-32603, "not connected"))?;
///         let tools = client.list_tools().await;
///         let tools = tools.map_err(|error| RpcError::new(-32603, error.to_string()))?;
///         shared_fate_mcp::types::Json::new(&tools.len()).map_err(|_| unreachable!())
///     }
/// });
/// let (client, driver) = builder.connect(transport).await?;
/// let _ = later.set(client.downgrade());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct WeakClient {
    handle: Weak<Handle>,
    options: Arc<CallOptions>,
}

impl WeakClient {
    /// The client; `None` when all clients are gone, and the session with them.
    pub fn upgrade(&self) -> Option<Client> {
        Some(Client { handle: self.handle.upgrade()?, options: Arc::clone(&self.options) })
    }
}

impl fmt::Debug for WeakClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakClient").finish_non_exhaustive()
    }
}
