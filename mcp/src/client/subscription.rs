//! [`Subscription`]: what has changed at a server (SUB-01 to SUB-12).
//!
//! A server of revision 2026-07-28 reports in answer to a request. One with a handshake sends notifications, those of
//! resources after a request for each; the subscription makes these requests, and takes them back at its end.

use super::Client;
use super::methods::SUBSCRIBE;
use crate::call::exchange;
use crate::call::options::CallOptions;
use crate::call::reply::checked;
use crate::call::{Asked, ByUri, NOT_AN_OBJECT, params_of, request};
use crate::error::{Delivery, Error, ErrorKind, Violation};
use crate::inbox::changes::{ACKNOWLEDGED, Change, Changes};
use crate::inbox::deadline::{Budget, Clock, within_either};
use crate::inbox::interest::{Interest, or_default};
use crate::inbox::subscriptions::Listener;
use crate::protocol::stateless::LISTEN;
use crate::runtime::timer::BoxFuture;
use crate::types::Json;
use futures_core::{FusedStream, Stream};
use serde::{Deserialize, Serialize};
use shared_fate::{Cause, SupervisedExt};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The changes at a server, as a stream.
///
/// **The end:** when the server ends the subscription, the stream ends. When the subscription is lost (the connection
/// broke, the session ended), one `Err` with the cause comes before the stream's end. Over HTTP a subscription may be lost
/// while the session lives: its stream broke, or the own stream of a server with a handshake is lost for good
/// ([`Event::StreamLost`](crate::Event::StreamLost)). Whether the session lives the next call says.
/// Changes that were missed in between are not replayed: subscribe again, and fetch everything anew.
///
/// ```no_run
/// use futures::StreamExt;
/// use shared_fate_mcp::{Change, Error, Interest, Reconnecting};
///
/// # fn refresh(_: Option<Change>) {}
/// # fn report(_: &Error) {}
/// # async fn pause() {}
/// // Watches a server through all its restarts, until the client is closed.
/// async fn watch(clients: &Reconnecting, interest: &Interest) {
///     loop {
///         if let Err(lost) = follow(clients, interest).await {
///             if lost.session_cause().is_some_and(|cause| cause.is_orderly() || cause.is_dropped()) {
///                 return;
///             }
///             report(&lost);
///         }
///         pause().await; // a second, or longer from time to time
///     }
/// }
///
/// // Watches it until the subscription ends.
/// async fn follow(clients: &Reconnecting, interest: &Interest) -> Result<(), Error> {
///     let client = clients.client().await?;
///     client.ping().await?; // whether an HTTP server still knows the session a call must find out
///     let mut changes = client.listen(interest).await?;
///     refresh(None); // anything may have changed before
///     while let Some(change) = changes.next().await {
///         refresh(Some(change?));
///     }
///     Ok(())
/// }
/// ```
///
/// **Cancel safety:** no change is lost by dropping the future of `next`.
///
/// **Drop:** ends the subscription: over HTTP by closing its stream, otherwise with a cancellation. With a server that has a
/// handshake, what it has asked for is taken back (`resources/unsubscribe`), best effort, for those resources that no other
/// subscription of this session has, and no [`Client::subscribe_resource`].
#[must_use = "streams do nothing unless polled, and over HTTP nothing is read"]
pub struct Subscription {
    interest: Interest,
    call: Option<BoxFuture<'static, Result<(), Error>>>,
    changes: Arc<Changes>,
    /// The loss, until it is told.
    lost: Option<Error>,
}

impl Client {
    /// Subscribes to changes at the server, whatever its revision. Resolves when the server has
    /// agreed; [`Subscription::missing`] says to what it has not.
    ///
    /// A server of revision 2026-07-28 is asked with one request, and says what it will report. Of an older one the lists are
    /// reported if its capabilities say that it tells of their changes, and each resource is subscribed to by a request; of
    /// tasks nothing. These reports are told as [`Event`](crate::Event)s, too: they belong to the whole session. Over HTTP
    /// they come on the server's own stream. If the server has none (it answers the GET with 405, for instance), it has
    /// agreed to nothing.
    ///
    /// ```no_run
    /// # async fn f(client: shared_fate_mcp::Client) -> Result<(), shared_fate_mcp::Error> {
    /// use futures::StreamExt;
    /// use shared_fate_mcp::{Change, Interest};
    ///
    /// let mut changes = client.listen(&Interest::default().tools()).await?;
    /// while let Some(change) = changes.next().await.transpose()? {
    ///     if let Change::Tools = change {
    ///         println!("{} tools now", client.list_tools().await?.len());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the server refuses, does not answer in time, or the session ends; and at once when the own stream of an older
    /// server is lost already ([`Event::StreamLost`](crate::Event::StreamLost)). [`CallOptions::total`] limits all requests
    /// together.
    ///
    /// **Cancel safety:** dropping the future ends the subscription.
    pub async fn listen(&self, interest: &Interest) -> Result<Subscription, Error> {
        let subscription = match self.connection().stateless() {
            Some(_) => self.listen_by_request(interest).await,
            None => self.listen_by_notification(interest).await,
        };
        subscription.map_err(|error| self.caller().named(error))
    }

    async fn listen_by_request(&self, interest: &Interest) -> Result<Subscription, Error> {
        #[derive(Serialize)]
        struct Params<'a> {
            notifications: &'a Interest,
        }
        let params = params_of(&Params { notifications: interest }, "unreachable")?;
        let changes = Arc::new(Changes::new(self.limits().changes, self.limits().change_bytes));
        // No deadline for the end (SUB-08).
        let options = CallOptions {
            subscription: Some(Arc::clone(&changes)),
            meta: self.options().meta.clone(),
            ..CallOptions::default()
        };
        let client = self.with_only(options);
        let call =
            Box::pin(
                async move { client.call(LISTEN, Asked::Text(params)).await.and_then(checked).map(drop) },
            );
        let interest = interest.clone();
        let mut subscription = Subscription { interest, call: Some(call), changes, lost: None };
        let acknowledged = poll_fn(|cx| {
            subscription.poll_call(cx);
            if subscription.changes.poll_acknowledged(cx) {
                return Poll::Ready(Ok(()));
            }
            match subscription.call {
                Some(_) => Poll::Pending,
                None => {
                    let lost = subscription.lost.take();
                    Poll::Ready(Err(lost.unwrap_or_else(|| Error::protocol(Violation::StreamEnded))))
                }
            }
        });
        let limit = self.options().first_limit();
        within_either(&self.connection().inbox, limit, Clock::GoesOn, acknowledged).await?;
        Ok(subscription)
    }

    async fn listen_by_notification(&self, interest: &Interest) -> Result<Subscription, Error> {
        let inbox = &*self.connection().inbox;
        if let Some(cause) = inbox.session().cause() {
            return Err(Error::lost(cause).not_sent());
        }
        let agreed = match inbox.own_stream().cause() {
            None => interest.offered_by(&self.server().capabilities),
            // Nothing that it might say without being asked comes here.
            Some(Cause::Closed) => Interest::default(),
            Some(cause) => return Err(stream_lost(&cause)),
        };
        let changes = Arc::new(Changes::new(self.limits().changes, self.limits().change_bytes));
        let text = Json::new(&Agreement { notifications: agreed.clone() })?;
        changes.push(ACKNOWLEDGED, Some(text));
        // Before the first is asked for: it may come at once.
        let listener = Arc::new(Listener { interest: agreed, changes: Arc::clone(&changes) });
        let listening = Listening { client: self.clone(), listener };
        inbox.add_listener(&listening.listener);
        let budget = Budget::new(inbox, self.options().total_limit());
        for (index, uri) in listening.listener.interest.resource_subscriptions.iter().enumerate() {
            if index > 0 && budget.is_spent() {
                return Err(self.caller().out_of_time(Delivery::Answered));
            }
            let asked = self.caller().asked(SUBSCRIBE, &ByUri { uri }, NOT_AN_OBJECT)?;
            let agreed = request(self.caller(), SUBSCRIBE, asked, budget.left()).await.and_then(checked);
            agreed.map_err(|error| if index == 0 { error } else { error.of_answered() })?;
        }
        let call = Box::pin(async move {
            let inbox = &*listening.client.connection().inbox;
            let error = match inbox.own_stream().ended().supervised(inbox.session()).await {
                Ok(cause) => stream_lost(&cause),
                Err(ended) => Error::lost(ended.into_cause()),
            };
            Err(listening.client.caller().named(error))
        });
        Ok(Subscription { interest: interest.clone(), call: Some(call), changes, lost: None })
    }
}

/// The server's own stream is lost, or it turns out that there is none.
fn stream_lost(cause: &Cause<Error>) -> Error {
    let just_ended = |error: &Error| matches!(error.kind(), ErrorKind::Protocol(it) if *it.violation() == Violation::OwnStreamLost);
    match cause {
        // There is no more to say.
        Cause::Failed(error) if just_ended(error) => Error::protocol(Violation::OwnStreamLost),
        Cause::Failed(error) => Error::protocol_with(Violation::OwnStreamLost, Arc::clone(error)),
        _ => Error::protocol_with(Violation::OwnStreamLost, "the server has no stream of its own"),
    }
}

/// What a server has agreed to report.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Agreement {
    #[serde(deserialize_with = "or_default")]
    notifications: Interest,
}

/// The notifications of a server with a handshake, for as long as this lives.
struct Listening {
    client: Client,
    listener: Arc<Listener>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let connection = self.client.connection();
        connection.inbox.forget_listener(&self.listener);
        for uri in &self.listener.interest.resource_subscriptions {
            if !connection.inbox.is_listening_to(uri) {
                exchange::unsubscribe_without_waiting(connection, uri);
            }
        }
    }
}

impl Subscription {
    /// What the server has agreed to report, as JSON text: the parameters of its acknowledgement. For a server with a
    /// handshake they are made of its capabilities.
    pub fn acknowledged(&self) -> Json {
        self.changes.acknowledged().expect("a subscription is handed out when it is acknowledged")
    }

    /// What the caller asked for.
    pub fn interest(&self) -> &Interest {
        &self.interest
    }

    /// What the caller asked for and the server has not agreed to: it will not be reported.
    pub fn missing(&self) -> Interest {
        let agreed: Agreement = self.acknowledged().parse().unwrap_or_default();
        self.interest.without(&agreed.notifications)
    }

    fn poll_call(&mut self, cx: &mut Context<'_>) {
        if let Some(call) = &mut self.call {
            if let Poll::Ready(result) = call.as_mut().poll(cx) {
                self.call = None;
                self.lost = result.err();
            }
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Change, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Over HTTP this is what reads.
        self.poll_call(cx);
        match self.changes.poll_next(cx) {
            Poll::Ready(change) => Poll::Ready(Some(Ok(change))),
            Poll::Pending if self.call.is_some() => Poll::Pending,
            Poll::Pending => Poll::Ready(self.lost.take().map(Err)),
        }
    }
}

impl FusedStream for Subscription {
    fn is_terminated(&self) -> bool {
        self.call.is_none() && self.lost.is_none() && self.changes.is_empty()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("ended", &self.call.is_none()).finish_non_exhaustive()
    }
}
