//! What the head of an HTTP answer says, and failures in this crate's words (ST-01 to ST-21).

use super::Inbox;
use super::body::Body;
use super::engine::EngineConfig;
use super::failure::{Failure, Stage};
use super::secrets::Secrets;
use crate::error::{
    Delivery, Error, ErrorKind, HttpError, InvalidInput, IoStage, TimeoutError, Violation, excerpt,
};
use crate::protocol::message::{self, Inbound, Message, RpcError};
use ::http::header::{self, HeaderMap};
use ::http::{Response, Uri};
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) async fn http_error(response: Response<Body>, inbox: &Inbox) -> HttpError {
    let (head, mut body) = response.into_parts();
    // What cannot be read any more is not worth another error: the status says more.
    let secrets = head.extensions.get::<Secrets>().cloned().unwrap_or_default();
    let text = secrets.mask(&read_some(&mut body, inbox).await);
    let rpc = match message::parse(&text) {
        Ok(Inbound::One(Message::Response { outcome: Err(error), .. })) => Some(error),
        _ => None::<RpcError>,
    };
    let challenges = head.headers.get_all(header::WWW_AUTHENTICATE).iter();
    HttpError {
        status: head.status.as_u16(),
        retry_after: retry_after(&head.headers),
        www_authenticate: challenges
            .map(|value| excerpt(&secrets.mask(value.as_bytes()), HttpError::EXCERPT))
            .collect(),
        location: head.status.is_redirection().then(|| location(&head.headers)).flatten(),
        body: excerpt(&text, HttpError::EXCERPT),
        rpc,
    }
}

/// A whole body of at most `limit` bytes.
pub(super) async fn read(body: &mut Body, limit: usize) -> Result<Vec<u8>, Error> {
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

/// How long a body is waited for that is of little weight: that of an error, whose status is known and says
/// more, or behind a message that has no reply.
pub(super) const BODY_PATIENCE: Duration = Duration::from_millis(500);

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
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Error> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(()) };
    match encoding.as_bytes().trim_ascii() {
        b"" => Ok(()),
        plain if plain.eq_ignore_ascii_case(b"identity") => Ok(()),
        other => Err(Error::protocol(Violation::ContentEncoding(excerpt(other, 100)))),
    }
}

/// `type/subtype` in lower case, without parameters (HT-07).
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    let value = String::from_utf8_lossy(value);
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!essence.is_empty()).then_some(essence)
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `Retry-After`: seconds, or a date, of which the time from now is taken (ST-18).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = UNIX_EPOCH + Duration::from_secs(unix_time(value)?);
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Seconds since 1970 of an HTTP date in the only form that is still written (RFC 9110, 5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn unix_time(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = date.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = parts[..] else { return None };
    let (day, year) = (day.parse::<u64>().ok()?, year.parse::<u64>().ok()?);
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let time: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = time[..] else { return None };
    if !(1970..=9999).contains(&year)
        || !(1..=31).contains(&day)
        || hours > 23
        || minutes > 59
        || seconds > 60
    {
        return None;
    }
    // Years that begin in March end with the leap day, so the months before it have fixed lengths.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // From 1 March of the year 0 to 1 January 1970.
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Where a 307 or 308 leads, if that is the same origin (ST-06, SEC-02).
pub(super) fn redirected(from: &Uri, headers: &HeaderMap) -> Result<Uri, Error> {
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
    // The same host on the default ports may ask for encryption, never for its absence.
    let (mut origin_from, origin_to) = (origin(from), origin(&to));
    if (origin_from.0, origin_from.2, origin_to.0, origin_to.2) == (Some("http"), 80, Some("https"), 443) {
        (origin_from.0, origin_from.2) = (origin_to.0, origin_to.2);
    }
    if origin_from != origin_to {
        return refused("it leads to another origin");
    }
    Ok(to)
}

/// Where a redirect leads that is not followed, without what may be secret (ST-05, SEC-09).
fn location(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::LOCATION)?.to_str().ok()?;
    let bare = text.split(['?', '#']).next().unwrap_or_default();
    let place = match bare.contains("//") {
        true => {
            let uri: Uri = bare.parse().ok()?;
            let port = uri.port().map_or(String::new(), |port| format!(":{port}"));
            format!("{}://{}{port}{}", uri.scheme_str()?, uri.host()?, uri.path())
        }
        // A path. Anything else that might hide credentials is not shown.
        false if bare.starts_with('/') || !bare.contains([':', '@', '\\']) => bare.to_owned(),
        false => return None,
    };
    (!place.is_empty()).then(|| excerpt(place.as_bytes(), HttpError::EXCERPT))
}

pub(super) fn origin(uri: &Uri) -> (Option<&str>, Option<String>, u16) {
    let scheme = uri.scheme_str();
    let default = if scheme == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    (scheme, uri.host().map(str::to_ascii_lowercase), port)
}

pub(super) fn body_failed(failure: Failure) -> Error {
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
        _ if failure.is_parse() => {
            let error = Error::protocol_with(Violation::NotHttp, failure);
            // It may have talked before it was asked.
            return if delivery == Delivery::NotSent { error.not_sent() } else { error };
        }
        Stage::Dns => return Error::io(IoStage::Resolve, failure.into_cause(), delivery),
        Stage::Connect => return Error::io(IoStage::Connect, failure.into_cause(), delivery),
        #[cfg(feature = "tls")]
        Stage::Tls => return Error::io(IoStage::Tls, failure.into_cause(), delivery),
        Stage::Send | Stage::Head => IoStage::Exchange,
        Stage::Body => IoStage::Body,
    };
    Error::io(stage, failure, delivery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn st_05_sec_09_where_a_redirect_leads_is_shown_without_secrets() {
        for (sent, shown) in [
            ("/there", Some("/there")),
            ("/a/@b/c:d?key=1", Some("/a/@b/c:d")),
            ("login#t", Some("login")),
            ("https://sso.example/login?next=%2F", Some("https://sso.example/login")),
            ("HTTP://me:secret@Sso.example:8443/a@b?x#y", Some("http://Sso.example:8443/a@b")),
            ("http://[::1]:80", Some("http://[::1]:80/")),
            ("//me:secret@sso.example/x", None),
            ("http:me:secret@sso.example/x", None),
            ("\\\\me:secret@sso.example", None),
            ("?key=1", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, sent.parse().unwrap());
            let found = location(&headers);
            assert_eq!(found.as_deref(), shown, "{sent}");
            assert!(!found.is_some_and(|found| found.contains("secret")));
        }
        assert_eq!(location(&HeaderMap::new()), None);
    }

    #[test]
    fn st_18_dates_are_read() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Tue, 29 Feb 2000 12:00:00 GMT", Some(951_825_600)),
            ("Mon, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
            ("Sun, 32 Nov 1994 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("soon", None),
        ] {
            assert_eq!(unix_time(date), seconds, "{date}");
        }
    }

    #[test]
    fn st_18_a_date_that_has_passed_is_now() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
        headers.insert(header::RETRY_AFTER, "Fri, 31 Dec 9999 23:59:59 GMT".parse().unwrap());
        assert!(retry_after(&headers).unwrap() > Duration::from_secs(1_000_000));
    }
}
