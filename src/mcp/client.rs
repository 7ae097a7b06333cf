//! [`Client`], [`Builder`], and the one choke point through which every request goes.

use super::driver::Driver;
use super::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError, Violation};
use super::inbox::{Deadline, Event, Inbox};
use super::limits::{Limits, Timeouts};
use super::protocol::exchange::{Reply, ReplyError};
use super::protocol::handshake::{INITIALIZE, INITIALIZED, Revision, initialize_params};
use super::protocol::message;
use super::timer::{AsyncIoTimer, Timer};
use super::transport::{Outgoing, Transport};
use super::types::{InitializeResult, Json};
use crate::{Session, SupervisedExt};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

/// A connected MCP client. Cheap to clone; clones share one session.
///
/// Made by [`Client::connect`] together with its [`Driver`], which must be polled for as long as the
/// client is used: spawn it on any executor, or run it beside the application with
/// [`Driver::with`]. When the last clone is dropped, the session is closed.
///
/// **Every call ends.** With its reply; with an error of its own; at once with the session's cause
/// when the session ends; or at its deadline ([`Timeouts`]). A failed call does not hurt others.
///
/// **Cancel safety:** dropping a call's future forgets the call and, if the server may have seen it,
/// sends a cancellation, best effort. Nothing else is affected.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    options: CallOptions,
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
    server: OnceLock<InitializeResult>,
    revision: OnceLock<Revision>,
    /// Somebody is closing the transport in an orderly way.
    closing: AtomicBool,
    /// Ends when that is done, or was given up.
    closed: Session<std::convert::Infallible>,
}

/// How one client's calls behave. See [`Client::with_options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// How long a call goes on without news from the server (a reply, or progress). `None`: for ever.
    pub silence: Option<Duration>,
    /// How long a call goes on at all. `None`: for ever.
    pub total: Option<Duration>,
}

impl CallOptions {
    /// A limit for silence and for the call as a whole.
    pub fn timeout(limit: Duration) -> Self {
        Self { silence: None, total: Some(limit) }
    }
}

/// What a client is made with.
#[derive(Clone)]
pub(crate) struct Config {
    name: String,
    version: String,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) timer: Arc<dyn Timer>,
    pub(crate) on_event: Option<Arc<dyn Fn(&Event<'_>) + Send + Sync>>,
}

/// Configures a [`Client`] before it connects.
///
/// ```no_run
/// # #[cfg(feature = "mcp-stdio")]
/// # async fn connect() -> Result<(), shared_fate::mcp::Error> {
/// use shared_fate::mcp::{Client, Stdio, Timeouts};
/// use std::process::Command;
/// use std::time::Duration;
///
/// let mut timeouts = Timeouts::default();
/// timeouts.silence = Some(Duration::from_secs(10));
/// let (client, driver) = Client::builder()
///     .identity("my-app", "1.0.0")
///     .timeouts(timeouts)
///     .connect(Stdio::spawn(Command::new("my-server"))?)
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Builder {
    config: Config,
}

impl Builder {
    fn new() -> Self {
        Self {
            config: Config {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                limits: Limits::default(),
                timeouts: Timeouts::default(),
                timer: Arc::new(AsyncIoTimer),
                on_event: None,
            },
        }
    }

    /// The name and version that the server is told.
    pub fn identity(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.config.name = name.into();
        self.config.version = version.into();
        self
    }

    /// How much is taken from the server.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// How long is waited.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// Where deadlines come from. Default: [`AsyncIoTimer`].
    pub fn timer(mut self, timer: impl Timer) -> Self {
        self.config.timer = Arc::new(timer);
        self
    }

    /// Is told what is no call's business. Called from the driver and from calls, so it must not
    /// block; a panic in it is theirs.
    pub fn on_event(mut self, on_event: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.on_event = Some(Arc::new(on_event));
        self
    }

    /// Connects: see [`Client::connect`].
    pub async fn connect(self, transport: impl Transport) -> Result<(Client, Driver), Error> {
        let Config { timeouts, .. } = self.config;
        let shared = Arc::new(Shared {
            inbox: Inbox::new(self.config.clone()),
            transport: Box::new(transport),
            server: OnceLock::new(),
            revision: OnceLock::new(),
            closing: AtomicBool::new(false),
            closed: Session::new(),
        });
        let mut driver = Driver::new(Arc::clone(&shared));
        let handle = Arc::new(Handle { shared });
        let options = CallOptions { silence: timeouts.silence, total: timeouts.total };
        let client = Client { handle, options };
        {
            let mut handshake = pin!(client.handshake(&self.config));
            poll_fn(|cx| {
                if let Poll::Ready(result) = handshake.as_mut().poll(cx) {
                    return Poll::Ready(result);
                }
                // Should it end now, the handshake is woken with the cause.
                driver.poll_contained(cx);
                Poll::Pending
            })
            .await?;
        }
        Ok((client, driver))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.config.name)
            .field("version", &self.config.version)
            .field("limits", &self.config.limits)
            .field("timeouts", &self.config.timeouts)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the server behind `transport` and shakes hands.
    ///
    /// Returns the client and the future that drives its connection. The driver is polled here during
    /// the handshake; from then on it is yours to run.
    ///
    /// ```no_run
    /// # #[cfg(feature = "mcp-http")]
    /// # fn main() -> Result<(), shared_fate::mcp::Error> {
    /// use shared_fate::mcp::{Client, Http};
    ///
    /// pollster::block_on(async {
    ///     let (client, driver) = Client::connect(Http::new("http://localhost:8080/mcp")?).await?;
    ///     driver
    ///         .with(async {
    ///             for tool in client.list_tools().await? {
    ///                 println!("{}", tool.name);
    ///             }
    ///             client.close().await;
    ///             Ok(())
    ///         })
    ///         .await
    /// })
    /// # }
    /// # #[cfg(not(feature = "mcp-http"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever went wrong with the handshake, with the server's own words; within
    /// [`Timeouts::handshake`]. Everything opened for it is closed then, and a child is gone.
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

    /// What the server said of itself in the handshake.
    pub fn server(&self) -> &InitializeResult {
        self.handle.shared.server.get().expect("set before the client is handed out")
    }

    /// The negotiated protocol revision.
    pub fn revision(&self) -> Revision {
        *self.handle.shared.revision.get().expect("set before the client is handed out")
    }

    /// The same client with other deadlines.
    ///
    /// ```no_run
    /// # async fn f(client: shared_fate::mcp::Client) -> Result<(), shared_fate::mcp::Error> {
    /// use shared_fate::mcp::CallOptions;
    /// use std::time::Duration;
    ///
    /// client.with_options(CallOptions::timeout(Duration::from_secs(5))).ping().await?;
    /// # Ok(()) }
    /// ```
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self { handle: Arc::clone(&self.handle), options }
    }

    /// How many calls are pending on this session, over all clones.
    pub fn pending_calls(&self) -> usize {
        self.inbox().pending_calls()
    }

    /// Ends the session and releases what it holds, in an orderly way and in bounded time.
    ///
    /// All pending calls fail with [`Cause::Closed`](crate::Cause::Closed) *before* anything else is
    /// done. Then a child gets its standard input closed, after [`Timeouts::close`] a SIGTERM, after
    /// another a SIGKILL, and is reaped; an HTTP session is deleted.
    ///
    /// **Cancel safety:** dropping the future makes short work of the rest: a child is killed. Calling
    /// it again waits for the first call to finish.
    pub async fn close(&self) {
        let shared = &self.handle.shared;
        let closing = shared.claim_closing();
        self.session().close();
        match closing {
            Some(closing) => closing.finish().await,
            None => {
                shared.closed.ended().await;
            }
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
        check_method(method)?;
        let shared = &self.handle.shared;
        let body = message::encode_notification(method, params.as_deref());
        let message = Outgoing { id: None, method: Some(method.to_owned()), body };
        let send = async {
            let send = shared.transport.send(message, &shared.inbox);
            within(&shared.inbox, self.options.total.or(self.options.silence), send).await.map(drop)
        };
        send.try_supervised(self.session()).await.map_err(|failed| Error::from_request(failed, false))
    }

    /// The choke point: every request of this client goes through here.
    ///
    /// It registers the call, sends it, waits for the reply and the deadline, and shares the session's
    /// fate. `PendingCall` cleans up on every way out.
    pub(crate) async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, Error> {
        check_method(method)?;
        let shared = &*self.handle.shared;
        let inbox = &*shared.inbox;
        let retracted = AtomicBool::new(false);
        let request = async {
            let call = PendingCall::begin(shared, &retracted, method != INITIALIZE)?;
            let mut deadline = Deadline::new(inbox, self.options.silence, self.options.total);
            let body = message::encode_request(call.id, method, params);
            let message = Outgoing { id: Some(call.id), method: Some(method.to_owned()), body };
            let mut sending = Some(shared.transport.send(message, inbox));
            poll_fn(|cx| {
                if let Some(send) = &mut sending
                    && let Poll::Ready(sent) = send.as_mut().poll(cx)
                {
                    sending = None;
                    if let Some(reply) = sent.inspect_err(|error| call.failed(error))?.reply {
                        return Poll::Ready(call.settle(reply));
                    }
                }
                if let Poll::Ready(reply) = inbox.poll_reply(call.id, cx) {
                    return Poll::Ready(call.settle(reply));
                }
                inbox.poll_deadline(call.id, &mut deadline).map(|()| Err(self.timed_out(&deadline)))
            })
            .await
        };
        request
            .try_supervised(inbox.session())
            .await
            .map_err(|failed| Error::from_request(failed, retracted.load(Ordering::Relaxed)))
    }

    fn timed_out(&self, deadline: &Deadline) -> Error {
        let total = deadline.is_total();
        let after = if total { self.options.total } else { self.options.silence };
        let error = TimeoutError { after: after.unwrap_or_default(), total };
        Error::new(ErrorKind::Timeout(error), Delivery::MaybeSent)
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.inbox().limits()
    }

    fn inbox(&self) -> &Arc<Inbox> {
        &self.handle.shared.inbox
    }

    /// One limit for all of it.
    async fn handshake(&self, config: &Config) -> Result<(), Error> {
        within(self.inbox(), config.timeouts.handshake, self.shake_hands(config)).await
    }

    /// INI-01 to INI-14.
    async fn shake_hands(&self, config: &Config) -> Result<(), Error> {
        let shared = &self.handle.shared;
        let patient = self.with_options(CallOptions { silence: None, total: None });
        let params = initialize_params(Revision::LATEST, &config.name, &config.version);
        let result = patient.call(INITIALIZE, Some(&params)).await?;
        let server: InitializeResult = super::types::decode(&result)?;
        let Some(revision) = Revision::from_name(&server.protocol_version) else {
            return Err(Error::protocol(Violation::Version(server.protocol_version)));
        };
        shared.inbox.handshake_done();
        shared.transport.negotiated(revision);
        patient.notify(INITIALIZED, ()).await?;
        let first = shared.server.set(server).is_ok() && shared.revision.set(revision).is_ok();
        debug_assert!(first, "one handshake per connection");
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("session", self.session()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The right to close the transport in an orderly way; the first to ask gets it.
    pub(crate) fn claim_closing(self: &Arc<Self>) -> Option<Closing> {
        let first = !self.closing.swap(true, Ordering::AcqRel);
        first.then(|| Closing { shared: Arc::clone(self), finished: false })
    }
}

/// An orderly close under way. Dropped before it is finished, it makes short work of the rest.
pub(crate) struct Closing {
    shared: Arc<Shared>,
    finished: bool,
}

impl Closing {
    pub(crate) async fn finish(mut self) {
        self.shared.transport.close(&self.shared.inbox).await;
        self.finished = true;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.transport.abort();
        }
        self.shared.closed.close();
    }
}

/// A registered call. However it is left, its entry goes with it; and if the server may be at work
/// for nobody, it is told so.
struct PendingCall<'a> {
    shared: &'a Shared,
    id: u64,
    answered: AtomicBool,
    /// Told whether the request was taken back before it was written.
    retracted: &'a AtomicBool,
    cancellable: bool,
}

impl<'a> PendingCall<'a> {
    fn begin(shared: &'a Shared, retracted: &'a AtomicBool, cancellable: bool) -> Result<Self, Error> {
        let id = shared.inbox.begin()?;
        Ok(Self { shared, id, answered: AtomicBool::new(false), retracted, cancellable })
    }

    /// Only a server that may have got the request and has not answered can be at work on it.
    fn failed(&self, error: &Error) {
        self.answered.store(error.delivery() != Delivery::MaybeSent, Ordering::Relaxed);
    }

    fn settle(&self, reply: Reply) -> Result<Box<RawValue>, Error> {
        self.answered.store(true, Ordering::Relaxed);
        reply.map_err(|error| match error {
            ReplyError::Rpc(error) => Error::new(ErrorKind::Rpc(error), Delivery::Answered),
            ReplyError::Malformed(reason) => Error::protocol(Violation::Malformed(reason.as_str())),
            ReplyError::TooLong(limit) => Error::limit("the length of a reply", limit, Delivery::Answered),
        })
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.shared.inbox.forget(self.id);
        if self.answered.load(Ordering::Relaxed) {
            return;
        }
        if self.shared.transport.retract(self.id) {
            self.retracted.store(true, Ordering::Relaxed);
        } else if self.cancellable && !self.shared.inbox.session().is_ended() {
            self.shared.inbox.post(cancellation(self.id));
        }
    }
}

/// CAN-01.
fn cancellation(id: u64) -> Outgoing {
    const METHOD: &str = "notifications/cancelled";
    #[derive(Serialize)]
    struct Cancelled {
        #[serde(rename = "requestId")]
        id: u64,
    }
    let params = serde_json::value::to_raw_value(&Cancelled { id }).expect("a number");
    let body = message::encode_notification(METHOD, Some(&params));
    Outgoing { id: None, method: Some(METHOD.to_owned()), body }
}

fn check_method(method: &str) -> Result<(), Error> {
    match method {
        "" => Err(Error::invalid(InvalidInput::Method("it is empty"))),
        _ => Ok(()),
    }
}

/// Parameters as JSON text: an object, or nothing.
pub(crate) fn params_of(
    params: &impl Serialize,
    not_object: &'static str,
) -> Result<Option<Box<RawValue>>, Error> {
    let invalid = |why| Err(Error::invalid(InvalidInput::Params(why)));
    match serde_json::value::to_raw_value(params) {
        Ok(raw) if raw.get() == "null" => Ok(None),
        Ok(raw) if raw.get().trim_start().starts_with('{') => Ok(Some(raw)),
        Ok(_) => invalid(not_object),
        Err(_) => invalid("they cannot be made JSON"),
    }
}

/// `future`, or an error when `limit` is over. The timer is made only if it is needed.
pub(crate) async fn within<T>(
    inbox: &Inbox,
    limit: Option<Duration>,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let Some(after) = limit else { return Poll::Pending };
        timer.get_or_insert_with(|| inbox.sleep(after)).as_mut().poll(cx).map(|()| {
            Err(Error::new(ErrorKind::Timeout(TimeoutError { after, total: true }), Delivery::MaybeSent))
        })
    })
    .await
}
