//! [`Reconnecting`]: a new session when the old one has ended, for those who ask for it.
//!
//! Nothing is repeated: calls of a session that ends fail with its cause, and it is the *next* call
//! that gets a new session. Concurrent callers share one attempt, and each of them carries it on: whoever
//! began may be dropped, or kept and not polled.

use super::Client;
use super::builder::Builder;
use super::driver::{Driver, RunUntil};
use crate::error::Error;
use crate::sync::shared_future::{SharedFuture, Waiter};
use crate::sync::wait_cell::WaitCell;
use crate::transport::Transport;
use shared_fate::Cause;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A client whose session is replaced when it has ended. Cheap to clone.
///
/// When the last clone is dropped, nothing is replaced any more, and the present session is closed, unless
/// somebody has a [`Client`] of it.
///
/// ```no_run
/// # #[cfg(feature = "http")]
/// # async fn f() -> Result<(), shared_fate_mcp::Error> {
/// use shared_fate_mcp::{Client, Http, Reconnecting};
///
/// let http = Http::new("http://localhost:8080/mcp")?;
/// let (clients, driver) = Reconnecting::connect(Client::builder(), http).await?;
/// driver
///     .run_until(async {
///         // Should the server have forgotten the session, this is a new one.
///         let client = clients.client().await?;
///         client.call_tool("add", serde_json::json!({"a": 1, "b": 2})).await?;
///         Ok(())
///     })
///     .await
/// # }
/// ```
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
        let client = self.shared.state.change(|state| state.client.take());
        drop(client);
    }
}

struct Shared {
    /// WaitCell by the driver.
    state: WaitCell<State>,
}

struct State {
    /// `None` when there is no handle any more.
    client: Option<Client>,
    /// The attempt to replace it that is under way, if it is.
    attempt: Option<SharedFuture<Attempted>>,
    /// The new session's driver, until [`ReconnectingDriver`] takes it.
    driver: Option<Driver>,
    gone: bool,
}

/// The new client, or why there is none.
type Attempted = Result<Client, Cause<Error>>;

impl Reconnecting {
    /// Connects as [`Client::connect`] does.
    ///
    /// # Errors
    ///
    /// As there. The transport must be one that can be had again (HTTP, or a child), or the first
    /// reconnection will fail.
    pub async fn connect(
        builder: Builder,
        transport: impl Transport,
    ) -> Result<(Self, ReconnectingDriver), Error> {
        let (client, driver) = builder.connect(transport).await?;
        let state = State { client: Some(client), attempt: None, driver: None, gone: false };
        let shared = Arc::new(Shared { state: WaitCell::new(state) });
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        Ok((Self { handle }, ReconnectingDriver { shared, driver: Some(driver) }))
    }

    /// A client of a session that lives: the present one, or, if that has failed, a new one with the same
    /// server.
    ///
    /// A session that was closed stays closed, and its client is returned.
    ///
    /// # Errors
    ///
    /// When reconnecting fails; the same error for everybody who waited for it. The next call tries
    /// again.
    ///
    /// **Cancel safety:** dropping the future leaves the attempt to the others that wait for it. When there are
    /// none, it is given up.
    pub async fn client(&self) -> Result<Client, Error> {
        let shared = &self.handle.shared;
        loop {
            let (client, attempt, left_over) = shared.state.with(|state| {
                let client = state.client.clone().expect("there is a handle");
                let failed = client.session().cause().is_some_and(|cause| !cause.is_orderly());
                if !failed || state.gone {
                    return (client, None, None);
                }
                match state.attempt.as_ref().and_then(SharedFuture::waiter) {
                    Some(waiter) => (client, Some(waiter), None),
                    None => {
                        let (attempt, waiter) = shared.attempt(client.clone());
                        (client, Some(waiter), state.attempt.replace(attempt))
                    }
                }
            });
            drop(left_over);
            let Some(attempt) = attempt else { return Ok(client) };
            // `None` if a poll of somebody else's panicked.
            if let Some(attempted) = attempt.await {
                return attempted.map_err(Error::not_connected);
            }
        }
    }
}

impl Shared {
    /// To replace the client. It keeps this, and so the handles' part, only while somebody waits for it.
    fn attempt(self: &Arc<Self>, old: Client) -> (SharedFuture<Attempted>, Waiter<Attempted>) {
        let shared = Arc::clone(self);
        SharedFuture::start(async move {
            let attempted = match old.reconnect().await {
                Ok((client, driver)) => {
                    shared.replace(client.clone(), driver);
                    Ok(client)
                }
                Err(error) => Err(Cause::Failed(Arc::new(error))),
            };
            // The next one to come looks anew.
            let attempt = shared.state.with(|state| state.attempt.take());
            drop(attempt);
            attempted
        })
    }

    fn replace(&self, client: Client, driver: Driver) {
        let left_over = self.state.change(|state| {
            let old = state.client.replace(client);
            let driver = match state.gone {
                true => Some(driver),
                false => state.driver.replace(driver),
            };
            (old, driver)
        });
        drop(left_over);
    }
}

/// Future that runs the connection of a [`Reconnecting`] client, whichever it is.
///
/// It resolves when the present session was closed, or has ended and there is no [`Reconnecting`] any more.
/// While one has failed it waits for the next.
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
                    let cause = state.client.as_ref().map(|client| client.session().cause());
                    let over = cause.is_none_or(|cause| cause.is_some_and(|cause| cause.is_orderly()));
                    over.then_some(None)
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
        let left_over = self.shared.state.with(|state| {
            state.gone = true;
            state.driver.take()
        });
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
