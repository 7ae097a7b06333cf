//! One POST and its answer: what each status and content type means for the call (ST-01 to ST-21).

use super::answer::{
    BODY_PATIENCE, check_encoding, content_length, http_error, is_events, media_type, read, unexpected,
};
use super::events::{Cursor, EVENT_STREAM, Events, is_message};
use super::{Http, LAST_EVENT_ID, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID};
use crate::error::{Delivery, Error, ErrorKind, InvalidInput, Violation};
use crate::http_client::Body;
use crate::inbox::Inbox;
use crate::inbox::deadline::within;
use crate::protocol::event_stream::Event;
use crate::protocol::handshake::INITIALIZE;
use crate::protocol::message::{self, Inbound, Message, ReplyError, ResponseId};
use crate::protocol::outgoing::{Outgoing, Routing};
use crate::protocol::pending_calls::Reply;
use crate::transport::{Sent, Tracking};
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Response, StatusCode};
use bytes::Bytes;
use std::io;
use std::sync::Arc;

const JSON: &str = "application/json";

impl Http {
    pub(super) async fn post(
        &self,
        message: Outgoing,
        tracking: &Tracking,
        inbox: &Inbox,
    ) -> Result<Sent, Error> {
        let fresh = message.method() == Some(INITIALIZE);
        let headers = match &message.routing {
            Some(routing) => Arc::new(self.routed_headers(message.method(), routing)?),
            None if fresh => Arc::new(self.endpoint.post_headers()),
            None => self.session_post_headers(),
        };
        // From 2026-07-28 on a broken stream loses its request (RES-12).
        let resumable = message.routing.is_none();
        let in_session = headers.contains_key(SESSION_ID);
        let (url, body) = (&self.endpoint.url, Bytes::from(message.body));
        let response = self.endpoint.request(Method::POST, url, &headers, body, tracking, inbox).await?;
        if !response.status().is_success() {
            let expired = response.status() == StatusCode::NOT_FOUND && in_session;
            let error = http_error(response, inbox).await;
            if expired {
                let expired = ErrorKind::SessionExpired(error.clone());
                inbox.session().fail(Error::new(expired, Delivery::Answered));
            }
            return Err(Error::new(ErrorKind::Http(error), Delivery::Answered));
        }
        if fresh {
            self.remember_session(response.headers())?;
        }
        match message.id {
            Some(id) => {
                let resumption = resumable.then_some(tracking);
                self.reply(id, response, resumption, inbox).await.map(Sent::replied)
            }
            // Any success will do (INI-13).
            None => {
                overhear(response, inbox).await;
                Ok(Sent::accepted())
            }
        }
    }

    /// What goes with each POST in the session, made once.
    fn session_post_headers(&self) -> Arc<HeaderMap> {
        let mut state = self.state.lock();
        if let Some(headers) = &state.post_headers {
            return Arc::clone(headers);
        }
        let mut headers = self.endpoint.post_headers();
        state.session_headers(&mut headers);
        Arc::clone(state.post_headers.insert(Arc::new(headers)))
    }

    /// MOD-03 to MOD-05, PAR-01. The values have been made plain already; this is the last door (PAR-11).
    fn routed_headers(&self, method: Option<&str>, routing: &Routing) -> Result<HeaderMap, Error> {
        let invalid = |why| Error::invalid(InvalidInput::Header(why));
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|_| invalid("a value is not allowed in HTTP"));
        let mut headers = self.endpoint.post_headers();
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(routing.revision.as_str()));
        headers.insert(METHOD, value(method.unwrap_or_default())?);
        if let Some(name) = &routing.name {
            headers.insert(NAME, value(name)?);
        }
        for (name, argument) in &routing.arguments {
            let name: HeaderName =
                format!("mcp-param-{name}").parse().map_err(|_| invalid("a name is not allowed in HTTP"))?;
            headers.insert(name, value(argument)?);
        }
        Ok(headers)
    }

    /// SES-01, SES-03.
    fn remember_session(&self, headers: &HeaderMap) -> Result<(), Error> {
        let Some(id) = headers.get(SESSION_ID) else { return Ok(()) };
        if id.is_empty() || !id.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte)) {
            return Err(Error::protocol(Violation::SessionId));
        }
        let mut id = id.clone();
        id.set_sensitive(true);
        let mut state = self.state.lock();
        (state.session_id, state.post_headers) = (Some(id), None);
        Ok(())
    }

    async fn reply(
        &self,
        id: u64,
        response: Response<Body>,
        resumption: Option<&Tracking>,
        inbox: &Inbox,
    ) -> Result<Reply, Error> {
        let status = response.status().as_u16();
        let no_reply = || Error::protocol(Violation::NoReply { status });
        if matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(no_reply());
        }
        let (head, mut body) = response.into_parts();
        check_encoding(&head.headers)?;
        let limits = inbox.limits();
        match media_type(&head.headers) {
            Some(json) if json.eq_ignore_ascii_case(JSON.as_bytes()) => {
                let text = read(&mut body, limits.body).await?;
                if text.is_empty() {
                    return Err(no_reply());
                }
                match message::parse(&text) {
                    Ok(inbound) => find(id, inbound, inbox),
                    Err(malformed) => Err(Error::protocol(Violation::Malformed(malformed.reason.as_str()))),
                }
            }
            Some(events) if is_events(events) => {
                // Boxed: a call that is answered otherwise need not have room for it.
                let events = Events::new(body, limits.event);
                Box::pin(self.reply_in_events(id, events, resumption, inbox)).await
            }
            None if content_length(&head.headers) == Some(0) => Err(no_reply()),
            other => Err(unexpected(other)),
        }
    }

    /// Reads events until the reply comes (ST-02), and resumes the stream where that is possible (RES-01
    /// to RES-11): only with a `resumption`, which is told of it. The call's deadline goes on all the time.
    async fn reply_in_events(
        &self,
        id: u64,
        mut events: Events,
        resumption: Option<&Tracking>,
        inbox: &Inbox,
    ) -> Result<Reply, Error> {
        let mut cursor = Cursor::default();
        // Rounds without news: it is news that makes another round worthwhile, not a stream that opens.
        let mut rounds = 0;
        loop {
            let broke = loop {
                match events.next().await {
                    Some(Ok(event)) => {
                        rounds = 0;
                        cursor.follow(&events, inbox.limits());
                        if let Some(reply) = reply_in_event(id, &event, inbox)? {
                            return Ok(reply);
                        }
                    }
                    Some(Err(error)) if matches!(error.kind(), ErrorKind::Limit(_)) => return Err(error),
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            let Some((last, tracking)) = cursor.last().zip(resumption) else {
                return Err(broke.unwrap_or_else(|| Error::protocol(Violation::StreamEnded)));
            };
            let has_broken = broke.is_some();
            tracking.lost(broke);
            // A stream that broke, other than one that ended, may have broken with its server. That needs no
            // waiting, and no request, to find out.
            if has_broken {
                if let Some(refused) = self.endpoint.refusal(inbox).await {
                    tracking.not_resumed(refused);
                    return Err(tracking.ended());
                }
            }
            events = loop {
                rounds += 1;
                if rounds > inbox.limits().resumptions {
                    return Err(tracking.ended());
                }
                inbox.sleep(cursor.delay(rounds)).await;
                match self.open_events(Some(last.clone()), inbox).await {
                    Ok(events) => break events,
                    Err(error) => {
                        // Where nobody listens any more, whoever was to answer is gone, and what it knew.
                        let refused = error.io_kind() == Some(io::ErrorKind::ConnectionRefused);
                        let over = refused || !error.is_retryable();
                        tracking.not_resumed(error);
                        if over {
                            return Err(tracking.ended());
                        }
                    }
                }
            };
            tracking.resumed();
        }
    }

    /// Opens an event stream with a GET: the server's own one, or the rest of a broken one.
    pub(super) async fn open_events(
        &self,
        last: Option<HeaderValue>,
        inbox: &Inbox,
    ) -> Result<Events, Error> {
        let mut headers = self.endpoint.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        self.state.lock().session_headers(&mut headers);
        if let Some(last) = last {
            headers.insert(LAST_EVENT_ID, last);
        }
        let (url, tracking) = (&self.endpoint.url, Tracking::default());
        let response =
            self.endpoint.request(Method::GET, url, &headers, Bytes::new(), &tracking, inbox).await?;
        if !response.status().is_success() {
            let error = http_error(response, inbox).await;
            return Err(Error::new(ErrorKind::Http(error), Delivery::Answered));
        }
        Events::open(response, inbox.limits().event)
    }
}

/// What answers a message that has no reply should be empty; if it is an event stream, it may carry
/// messages of the server's own (ST-02). They are taken as far as they come soon: somebody waits.
async fn overhear(response: Response<Body>, inbox: &Inbox) {
    let headers = response.headers();
    if !media_type(headers).is_some_and(is_events) || check_encoding(headers).is_err() {
        return;
    }
    let mut events = Events::new(response.into_body(), inbox.limits().event);
    let listening = async {
        while let Some(Ok(event)) = events.next().await {
            if is_message(&event) {
                inbox.deliver(&event.data);
            }
        }
        Ok(())
    };
    let _: Result<(), Error> = within(inbox, Some(BODY_PATIENCE), listening).await;
}

/// The reply, if this event has it. What is not JSON-RPC on a call's own stream fails the call (SSE-09).
fn reply_in_event(id: u64, event: &Event, inbox: &Inbox) -> Result<Option<Reply>, Error> {
    if !is_message(event) {
        return Ok(None);
    }
    match message::parse(&event.data) {
        Ok(inbound) => Ok(sort(id, inbound, inbox)),
        Err(malformed) => Err(Error::protocol(Violation::Malformed(malformed.reason.as_str()))),
    }
}

/// The reply in a JSON body, which can hold nothing else (ST-01, LIV-03).
fn find(id: u64, inbound: Inbound, inbox: &Inbox) -> Result<Reply, Error> {
    let missing = match &inbound {
        Inbound::One(Message::Request { .. } | Message::Notification { .. }) => Violation::NotAReply,
        Inbound::One(_) | Inbound::Batch(_) => Violation::ForeignId,
    };
    sort(id, inbound, inbox).ok_or_else(|| Error::protocol(missing))
}

/// Takes our reply out; the rest is the inbox's (HT-10). An error that names nobody, or somebody that
/// is nobody, answers this POST.
fn sort(id: u64, inbound: Inbound, inbox: &Inbox) -> Option<Reply> {
    match inbound {
        Inbound::One(Message::Response { id: from, outcome }) => match (from, outcome) {
            (ResponseId::Ours(from), outcome) if from == id => Some(outcome.map_err(ReplyError::Rpc)),
            (ResponseId::Null | ResponseId::Absent | ResponseId::Foreign, Err(error)) => {
                Some(Err(ReplyError::Rpc(error)))
            }
            (id, outcome) => {
                inbox.accept(Inbound::One(Message::Response { id, outcome }));
                None
            }
        },
        Inbound::One(other) => {
            inbox.accept(Inbound::One(other));
            None
        }
        Inbound::Batch(messages) => {
            let mut reply = None;
            for message in messages {
                match message {
                    Ok(message) if reply.is_none() => reply = sort(id, Inbound::One(message), inbox),
                    Ok(message) => inbox.accept(Inbound::One(message)),
                    Err(malformed) if malformed.id == Some(id) => {
                        reply = Some(Err(ReplyError::Malformed(malformed.reason)));
                    }
                    Err(malformed) => inbox.accept_in_batch(malformed),
                }
            }
            reply
        }
    }
}
