//! One POST and its answer: what each status and content type means for the call (ST-01 to ST-21).

use super::body::Body;
use super::engine::EngineConfig;
use super::failure::{Failure, Stage};
use super::{Http, Inbox, Outgoing, SESSION_ID, Sent};
use crate::mcp::error::{
    Delivery, Error, ErrorKind, HttpError, InvalidInput, IoStage, TimeoutError, Violation, excerpt,
};
use crate::mcp::protocol::event_stream::{Event, EventDecoder};
use crate::mcp::protocol::exchange::{Reply, ReplyError};
use crate::mcp::protocol::handshake::INITIALIZE;
use crate::mcp::protocol::message::{self, Inbound, Message, ResponseId, RpcError};
use ::http::header::{self, HeaderMap, HeaderValue};
use ::http::{Method, Response, StatusCode, Uri};
use bytes::Bytes;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// How long the body of an error is waited for. The status is known, and says more.
const ERROR_BODY_PATIENCE: Duration = Duration::from_millis(500);

impl Http {
    pub(super) async fn post(&self, message: Outgoing, inbox: &Inbox) -> Result<Sent, Error> {
        let engine = self.engine()?;
        let fresh = message.method() == Some(INITIALIZE);
        let body = Bytes::from(message.body);
        let mut uri = self.url.clone();
        for _ in 0..=inbox.limits().redirects {
            let mut request = self.request(Method::POST, &uri, fresh, body.clone());
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
            let in_session = headers.contains_key(SESSION_ID);
            let response = engine.send(request).await.map_err(|failure| failed(failure, &self.config))?;
            match response.status() {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    uri = redirected(&uri, response.headers())?;
                }
                status if status.is_success() => {
                    if fresh {
                        self.remember_session(response.headers())?;
                    }
                    return match message.id {
                        Some(id) => self.reply(id, response, inbox).await.map(Sent::replied),
                        // Any success will do (INI-13).
                        None => Ok(Sent::accepted()),
                    };
                }
                status => {
                    let error = http_error(response, inbox).await;
                    if status == StatusCode::NOT_FOUND && in_session {
                        let expired = ErrorKind::SessionExpired(error.clone());
                        inbox.session().fail(Error::new(expired, Delivery::Answered));
                    }
                    return Err(Error::new(ErrorKind::Http(error), Delivery::Answered));
                }
            }
        }
        Err(Error::limit("redirects", inbox.limits().redirects, Delivery::Answered))
    }

    /// SES-01, SES-03.
    fn remember_session(&self, headers: &HeaderMap) -> Result<(), Error> {
        let Some(id) = headers.get(SESSION_ID) else { return Ok(()) };
        if id.is_empty() || !id.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte)) {
            return Err(Error::protocol(Violation::SessionId));
        }
        let mut id = id.clone();
        id.set_sensitive(true);
        self.state.lock().session_id = Some(id);
        Ok(())
    }

    async fn reply(&self, id: u64, response: Response<Body>, inbox: &Inbox) -> Result<Reply, Error> {
        let status = response.status().as_u16();
        let no_reply = || Error::protocol(Violation::NoReply { status });
        if matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(no_reply());
        }
        let (head, mut body) = response.into_parts();
        let limits = inbox.limits();
        match media_type(&head.headers).as_deref() {
            Some("application/json") => {
                let text = read(&mut body, limits.body).await?;
                if text.is_empty() {
                    return Err(no_reply());
                }
                match message::parse(&text) {
                    Ok(inbound) => find(id, inbound, inbox),
                    Err(malformed) => Err(Error::protocol(Violation::Malformed(malformed.reason.as_str()))),
                }
            }
            Some("text/event-stream") => stream(id, &mut body, inbox).await,
            Some(other) => Err(Error::protocol(Violation::ContentType(Some(excerpt(other.as_bytes(), 100))))),
            None if content_length(&head.headers) == Some(0) => Err(no_reply()),
            None => Err(Error::protocol(Violation::ContentType(None))),
        }
    }
}

/// Reads events until the reply comes (ST-02).
async fn stream(id: u64, body: &mut Body, inbox: &Inbox) -> Result<Reply, Error> {
    let limit = inbox.limits().event;
    let mut decoder = EventDecoder::new(limit);
    let mut events: Vec<Event> = Vec::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(body_failed)?;
        let fed = decoder.feed(&chunk, |event| events.push(event));
        let mut reply = None;
        for event in events.drain(..) {
            // Other kinds of events are none of ours (SSE-04), empty ones are no messages (SSE-07).
            if event.data.is_empty() || event.name.as_deref().is_some_and(|name| name != "message") {
                continue;
            }
            match message::parse(&event.data) {
                Ok(inbound) => reply = reply.or_else(|| sort(id, inbound, inbox)),
                Err(malformed) if reply.is_none() => {
                    return Err(Error::protocol(Violation::Malformed(malformed.reason.as_str())));
                }
                Err(_) => {}
            }
        }
        if let Some(reply) = reply {
            return Ok(reply);
        }
        fed.map_err(|_| Error::limit("the length of an event", limit, Delivery::Answered))?;
    }
    Err(Error::protocol(Violation::StreamEnded))
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
                    Err(malformed) => inbox.accept(Inbound::Batch(vec![Err(malformed)])),
                }
            }
            reply
        }
    }
}

async fn http_error(response: Response<Body>, inbox: &Inbox) -> HttpError {
    let (head, mut body) = response.into_parts();
    // What cannot be read any more is not worth another error: the status says more.
    let text = read_some(&mut body, inbox).await;
    let rpc = match message::parse(&text) {
        Ok(Inbound::One(Message::Response { outcome: Err(error), .. })) => Some(error),
        _ => None::<RpcError>,
    };
    let challenges = head.headers.get_all(header::WWW_AUTHENTICATE).iter();
    HttpError {
        status: head.status.as_u16(),
        retry_after: retry_after(&head.headers),
        www_authenticate: challenges.map(|value| excerpt(value.as_bytes(), HttpError::EXCERPT)).collect(),
        body: excerpt(&text, HttpError::EXCERPT),
        rpc,
    }
}

/// A whole body of at most `limit` bytes.
async fn read(body: &mut Body, limit: usize) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(body_failed)?;
        if chunk.len() > limit - text.len() {
            return Err(Error::limit("the length of a reply", limit, Delivery::Answered));
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// The beginning of an error's body, as far as it can be had soon.
async fn read_some(body: &mut Body, inbox: &Inbox) -> Vec<u8> {
    let limit = inbox.limits().error_body;
    let mut text = Vec::new();
    let mut patience = None;
    poll_fn(|cx| {
        while text.len() < limit {
            match body.poll_chunk(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    text.extend_from_slice(&chunk[..chunk.len().min(limit - text.len())]);
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    let patience = patience.get_or_insert_with(|| inbox.sleep(ERROR_BODY_PATIENCE));
                    return patience.as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    })
    .await;
    text
}

/// `type/subtype` in lower case, without parameters (HT-07).
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    let value = String::from_utf8_lossy(value);
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!essence.is_empty()).then_some(essence)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `Retry-After` in seconds; a date is left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Where a 307 or 308 leads, if that is the same origin (ST-06, SEC-02).
fn redirected(from: &Uri, headers: &HeaderMap) -> Result<Uri, Error> {
    let refused = |why| Err(Error::protocol(Violation::Redirect(why)));
    let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) else {
        return refused("it does not say where");
    };
    let Ok(to) = location.parse::<Uri>() else { return refused("its target is not a URL") };
    let mut parts = to.into_parts();
    match (&parts.scheme, &parts.authority) {
        (None, None) if location.starts_with('/') && !location.starts_with("//") => {
            parts.scheme = from.scheme().cloned();
            parts.authority = from.authority().cloned();
        }
        (Some(_), Some(_)) => {}
        _ => return refused("its target is not a URL"),
    }
    let Ok(to) = Uri::from_parts(parts) else { return refused("its target is not a URL") };
    if to.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return refused("its target carries credentials");
    }
    if origin(&to) != origin(from) {
        return refused("it leads to another origin");
    }
    Ok(to)
}

fn origin(uri: &Uri) -> (Option<&str>, Option<String>, u16) {
    let scheme = uri.scheme_str();
    let port = uri.port_u16().unwrap_or(if scheme == Some("https") { 443 } else { 80 });
    (scheme, uri.host().map(str::to_ascii_lowercase), port)
}

fn body_failed(failure: Failure) -> Error {
    Error::io(IoStage::Body, failure, Delivery::Answered)
}

/// An exchange that failed before there was an answer.
pub(super) fn failed(failure: Failure, config: &EngineConfig) -> Error {
    let delivery = if failure.sent { Delivery::MaybeSent } else { Delivery::NotSent };
    let stage = match failure.stage {
        Stage::BadUrl => return Error::invalid(InvalidInput::Url("it cannot be connected to")),
        Stage::ConnectTimeout => {
            let after = config.connect_timeout.unwrap_or_default();
            return Error::new(ErrorKind::Timeout(TimeoutError { after, total: true }), delivery);
        }
        _ if failure.is_parse() => return Error::protocol_with(Violation::NotHttp, failure),
        Stage::Dns => return Error::io(IoStage::Resolve, failure.into_cause(), delivery),
        Stage::Connect => return Error::io(IoStage::Connect, failure.into_cause(), delivery),
        #[cfg(feature = "mcp-tls")]
        Stage::Tls => return Error::io(IoStage::Tls, failure.into_cause(), delivery),
        Stage::Send | Stage::Head => IoStage::Exchange,
        Stage::Body => IoStage::Body,
    };
    Error::io(stage, failure, delivery)
}
