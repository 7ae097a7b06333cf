//! [`Inbox`]: where a transport puts what it receives, and what calls and transports share.

pub(crate) mod alarm;
mod arrivals;
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

use crate::error::{Delivery, Error};
use crate::protocol::outgoing::Outgoing;
use crate::protocol::pending_calls::{PendingCalls, Polled, Reply};
use crate::runtime::timer::BoxFuture;
use crate::sync::{Mutex, contain};
use alarm::Alarm;
use config::Config;
use event::Event;
use limits::{Limits, Timeouts};
use outbox::{Capacity, Job, Outbox};
use progress::Reporters;
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
    last_stray: Mutex<Option<Box<LastStray>>>,
    /// How often the server has said that its list of tools has changed.
    tool_changes: AtomicU64,
    /// Servers of revision 2026-07-28 send no requests, and get no answer to one.
    mute: AtomicBool,
    /// Whether what the transport has read by now decides something.
    look: AtomicBool,
    this: Weak<Self>,
}

/// The id that the next call gets, and what has come.
type LastStray = (u64, Cow<'static, str>);

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
