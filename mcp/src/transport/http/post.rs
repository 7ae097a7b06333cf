//! One POST and its answer: what each status and content type means for the call (ST-01 to ST-21).

use super::answer::{
    BODY_PATIENCE, check_encoding, content_length, http_error, is_events, is_json, is_like_json, media_type,
    read, read_some, unexpected,
};
use super::events::{Cursor, EVENT_STREAM, Events, deliver, has_lasted, is_message};
use super::secrets::Secrets;
use super::{Http, LAST_EVENT_ID, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID};
use crate::error::{Delivery, Error, ErrorKind, HttpError, InvalidInput, Violation, excerpt};
use crate::http_client::Body;
use crate::inbox::Inbox;
use crate::inbox::deadline::within;
use crate::protocol::event_stream::Event;
use crate::protocol::handshake::INITIALIZE;
use crate::protocol::message::recover_id::recover_response_id;
use crate::protocol::message::{self, Inbound, Message, ReplyError, ResponseId};
use crate::protocol::outgoing::{Outgoing, Routing};
use crate::protocol::pending_calls::Reply;
use crate::protocol::stateless::DISCOVER;
use crate::transport::{Odd, Sent, Tracking};
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Response, StatusCode};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A request whose reply is to come.
#[derive(Clone, Copy)]
struct Call<'a> {
    id: u64,
    /// Whether it is the first of all.
    first: bool,
    /// Whether its event stream may be resumed.
    resumable: bool,
    /// Told what becomes of that stream.
    tracking: &'a Tracking,
}

/// A longer one would not fit into a header of common servers.
const LONGEST_SESSION_ID: usize = 4096;

impl Http {
    pub(super) async fn post(
        &self,
        message: Outgoing<'_>,
        tracking: &Tracking,
        inbox: &Inbox,
    ) -> Result<Sent, Error> {
        let fresh = message.method() == Some(INITIALIZE);
        let first = fresh || message.method() == Some(DISCOVER);
        let mut headers = match &message.routing {
            Some(routing) => Arc::new(self.routed_headers(message.method(), routing)?),
            None if fresh => Arc::new(self.endpoint.post_headers()),
            None => self.session_post_headers(),
        };
        if !message.headers.is_empty() {
            self.endpoint.added.add(Arc::make_mut(&mut headers), &message.headers)?;
        }
        // From 2026-07-28 on a broken stream loses its request (RES-12).
        let resumable = message.routing.is_none();
        let in_session = headers.contains_key(SESSION_ID);
        if first {
            self.endpoint.begins(tracking);
        }
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
                let call = Call { id, first, resumable, tracking };
                self.reply(call, response, inbox).await.map(Sent::replied)
            }
            // Any success will do (INI-13).
            None => {
                self.overhear(response, inbox).await;
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
        let is_short = (1..=LONGEST_SESSION_ID).contains(&id.len());
        if !is_short || !id.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte)) {
            return Err(Error::protocol(Violation::SessionId));
        }
        let mut id = id.clone();
        id.set_sensitive(true);
        let mut state = self.state.lock();
        (state.session_id, state.post_headers) = (Some(id), None);
        Ok(())
    }

    async fn reply(&self, call: Call<'_>, response: Response<Body>, inbox: &Inbox) -> Result<Reply, Error> {
        let status = response.status().as_u16();
        let no_reply = || Error::protocol(Violation::NoReply { status });
        if matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(no_reply());
        }
        let (head, mut body) = response.into_parts();
        check_encoding(&head.headers, || self.secrets())?;
        let limits = inbox.limits();
        let media_type = media_type(&head.headers);
        let text = match media_type {
            Some(events) if is_events(events) => {
                // Boxed: a call that is answered otherwise need not have room for it.
                let events = Events::new(body, inbox);
                return Box::pin(self.reply_in_events(call, events, inbox)).await;
            }
            Some(json) if is_json(json) => {
                let limit = u64::try_from(limits.body).unwrap_or(u64::MAX);
                if content_length(&head.headers).is_some_and(|length| length > limit) {
                    return Err(Error::limit("the length of a reply", limits.body, Delivery::Answered));
                }
                read(Vec::new(), &mut body, inbox).await?
            }
            // A page is not read to its end. But what says that it is a page may be a reply.
            _ => match read_some(&mut body, true, inbox).await {
                text if is_like_json(&text) => read(text, &mut body, inbox).await?,
                text => text,
            },
        };
        if text.trim_ascii().is_empty() {
            return Err(no_reply());
        }
        let violation = match message::parse(&text) {
            Ok(inbound) => return find(call.id, inbound, inbox).map(|reply| self.masked(reply)),
            Err(malformed) if media_type.is_some_and(is_json) => {
                Violation::Malformed(malformed.reason.as_str())
            }
            Err(_) => unexpected(media_type, &self.secrets()),
        };
        Err(self.instead(violation, &text))
    }

    /// What a request carries that no text may show.
    pub(super) fn secrets(&self) -> Secrets {
        self.endpoint.secrets(&self.session_post_headers(), &self.endpoint.url)
    }

    fn masked(&self, reply: Reply) -> Reply {
        reply.map_err(|error| match error {
            ReplyError::Rpc(error) => ReplyError::Rpc(self.secrets().mask_error(error)),
            other => other,
        })
    }

    /// An error that shows what came in the place of a reply.
    fn instead(&self, violation: Violation, text: &[u8]) -> Error {
        Error::instead(violation, self.quote(text))
    }

    /// How a text begins, as an error may show it.
    fn quote(&self, text: &[u8]) -> String {
        // Masked first and cut then: half a secret would not be found.
        excerpt(&self.secrets().mask_body(text), 200)
    }

    /// Reads events until the reply comes (ST-02), and resumes the stream where that is possible (RES-01
    /// to RES-11). The call's deadline goes on all the time.
    async fn reply_in_events(
        &self,
        call: Call<'_>,
        mut events: Events<'_>,
        inbox: &Inbox,
    ) -> Result<Reply, Error> {
        let Call { id, first, resumable, tracking } = call;
        let mut cursor = Cursor::default();
        // Rounds without news: it is news that makes another round worthwhile, not a stream that opens.
        let mut rounds = 0;
        let mut since = inbox.clock();
        loop {
            let broke = loop {
                match events.next().await {
                    Some(Ok(event)) => {
                        rounds = 0;
                        cursor.follow(&events, inbox.limits());
                        if first && event.name.as_deref() == Some("endpoint") {
                            return Err(older_transport(&self.secrets().mask_body(&event.data)));
                        }
                        match self.reply_in_event(id, &event, inbox) {
                            Seen::Reply(reply) => return Ok(self.masked(reply)),
                            Seen::Odd(odd) => tracking.odd(odd),
                            Seen::Malformed(error) => return Err(error),
                            Seen::Other => {}
                        }
                    }
                    Some(Err(error)) if matches!(error.kind(), ErrorKind::Limit(_)) => return Err(error),
                    Some(Err(error)) => break Some(error),
                    None => {
                        if let Some(text) = events.rest(|| self.secrets()) {
                            tracking.odd(Odd { violation: None, text });
                        }
                        break None;
                    }
                }
            };
            let Some(last) = cursor.last().filter(|_| resumable) else {
                return Err(broke.unwrap_or_else(|| tracking.ended()));
            };
            if has_lasted(since, inbox) {
                rounds = 0;
            }
            let has_broken = broke.is_some();
            inbox.set_adrift(id);
            tracking.lost(broke);
            events = loop {
                rounds += 1;
                if rounds > inbox.limits().resumptions {
                    return Err(tracking.ended());
                }
                let pause = cursor.delay(rounds);
                // A stream that broke, other than one that ended, may have broken with its server. That needs no
                // request to find out, and perhaps no waiting.
                match has_broken && rounds == 1 {
                    true => {
                        if let Some(gone) = self.watch(pause, inbox).await {
                            tracking.not_resumed(gone);
                            return Err(tracking.ended());
                        }
                    }
                    false => inbox.sleep(pause).await,
                }
                since = inbox.clock();
                match self.open_events(Some(last.clone()), inbox).await {
                    Ok(events) => break events,
                    Err(error) => {
                        // Where nobody listens any more, whoever was to answer is gone, and what it knew.
                        let refused = error.io_kind() == Some(io::ErrorKind::ConnectionRefused)
                            && !matches!(error.kind(), ErrorKind::Proxy(_));
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

    /// Waits. Returns the error of a server that goes meanwhile, as soon as it is gone.
    async fn watch(&self, pause: Duration, inbox: &Inbox) -> Option<Error> {
        let (mut pause, mut gone) = (inbox.sleep(pause), Box::pin(self.endpoint.gone(inbox)));
        poll_fn(|cx| match gone.as_mut().poll(cx) {
            Poll::Ready(error) => Poll::Ready(Some(error)),
            Poll::Pending => pause.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// The reply is taken wherever it is. Of other events than messages nothing else is (SSE-04).
    fn reply_in_event(&self, id: u64, event: &Event, inbox: &Inbox) -> Seen {
        if event.data.is_empty() {
            return Seen::Other;
        }
        let is_message = is_message(event);
        let odd = |violation, text| Seen::Odd(Odd { violation, text });
        match message::parse(&event.data) {
            Ok(inbound) if is_message => {
                let is_reply = matches!(inbound, Inbound::One(Message::Response { .. }));
                match sort(id, inbound, inbox) {
                    Some(reply) => Seen::Reply(reply),
                    // Not quoted, as it may be the result of another call.
                    None if is_reply => odd(Some(Violation::ForeignId), String::new()),
                    None => Seen::Other,
                }
            }
            Ok(Inbound::One(Message::Response { id: from, outcome })) => {
                match answers(id, from, outcome.is_err()) {
                    true => Seen::Reply(outcome.map_err(ReplyError::Rpc)),
                    false => odd(Some(Violation::ForeignId), String::new()),
                }
            }
            Ok(_) => Seen::Other,
            Err(malformed) => {
                let violation = Violation::Malformed(malformed.reason.as_str());
                if malformed.id.or_else(|| recover_response_id(&event.data)) == Some(id) {
                    return Seen::Malformed(self.instead(violation, &event.data));
                }
                let text = self.quote(&event.data);
                if !is_message {
                    return odd(None, text);
                }
                deliver(inbox, &event.data, || self.secrets());
                odd(Some(violation), text)
            }
        }
    }

    /// What answers a message that has no reply should be empty; if it is an event stream, it may carry
    /// messages of the server's own (ST-02). They are taken as far as they come soon: somebody waits.
    async fn overhear(&self, response: Response<Body>, inbox: &Inbox) {
        let headers = response.headers();
        if !media_type(headers).is_some_and(is_events) || check_encoding(headers, || self.secrets()).is_err()
        {
            return;
        }
        let mut events = Events::new(response.into_body(), inbox);
        let listening = async {
            while let Some(Ok(event)) = events.next().await {
                if is_message(&event) {
                    deliver(inbox, &event.data, || self.secrets());
                }
            }
            Ok(())
        };
        let _: Result<(), Error> = within(inbox, Some(BODY_PATIENCE), listening).await;
    }

    /// Opens an event stream with a GET: the server's own one, or the rest of a broken one.
    pub(super) async fn open_events<'a>(
        &self,
        last: Option<HeaderValue>,
        inbox: &'a Inbox,
    ) -> Result<Events<'a>, Error> {
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
        Events::open(response, inbox, || self.secrets())
    }
}

/// What an event is to a call.
enum Seen {
    Reply(Reply),
    /// It looks like the reply, and is none.
    Malformed(Error),
    /// It is no message, or a reply with another id; ours may come all the same.
    Odd(Odd),
    /// It is somebody else's.
    Other,
}

/// Whether a reply from `from` is that to the request `id`. An error that names nobody, or somebody that is nobody,
/// answers the POST that it comes with.
fn answers(id: u64, from: ResponseId, is_error: bool) -> bool {
    match from {
        ResponseId::Ours(from) => from == id,
        ResponseId::Null | ResponseId::Absent | ResponseId::Foreign => is_error,
    }
}

/// The first event of an event stream of HTTP+SSE, in answer to a POST. It says what other servers say by refusing.
fn older_transport(endpoint: &[u8]) -> Error {
    let body = format!("event: endpoint\ndata: {}", String::from_utf8_lossy(endpoint));
    let body = excerpt(body.as_bytes(), HttpError::EXCERPT);
    let answer = HttpError {
        status: 200,
        retry_after: None,
        www_authenticate: Vec::new(),
        challenges: Vec::new(),
        location: None,
        body,
        rpc: None,
    };
    Error::new(ErrorKind::Http(answer), Delivery::Answered)
}

/// The reply in a JSON body, which can hold nothing else (ST-01, LIV-03).
fn find(id: u64, inbound: Inbound, inbox: &Inbox) -> Result<Reply, Error> {
    let missing = match &inbound {
        Inbound::One(Message::Request { .. } | Message::Notification { .. }) => Violation::NotAReply,
        Inbound::One(_) | Inbound::Batch(_) => Violation::ForeignId,
    };
    sort(id, inbound, inbox).ok_or_else(|| Error::protocol(missing))
}

/// Takes our reply out; the rest is the inbox's (HT-10).
fn sort(id: u64, inbound: Inbound, inbox: &Inbox) -> Option<Reply> {
    match inbound {
        Inbound::One(Message::Response { id: from, outcome }) if answers(id, from, outcome.is_err()) => {
            Some(outcome.map_err(ReplyError::Rpc))
        }
        Inbound::One(Message::Response { id: ResponseId::Ours(other), outcome }) => {
            inbox.accept_elsewhere(other, outcome);
            None
        }
        Inbound::One(other) => {
            inbox.accept(Inbound::One(other));
            None
        }
        Inbound::Batch(messages) => {
            let mut reply = None;
            for message in messages {
                match message {
                    Ok(message) => {
                        let found = sort(id, Inbound::One(message), inbox);
                        reply = reply.or(found);
                    }
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
