//! The choke point: whatever asks something of a server gets its id here, and its end.
//!
//! A reply comes in one of two ways, and [`exchange_once`] looks for both: as the value of
//! [`Transport::send`](crate::Transport::send), where the request and its reply are one exchange (an HTTP POST and its
//! answer), or into the table of pending calls, where the driver reads the replies of all (a pipe). Over HTTP the table is
//! not idle either: a server may send a reply on its own stream (SES-15).
//!
//! Invariants:
//!
//! 1. An id is taken by [`PendingCall::begin`] and given back by its `Drop`, on every way out.
//! 2. A server that may be at work for nobody is told so, once: by the same `Drop`.
//! 3. What registers a waker does so before it looks at the clock, and arms the alarm after that (see the alarm).

use super::options::CallOptions;
use super::reply::failure;
use super::watch::Watch;
use super::{ByUri, Caller};
use crate::connection::Connection;
use crate::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError};
use crate::inbox::call_hook::CallStart;
use crate::inbox::deadline::{Clock, Deadline, within_either};
use crate::protocol::message::{self, Draft, ResultText};
use crate::protocol::meta::with_meta;
use crate::protocol::outgoing::{Outgoing, Routing};
use crate::protocol::pending_calls::Reply;
use crate::protocol::stateless::LOG_LEVEL;
use crate::transport::Tracking;
use crate::types::Json;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use shared_fate::SupervisedExt;
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

/// What is asked, without its id and without what the options of the call add.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: Params<'a>,
    /// What goes into `_meta`: something, if the server is of the kind without a handshake.
    pub(crate) meta: &'a [(&'static str, Box<RawValue>)],
    pub(crate) routing: Option<Routing>,
}

/// A request's parameters.
pub(crate) enum Params<'a> {
    /// They can be added to, and the request can be repeated.
    Text(Option<&'a RawValue>),
    /// They are in the message already. Only where [`adds_nothing`] and there is no `meta`.
    Written(Draft),
}

/// Whether these options leave the parameters as they are, without the `meta` of a server without a handshake.
pub(super) fn adds_nothing(options: &CallOptions) -> bool {
    // The level of the log goes to servers without a handshake only.
    options.progress.is_none() && options.meta.is_empty()
}

impl<'a> Request<'a> {
    /// The message of this request, with these members added to its `_meta`.
    fn into_message(self, id: u64, meta: &[(&str, Cow<'_, RawValue>)]) -> Outgoing<'a> {
        let Self { method, params, routing, .. } = self;
        let body = match params {
            Params::Written(draft) => {
                debug_assert!(meta.is_empty(), "they would be lost");
                message::encode_request_of(draft, id)
            }
            Params::Text(params) if meta.is_empty() => message::encode_request(id, method, params),
            Params::Text(params) => message::encode_request(id, method, Some(&with_meta(params, meta))),
        };
        Outgoing { id: Some(id), method: Some(Cow::Borrowed(method)), body, routing, headers: Vec::new() }
    }
}

/// Registers a call, sends it, waits for the reply and the deadline, and shares the session's fate. `total` is what is
/// left of the limit for the call as a whole. Whoever has no use for the result has to ask whether it is one
/// ([`checked`](super::reply::checked)).
pub(crate) async fn exchange_once(
    caller: Caller<'_>,
    request: Request<'_>,
    total: Option<Duration>,
) -> Result<ResultText, Error> {
    check_method(request.method)?;
    let Caller { connection, options } = caller;
    let inbox = &*connection.inbox;
    let retracted = AtomicBool::new(false);
    let mut watch = Watch::new(inbox, &retracted);
    let exchange = async {
        // CAN-02, ERA-19; and from 2026-07-28 on an exchange is cancelled by its end.
        let by_drop = !request.meta.is_empty() && connection.transport.is_request_response();
        let cancellable = !inbox.is_handshaking() && !by_drop;
        let call = PendingCall::begin(connection, &retracted, cancellable, options)?;
        let mut deadline = Deadline::new(inbox, options.silence_limit(), total);
        // OA-99: nobody is asked for the sake of a ping.
        call.tracking.allow_asking(request.method != "ping");
        let message = match &inbox.config().on_call {
            None => call.message(request, options, &[]),
            Some(hook) => {
                let CallStart { meta, headers, .. } = watch.begin(hook, request.method, call.id);
                Outgoing { headers, ..call.message(request, options, &meta) }
            }
        };
        let mut sending = Some(connection.transport.send(message, &call.tracking, inbox));
        poll_fn(|cx| {
            if let Some(send) = &mut sending {
                if let Poll::Ready(sent) = Pin::new(send).poll(cx) {
                    sending = None;
                    if let Some(reply) = sent.inspect_err(|error| call.failed(error))?.reply {
                        inbox.heard();
                        return Poll::Ready(call.settle(reply));
                    }
                }
            }
            if let Poll::Ready(reply) = inbox.poll_reply(call.id, deadline.at(), cx) {
                return Poll::Ready(call.settle(reply));
            }
            inbox
                .poll_deadline(call.id, &mut deadline, call.tracking.asked())
                .map(|()| Err(timed_out(&deadline, options)))
                .map_err(|error| error.after_losing(call.came_instead()))
        })
        .await
    };
    let result = exchange.try_supervised_if(inbox.session(), may_be_echo).await;
    let result =
        result.map_err(|failed| caller.named(Error::from_request(failed, retracted.load(Ordering::Relaxed))));
    watch.end(&result);
    result
}

/// Asks for something whose answer nobody waits for, best effort: the driver sends it when it can, after the session's
/// end nothing is sent.
pub(crate) fn ask_without_waiting(connection: &Connection, request: Request<'_>) {
    if let Some(message) = unawaited(connection, request) {
        connection.inbox.post_cancellation(message);
    }
}

/// Asks for no more changes of a resource, in the same way; unless somebody subscribes to it in the meantime.
pub(crate) fn unsubscribe_without_waiting(connection: &Connection, uri: &str) {
    let params = to_raw_value(&ByUri { uri }).expect("a string");
    let params = Params::Text(Some(&params));
    let request = Request { method: "resources/unsubscribe", params, meta: &[], routing: None };
    if let Some(message) = unawaited(connection, request) {
        connection.inbox.post_unsubscription(uri.to_owned(), message);
    }
}

/// The message of a request whose reply nobody waits for; `None` when it would not be sent.
fn unawaited(connection: &Connection, request: Request<'_>) -> Option<Outgoing<'static>> {
    let inbox = &*connection.inbox;
    if inbox.session().is_ended() {
        return None;
    }
    let id = inbox.begin().ok()?;
    inbox.forget(id);
    inbox.give_up();
    let meta: Vec<_> = request.meta.iter().map(|(name, value)| (*name, Cow::Borrowed(&**value))).collect();
    let Outgoing { id, method, body, routing, headers } = request.into_message(id, &meta);
    let method = method.map(|method| Cow::Owned(method.into_owned()));
    // Nobody takes it back. So over a pipe its place, and the limit, is that of messages that have no reply.
    let id = id.filter(|_| connection.transport.is_request_response());
    Some(Outgoing { id, method, body, routing, headers })
}

/// Sends a message that has no reply, and shares the session's fate.
pub(crate) async fn notify(caller: Caller<'_>, method: &str, params: Option<&RawValue>) -> Result<(), Error> {
    check_method(method)?;
    let Caller { connection, options } = caller;
    let inbox = &*connection.inbox;
    let body = message::encode_notification(method, params);
    let message = Outgoing::unasked(Some(method.into()), body);
    let tracking = Tracking::default();
    let send = async {
        let sending = connection.transport.send(message, &tracking, inbox);
        within_either(inbox, options.first_limit(), Clock::GoesOn, sending).await
    };
    let result = send.try_supervised_if(inbox.session(), may_be_echo).await;
    let result = result.map(drop).map_err(|failed| Error::from_request(failed, tracking.is_unsent()));
    result.map_err(|error| caller.named(error))
}

/// Waits, but not longer than the session lives.
pub(super) async fn pause(caller: Caller<'_>, duration: Duration) -> Result<(), Error> {
    let inbox = &caller.connection.inbox;
    let pause = async {
        inbox.sleep(duration).await;
        Ok(())
    };
    pause.try_supervised(inbox.session()).await.map_err(|failed| Error::from_request(failed, true))
}

/// Whether the error may be an echo of the session's end: what a connection says when it fails. Any other error is the
/// call's own, above all a deadline, and does not wait for the session's verdict.
fn may_be_echo(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Io(_))
}

fn timed_out(deadline: &Deadline, options: &CallOptions) -> Error {
    let after = if deadline.is_total() { options.total_limit() } else { options.silence_limit() };
    let error = TimeoutError { after: after.unwrap_or_default(), total: deadline.is_total() };
    Error::new(ErrorKind::Timeout(error), Delivery::MaybeSent)
}

/// A registered call. However it is left, its entry goes with it; and if the server may be at work
/// for nobody, it is told so.
struct PendingCall<'a> {
    connection: &'a Connection,
    id: u64,
    answered: AtomicBool,
    tracking: Tracking,
    /// Told whether the request was taken back before it was written.
    retracted: &'a AtomicBool,
    cancellable: bool,
    reports_progress: bool,
    reports_changes: bool,
}

impl<'a> PendingCall<'a> {
    fn begin(
        connection: &'a Connection,
        retracted: &'a AtomicBool,
        cancellable: bool,
        options: &CallOptions,
    ) -> Result<Self, Error> {
        let inbox = &*connection.inbox;
        let id = inbox.begin()?;
        if let Some(progress) = &options.progress {
            inbox.reporters().add(id, Arc::clone(progress), options.task_token.is_some());
            if let Some(token) = &options.task_token {
                inbox.reporters().no_task(token.swap(id, Ordering::Relaxed));
            }
        }
        // Before the request is sent (SUB-08).
        if let Some(changes) = &options.subscription {
            inbox.report_changes(id, Arc::clone(changes));
        }
        Ok(Self {
            connection,
            id,
            answered: AtomicBool::new(false),
            tracking: Tracking::default(),
            retracted,
            cancellable,
            reports_progress: options.progress.is_some(),
            reports_changes: options.subscription.is_some(),
        })
    }

    /// The message, with what the options, and whoever watches the call, add to its parameters.
    fn message<'r>(
        &self,
        request: Request<'r>,
        options: &CallOptions,
        watcher: &[(String, Json)],
    ) -> Outgoing<'r> {
        let token = self.reports_progress.then(|| to_raw_value(&self.id).expect("a number"));
        // Older servers know nothing of it (MOD-11).
        let stateless = self.connection.stateless().filter(|_| !request.meta.is_empty());
        let level = stateless.and_then(|it| options.log_level.clone().or_else(|| it.log_level()));
        let mut entries = Vec::new();
        if let Some(token) = &token {
            entries.push(("progressToken", Cow::Borrowed(&**token)));
        }
        entries.extend(request.meta.iter().map(|(name, value)| (*name, Cow::Borrowed(&**value))));
        if let Some(level) = &level {
            entries.push((LOG_LEVEL, Cow::Borrowed(level.as_raw())));
        }
        entries.extend(watcher.iter().map(|(name, value)| (&**name, Cow::Borrowed(value.as_raw()))));
        entries.extend(options.meta.iter().map(|(name, value)| (&**name, Cow::Borrowed(value.as_raw()))));
        request.into_message(self.id, &entries)
    }

    /// Only a server that may have got the request and has not answered can be at work on it.
    fn failed(&self, error: &Error) {
        self.answered.store(error.delivery() != Delivery::MaybeSent, Ordering::Relaxed);
    }

    /// What came while the call waited in vain.
    fn came_instead(&self) -> Option<Error> {
        let Connection { inbox, transport, .. } = self.connection;
        // Over HTTP each call has its own answer, and what comes elsewhere says nothing about it.
        let stray = || (!transport.is_request_response()).then(|| inbox.stray_since(self.id)).flatten();
        self.tracking.came_instead().or_else(stray)
    }

    fn settle(&self, reply: Reply) -> Result<ResultText, Error> {
        self.answered.store(true, Ordering::Relaxed);
        reply.map_err(failure)
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        let Connection { inbox, transport, .. } = self.connection;
        inbox.forget(self.id);
        if self.reports_progress {
            inbox.reporters().call_ended(self.id);
        }
        if self.reports_changes {
            inbox.forget_changes(self.id);
        }
        if self.answered.load(Ordering::Relaxed) {
            return;
        }
        // CAN-02.
        if self.tracking.is_unsent() || transport.retract(self.id) {
            self.retracted.store(true, Ordering::Relaxed);
            return;
        }
        inbox.give_up();
        if self.cancellable && !inbox.session().is_ended() {
            inbox.post_cancellation(cancellation(self.id));
        }
    }
}

/// CAN-01.
fn cancellation(id: u64) -> Outgoing<'static> {
    const METHOD: &str = "notifications/cancelled";
    #[derive(Serialize)]
    struct Cancelled {
        #[serde(rename = "requestId")]
        id: u64,
    }
    let params = to_raw_value(&Cancelled { id }).expect("a number");
    let body = message::encode_notification(METHOD, Some(&params));
    Outgoing::unasked(Some(METHOD.into()), body)
}

fn check_method(method: &str) -> Result<(), Error> {
    match method {
        "" => Err(Error::invalid(InvalidInput::Method("it is empty"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
