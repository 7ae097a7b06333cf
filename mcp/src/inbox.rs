//! [`Inbox`]: where a transport puts what it receives, and what calls and transports share.

pub(crate) mod alarm;
pub(crate) mod call_hook;
pub(crate) mod changes;
pub(crate) mod config;
pub(crate) mod deadline;
pub(crate) mod event;
pub(crate) mod handlers;
pub(crate) mod interest;
pub(crate) mod limits;
pub(crate) mod outbox;
pub(crate) mod progress;
#[cfg(feature = "http")]
pub(crate) mod receiving;
pub(crate) mod server_kinds;
pub(crate) mod subscriptions;

use crate::error::{Delivery, Error, Violation, excerpt};
use crate::protocol::json::object::read_object;
use crate::protocol::message::recover_id::recover_response_id;
use crate::protocol::message::{self, Inbound, Malformed, Message, RequestId, ResponseId, own_id};
#[cfg(feature = "http")]
use crate::protocol::message::{ResultText, RpcError};
use crate::protocol::outgoing::{Outgoing, ServerRequest};
use crate::protocol::pending_calls::{Handled, PendingCalls, Polled, Reply, names_nobody};
use crate::runtime::timer::BoxFuture;
use crate::sync::{Mutex, contain};
use crate::types::{Progress, Task};
use alarm::Alarm;
use config::Config;
use event::{Event, TASK_STATUS, of_notification};
use limits::{Limits, Timeouts};
use outbox::{Capacity, Job, Outbox, Refused};
use progress::Reporters;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared_fate::Session;
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use subscriptions::Subscriptions;

/// Where a transport puts what it receives.
///
/// No method waits, and none calls the transport.
pub struct Inbox {
    server: Option<Arc<str>>,
    session: Session<Error>,
    config: Config,
    pending: Mutex<PendingCalls>,
    outbox: Outbox,
    alarm: Alarm,
    reporters: Reporters,
    #[cfg(feature = "http")]
    receiving: receiving::Receiving,
    subscriptions: Mutex<Subscriptions>,
    /// The end of the server's own stream, where there is such a thing (HTTP with a handshake), and somebody wants to know.
    own_stream: OnceLock<Session<Error>>,
    /// How many requests of the server's are being answered, when the last of them came, and when the last
    /// answer was made: until then nobody's silence counts, within bounds.
    serving: AtomicUsize,
    asked_at: AtomicU64,
    served_at: AtomicU64,
    #[cfg(feature = "oauth")]
    asking: Mutex<deadline::Asking>,
    /// Until the handshake is over, an error that names nobody can only mean its one call.
    handshaking: AtomicBool,
    /// The last thing that was nobody's, and the number of the call that was to come next.
    last_stray: Mutex<Option<Box<(u64, String)>>>,
    /// How often the server has said that its list of tools has changed.
    tool_changes: AtomicU64,
    /// Servers of revision 2026-07-28 send no requests, and get no answer to one.
    mute: AtomicBool,
    /// Whether what the transport has read by now decides something.
    look: AtomicBool,
    this: Weak<Self>,
}

impl Inbox {
    /// `server` is what errors call it.
    pub(crate) fn new(config: Config, server: Option<Arc<str>>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            server,
            session: Session::new(),
            pending: Mutex::new(PendingCalls::new(config.limits.pending_calls, config.limits.stray)),
            outbox: Outbox::new(config.limits.outbox, config.limits.request_bytes),
            alarm: Alarm::new(Arc::clone(&config.timer)),
            reporters: Reporters::default(),
            #[cfg(feature = "http")]
            receiving: receiving::Receiving::default(),
            subscriptions: Mutex::default(),
            own_stream: OnceLock::new(),
            serving: AtomicUsize::new(0),
            asked_at: AtomicU64::new(0),
            served_at: AtomicU64::new(0),
            #[cfg(feature = "oauth")]
            asking: Mutex::default(),
            handshaking: AtomicBool::new(true),
            last_stray: Mutex::default(),
            tool_changes: AtomicU64::new(0),
            mute: AtomicBool::new(false),
            look: AtomicBool::new(false),
            config,
            this: this.clone(),
        })
    }

    /// The session that everything here belongs to.
    pub fn session(&self) -> &Session<Error> {
        &self.session
    }

    /// What errors call the server.
    pub(crate) fn server(&self) -> Option<&Arc<str>> {
        self.server.as_ref()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    #[cfg(any(feature = "stdio", feature = "http"))]
    pub(crate) fn reactor(&self) -> crate::runtime::Reactor {
        self.config.reactor
    }

    /// The client's limits.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// The client's timeouts.
    pub fn timeouts(&self) -> &Timeouts {
        &self.config.timeouts
    }

    /// A timer of the client's.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.alarm.timer().sleep(duration)
    }

    /// Takes one message: JSON text, a batch included.
    pub fn deliver(&self, text: &[u8]) {
        match message::parse(text) {
            Ok(inbound) => self.accept(inbound),
            Err(mut malformed) => {
                malformed.id = malformed.id.or_else(|| recover_response_id(text));
                self.accept_malformed(malformed, text);
            }
        }
    }

    /// Takes the beginning of a message that is longer than `limit` bytes.
    pub fn deliver_too_long(&self, prefix: &[u8], limit: usize) {
        self.accept_too_long(recover_response_id(prefix), prefix, limit);
    }

    /// Takes the beginning of a message that is too long, where it is known which call the message answers.
    pub(crate) fn accept_too_long(&self, id: Option<u64>, prefix: &[u8], limit: usize) {
        let handled = self.pending.lock().handle_too_long(id, limit);
        self.finish(handled, || excerpt(prefix, 100));
    }

    /// Takes what came after the last line end when the input ended: a message without its line end, or half of one.
    pub fn deliver_partial(&self, text: &[u8]) {
        match message::parse(text) {
            Ok(inbound) => self.accept(inbound),
            Err(_) => self.emit(&Event::Stray { excerpt: excerpt(text, 100).into() }),
        }
    }

    pub(crate) fn accept(&self, inbound: Inbound) {
        match inbound {
            Inbound::One(message) => self.accept_message(message),
            Inbound::Batch(messages) => {
                for message in messages {
                    match message {
                        Ok(message) => self.accept_message(message),
                        Err(malformed) => self.accept_in_batch(malformed),
                    }
                    // Too many of them are nobody's, perhaps.
                    if self.session.is_ended() {
                        break;
                    }
                }
            }
        }
    }

    fn accept_message(&self, message: Message) {
        let to_only_call = names_nobody(&message) && self.handshaking.load(Ordering::Relaxed);
        match message {
            Message::Response { id, outcome } => {
                let error = outcome.as_ref().err().map(ToString::to_string);
                let handled = {
                    let mut pending = self.pending.lock();
                    let id = match pending.only_call() {
                        Some(only) if to_only_call => ResponseId::Ours(only),
                        _ => id,
                    };
                    pending.handle_reply(id, outcome)
                };
                self.finish(handled, || match error {
                    Some(error) => format!("an error for a call that nobody waits for: {error}"),
                    None => "a reply that nobody waits for".to_owned(),
                });
            }
            Message::Request { id, method, params } => {
                self.accept_request(ServerRequest { id, method, params });
            }
            Message::Notification { method, params } => self.accept_notification(&method, params.as_deref()),
        }
    }

    /// PNG-01 at once; everything else is for the driver.
    fn accept_request(&self, request: ServerRequest) {
        if self.mute.load(Ordering::Relaxed) {
            let what = || {
                let method = excerpt(request.method.as_bytes(), 100);
                format!("the request {method:?}, which this revision does not have")
            };
            return self.finish(Handled::Stray, what);
        }
        self.pending.lock().handle_other();
        let full = if request.method == "ping" {
            let body = message::encode_result(&request.id, empty_object());
            let answer = Outgoing::unasked(None, body);
            (!self.post_answer(answer)).then_some("queued answers")
        } else {
            self.accept_question(request)
        };
        if let Some(what) = full {
            self.session.fail(Error::limit(what, self.limits().outbox, Delivery::NotSent));
        }
    }

    /// A request for the driver. Returns what there is too much of.
    fn accept_question(&self, request: ServerRequest) -> Option<&'static str> {
        self.asked_at.store(self.alarm.now(), Ordering::Relaxed);
        self.serving.fetch_add(1, Ordering::Relaxed);
        match self.outbox.serve(request) {
            Ok(()) => None,
            Err(Refused::Full) => Some("queued requests of the server"),
            Err(Refused::Busy(id)) => {
                self.served();
                (!self.post_answer(handlers::busy(&id))).then_some("queued answers")
            }
        }
    }

    fn accept_notification(&self, method: &str, params: Option<&RawValue>) {
        if method == "notifications/tools/list_changed" {
            self.tool_changes.fetch_add(1, Ordering::Relaxed);
        }
        self.pending.lock().handle_other();
        if self.accept_change(method, params) {
            return;
        }
        let params_text = params.map(RawValue::get);
        match method {
            "notifications/progress" => self.accept_progress(params_text),
            "notifications/cancelled" => {
                #[derive(Deserialize)]
                struct Cancelled<'a> {
                    #[serde(rename = "requestId", borrow)]
                    id: &'a RawValue,
                }
                if let Some(Cancelled { id }) = params_text.and_then(read_object) {
                    if let Some(id) = RequestId::new(id) {
                        // Without room it is answered all the same, which is allowed (CAN-03).
                        self.outbox.forget(id);
                    }
                }
            }
            _ => {}
        }
        self.accept_event(method, params_text);
    }

    fn accept_event(&self, method: &str, params: Option<&str>) {
        // A hint that may come or not (TSK-03); a task that has ended reports no more.
        if method == TASK_STATUS {
            if let Some(Ok(task)) = params.map(serde_json::from_str::<Task>) {
                self.note_task(&task);
                return self.emit(&Event::Task(Cow::Borrowed(&task)));
            }
        }
        if self.config.on_event.is_some() {
            of_notification(method, params, |event| self.emit(event));
        }
    }

    /// Takes note of how a task stands.
    pub(crate) fn note_task(&self, task: &Task) {
        if task.status.is_terminal() {
            self.reporters.task_ended(&task.id);
        }
    }

    fn accept_progress(&self, params: Option<&str>) {
        #[derive(Deserialize)]
        struct Token<'a> {
            #[serde(rename = "progressToken", borrow)]
            token: &'a RawValue,
        }
        let token = params.and_then(read_object).and_then(|Token { token }| own_id(token));
        let Some(token) = token else { return };
        let now = self.alarm.now();
        let pending = self.pending.lock().handle_news(token, now);
        if let Some(handler) = self.reporters.get(token, pending) {
            if let Some(Ok(progress)) = params.map(serde_json::from_str::<Progress>) {
                // It is the caller's own; the panic hook has reported it (PRG-03).
                contain(|| handler(&progress));
            }
        }
    }

    /// A reply has come as the value of `send`: what came before it and was nobody's is no flood.
    pub(crate) fn heard(&self) {
        self.pending.lock().handle_other();
    }

    /// A share of what may have come of replies that are not whole yet.
    #[cfg(feature = "http")]
    pub(crate) fn receiving(&self) -> receiving::Share<'_> {
        self.receiving.share(self.limits().receiving)
    }

    pub(crate) fn reporters(&self) -> &Reporters {
        &self.reporters
    }

    /// A call has lost the stream that its reply was to come on: from now on that may come with another's.
    #[cfg(feature = "http")]
    pub(crate) fn set_adrift(&self, id: u64) {
        self.pending.lock().set_adrift(id);
    }

    /// Takes a reply that came with another call's. While its own call has a stream, this is a mistake of somebody who
    /// mixes answers up, and not to be believed.
    #[cfg(feature = "http")]
    pub(crate) fn accept_elsewhere(&self, id: u64, outcome: Result<ResultText, RpcError>) {
        let handled = self.pending.lock().handle_reply_elsewhere(id, outcome);
        self.finish(handled, || "a reply to one call in the answer to another".to_owned());
    }

    pub(crate) fn accept_in_batch(&self, malformed: Malformed) {
        self.accept_malformed(malformed, b"(in a batch)");
    }

    fn accept_malformed(&self, malformed: Malformed, text: &[u8]) {
        let handled = self.pending.lock().handle_malformed(malformed);
        self.finish(handled, || excerpt(text, 100));
    }

    fn finish(&self, handled: Handled, what: impl FnOnce() -> String) {
        match handled {
            // A call whose waker panics harms nobody else.
            Handled::Settled(Some(waker)) => contain(|| waker.wake()),
            Handled::Settled(None) => {}
            // What still comes after a flood is not told.
            Handled::Late | Handled::Stray if self.session.is_ended() => {}
            Handled::Late => self.emit(&Event::Stray { excerpt: what().into() }),
            Handled::Stray => {
                let what = what();
                self.emit(&Event::Stray { excerpt: what.as_str().into() });
                self.count_stray(what);
            }
        }
    }

    fn count_stray(&self, what: String) {
        let now = self.alarm.now();
        let (few, next) = {
            let mut pending = self.pending.lock();
            (pending.count_stray(now), pending.next_id())
        };
        if !few {
            self.session.fail(Error::protocol(Violation::Flood));
        }
        let replaced = self.last_stray.lock().replace(Box::new((next, what)));
        drop(replaced);
    }

    /// What came last since this call began and was nobody's.
    pub(crate) fn stray_since(&self, call: u64) -> Option<Error> {
        let stray = self.last_stray.lock();
        let (_, what) = stray.as_deref().filter(|(next, _)| *next > call)?;
        Some(Error::instead(Violation::Stray, what.clone()))
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Some(on_event) = &self.config.on_event {
            // It is the application's; the panic hook has reported it.
            contain(|| on_event(event));
        }
    }

    /// Queues an answer to the server. `false` if there is no room.
    pub(crate) fn post_answer(&self, answer: Outgoing<'static>) -> bool {
        self.outbox.answer(answer)
    }

    /// Queues a cancellation, best effort: without room the server works for nobody.
    pub(crate) fn post_cancellation(&self, cancellation: Outgoing<'static>) {
        self.outbox.cancel(cancellation);
    }

    /// Queues the end of a subscription to a resource, best effort. It is not sent if somebody wants to know of the
    /// resource again by then: of two messages of different tasks nobody knows which comes first.
    pub(crate) fn post_unsubscription(&self, uri: String, message: Outgoing<'static>) {
        self.outbox.unsubscribe(uri, message);
    }

    pub(crate) fn poll_job(&self, capacity: Capacity, cx: &mut Context<'_>) -> Poll<Job> {
        self.outbox.poll_pop(capacity, cx)
    }

    /// The transport is to read what has arrived, heard of or not, when it is polled next.
    pub(crate) fn ask_for_look(&self) {
        self.look.store(true, Ordering::Relaxed);
    }

    /// Whether it is to, since it was last asked here.
    pub(crate) fn takes_look(&self) -> bool {
        self.look.load(Ordering::Relaxed) && self.look.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn forget_driver(&self) {
        self.outbox.forget_driver();
    }

    /// A request of the server's is answered, or needs no answer.
    pub(crate) fn served(&self) {
        self.served_at.store(self.alarm.now(), Ordering::Relaxed);
        self.serving.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn tool_changes(&self) -> u64 {
        self.tool_changes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::Relaxed);
    }

    pub(crate) fn handshake_done(&self) {
        self.handshaking.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshaking.load(Ordering::Relaxed)
    }

    /// A new call; `Err` where too many are pending.
    pub(crate) fn begin(&self) -> Result<u64, Error> {
        self.pending
            .lock()
            .begin()
            .ok_or_else(|| Error::limit("pending calls", self.config.limits.pending_calls, Delivery::NotSent))
    }

    pub(crate) fn forget(&self, id: u64) {
        let (left_over, was_called) = self.pending.lock().forget(id);
        drop(left_over);
        if was_called {
            self.pass_on();
        }
    }

    /// A call that was forgotten may still get a reply, and that is nobody's fault (CAN-03).
    pub(crate) fn give_up(&self) {
        self.pending.lock().give_up();
    }

    /// Looks for a reply. If there is none, the task is woken when there is, and at `due` or before.
    pub(crate) fn poll_reply(&self, id: u64, due: u64, cx: &mut Context<'_>) -> Poll<Reply> {
        let mut polled = self.pending.lock().poll_reply(id, cx.waker());
        if matches!(polled, Polled::NeedsWaker) {
            let waker = cx.waker().clone();
            let left_over;
            (polled, left_over) = self.pending.lock().register(id, due, waker);
            drop(left_over);
        }
        match polled {
            Polled::Ready(reply) => Poll::Ready(reply),
            Polled::Pending | Polled::NeedsWaker => Poll::Pending,
        }
    }

    pub(crate) fn pending_calls(&self) -> usize {
        self.pending.lock().len()
    }

    pub(crate) fn clock(&self) -> u64 {
        self.alarm.now()
    }
}

fn empty_object() -> &'static RawValue {
    serde_json::from_str("{}").expect("an empty object is JSON")
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("session", &self.session)
            .field("pending_calls", &self.pending_calls())
            .finish_non_exhaustive()
    }
}
