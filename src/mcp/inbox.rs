//! [`Inbox`]: where a transport puts what it receives, and what calls and transports share.

use super::client::Config;
use super::error::{Delivery, Error, Violation, excerpt};
use super::limits::{Limits, Timeouts};
use super::protocol::exchange::{Exchange, Handled, Polled, Reply, names_nobody};
use super::protocol::message::{self, Inbound, Malformed, Message, RequestId};
use super::protocol::salvage;
use super::timer::{Alarm, BoxFuture, millis};
use super::transport::Outgoing;
use crate::Session;
use crate::sync::Mutex;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Where a transport puts what it receives.
///
/// No method waits, and none calls the transport.
pub struct Inbox {
    session: Session<Error>,
    config: Config,
    exchange: Mutex<Exchange>,
    outbox: Mutex<Outbox>,
    alarm: Alarm,
    /// Until the handshake is over, an error that names nobody can only mean its one call.
    handshaking: AtomicBool,
    this: Weak<Self>,
}

/// Messages that nobody waits for, and the driver that sends them.
#[derive(Debug, Default)]
struct Outbox {
    messages: VecDeque<Outgoing>,
    driver: Option<Waker>,
}

/// Something that is no call's business. See [`Builder::on_event`](super::Builder::on_event).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A message that belongs to nobody: output that is no message, a late or foreign reply.
    Stray {
        /// Its beginning.
        excerpt: &'a str,
    },
    /// A notification of the server.
    Notification {
        /// Its method.
        method: &'a str,
        /// Its parameters, as JSON text.
        params: Option<&'a str>,
    },
    /// A message that nobody waited for (a cancellation, an answer) could not be delivered.
    NotDelivered(&'a Error),
}

impl Inbox {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            session: Session::new(),
            exchange: Mutex::new(Exchange::new(config.limits.pending_calls, config.limits.stray)),
            outbox: Mutex::default(),
            alarm: Alarm::new(Arc::clone(&config.timer)),
            handshaking: AtomicBool::new(true),
            config,
            this: this.clone(),
        })
    }

    /// The session that everything here belongs to.
    pub fn session(&self) -> &Session<Error> {
        &self.session
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
                malformed.id = malformed.id.or_else(|| salvage::recover_response_id(text));
                self.accept_malformed(malformed, text);
            }
        }
    }

    /// Takes the beginning of a message that is longer than `limit` bytes.
    pub fn deliver_too_long(&self, prefix: &[u8], limit: usize) {
        let id = salvage::recover_response_id(prefix);
        let handled = self.exchange.lock().handle_too_long(id, limit);
        self.finish(handled, || excerpt(prefix, 100));
    }

    pub(crate) fn accept(&self, inbound: Inbound) {
        match inbound {
            Inbound::One(message) => self.accept_message(message),
            Inbound::Batch(messages) => {
                for message in messages {
                    match message {
                        Ok(message) => self.accept_message(message),
                        Err(malformed) => self.accept_malformed(malformed, b"(in a batch)"),
                    }
                }
            }
        }
    }

    fn accept_message(&self, message: Message) {
        let to_only_call = names_nobody(&message) && self.handshaking.load(Ordering::Relaxed);
        match message {
            Message::Response { id, outcome } => {
                let error = outcome.as_ref().err().filter(|_| self.config.on_event.is_some());
                let error = error.map(ToString::to_string);
                let handled = {
                    let mut exchange = self.exchange.lock();
                    let id = match exchange.only_call() {
                        Some(only) if to_only_call => message::ResponseId::Ours(only),
                        _ => id,
                    };
                    exchange.handle_reply(id, outcome)
                };
                self.finish(handled, || match error {
                    Some(error) => format!("an error for a call that nobody waits for: {error}"),
                    None => "a reply that nobody waits for".to_owned(),
                });
            }
            Message::Request { id, method, .. } => {
                self.exchange.lock().handle_other();
                self.answer(&id, &method);
            }
            Message::Notification { method, params } => {
                self.exchange.lock().handle_other();
                let params = params.as_deref().map(RawValue::get);
                if method == "notifications/progress" {
                    self.progress(params);
                }
                self.emit(&Event::Notification { method: &method, params });
            }
        }
    }

    fn accept_malformed(&self, malformed: Malformed, text: &[u8]) {
        let handled = self.exchange.lock().handle_malformed(malformed);
        self.finish(handled, || excerpt(text, 100));
    }

    fn finish(&self, handled: Handled, what: impl FnOnce() -> String) {
        match handled {
            Handled::Settled(Some(waker)) => waker.wake(),
            Handled::Settled(None) => {}
            Handled::Stray => {
                if self.config.on_event.is_some() {
                    self.emit(&Event::Stray { excerpt: &what() });
                }
            }
            Handled::Flood => {
                self.session.fail(Error::protocol(Violation::Flood));
            }
        }
    }

    /// What this client says to a server's request (M-16, PNG-01).
    fn answer(&self, id: &RequestId, method: &str) {
        let body = match method {
            "ping" => message::encode_result(id, empty_object()),
            _ => message::encode_error(id, -32601, "method not found"),
        };
        if !self.post(Outgoing { id: None, method: None, body }) {
            let limit = self.limits().outbox;
            self.session.fail(Error::limit("queued answers", limit, Delivery::NotSent));
        }
    }

    fn progress(&self, params: Option<&str>) {
        #[derive(serde::Deserialize)]
        struct Progress {
            #[serde(rename = "progressToken")]
            token: u64,
        }
        if let Some(Ok(progress)) = params.map(serde_json::from_str::<Progress>) {
            let now = self.alarm.now();
            self.exchange.lock().handle_news(progress.token, now);
        }
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Some(on_event) = &self.config.on_event {
            on_event(event);
        }
    }

    /// Queues a message that nobody waits for. `false` if there is no room.
    pub(crate) fn post(&self, message: Outgoing) -> bool {
        let driver = {
            let mut outbox = self.outbox.lock();
            if outbox.messages.len() >= self.config.limits.outbox {
                return false;
            }
            outbox.messages.push_back(message);
            outbox.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        true
    }

    pub(crate) fn poll_outbox(&self, cx: &mut Context<'_>) -> Poll<Outgoing> {
        if let Some(message) = self.outbox.lock().messages.pop_front() {
            return Poll::Ready(message);
        }
        let waker = cx.waker().clone();
        let (message, left_over) = {
            let mut outbox = self.outbox.lock();
            match outbox.messages.pop_front() {
                Some(message) => (Some(message), Some(waker)),
                None => (None, outbox.driver.replace(waker)),
            }
        };
        drop(left_over);
        message.map_or(Poll::Pending, Poll::Ready)
    }

    pub(crate) fn handshake_done(&self) {
        self.handshaking.store(false, Ordering::Relaxed);
    }

    /// A new call; `Err` where too many are pending.
    pub(crate) fn begin(&self) -> Result<u64, Error> {
        self.exchange
            .lock()
            .begin()
            .ok_or_else(|| Error::limit("pending calls", self.config.limits.pending_calls, Delivery::NotSent))
    }

    /// Removes a call; `true` the first time.
    pub(crate) fn forget(&self, id: u64) -> bool {
        let entry = self.exchange.lock().forget(id);
        entry.is_some()
    }

    pub(crate) fn poll_reply(&self, id: u64, cx: &mut Context<'_>) -> Poll<Reply> {
        let mut polled = self.exchange.lock().poll_reply(id, cx.waker());
        if matches!(polled, Polled::NeedsWaker) {
            let waker = cx.waker().clone();
            let left_over;
            (polled, left_over) = self.exchange.lock().register(id, waker);
            drop(left_over);
        }
        match polled {
            Polled::Ready(reply) => Poll::Ready(reply),
            Polled::Pending | Polled::NeedsWaker => Poll::Pending,
        }
    }

    pub(crate) fn pending_calls(&self) -> usize {
        self.exchange.lock().len()
    }

    pub(crate) fn clock(&self) -> u64 {
        self.alarm.now()
    }

    /// Looks whether a call's time is up; if not, sees to it that it is polled in time. To be called
    /// after [`poll_reply`](Self::poll_reply) has registered the waker.
    pub(crate) fn poll_deadline(&self, id: u64, deadline: &mut Deadline) -> Poll<()> {
        let rung = self.alarm.rung();
        if deadline.seen != rung {
            let now = self.alarm.now();
            if let (Some(silence), Some(news)) = (deadline.silence, self.exchange.lock().news(id)) {
                deadline.silent_at = news.saturating_add(millis(silence));
            }
            if now >= deadline.at() {
                return Poll::Ready(());
            }
            deadline.seen = rung;
        }
        if deadline.at() != u64::MAX {
            let ring = || Waker::from(Arc::new(Ring(self.this.clone())));
            self.alarm.arm(deadline.at(), rung, ring);
        }
        Poll::Pending
    }
}

/// When a call gives up, on the alarm's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    silence: Option<Duration>,
    silent_at: u64,
    total_at: u64,
    seen: u64,
}

impl Deadline {
    pub(crate) fn new(inbox: &Inbox, silence: Option<Duration>, total: Option<Duration>) -> Self {
        let now = if silence.is_some() || total.is_some() { inbox.clock() } else { 0 };
        let at = |limit: Option<Duration>| limit.map_or(u64::MAX, |limit| now.saturating_add(millis(limit)));
        Self { silence, silent_at: at(silence), total_at: at(total), seen: inbox.alarm.rung() }
    }

    fn at(&self) -> u64 {
        self.silent_at.min(self.total_at)
    }

    /// Whether it was the limit for the whole call that ran out.
    pub(crate) fn is_total(&self) -> bool {
        self.total_at <= self.silent_at
    }
}

/// The alarm's waker: wakes every pending call, whoever polls them.
struct Ring(Weak<Inbox>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if let Some(inbox) = self.0.upgrade() {
            inbox.alarm.ring();
            let wakers = inbox.exchange.lock().take_wakers();
            for waker in wakers {
                waker.wake();
            }
        }
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
