//! [`Subscription`]: what has changed at a server of revision 2026-07-28 (SUB-01 to SUB-12).

use super::client::Client;
use super::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError, Violation};
use super::options::CallOptions;
use super::protocol::modern::LISTEN;
use super::timer::BoxFuture;
use super::types::{Json, TaskStatus};
use super::watched::Watched;
use futures_core::{FusedStream, Stream};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

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
    /// How these tasks stand, by their ids: with [`Builder::task_extension`](super::Builder::task_extension)
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

/// Something that has changed at the server. Nothing is said twice: fetch it anew.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// This resource, or a part of it (SUB-12).
    Resource {
        /// Its address.
        uri: String,
    },
    /// A task: how it stands now (TSK-08).
    Task {
        /// Its id.
        id: String,
        /// How far it is.
        status: TaskStatus,
        /// All that `tasks/get` would say, its result included.
        state: Json,
    },
    /// Something that this crate does not know.
    Other {
        /// The notification's method.
        method: String,
        /// Its parameters.
        params: Option<Json>,
    },
    /// More than [`Limits::changes`](super::Limits::changes), or than
    /// [`Limits::change_bytes`](super::Limits::change_bytes), were not fetched in time, and the oldest are
    /// lost: anything may have changed.
    Lagged,
}

impl Change {
    /// How much text it keeps, in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Tools | Self::Prompts | Self::Resources | Self::Lagged => 0,
            Self::Resource { uri } => uri.len(),
            Self::Task { id, state, .. } => id.len() + state.as_str().len(),
            Self::Other { method, params } => {
                method.len() + params.as_ref().map_or(0, |params| params.as_str().len())
            }
        }
    }
}

/// The changes at a server, as a stream.
///
/// **The end:** when the server ends the subscription, the stream ends. When it is lost (the connection
/// broke, the session ended), one `Err` with the cause comes first; a loss is never a bare end (R13).
/// Nothing is made up for: subscribe again and fetch anew.
///
/// ```no_run
/// use futures::StreamExt;
/// use shared_fate_mcp::{Change, Error, Interest, Reconnecting};
///
/// # fn refresh(_: Option<Change>) {}
/// // Watches a server through all its restarts (SUB-11), until the client is closed.
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

/// Where the changes of one subscription are kept until they are fetched.
pub(crate) struct Changes {
    limit: usize,
    byte_limit: usize,
    state: Watched<State>,
}

#[derive(Default)]
struct State {
    changes: VecDeque<Change>,
    /// How much text is in them.
    bytes: usize,
    lagged: bool,
    acknowledged: Option<Json>,
}

impl Client {
    /// Subscribes to changes at a server of revision 2026-07-28. Resolves when the server has
    /// acknowledged; [`Subscription::acknowledged`] says to what it has agreed.
    ///
    /// # Errors
    ///
    /// With older servers: they report changes unasked ([`Event`](super::Event)), and those of resources
    /// after [`subscribe_resource`](Self::subscribe_resource).
    ///
    /// **Cancel safety:** dropping the future ends the subscription.
    pub async fn listen(&self, interest: &Interest) -> Result<Subscription, Error> {
        #[derive(Serialize)]
        struct Params<'a> {
            notifications: &'a Interest,
        }
        if self.shared().modern().is_none() {
            let why = "the server's protocol revision does not have it yet";
            return Err(Error::invalid(InvalidInput::Method(why)));
        }
        let params = super::call::params_of(&Params { notifications: interest }, "unreachable")?;
        let (limit, byte_limit) = (self.limits().changes, self.limits().change_bytes);
        let changes = Arc::new(Changes { limit, byte_limit, state: Watched::default() });
        // No deadline for the end (SUB-08).
        let options = CallOptions {
            subscription: Some(Arc::clone(&changes)),
            meta: self.options().meta.clone(),
            ..CallOptions::default()
        };
        let client = self.with_only(options);
        let call = Box::pin(async move { client.call(LISTEN, params.as_deref()).await.map(drop) });
        let interest = interest.clone();
        let mut subscription = Subscription { interest, call: Some(call), changes, lost: None };
        let limit = self.options().silence_limit().or_else(|| self.options().total_limit());
        let mut timer = limit.map(|limit| self.shared().inbox.sleep(limit));
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
        let acknowledged = self.changes.state.with(|state| state.acknowledged.clone());
        acknowledged.expect("a subscription is handed out when it is acknowledged")
    }

    /// What was wished for.
    pub fn interest(&self) -> &Interest {
        &self.interest
    }

    /// What was wished for and not agreed to (SUB-03): of that nothing will be reported.
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
        self.call.is_none()
            && self.lost.is_none()
            && self.changes.state.with(|state| state.changes.is_empty())
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("ended", &self.call.is_none()).finish_non_exhaustive()
    }
}

impl State {
    fn pop(&mut self) -> Option<Change> {
        let change = self.changes.pop_front()?;
        self.bytes -= change.size();
        Some(change)
    }
}

impl Changes {
    /// Takes a notification of this subscription.
    pub(crate) fn push(&self, method: &str, params: Option<Json>) {
        #[derive(Deserialize)]
        struct Updated {
            uri: String,
        }
        #[derive(Deserialize)]
        struct Stands {
            #[serde(rename = "taskId")]
            id: String,
            status: TaskStatus,
        }
        if method == ACKNOWLEDGED {
            let params = params.unwrap_or_else(|| Json::new(&()).expect("null"));
            let old = self.state.change(|state| state.acknowledged.replace(params));
            return drop(old);
        }
        let known = match (method, &params) {
            ("notifications/tools/list_changed", _) => Some(Change::Tools),
            ("notifications/prompts/list_changed", _) => Some(Change::Prompts),
            ("notifications/resources/list_changed", _) => Some(Change::Resources),
            ("notifications/resources/updated", Some(params)) => {
                params.parse().ok().map(|Updated { uri }| Change::Resource { uri })
            }
            ("notifications/tasks", Some(state)) => {
                let task = state.parse().ok();
                task.map(|Stands { id, status }| Change::Task { id, status, state: state.clone() })
            }
            _ => None,
        };
        let change = known.unwrap_or_else(|| Change::Other { method: method.to_owned(), params });
        self.state.change(|state| {
            state.bytes += change.size();
            state.changes.push_back(change);
            while state.changes.len() > self.limit || state.bytes > self.byte_limit {
                drop(state.pop());
                state.lagged = true;
            }
        });
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Change> {
        self.state.poll(cx, |state| match std::mem::take(&mut state.lagged) {
            true => Some(Change::Lagged),
            false => state.pop(),
        })
    }

    fn poll_acknowledged(&self, cx: &mut Context<'_>) -> bool {
        self.state.poll(cx, |state| state.acknowledged.as_ref().map(drop)).is_ready()
    }
}
