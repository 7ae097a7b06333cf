//! [`Client`]: the handle.

use super::builder::{Builder, Config};
use super::call::params_of;
use super::connect::{Mode, Plan, Refusal};
use super::driver::{Driver, RunUntil};
use super::era::Known;
use super::error::{Error, InvalidInput};
use super::inbox::Inbox;
use super::joint::{Joint, Part};
use super::limits::{Limits, Timeouts};
use super::modern::Modern;
use super::options::CallOptions;
use super::protocol::handshake::Revision;
use super::transport::Transport;
use super::types::{InitializeResult, Json};
use serde::Serialize;
use shared_fate::Session;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

/// A connected MCP client. Cheap to clone; clones share one session.
///
/// Made by [`Client::connect`] together with its [`Driver`], which must be polled for as long as the
/// client is used: spawn it on any executor, or run it beside the application with
/// [`Driver::run_until`]. When the last clone is dropped, the session is closed.
///
/// **Every call ends.** With its reply; with an error of its own; at once with the session's cause
/// when the session ends; or at its deadline ([`Timeouts`]). A failed call does not
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
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.inbox.session().close();
    }
}

/// What clients and their driver share.
pub(crate) struct Shared {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) server: OnceLock<InitializeResult>,
    pub(crate) revision: OnceLock<Revision>,
    pub(crate) modern: OnceLock<Modern>,
    /// The orderly close of the transport, from when the first has asked for it.
    closing: OnceLock<Joint<()>>,
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
    /// pollster::block_on(async {
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
    /// Whatever went wrong with the handshake, with the server's own words; within
    /// [`Timeouts::handshake`](super::Timeouts::handshake). Everything opened for it is closed
    /// then, and a child is gone.
    ///
    /// **Cancel safety:** dropping the future gives the connection up; a child is killed and reaped.
    pub async fn connect(transport: impl Transport) -> Result<(Self, Driver), Error> {
        Self::builder().connect(transport).await
    }

    /// A client to be configured.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The session that all calls share: whether it lives, why it ended, when it ends.
    pub fn session(&self) -> &Session<Error> {
        self.inbox().session()
    }

    /// What the server said of itself, in the handshake or when it was discovered.
    pub fn server(&self) -> &InitializeResult {
        self.handle.shared.server.get().expect("set before the client is handed out")
    }

    /// The negotiated protocol revision.
    pub fn revision(&self) -> Revision {
        *self.handle.shared.revision.get().expect("set before the client is handed out")
    }

    /// The same client with these options. Those that are not set stay as they are: see [`CallOptions`].
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

    /// The same client with these options and no others.
    pub(crate) fn with_only(&self, options: CallOptions) -> Self {
        Self { handle: Arc::clone(&self.handle), options: Arc::new(options) }
    }

    /// A client that keeps nothing alive, for whom the client itself keeps: its handlers.
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
    /// done. Then a child gets its standard input closed, after
    /// [`Timeouts::close`](super::Timeouts::close) a SIGTERM, after another a SIGKILL, and is reaped; an
    /// HTTP session is deleted.
    ///
    /// Whoever calls this carries on what the first one began, and so does the driver; all resolve when it is
    /// done.
    ///
    /// **Cancel safety:** dropping the future leaves the rest to others who have called this. When there are
    /// none, short work is made of it: a child is killed.
    pub async fn close(&self) {
        let closing = self.shared().close();
        self.session().close();
        if let Some(closing) = closing {
            closing.await;
        }
    }

    /// Sends any request and returns its result as JSON text.
    ///
    /// `params` must serialize to a JSON object, or to `null` for none.
    pub async fn request(&self, method: &str, params: impl Serialize) -> Result<Json, Error> {
        let params = params_of(&params, "parameters must be a JSON object")?;
        self.call(method, params.as_deref()).await.map(Json::from)
    }

    /// Sends any notification. Resolves when it is handed to the transport.
    pub async fn notify(&self, method: &str, params: impl Serialize) -> Result<(), Error> {
        let params = params_of(&params, "parameters must be a JSON object")?;
        self.tell(method, params.as_deref()).await
    }

    /// A new session with the same server: the same configuration, a new connection, a new handshake.
    ///
    /// For when this one has ended (and it need not have). Nothing moves over: calls of the old session
    /// fail with its cause, and nothing is repeated.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect); and when the transport cannot be had again: one over streams
    /// that were handed in, or in-memory.
    pub async fn reconnect(&self) -> Result<(Self, Driver), Error> {
        match self.shared().transport.renew() {
            Some(transport) => {
                let mut config = self.inbox().config().clone();
                // What the server is does not change with the connection (ERA-01); if it is one without a
                // handshake, nothing makes it another (ERA-23).
                if self.revision().is_modern() {
                    config.mode = Mode::Modern;
                }
                Self::connect_with(config, transport?, Some(Known::Legacy(None))).await
            }
            None => Err(Error::invalid(InvalidInput::Transport)),
        }
    }

    /// `known` is what the server was, if nothing newer is remembered.
    pub(crate) async fn connect_with(
        config: Config,
        transport: Box<dyn Transport>,
        known: Option<Known>,
    ) -> Result<(Self, Driver), Error> {
        let origin = transport.origin();
        let remembered = origin.as_ref().and_then(|origin| config.eras.get(origin));
        let plan = Plan::new(config.mode, remembered.or(known));
        let (client, mut driver) = Self::unconnected(config.clone(), transport);
        let refusal = match client.shake_hands(plan, &mut driver).await {
            Ok(found) => {
                client.remember(origin.as_deref(), found);
                return Ok((client, driver));
            }
            Err(refusal) => refusal,
        };
        let (plan, error) = match (refusal, plan) {
            // Some older servers quit when they are asked anything but `initialize` (ERA-17).
            (Refusal::Exited(error), Plan::Ask) => (Plan::As(Known::Legacy(None)), error),
            // It is not what it was, and may have made a mess of the connection.
            (Refusal::Otherwise(error), Plan::As(known)) if config.mode == Mode::Auto => {
                if let Some(origin) = &origin {
                    config.eras.forget(origin, known);
                }
                (Plan::Ask, error)
            }
            (refusal, _) => return Err(refusal.into_error()),
        };
        let again = client.shared().transport.renew();
        drop((client, driver));
        let Some(transport) = again else { return Err(error) };
        let (client, mut driver) = Self::unconnected(config, transport?);
        let found = client.shake_hands(plan, &mut driver).await.map_err(Refusal::into_error)?;
        client.remember(origin.as_deref(), found);
        Ok((client, driver))
    }

    /// Only who lets the server choose finds out what it prefers.
    fn remember(&self, origin: Option<&str>, found: Known) {
        let config = self.inbox().config();
        if let Some(origin) = origin.filter(|_| config.mode != Mode::Legacy) {
            config.eras.set(origin, found, config.limits.eras);
        }
    }

    fn unconnected(config: Config, transport: Box<dyn Transport>) -> (Self, Driver) {
        let Timeouts { silence, total, .. } = config.timeouts;
        let options = CallOptions::default().silence(silence).total(total);
        let shared = Arc::new(Shared {
            inbox: Inbox::new(config),
            transport,
            server: OnceLock::new(),
            revision: OnceLock::new(),
            modern: OnceLock::new(),
            closing: OnceLock::new(),
        });
        let driver = Driver::new(Arc::clone(&shared));
        (Self { handle: Arc::new(Handle { shared }), options: Arc::new(options) }, driver)
    }

    /// The handshake or what is in its place, with the driver polled beside it.
    async fn shake_hands(&self, plan: Plan, driver: &mut Driver) -> Result<Known, Refusal> {
        // If the driver ends now, the handshake is woken with the cause.
        RunUntil::new(driver, self.agree_in_time(plan)).await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    pub(crate) fn options(&self) -> &CallOptions {
        &self.options
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.inbox().limits()
    }

    fn inbox(&self) -> &Arc<Inbox> {
        &self.handle.shared.inbox
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("session", self.session()).finish_non_exhaustive()
    }
}

/// A [`Client`] that keeps nothing alive: neither the session nor what the application put into it.
///
/// A client keeps its handlers. A handler that keeps the client in turn makes a circle: dropping all other
/// clients would not close the session. So give it this. It exists only when the client does, which is after
/// its handlers were made:
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
    /// The client; `None` when all others are gone, and with them the session.
    pub fn upgrade(&self) -> Option<Client> {
        Some(Client { handle: self.handle.upgrade()?, options: Arc::clone(&self.options) })
    }
}

impl fmt::Debug for WeakClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakClient").finish_non_exhaustive()
    }
}

impl Shared {
    /// What goes with every request, if the server is of the kind without a handshake.
    pub(crate) fn modern(&self) -> Option<&Modern> {
        self.modern.get()
    }

    /// The orderly close of the transport, to be waited for; `None` when it is over.
    pub(crate) fn close(self: &Arc<Self>) -> Option<Part<()>> {
        let mut first = None;
        let closing = self.closing.get_or_init(|| {
            let closing = Closing { shared: Arc::clone(self), finished: false };
            let (joint, part) = Joint::start(closing.finish());
            first = Some(part);
            joint
        });
        first.or_else(|| closing.part())
    }

    /// The same for the driver, which helps those who close, or does it by itself.
    pub(crate) fn help_close(self: &Arc<Self>) -> Option<Part<()>> {
        match self.closing.get() {
            Some(closing) => closing.helper(),
            None => self.close(),
        }
    }
}

/// An orderly close under way. Dropped before it is finished, it makes short work of the rest.
struct Closing {
    shared: Arc<Shared>,
    finished: bool,
}

impl Closing {
    async fn finish(mut self) {
        self.shared.transport.close(&self.shared.inbox).await;
        self.finished = true;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.transport.abort();
        }
    }
}
