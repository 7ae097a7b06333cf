//! Who wants to know of what changes at the server (SUB-04, SUB-07), and how that is lost.

use super::changes::Changes;
#[cfg(feature = "http")]
use super::event::Event;
use super::interest::Interest;
use super::{Inbox, empty_object};
use crate::error::Error;
use crate::protocol::json::object::read_object;
use crate::protocol::message::{ResponseId, own_id};
use crate::protocol::stateless::subscription_of;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::value::RawValue;
#[cfg(feature = "http")]
use shared_fate::Cause;
use shared_fate::Session;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// To whom changes are told.
#[derive(Default)]
pub(super) struct Subscriptions {
    /// Whose request it answers (2026-07-28).
    by_request: FxHashMap<u64, Arc<Changes>>,
    /// Whoever wants to know of it, of servers with a handshake.
    listeners: Vec<Arc<Listener>>,
    /// The resources that the application has subscribed to by itself, and is subscribing to, once for each request.
    subscribed: BTreeSet<String>,
    subscribing: Vec<String>,
}

/// Who wants to know of changes that are told to everybody.
pub(crate) struct Listener {
    pub(crate) interest: Interest,
    pub(crate) changes: Arc<Changes>,
}

/// A request that subscribes to a resource. Until this is dropped the resource is wanted.
pub(crate) struct Subscribing<'a> {
    inbox: &'a Inbox,
    uri: &'a str,
}

impl Subscribing<'_> {
    /// The server has agreed: the resource is wanted until it is [unsubscribed](Inbox::unsubscribed).
    pub(crate) fn agreed(self) {
        self.inbox.subscriptions.lock().subscribed.insert(self.uri.to_owned());
    }
}

impl Drop for Subscribing<'_> {
    fn drop(&mut self) {
        let mut subscriptions = self.inbox.subscriptions.lock();
        let at = subscriptions.subscribing.iter().position(|it| it == self.uri);
        at.map(|at| subscriptions.subscribing.swap_remove(at));
    }
}

impl Inbox {
    pub(crate) fn report_changes(&self, id: u64, changes: Arc<Changes>) {
        self.subscriptions.lock().by_request.insert(id, changes);
    }

    pub(crate) fn forget_changes(&self, id: u64) {
        let changes = self.subscriptions.lock().by_request.remove(&id);
        drop(changes);
    }

    pub(crate) fn add_listener(&self, listener: &Arc<Listener>) {
        self.subscriptions.lock().listeners.push(Arc::clone(listener));
    }

    pub(crate) fn forget_listener(&self, listener: &Arc<Listener>) {
        // The caller has another one, so this is not the last.
        self.subscriptions.lock().listeners.retain(|it| !Arc::ptr_eq(it, listener));
    }

    /// The application subscribes to a resource by itself.
    pub(crate) fn subscribing<'a>(&'a self, uri: &'a str) -> Subscribing<'a> {
        self.subscriptions.lock().subscribing.push(uri.to_owned());
        Subscribing { inbox: self, uri }
    }

    /// The application wants no more of a resource that it has subscribed to by itself.
    pub(crate) fn unsubscribed(&self, uri: &str) {
        self.subscriptions.lock().subscribed.remove(uri);
    }

    /// Whether somebody wants to know of changes of this resource.
    pub(crate) fn is_listening_to(&self, uri: &str) -> bool {
        let Subscriptions { listeners, subscribed, subscribing, .. } = &*self.subscriptions.lock();
        let mut uris = listeners.iter().flat_map(|it| &it.interest.resource_subscriptions).chain(subscribing);
        subscribed.contains(uri) || uris.any(|it| it == uri)
    }

    /// The server's own stream, which changes come on: it ends when it is lost for good, and is `Closed` where the server
    /// has none.
    pub(crate) fn own_stream(&self) -> &Session<Error> {
        self.own_stream.get_or_init(Session::new)
    }

    /// The server's own stream is lost for good: who listens is told, and then the application.
    #[cfg(feature = "http")]
    pub(crate) fn lose_own_stream(&self, error: Error) {
        let error = Arc::new(error);
        self.own_stream().end(Cause::Failed(Arc::clone(&error)));
        self.emit(&Event::StreamLost(error));
    }

    /// Whether it was a subscription's (SUB-04, SUB-07).
    pub(super) fn accept_change(&self, method: &str, params: Option<&RawValue>) -> bool {
        let (listeners, by_request) = {
            let Subscriptions { by_request, listeners, .. } = &*self.subscriptions.lock();
            (listeners.clone(), !by_request.is_empty())
        };
        for listener in listeners.iter().filter(|it| it.interest.covers(method)) {
            listener.changes.push(method, params.map(|params| params.to_owned().into()));
        }
        if !by_request {
            return false;
        }
        let text = params.map_or("{}", RawValue::get);
        if method == "notifications/cancelled" {
            #[derive(Deserialize)]
            struct Ended<'a> {
                #[serde(rename = "requestId", borrow)]
                id: &'a RawValue,
            }
            let Some(id) = read_object(text).and_then(|Ended { id }| own_id(id)) else { return false };
            if !self.subscriptions.lock().by_request.contains_key(&id) {
                return false;
            }
            let empty = empty_object().to_owned().into();
            let handled = self.pending.lock().handle_reply(ResponseId::Ours(id), Ok(empty));
            self.finish(handled, Cow::default);
            return true;
        }
        let Some(id) = subscription_of(text) else { return false };
        let changes = self.subscriptions.lock().by_request.get(&id).map(Arc::clone);
        if let Some(changes) = &changes {
            changes.push(method, params.map(|params| params.to_owned().into()));
        }
        changes.is_some()
    }
}
