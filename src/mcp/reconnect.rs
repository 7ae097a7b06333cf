//! [`Reconnecting`]: a new session when the old one has ended, for those who ask for it.
//!
//! Nothing is repeated: calls of a session that ends fail with its cause, and it is the *next* call
//! that gets a new session. Concurrent callers share one attempt; whoever leads it may be dropped, and
//! another takes over.

use super::builder::Builder;
use super::client::Client;
use super::driver::Driver;
use super::error::Error;
use super::transport::Transport;
use super::watched::Watched;
use crate::{Cause, Session};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A client whose session is replaced when it has ended. Cheap to clone.
///
/// ```no_run
/// # #[cfg(feature = "mcp-http")]
/// # async fn f() -> Result<(), shared_fate::mcp::Error> {
/// use shared_fate::mcp::{Client, Http, Reconnecting};
///
/// let http = Http::new("http://localhost:8080/mcp")?;
/// let (clients, driver) = Reconnecting::connect(Client::builder(), http).await?;
/// driver
///     .with(async {
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
    shared: Arc<Shared>,
}

struct Shared {
    /// Watched by the driver.
    state: Watched<State>,
}

struct State {
    client: Client,
    /// The attempt to replace it that is under way. It ends `Closed` when there is something new to
    /// see, and fails when there is not.
    attempt: Option<Session<Error>>,
    /// The new session's driver, until [`ReconnectingDriver`] takes it.
    driver: Option<Driver>,
    gone: bool,
}

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
        let state = State { client, attempt: None, driver: None, gone: false };
        let shared = Arc::new(Shared { state: Watched::new(state) });
        Ok((Self { shared: Arc::clone(&shared) }, ReconnectingDriver { shared, driver: Some(driver) }))
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
    /// **Cancel safety:** dropping the future that does the reconnecting gives that attempt up, and
    /// another waiting one, if there is one, starts anew.
    pub async fn client(&self) -> Result<Client, Error> {
        loop {
            let (old, attempt) = self.shared.state.with(|state| {
                let failed = state.client.session().cause().is_some_and(|cause| !cause.is_closed());
                let attempt = (failed && !state.gone).then(|| {
                    let leads = state.attempt.is_none();
                    (state.attempt.get_or_insert_with(Session::new).clone(), leads)
                });
                (state.client.clone(), attempt)
            });
            let Some((attempt, leads)) = attempt else { return Ok(old) };
            if leads {
                let lead = Lead { shared: &self.shared, attempt: &attempt };
                match old.reconnect().await {
                    Ok((client, driver)) => {
                        lead.replace(client.clone(), driver);
                        return Ok(client);
                    }
                    Err(error) => {
                        attempt.fail(error);
                    }
                }
            }
            // Otherwise there is a new client, or the leader has gone.
            if let cause @ Cause::Failed(_) = attempt.ended().await {
                return Err(Error::not_connected(cause));
            }
        }
    }
}

/// The one who reconnects. However it ends, the attempt ends with it.
struct Lead<'a> {
    shared: &'a Shared,
    attempt: &'a Session<Error>,
}

impl Lead<'_> {
    fn replace(&self, client: Client, driver: Driver) {
        let left_over = self.shared.state.change(|state| {
            let old = std::mem::replace(&mut state.client, client);
            let driver = match state.gone {
                true => Some(driver),
                false => state.driver.replace(driver),
            };
            (old, driver)
        });
        drop(left_over);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let attempt = self.shared.state.with(|state| state.attempt.take());
        drop(attempt);
        self.attempt.close();
    }
}

/// Future that runs the connection of a [`Reconnecting`] client, whichever it is.
///
/// It resolves when the present session was closed. While one has failed it waits for the next.
///
/// **Drop:** ends the session, as [`Driver`]'s; there is no reconnecting after that.
#[must_use = "a client's calls wait until its driver is polled"]
pub struct ReconnectingDriver {
    shared: Arc<Shared>,
    driver: Option<Driver>,
}

impl ReconnectingDriver {
    /// Runs `app` and this driver in one task, and resolves to `app`'s output; as
    /// [`Driver::with`](super::Driver::with).
    pub async fn with<A: Future>(mut self, app: A) -> A::Output {
        let mut app = std::pin::pin!(app);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = app.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            let _ = self.poll_with(cx, |driver, cx| driver.poll_contained(cx));
            Poll::Pending
        })
        .await
    }

    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Driver, &mut Context<'_>) -> Poll<()>,
    ) -> Poll<()> {
        loop {
            if let Some(driver) = &mut self.driver {
                if poll(driver, cx).is_pending() {
                    return Poll::Pending;
                }
                self.driver = None;
            }
            // A new one; or none any more.
            let next = self.shared.state.poll(cx, |state| match state.driver.take() {
                None => {
                    let closed = state.client.session().cause().is_some_and(|cause| cause.is_closed());
                    closed.then_some(None)
                }
                driver => Some(driver),
            });
            match next {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(driver) => self.driver = driver,
            }
        }
    }
}

impl Future for ReconnectingDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_with(cx, Driver::poll_unpin)
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
