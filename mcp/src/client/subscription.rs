//! [`Subscription`]: what has changed at a server of revision 2026-07-28 (SUB-01 to SUB-12).

use super::Client;
use crate::call::options::CallOptions;
use crate::call::reply::checked;
use crate::call::{Asked, params_of};
use crate::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError, Violation};
use crate::inbox::changes::{Change, Changes};
use crate::protocol::stateless::LISTEN;
use crate::runtime::timer::BoxFuture;
use crate::types::Json;
use futures_core::{FusedStream, Stream};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a [`Subscription`] is to report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Interest {
    /// Changes of the list of tools.
    #[serde(skip_serializing_if = "is_false")]
    pub tools_list_changed: bool,
    /// Changes of the list of prompts.
    #[serde(skip_serializing_if = "is_false")]
    pub prompts_list_changed: bool,
    /// Changes of the list of resources.
    #[serde(skip_serializing_if = "is_false")]
    pub resources_list_changed: bool,
    /// Changes of these resources, by their addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_subscriptions: Vec<String>,
    /// How these tasks stand, by their ids: with [`Builder::task_extension`](crate::Builder::task_extension)
    /// only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub task_ids: Vec<String>,
}

impl Interest {
    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is in this one and not in `other`.
    fn without(&self, other: &Self) -> Self {
        let left = |ours: &[String], theirs: &[String]| {
            ours.iter().filter(|it| !theirs.contains(it)).cloned().collect()
        };
        Self {
            tools_list_changed: self.tools_list_changed && !other.tools_list_changed,
            prompts_list_changed: self.prompts_list_changed && !other.prompts_list_changed,
            resources_list_changed: self.resources_list_changed && !other.resources_list_changed,
            resource_subscriptions: left(&self.resource_subscriptions, &other.resource_subscriptions),
            task_ids: left(&self.task_ids, &other.task_ids),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The changes at a server, as a stream.
///
/// **The end:** when the server ends the subscription, the stream ends. When the subscription is lost (the connection
/// broke, the session ended), one `Err` with the cause comes before the stream's end.
/// Changes that were missed in between are not replayed: subscribe again, and fetch everything anew.
///
/// ```no_run
/// use futures::StreamExt;
/// use shared_fate_mcp::{Change, Error, Interest, Reconnecting};
///
/// # fn refresh(_: Option<Change>) {}
/// // Watches a server through all its restarts, until the client is closed.
/// async fn watch(clients: &Reconnecting, interest: &Interest) -> Result<(), Error> {
///     loop {
///         let mut changes = clients.client().await?.listen(interest).await?;
///         refresh(None); // anything may have changed before
///         while let Some(change) = changes.next().await {
///             match change {
///                 Ok(change) => refresh(Some(change)),
///                 Err(lost) if lost.is_session_ended() => break,
///                 Err(lost) => return Err(lost),
///             }
///         }
///     }
/// }
/// ```
///
/// **Cancel safety:** no change is lost by dropping the future of `next`.
///
/// **Drop:** ends the subscription: over HTTP by closing its stream, otherwise with a cancellation.
#[must_use = "streams do nothing unless polled, and over HTTP nothing is read"]
pub struct Subscription {
    interest: Interest,
    call: Option<BoxFuture<'static, Result<(), Error>>>,
    changes: Arc<Changes>,
    /// The loss, until it is told.
    lost: Option<Error>,
}

impl Client {
    /// Subscribes to changes at a server of revision 2026-07-28. Resolves when the server has
    /// acknowledged; [`Subscription::acknowledged`] says to what it has agreed.
    ///
    /// # Errors
    ///
    /// With older servers: they report changes unasked ([`Event`](crate::Event)), and those of resources
    /// after [`subscribe_resource`](Self::subscribe_resource).
    ///
    /// **Cancel safety:** dropping the future ends the subscription.
    pub async fn listen(&self, interest: &Interest) -> Result<Subscription, Error> {
        #[derive(Serialize)]
        struct Params<'a> {
            notifications: &'a Interest,
        }
        if self.connection().stateless().is_none() {
            let why = "the server's protocol revision does not have it yet";
            return Err(Error::invalid(InvalidInput::Method(why)));
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
        let limit = self.options().silence_limit().or_else(|| self.options().total_limit());
        let mut timer = limit.map(|limit| self.connection().inbox.sleep(limit));
        poll_fn(|cx| {
            subscription.poll_call(cx);
            if subscription.changes.poll_acknowledged(cx) {
                return Poll::Ready(Ok(()));
            }
            if subscription.call.is_none() {
                let lost = subscription.lost.take();
                return Poll::Ready(Err(lost.unwrap_or_else(|| Error::protocol(Violation::StreamEnded))));
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(cx).map(|()| {
                    let error = TimeoutError { after: limit.unwrap_or_default(), total: false };
                    Err(Error::new(ErrorKind::Timeout(error), Delivery::MaybeSent))
                }),
                None => Poll::Pending,
            }
        })
        .await?;
        Ok(subscription)
    }
}

impl Subscription {
    /// What the server has agreed to report, as JSON text: the parameters of its acknowledgement.
    pub fn acknowledged(&self) -> Json {
        self.changes.acknowledged().expect("a subscription is handed out when it is acknowledged")
    }

    /// What the caller asked for.
    pub fn interest(&self) -> &Interest {
        &self.interest
    }

    /// What the caller asked for and the server has not agreed to: it will not be reported.
    pub fn missing(&self) -> Interest {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Acknowledgement {
            notifications: Interest,
        }
        let agreed: Acknowledgement = self.acknowledged().parse().unwrap_or_default();
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
