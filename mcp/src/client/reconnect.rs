//! [`Reconnecting`]: a new session when the old one has ended, for those who ask for it.
//!
//! Nothing is repeated: calls of a session that ends fail with its cause, and it is the *next* call
//! that gets a new session. Concurrent callers share one attempt, and each of them carries it on: whoever
//! began may be dropped, or kept and not polled.

use super::Client;
use super::builder::Builder;
use super::driver::{Driver, RunUntil};
use crate::error::Error;
use crate::inbox::limits::Timeouts;
use crate::sync::shared_future::{SharedFuture, Waiter};
use crate::sync::wait_cell::WaitCell;
use crate::transport::Transport;
use crate::types::CallToolResult;
use serde::Serialize;
use shared_fate::{Cause, Session, SupervisedExt};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A client whose session is replaced when it has failed. Cheap to clone.
///
/// It may begin without a session ([`new`](Self::new)): then the first call connects, and a server that is down is an error
/// of that call. When the last clone is dropped, nothing is replaced any more, and the present session is closed, unless
/// somebody has a [`Client`] of it.
///
/// ```no_run
/// # #[cfg(feature = "http")]
/// # async fn f() -> Result<(), shared_fate_mcp::Error> {
/// use shared_fate_mcp::{Client, Http, Reconnecting};
///
/// let (server, driver) = Reconnecting::new(Client::builder(), || Http::new("http://localhost:8080/mcp"));
/// driver
///     .run_until(async {
///         // Should there be no session yet, or should the server have forgotten it, this makes a new one.
///         server.call_tool("add", serde_json::json!({"a": 1, "b": 2})).await?;
///         server.close().await;
///         Ok(())
///     })
///     .await
/// # }
/// ```
///
/// **Back-off:** the first attempt to connect begins at once. After one that has failed, the next begins no sooner than
/// [`Timeouts::pause`] later, and twice as long after each further failure in a row, up to [`Timeouts::longest_pause`]; who
/// asks for a client sooner waits. A success makes the next pause a short one again, also where the server dies right after
/// it; and an attempt that everybody has given up counts for nothing. Nothing is attempted unless somebody asks.
#[derive(Clone)]
pub struct Reconnecting {
    handle: Arc<Handle>,
}

/// The handles' common part: the last one to go lets go of the client.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closed.close();
        let client = self.shared.state.change(|state| state.client.take());
        drop(client);
    }
}

struct Shared {
    builder: Builder,
    /// Makes the transport for a new session. It is told the client of the last one.
    open: Box<Open>,
    /// Ends when there is to be no new session any more, before the client is looked at: `Closed`, or `Dropped` where nobody
    /// can run a driver.
    closed: Session<Error>,
    /// Waited for by the driver.
    state: WaitCell<State>,
}

type Open = dyn Fn(Option<&Client>) -> Result<Box<dyn Transport>, Error> + Send + Sync;

#[derive(Default)]
struct State {
    /// That of the present session, or of the last one. `None` before the first, and when there is no handle any more.
    client: Option<Client>,
    /// The attempt to replace it that is under way, if it is.
    attempt: Option<SharedFuture<Attempted>>,
    /// The new session's driver, until [`ReconnectingDriver`] takes it.
    driver: Option<Driver>,
    /// The pause after the last attempt, and its end, if that attempt has failed.
    pause: Option<(Duration, Instant)>,
}

/// The new client, or why there is none.
type Attempted = Result<Client, Cause<Error>>;

/// What there is for who asks for a client.
enum Found {
    Client(Client),
    Attempt(Waiter<Attempted>),
    Nothing(Cause<Error>),
}

impl Reconnecting {
    /// Begins without a session. `open` makes the transport for each session, the first included; it must not block.
    ///
    /// # Errors
    ///
    /// None here. That `open` fails is an error of the attempt, as that connecting does.
    pub fn new<T: Transport>(
        builder: Builder,
        open: impl Fn() -> Result<T, Error> + Send + Sync + 'static,
    ) -> (Self, ReconnectingDriver) {
        Self::with(builder, Box::new(move |_| Ok(Box::new(open()?))), State::default(), None)
    }

    /// Connects as [`Client::connect`] does, and later with transports that are made of this one.
    ///
    /// # Errors
    ///
    /// As there. The transport must be one that can be had again (HTTP, or a child), or the first
    /// reconnection will fail.
    ///
    /// **Cancel safety:** dropping the future gives the connection up; a child is killed and reaped.
    pub async fn connect(
        builder: Builder,
        transport: impl Transport,
    ) -> Result<(Self, ReconnectingDriver), Error> {
        let (client, driver) = builder.clone().connect(transport).await?;
        let open = |old: Option<&Client>| old.expect("it was connected").renewed_transport();
        let state = State { client: Some(client), ..State::default() };
        Ok(Self::with(builder, Box::new(open), state, Some(driver)))
    }

    fn with(
        builder: Builder,
        open: Box<Open>,
        state: State,
        driver: Option<Driver>,
    ) -> (Self, ReconnectingDriver) {
        let (closed, state) = (Session::new(), WaitCell::new(state));
        let shared = Arc::new(Shared { builder, open, closed, state });
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        (Self { handle }, ReconnectingDriver { shared, driver })
    }

    /// A client of a session that lives: the present one, or, if there is none or it has failed, a new one with the same
    /// server. Before a new attempt it may pause: see [`Reconnecting`].
    ///
    /// A session that was closed stays closed, and its client is returned.
    ///
    /// # Errors
    ///
    /// When connecting fails; the same error for everybody who waited for it. The next call tries
    /// again. After [`close`](Self::close), where there is no session, the error's cause is
    /// [`Cause::Closed`], and after the driver was dropped [`Cause::Dropped`].
    ///
    /// **Cancel safety:** dropping the future leaves the attempt to the others that wait for it. When there are
    /// none, it is given up.
    pub async fn client(&self) -> Result<Client, Error> {
        loop {
            let attempt = match self.handle.shared.find() {
                Found::Client(client) => return Ok(client),
                Found::Nothing(cause) => return Err(Error::not_connected(cause)),
                Found::Attempt(attempt) => attempt,
            };
            // `None` if a poll of somebody else's panicked.
            if let Some(attempted) = attempt.await {
                return attempted.map_err(Error::not_connected);
            }
        }
    }

    /// The client of the present session, or of the last one, whether it lives or not; `None` before the first. It never
    /// connects.
    pub fn current(&self) -> Option<Client> {
        self.handle.shared.state.with(|state| state.client.clone())
    }

    /// Calls a tool, on a new session if that is needed: [`client`](Self::client), then [`Client::call_tool`].
    ///
    /// # Errors
    ///
    /// Those of both. A call that fails with its session is not repeated; the next call has a new session.
    ///
    /// **Cancel safety:** that of both.
    pub async fn call_tool(&self, name: &str, arguments: impl Serialize) -> Result<CallToolResult, Error> {
        self.client().await?.call_tool(name, arguments).await
    }

    /// Ends the present session as [`Client::close`] does, if there is one, and lets there be no other. An attempt under way
    /// is given up: who waits for it gets the error that [`client`](Self::client) names. A server that is gone is not
    /// started again for this.
    ///
    /// **Cancel safety:** there is no new session whether this is dropped or not; for the rest as [`Client::close`].
    pub async fn close(&self) {
        let shared = &self.handle.shared;
        shared.closed.close();
        let client = shared.state.change(|state| state.client.clone());
        if let Some(client) = client {
            client.close().await;
        }
    }
}

impl Shared {
    fn find(self: &Arc<Self>) -> Found {
        let (found, left_over) = self.state.with(|state| {
            let client = state.client.clone();
            let cause = client.as_ref().and_then(|client| client.session().cause());
            let end = self.closed.cause();
            let is_last = matches!(end, Some(Cause::Dropped)) || cause.is_none_or(|cause| cause.is_closed());
            match client {
                Some(client) if is_last => (Found::Client(client), None),
                _ if end.is_some() => (Found::Nothing(self.end()), None),
                client => match state.attempt.as_ref().and_then(SharedFuture::waiter) {
                    Some(waiter) => (Found::Attempt(waiter), None),
                    None => {
                        let (attempt, waiter) = self.attempt(client);
                        (Found::Attempt(waiter), state.attempt.replace(attempt))
                    }
                },
            }
        });
        drop(left_over);
        found
    }

    /// To replace the client. It keeps this, and so the handles' part, only while somebody waits for it.
    fn attempt(self: &Arc<Self>, old: Option<Client>) -> (SharedFuture<Attempted>, Waiter<Attempted>) {
        let shared = Arc::clone(self);
        SharedFuture::start(async move {
            let connect = async {
                shared.pause().await;
                let connected = shared.connect(old).await;
                shared.note(connected.is_ok());
                connected
            };
            let attempted = match connect.try_supervised_if(&shared.closed, |_| false).await {
                Ok((client, driver)) => shared.replace(client, driver),
                Err(failed) => match failed.into_parts() {
                    (Some(error), None) => Err(Cause::Failed(Arc::new(error))),
                    _ => Err(shared.end()),
                },
            };
            // The next one to come looks anew.
            let attempt = shared.state.with(|state| state.attempt.take());
            drop(attempt);
            attempted
        })
    }

    /// Why there is to be no new session.
    fn end(&self) -> Cause<Error> {
        self.closed.cause().unwrap_or(Cause::Closed)
    }

    /// Waits as long as it must be since the last attempt, if that has failed.
    async fn pause(&self) {
        let timer = &self.builder.config.timer;
        if let Some((_, end)) = self.state.with(|state| state.pause) {
            let left = end.saturating_duration_since(timer.now());
            if !left.is_zero() {
                timer.sleep(left).await;
            }
        }
    }

    async fn connect(&self, old: Option<Client>) -> Result<(Client, Driver), Error> {
        let transport = (self.open)(old.as_ref())?;
        match old {
            Some(old) => old.reconnect_over(transport).await,
            None => self.builder.clone().connect(transport).await,
        }
    }

    /// Takes note of how an attempt has ended.
    fn note(&self, succeeded: bool) {
        let config = &self.builder.config;
        let Timeouts { pause, longest_pause, .. } = config.timeouts;
        let now = config.timer.now();
        self.state.with(|state| {
            let next = state.pause.map_or(pause, |(last, _)| last.saturating_mul(2));
            let next = next.min(longest_pause);
            // One that does not fit into an `Instant` never ends.
            let never = Duration::from_secs(u32::MAX.into());
            state.pause = (!succeeded).then(|| (next, now.checked_add(next).unwrap_or(now + never)));
        });
    }

    /// The new client takes the old one's place; unless there is to be none any more.
    fn replace(&self, client: Client, driver: Driver) -> Attempted {
        let (attempted, left_over) = self.state.change(|state| {
            if self.closed.is_ended() {
                return (Err(self.end()), (Some(client), Some(driver)));
            }
            let old = state.client.replace(client.clone());
            let driver = state.driver.replace(driver);
            (Ok(client), (old, driver))
        });
        drop(left_over);
        attempted
    }
}

/// Future that runs the connection of a [`Reconnecting`] client, whichever it is.
///
/// It resolves when the present session was closed, or has ended and there is no [`Reconnecting`] any more, and after
/// [`Reconnecting::close`]. While there is no session, or one has failed, it waits for the next.
///
/// **Drop:** ends the session, as [`Driver`]'s; there is no reconnecting after that.
#[must_use = "a client's calls wait until its driver is polled"]
pub struct ReconnectingDriver {
    shared: Arc<Shared>,
    driver: Option<Driver>,
}

impl ReconnectingDriver {
    /// Runs this driver until `app` is done, in one task, and resolves to `app`'s output; as
    /// [`Driver::run_until`](crate::Driver::run_until).
    pub fn run_until<A: Future>(self, app: A) -> RunUntil<Self, A> {
        RunUntil::new(self, app)
    }
}

impl Future for ReconnectingDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(driver) = &mut self.driver {
                ready!(Pin::new(driver).poll(cx));
                self.driver = None;
            }
            // A new one; or none any more.
            let next = self.shared.state.poll(cx, |state| match state.driver.take() {
                None => {
                    let cause = state.client.as_ref().and_then(|client| client.session().cause());
                    let is_closed = cause.is_some_and(|cause| cause.is_closed());
                    (is_closed || self.shared.closed.is_ended()).then_some(None)
                }
                driver => Some(driver),
            });
            match ready!(next) {
                None => return Poll::Ready(()),
                driver => self.driver = driver,
            }
        }
    }
}

impl Drop for ReconnectingDriver {
    fn drop(&mut self) {
        // An attempt under way is given up, too: its session would have nobody to run it.
        self.shared.closed.end(Cause::Dropped);
        let left_over = self.shared.state.with(|state| state.driver.take());
        self.shared.state.forget();
        drop(left_over);
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").finish_non_exhaustive()
    }
}

impl fmt::Debug for ReconnectingDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingDriver").field("driver", &self.driver).finish_non_exhaustive()
    }
}
