//! What becomes of a message that has come: it settles a call, is queued for the driver, is told as an event, or belongs to
//! nobody.

use super::event::{Event, TASK_STATUS, of_notification};
use super::outbox::Refused;
use super::{Inbox, empty_object, handlers};
use crate::error::{Delivery, Error, Violation, excerpt};
use crate::protocol::json::object::read_object;
use crate::protocol::message::recover_id::recover_response_id;
use crate::protocol::message::{
    self, Inbound, Malformed, MalformedReason, Message, RequestId, ResponseId, own_id,
};
#[cfg(feature = "http")]
use crate::protocol::message::{ResultText, RpcError};
use crate::protocol::outgoing::{Outgoing, ServerRequest};
use crate::protocol::pending_calls::{Handled, names_nobody};
use crate::sync::contain;
use crate::types::{Progress, Task};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::atomic::Ordering;

impl Inbox {
    /// Takes one message: JSON text, a batch included.
    pub fn deliver(&self, text: &[u8]) {
        self.deliver_line(text);
    }

    /// [`deliver`](Self::deliver). Returns whether it is a message to us, or a damaged one.
    pub(crate) fn deliver_line(&self, text: &[u8]) -> bool {
        match message::parse(text) {
            Ok(inbound) => self.accept_one(inbound),
            Err(mut malformed) => {
                malformed.id = malformed.id.or_else(|| recover_response_id(text));
                let is_to_us = malformed.id.is_some();
                self.accept_malformed(malformed, text);
                is_to_us
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
        self.finish(handled, || excerpt(prefix, 100).into());
    }

    /// Takes what came after the last line end when the input ended: a message without its line end, or half of one.
    pub fn deliver_partial(&self, text: &[u8]) {
        self.deliver_last_line(text);
    }

    /// [`deliver_partial`](Self::deliver_partial). Returns whether it is a message to us, or half of one.
    pub(crate) fn deliver_last_line(&self, text: &[u8]) -> bool {
        match message::parse(text) {
            Ok(inbound) => self.accept_one(inbound),
            Err(malformed) => {
                self.emit(&Event::Stray { excerpt: excerpt(text, 100).into() });
                malformed.reason == MalformedReason::NotJson && text.trim_ascii_start().starts_with(b"{")
            }
        }
    }

    /// Returns whether it names somebody.
    fn accept_one(&self, inbound: Inbound) -> bool {
        let is_to_us = !matches!(&inbound, Inbound::One(message) if names_nobody(message));
        self.accept(inbound);
        is_to_us
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
                    Some(error) => format!("an error for a call that nobody waits for: {error}").into(),
                    None => "a reply that nobody waits for".into(),
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
                format!("the request {method:?}, which this revision does not have").into()
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
            contain(|| drop(handler));
        }
    }

    /// Takes a reply that came with another call's. While its own call has a stream, this is a mistake of somebody who
    /// mixes answers up, and not to be believed.
    #[cfg(feature = "http")]
    pub(crate) fn accept_elsewhere(&self, id: u64, outcome: Result<ResultText, RpcError>) {
        let handled = self.pending.lock().handle_reply_elsewhere(id, outcome);
        self.finish(handled, || "a reply to one call in the answer to another".into());
    }

    pub(crate) fn accept_in_batch(&self, malformed: Malformed) {
        self.accept_malformed(malformed, b"(in a batch)");
    }

    fn accept_malformed(&self, malformed: Malformed, text: &[u8]) {
        let handled = self.pending.lock().handle_malformed(malformed);
        self.finish(handled, || excerpt(text, 100).into());
    }

    pub(super) fn finish(&self, handled: Handled, what: impl FnOnce() -> Cow<'static, str>) {
        match handled {
            // A call whose waker panics harms nobody else.
            Handled::Settled(Some(waker)) => contain(|| waker.wake()),
            Handled::Settled(None) => {}
            // What still comes after a flood is not told.
            Handled::Late | Handled::Stray if self.session.is_ended() => {}
            Handled::Late => self.emit(&Event::Stray { excerpt: what() }),
            Handled::Stray => {
                let what = what();
                self.emit(&Event::Stray { excerpt: Cow::Borrowed(&what) });
                self.count_stray(what);
            }
        }
    }

    fn count_stray(&self, what: Cow<'static, str>) {
        let now = self.alarm.now();
        let (few, next) = {
            let mut pending = self.pending.lock();
            (pending.count_stray(now), pending.next_id())
        };
        if !few {
            self.session.fail(Error::protocol(Violation::Flood));
        }
        let replaced = {
            let mut last = self.last_stray.lock();
            let last = last.get_or_insert_default();
            std::mem::replace(&mut **last, (next, what))
        };
        drop(replaced);
    }

    /// What came last since this call began and was nobody's.
    pub(crate) fn stray_since(&self, call: u64) -> Option<Error> {
        let stray = self.last_stray.lock();
        let (_, what) = stray.as_deref().filter(|(next, _)| *next > call)?;
        Some(Error::instead(Violation::Stray, what.clone().into_owned()))
    }
}
