//! Event streams as they come: reading one, where to resume it, and the server's own one.

use super::Http;
use super::answer::{body_failed, check_encoding, is_events, media_type, too_much, unexpected};
use super::secrets::Secrets;
use crate::error::{Delivery, Error, ErrorKind, IoStage, Violation, excerpt};
use crate::http_client::Body;
use crate::inbox::Inbox;
use crate::inbox::limits::Limits;
use crate::inbox::receiving::Share;
use crate::protocol::event_stream::{Event, EventDecoder, Rest};
use crate::protocol::message::{self, Inbound, Message};
use crate::runtime::timer::millis;
use ::http::{HeaderValue, Response};
use std::collections::VecDeque;
use std::time::Duration;

pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// One event stream.
pub(super) struct Events<'a> {
    share: Share<'a>,
    body: Body,
    decoder: EventDecoder,
    limit: usize,
    ready: VecDeque<Event>,
    failed: bool,
    /// What came last and is no event.
    rest: Option<Rest>,
}

impl<'a> Events<'a> {
    pub(super) fn new(body: Body, inbox: &'a Inbox) -> Self {
        let (limit, share) = (inbox.limits().event, inbox.receiving());
        let decoder = EventDecoder::new(limit);
        Self { share, body, decoder, limit, ready: VecDeque::new(), failed: false, rest: None }
    }

    /// The event stream in an answer.
    pub(super) fn open(
        response: Response<Body>,
        inbox: &'a Inbox,
        secrets: impl Fn() -> Secrets,
    ) -> Result<Self, Error> {
        check_encoding(response.headers(), &secrets)?;
        match media_type(response.headers()) {
            Some(found) if is_events(found) => Ok(Self::new(response.into_body(), inbox)),
            found => Err(Error::protocol(unexpected(found, &secrets()))),
        }
    }

    /// The next event; `None` at the end. An event that is too long ends the stream, too. Where there is no event at all, and
    /// the text is one message, it is taken for an event.
    ///
    /// **Cancel safety:** nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.failed {
                return Some(Err(Error::limit("the length of an event", self.limit, Delivery::Answered)));
            }
            match self.body.chunk().await {
                Some(Ok(chunk)) => {
                    let Self { decoder, ready, .. } = self;
                    self.failed = decoder.feed(&chunk, |event| ready.push_back(event)).is_err();
                    if !self.share.set(self.decoder.held()) {
                        return Some(Err(too_much(&self.share)));
                    }
                }
                Some(Err(failure)) => return Some(Err(body_failed(failure))),
                None => match self.decoder.rest()? {
                    Rest::Foreign(data) if message::parse(&data).is_ok() => {
                        return Some(Ok(Event { name: None, data }));
                    }
                    rest => {
                        self.rest = Some(rest);
                        return None;
                    }
                },
            }
        }
    }

    /// After the end, how the text begins that came last and is no event, without secrets.
    pub(super) fn rest(&mut self, secrets: impl Fn() -> Secrets) -> Option<String> {
        let text = match self.rest.take()? {
            // It may be half of a URL with a session's id in it.
            Rest::Unfinished(event) if event.name.as_deref() == Some("endpoint") => return None,
            Rest::Unfinished(event) => event.data,
            Rest::Foreign(text) => text,
        };
        Some(excerpt(&secrets().mask_body(&text), 200))
    }
}

/// Takes a message of the server's own. What is none is told without secrets.
pub(super) fn deliver(inbox: &Inbox, data: &[u8], secrets: impl Fn() -> Secrets) {
    match message::parse(data) {
        Ok(Inbound::One(Message::Response { id, outcome: Err(error) })) => {
            let error = secrets().mask_error(error);
            inbox.accept(Inbound::One(Message::Response { id, outcome: Err(error) }));
        }
        Ok(inbound) => inbox.accept(inbound),
        Err(_) => inbox.deliver(&secrets().mask_body(data)),
    }
}

/// Other kinds of events are none of ours (SSE-04), empty ones are no messages (SSE-07).
pub(super) fn is_message(event: &Event) -> bool {
    !event.data.is_empty() && event.name.as_deref().is_none_or(|name| name == "message")
}

/// Where a stream can be resumed, and when. It belongs to one stream (RES-04).
#[derive(Default)]
pub(super) struct Cursor {
    last: Option<HeaderValue>,
    retry: Option<Duration>,
}

/// The pause where the server asks for none. It doubles with every round that brings no news (RES-03).
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The shortest pause, however soon the server would like it: streams that end at once, each with some event, are no reason
/// to do nothing but open the next.
const SOONEST: Duration = Duration::from_millis(100);

/// A stream that was open for so long has served. That it ends then is no failure: proxies close idle
/// ones, the most impatient after 30 s, and again and again. So without news it is opened no more often
/// than this for ever, and what ends sooner is counted.
const LASTING: Duration = Duration::from_secs(20);

/// Whether a stream that has ended now, and was asked for at this time, has served.
pub(super) fn has_lasted(since: u64, inbox: &Inbox) -> bool {
    inbox.clock().saturating_sub(since) >= millis(LASTING)
}

impl Cursor {
    /// After each event. An empty id takes the last one back (SSE-05), also that of a stream before this one.
    pub(super) fn follow(&mut self, events: &Events<'_>, limits: &Limits) {
        if let Some(id) = events.decoder.last_event_id() {
            let id = Some(id).filter(|id| (1..=limits.event_id).contains(&id.len()));
            self.last = id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        }
        if let Some(millis) = events.decoder.retry_millis() {
            self.retry = Some(Duration::from_millis(millis));
        }
    }

    pub(super) fn last(&self) -> Option<HeaderValue> {
        self.last.clone()
    }

    /// How long to wait before the given round without news.
    pub(super) fn delay(&self, round: usize) -> Duration {
        let doublings = u32::try_from(round.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let growing = RETRY.saturating_mul(1 << doublings).min(LONGEST_RETRY);
        match self.retry {
            Some(retry) if round <= 1 => retry.max(SOONEST),
            Some(retry) => retry.max(growing),
            None => growing,
        }
    }
}

/// Whether the request for a stream that there was may yet succeed, though the same answer to another request is final: for a
/// while the server may not have noticed that the old stream has ended (409), and a token and a TLS connection could be had
/// before.
fn may_pass(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Http(http) => http.status() == 409,
        ErrorKind::Io(io) => matches!(io.stage(), IoStage::Credentials | IoStage::Tls),
        _ => false,
    }
}

fn is_not_found(error: &Error) -> bool {
    error.http().is_some_and(|http| http.status() == 404)
}

impl Http {
    /// The server's own stream (SES-11 to SES-15): opened once the handshake is over, kept open, and no
    /// call's business: however it fails, only those are told who listen to what comes on it.
    pub(super) async fn listen(&self, inbox: &Inbox) {
        let mut cursor = Cursor::default();
        let mut rounds = 0;
        // Streams in a row without a message: it is a server's right to end them, and to say no more than
        // where to go on; but nobody waits for anything here.
        let mut silent = 0;
        // Streams in a row that ended at once, whatever was on them.
        let mut short = 0;
        let mut has_been_open = false;
        loop {
            let since = inbox.clock();
            let opened = self.open_events(cursor.last(), inbox).await;
            let has_opened = opened.is_ok();
            has_been_open |= has_opened;
            self.listening.close();
            let lost = match opened {
                Ok(mut events) => loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            rounds = 0;
                            cursor.follow(&events, inbox.limits());
                            if is_message(&event) {
                                silent = 0;
                                deliver(inbox, &event.data, || self.secrets());
                            }
                        }
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    }
                },
                // It may be the place in the stream that the server does not know any more.
                Err(error) if has_been_open && is_not_found(&error) && cursor.last.take().is_some() => {
                    Some(error)
                }
                Err(error) if error.is_retryable() || has_been_open && may_pass(&error) => Some(error),
                // A server need not have one (SES-13), and no answer of the 400s becomes another by
                // asking again. But one that had one has none any more: perhaps the session is gone.
                Err(error) => {
                    let no_stream = [400, 404, 405, 406, 409, 501];
                    match has_been_open || error.http().is_none_or(|http| !no_stream.contains(&http.status()))
                    {
                        true => inbox.lose_own_stream(error),
                        false => _ = inbox.own_stream().close(),
                    }
                    return;
                }
            };
            if has_opened && has_lasted(since, inbox) {
                rounds = 0;
            }
            rounds += 1;
            if rounds > inbox.limits().resumptions {
                let error = lost.unwrap_or_else(|| Error::protocol(Violation::OwnStreamLost));
                inbox.lose_own_stream(error);
                return;
            }
            silent += 1;
            short = if inbox.clock().saturating_sub(since) < millis(RETRY) { short + 1 } else { 0 };
            let pause = if silent > 1 { RETRY } else { Duration::ZERO };
            inbox.sleep(cursor.delay(rounds.max(short)).max(pause)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ses_14_what_may_pass_for_a_stream_that_there_was() {
        let io = |stage| Error::io(stage, std::io::Error::other("x"), Delivery::NotSent);
        for (stage, passes) in [(IoStage::Tls, true), (IoStage::Credentials, true), (IoStage::Spawn, false)] {
            assert_eq!(may_pass(&io(stage)), passes, "{stage}");
        }
        assert!(!may_pass(&Error::protocol(Violation::NotHttp)));
    }

    #[test]
    fn res_08_a_server_cannot_ask_for_no_pause_at_all() {
        for (asked, millis) in [(0, 100), (99, 100), (101, 101), (5_000, 5_000)] {
            let cursor = Cursor { retry: Some(Duration::from_millis(asked)), ..Cursor::default() };
            assert_eq!(cursor.delay(0), Duration::from_millis(millis), "{asked}");
            assert_eq!(cursor.delay(1), Duration::from_millis(millis), "{asked}");
        }
    }
}
