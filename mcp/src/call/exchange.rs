//! The choke point: every request of every client goes through [`Client::call`].

use super::client::{Client, Shared};
use super::error::{Delivery, Error, ErrorKind, InvalidInput, TimeoutError, Violation};
use super::inbox::{Deadline, Inbox};
use super::modern::Budget;
use super::options::CallOptions;
use super::protocol::exchange::{Reply, ReplyError};
use super::protocol::message;
use super::protocol::meta::with_meta;
use super::protocol::modern::LOG_LEVEL;
use super::transport::{Outgoing, Routing, Tracking};
use super::visits::VISIT_REQUIRED;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use shared_fate::SupervisedExt;
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

impl Client {
    /// One call, in the way of the negotiated revision.
    pub(crate) fn call(
        &self,
        method: &str,
        params: Option<&RawValue>,
    ) -> impl Future<Output = Result<Box<RawValue>, Error>> {
        self.call_within(method, params, self.options().total_limit())
    }

    /// The same where of the limit for the whole no more than this is left.
    pub(crate) async fn call_within(
        &self,
        method: &str,
        params: Option<&RawValue>,
        total: Option<Duration>,
    ) -> Result<Box<RawValue>, Error> {
        match self.shared().modern() {
            None => {
                let inbox = &self.shared().inbox;
                let visiting = inbox.config().handlers.visits_pages().then(|| Budget::new(inbox, total));
                match (self.once(method, params, &[], None, total).await, visiting) {
                    (Err(error), Some(budget))
                        if error.rpc().is_some_and(|rpc| rpc.code() == VISIT_REQUIRED) =>
                    {
                        Box::pin(self.after_visits(method, params, error, budget)).await
                    }
                    (result, _) => result,
                }
            }
            Some(modern) => self.call_modern(modern, method, params, total).await,
        }
    }

    /// Registers a call, sends it, waits for the reply and the deadline, and shares the session's fate.
    /// `PendingCall` cleans up on every way out.
    pub(crate) async fn once(
        &self,
        method: &str,
        params: Option<&RawValue>,
        meta: &[(&'static str, Box<RawValue>)],
        routing: Option<Routing>,
        total: Option<Duration>,
    ) -> Result<Box<RawValue>, Error> {
        check_method(method)?;
        let shared = self.shared();
        let inbox = &*shared.inbox;
        let options = self.options();
        let retracted = AtomicBool::new(false);
        let request = async {
            // CAN-02, ERA-19; and from 2026-07-28 on an exchange is cancelled by its end.
            let by_drop = !meta.is_empty() && shared.transport.exchanges();
            let cancellable = !inbox.is_handshaking() && !by_drop;
            let call = match PendingCall::begin(shared, &retracted, cancellable, options) {
                Ok(call) => call,
                Err(error) => return Err(error),
            };
            let mut deadline = Deadline::new(inbox, options.silence_limit(), total);
            let params = call.params(params, options, meta);
            let body = message::encode_request(call.id, method, params.as_deref());
            let message = Outgoing { id: Some(call.id), method: Some(method.to_owned()), body, routing };
            let mut sending = Some(shared.transport.send_tracked(message, &call.tracking, inbox));
            poll_fn(|cx| {
                if let Some(send) = &mut sending {
                    if let Poll::Ready(sent) = send.as_mut().poll(cx) {
                        sending = None;
                        if let Some(reply) = sent.inspect_err(|error| call.failed(error))?.reply {
                            return Poll::Ready(call.settle(reply));
                        }
                    }
                }
                if let Poll::Ready(reply) = inbox.poll_reply(call.id, deadline.at(), cx) {
                    return Poll::Ready(call.settle(reply));
                }
                inbox
                    .poll_deadline(call.id, &mut deadline)
                    .map(|()| Err(timed_out(&deadline, options)))
                    .map_err(|error| error.after_losing(call.tracking.take_lost()))
            })
            .await
        };
        let result = request.try_supervised_if(inbox.session(), may_be_echo).await;
        result.map_err(|failed| Error::from_request(failed, retracted.load(Ordering::Relaxed)))
    }

    /// The same for a message that has no reply: sends it and shares the session's fate.
    pub(crate) async fn tell(&self, method: &str, params: Option<&RawValue>) -> Result<(), Error> {
        check_method(method)?;
        let shared = self.shared();
        let inbox = &*shared.inbox;
        let body = message::encode_notification(method, params);
        let message = Outgoing { id: None, method: Some(method.to_owned()), body, routing: None };
        let (silence, total) = (self.options().silence_limit(), self.options().total_limit());
        let limit = match (silence, total) {
            (Some(after), total) if total.is_none_or(|total| after < total) => {
                Some(TimeoutError { after, total: false })
            }
            (_, total) => total.map(|after| TimeoutError { after, total: true }),
        };
        let tracking = Tracking::default();
        let send = async {
            let sending = shared.transport.send_tracked(message, &tracking, inbox);
            in_time(inbox, limit, sending).await
        };
        let result = send.try_supervised_if(inbox.session(), may_be_echo).await;
        result.map(drop).map_err(|failed| Error::from_request(failed, tracking.is_unsent()))
    }

    /// Waits, but not longer than the session lives.
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), Error> {
        let inbox = &self.shared().inbox;
        let pause = async {
            inbox.sleep(duration).await;
            Ok(())
        };
        pause.try_supervised(inbox.session()).await.map_err(|failed| Error::from_request(failed, true))
    }
}

/// What a connection that fails says may be the echo of its session's end. Anything else is the call's own, a
/// deadline above all: it waits for nobody.
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
    shared: &'a Shared,
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
        shared: &'a Shared,
        retracted: &'a AtomicBool,
        cancellable: bool,
        options: &CallOptions,
    ) -> Result<Self, Error> {
        let id = shared.inbox.begin()?;
        if let Some(progress) = &options.progress {
            shared.inbox.reporters().add(id, Arc::clone(progress), options.task_token.is_some());
            if let Some(token) = &options.task_token {
                shared.inbox.reporters().no_task(token.swap(id, Ordering::Relaxed));
            }
        }
        // Before the request is sent (SUB-08).
        if let Some(changes) = &options.subscription {
            shared.inbox.report_changes(id, Arc::clone(changes));
        }
        Ok(Self {
            shared,
            id,
            answered: AtomicBool::new(false),
            tracking: Tracking::default(),
            retracted,
            cancellable,
            reports_progress: options.progress.is_some(),
            reports_changes: options.subscription.is_some(),
        })
    }

    /// The parameters, with what the options add to them.
    fn params<'p>(
        &self,
        params: Option<&'p RawValue>,
        options: &CallOptions,
        meta: &[(&'static str, Box<RawValue>)],
    ) -> Option<Cow<'p, RawValue>> {
        let token = self.reports_progress.then(|| to_raw_value(&self.id).expect("a number"));
        let mut entries = Vec::new();
        if let Some(token) = &token {
            entries.push(("progressToken", Cow::Borrowed(&**token)));
        }
        entries.extend(meta.iter().map(|(name, value)| (*name, Cow::Borrowed(&**value))));
        // Older servers know nothing of it (MOD-11).
        if let Some(level) = options.log_level.as_ref().filter(|_| !meta.is_empty()) {
            entries.push((LOG_LEVEL, Cow::Borrowed(level.as_raw())));
        }
        entries.extend(options.meta.iter().map(|(name, value)| (&**name, Cow::Borrowed(value.as_raw()))));
        match entries.is_empty() {
            true => params.map(Cow::Borrowed),
            false => Some(Cow::Owned(with_meta(params, &entries))),
        }
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
        if self.reports_progress {
            self.shared.inbox.reporters().call_ended(self.id);
        }
        if self.reports_changes {
            self.shared.inbox.forget_changes(self.id);
        }
        if self.answered.load(Ordering::Relaxed) {
            return;
        }
        // CAN-02.
        if self.tracking.is_unsent() || self.shared.transport.retract(self.id) {
            self.retracted.store(true, Ordering::Relaxed);
            return;
        }
        self.shared.inbox.give_up();
        if self.cancellable && !self.shared.inbox.session().is_ended() {
            self.shared.inbox.post_cancellation(cancellation(self.id));
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
    let params = to_raw_value(&Cancelled { id }).expect("a number");
    let body = message::encode_notification(METHOD, Some(&params));
    Outgoing { id: None, method: Some(METHOD.to_owned()), body, routing: None }
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
    match to_raw_value(params) {
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
    in_time(inbox, limit.map(|after| TimeoutError { after, total: true }), future).await
}

async fn in_time<T>(
    inbox: &Inbox,
    limit: Option<TimeoutError>,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let Some(limit) = limit else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| inbox.sleep(limit.after));
        timer.as_mut().poll(cx).map(|()| Err(Error::new(ErrorKind::Timeout(limit), Delivery::MaybeSent)))
    })
    .await
}
