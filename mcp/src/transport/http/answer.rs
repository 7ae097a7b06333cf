//! What the head of an HTTP answer says, and failures in this crate's words (ST-01 to ST-21).

use super::secrets::Secrets;
use super::url;
use crate::encoding::is_compressed;
use crate::error::{
    Delivery, Error, ErrorKind, HttpError, InvalidInput, IoStage, TimeoutError, Violation, excerpt,
};
use crate::http_client::{Body, EngineConfig, Failure, ProxyError, Stage};
use crate::inbox::Inbox;
use crate::inbox::receiving::Share;
use crate::protocol::bytes::append;
use crate::protocol::message;
use crate::protocol::www_authenticate::{Challenge, challenges};
use ::http::Response;
use ::http::header::{self, HeaderMap, HeaderValue};
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime};

pub(super) async fn http_error(response: Response<Body>, inbox: &Inbox) -> HttpError {
    let (head, mut body) = response.into_parts();
    // What cannot be read any more is not worth another error: the status says more.
    let secrets = head.extensions.get::<Secrets>().cloned().unwrap_or_default();
    // What is compressed cannot be read, and nobody has asked for it.
    let text = match check_encoding(&head.headers, || secrets.clone()) {
        Ok(()) => read_some(&mut body, false, inbox).await,
        Err(_) => Vec::new(),
    };
    let text = &text[..text.len().min(inbox.limits().error_body)];
    // Read first and masked then: a secret may be written with escapes.
    let rpc = message::error_in(text).map(|error| secrets.mask_error(error));
    let text = secrets.mask_body(text);
    let challenges = || head.headers.get_all(header::WWW_AUTHENTICATE).iter();
    HttpError {
        status: head.status.as_u16(),
        retry_after: retry_after(&head.headers),
        www_authenticate: challenges()
            .map(|value| excerpt(&secrets.mask(value.as_bytes()), HttpError::EXCERPT))
            .collect(),
        challenges: read_challenges(challenges().map(HeaderValue::as_bytes), |text| secrets.mask(text)),
        location: head
            .status
            .is_redirection()
            .then(|| url::location(&head.headers))
            .flatten()
            .map(|it| secrets.mask_text(&it)),
        body: excerpt(&text, HttpError::EXCERPT),
        rpc,
    }
}

/// The challenges of all these headers, which are put through `mask` before they are read.
pub(super) fn read_challenges<'a, I: Iterator<Item = &'a [u8]>>(
    headers: I,
    mask: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<Challenge> {
    let mut room = HttpError::CHALLENGES;
    let mut found = Vec::new();
    for header in headers {
        let header = mask(header);
        let header = &header[..header.len().min(room)];
        room -= header.len();
        found.extend(challenges(&String::from_utf8_lossy(header)));
    }
    found
}

/// There is no room for more of a reply beside the others.
pub(super) fn too_much(share: &Share<'_>) -> Error {
    Error::limit("the replies that are under way", share.limit(), Delivery::Answered)
}

/// A whole body, of which `text` has been read.
pub(super) async fn read(mut text: Vec<u8>, body: &mut Body, inbox: &Inbox) -> Result<Vec<u8>, Error> {
    let limit = inbox.limits().body;
    let too_long = || Error::limit("the length of a reply", limit, Delivery::Answered);
    if text.len() > limit {
        return Err(too_long());
    }
    let mut share = inbox.receiving();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(body_failed)?;
        if chunk.len() > limit - text.len() {
            return Err(too_long());
        }
        append(&mut text, &chunk, limit);
        if !share.set(text.capacity()) {
            return Err(too_much(&share));
        }
    }
    Ok(text)
}

/// How long a body is waited for that is of little weight: that of an error, whose status is known and says
/// more, or behind a message that has no reply.
pub(super) const BODY_PATIENCE: Duration = Duration::from_millis(500);

/// Whether a body may be a message, whatever its type.
pub(super) fn is_like_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// The beginning of a body, as far as it can be had soon: [`Limits::error_body`](crate::Limits::error_body), and what more
/// came in the last chunk. If it `may_be_reply`, it is waited for as long as for any reply until it begins; the call has its
/// deadline.
pub(super) async fn read_some(body: &mut Body, may_be_reply: bool, inbox: &Inbox) -> Vec<u8> {
    let limit = inbox.limits().error_body;
    let mut text = Vec::new();
    let mut patience = None;
    poll_fn(|cx| {
        while text.len() < limit {
            match body.poll_chunk(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    text.extend_from_slice(&chunk);
                }
                Poll::Ready(_) => break,
                Poll::Pending if may_be_reply && text.trim_ascii_start().is_empty() => return Poll::Pending,
                Poll::Pending => {
                    let patience = patience.get_or_insert_with(|| inbox.sleep(BODY_PATIENCE));
                    return patience.as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    })
    .await;
    text
}

/// A body that is not compressed: it was asked for as it is (HT-06).
pub(super) fn check_encoding(headers: &HeaderMap, secrets: impl FnOnce() -> Secrets) -> Result<(), Error> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(found) = encodings.find(|encoding| is_compressed(encoding.as_bytes())) else { return Ok(()) };
    let encoding = excerpt(&secrets().mask(found.as_bytes()), 100);
    Err(Error::protocol(Violation::ContentEncoding(encoding)))
}

/// `type/subtype` without parameters, as it was sent: in upper or lower case (HT-07). Of several, which a proxy has joined,
/// the first.
pub(super) fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    let end = value.iter().position(|&byte| matches!(byte, b';' | b',')).unwrap_or(value.len());
    let essence = value[..end].trim_ascii();
    (!essence.is_empty()).then_some(essence)
}

pub(super) fn is_events(media_type: &[u8]) -> bool {
    media_type.eq_ignore_ascii_case(b"text/event-stream")
}

pub(super) fn is_json(media_type: &[u8]) -> bool {
    media_type.eq_ignore_ascii_case(b"application/json")
}

/// What is wrong with an answer of another media type than those that were asked for, or of none.
pub(super) fn unexpected(media_type: Option<&[u8]>, secrets: &Secrets) -> Violation {
    Violation::ContentType(media_type.map(|found| excerpt(&secrets.mask(&found.to_ascii_lowercase()), 100)))
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `Retry-After`: seconds, or a date, of which the time from now is taken (ST-18).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    // Who adds it to the time of day gets one.
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        return Some(value.parse().map_or(YEAR, Duration::from_secs).min(YEAR));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default().min(YEAR))
}

pub(super) fn body_failed(failure: Failure) -> Error {
    broken(IoStage::Body, failure, Delivery::Answered)
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
        Stage::Proxy => return proxy_failed(failure, delivery),
        _ if failure.is_parse() => {
            let error = Error::protocol_with(Violation::NotHttp, failure);
            // It may have talked before it was asked.
            return if delivery == Delivery::NotSent { error.not_sent() } else { error };
        }
        Stage::Dns => return broken(IoStage::Resolve, failure, delivery),
        Stage::Connect => return broken(IoStage::Connect, failure, delivery),
        #[cfg(feature = "tls")]
        Stage::Tls => return broken(IoStage::Tls, failure, delivery),
        Stage::Send | Stage::Head => IoStage::Exchange,
        Stage::Body => IoStage::Body,
    };
    broken(stage, failure, delivery)
}

fn proxy_failed(failure: Failure, delivery: Delivery) -> Error {
    match failure.into_cause().downcast::<ProxyError>() {
        Ok(error) => Error::new(ErrorKind::Proxy(*error), delivery),
        Err(other) => Error::io(IoStage::Connect, other, delivery),
    }
}

/// The kind of I/O error is found here, where the failure can be read.
fn broken(stage: IoStage, failure: Failure, delivery: Delivery) -> Error {
    let kind = failure.io_kind();
    match stage {
        // The stage says it all: the failure's own words would say it again.
        IoStage::Resolve | IoStage::Connect | IoStage::Tls => {
            Error::io_of_kind(kind, stage, failure.into_cause(), delivery)
        }
        _ => Error::io_of_kind(kind, stage, failure, delivery),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_00_challenges_are_read_as_far_as_promised() {
        let header = |length: usize| format!("Bearer x=\"{}\"", "y".repeat(length - "Bearer x=\"\"".len()));
        let last = b", Basic z=1";
        for (length, expected) in [(HttpError::CHALLENGES - last.len(), 2), (HttpError::CHALLENGES, 1)] {
            let long = [header(length).as_bytes(), last].concat();
            let found = read_challenges([&long[..]].into_iter(), |text| text.to_vec());
            assert_eq!((found.len(), found[0].scheme()), (expected, "Bearer"), "{length}");
            assert_eq!(found[0].param("x").map(str::len), Some(length - "Bearer x=\"\"".len()));
        }
        let room = "x".repeat(HttpError::CHALLENGES - 3);
        for (last, expected) in [("Two", Some("Two")), ("Three", Some("Thr"))] {
            let headers = [room.as_bytes(), last.as_bytes(), b"More"];
            let found = read_challenges(headers.into_iter(), |text| text.to_vec());
            assert_eq!((found.len(), found.get(1).map(Challenge::scheme)), (2, expected));
        }
    }

    #[test]
    fn st_18_dates_are_read() {
        let seconds = |date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, date.parse().unwrap());
            retry_after(&headers).map(|left| left > Duration::from_secs(1_000_000))
        };
        // The three forms of RFC 9110, 5.6.7.
        assert_eq!(seconds("Fri, 31 Dec 9999 23:59:59 GMT"), Some(true));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT"), Some(false));
        assert_eq!(seconds("Sun Nov  6 08:49:37 1994"), Some(false));
        for odd in ["Sun, 06 Nov 1994 08:49:37 CET", "Sun, 32 Nov 1994 08:49:37 GMT", "soon", ""] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }

    #[test]
    fn st_18_a_date_that_has_passed_is_now() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
        headers.insert(header::RETRY_AFTER, "Fri, 31 Dec 9999 23:59:59 GMT".parse().unwrap());
        let year = Duration::from_secs(365 * 24 * 3600);
        assert_eq!(retry_after(&headers), Some(year), "and none is later than in a year");
        for long in ["31536001", "18446744073709551615", "99999999999999999999999"] {
            headers.insert(header::RETRY_AFTER, long.parse().unwrap());
            assert_eq!(retry_after(&headers), Some(year), "{long}");
        }
        headers.insert(header::RETRY_AFTER, "31535999".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(year - Duration::from_secs(1)));
    }
}
