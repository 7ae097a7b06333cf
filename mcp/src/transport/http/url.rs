//! URLs: what a caller may give, what a server may point to, and what of one may be shown.

use crate::encoding::escape_url;
use crate::error::{Error, HttpError, InvalidInput, Violation, excerpt};
use crate::http_client::explicit_port;
use ::http::Uri;
use ::http::header::{self, HeaderMap};
use fluent_uri::UriRef;

/// A URL that the caller has given.
pub(super) fn parse(url: &str) -> Result<Uri, Error> {
    let invalid = |why| Err(Error::invalid(InvalidInput::Url(why)));
    let Ok(url) = url.parse::<Uri>() else { return invalid("it is not a URL") };
    match url.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "tls") => {}
        Some("https") => return invalid("https needs the feature `tls`"),
        _ => return invalid("it is not an absolute http or https URL"),
    }
    match url.authority() {
        Some(authority) if authority.host().is_empty() => invalid("it has no host"),
        Some(authority) if authority.as_str().contains('@') => {
            invalid("it carries credentials: use a header")
        }
        Some(authority) if explicit_port(authority).is_err() => {
            invalid("its port is not a number up to 65535")
        }
        Some(_) => Ok(url),
        None => invalid("it has no host"),
    }
}

/// Where a reference of the server's leads (RFC 3986, section 5); `Err` says why it is no place to go to. It may be written
/// as for a browser.
fn resolve(base: &Uri, reference: &[u8]) -> Result<Uri, &'static str> {
    const NO_URL: &str = "it is not a URL";
    let base = base.to_string();
    let base = fluent_uri::Uri::parse(&*base).map_err(|_| NO_URL)?;
    let reference = escape_url(reference.trim_ascii());
    let target = UriRef::parse(&*reference).map_err(|_| NO_URL)?;
    let target = target.resolve_against(&base.strip_fragment()).map_err(|_| NO_URL)?;
    let target: Uri = target.strip_fragment().as_str().parse().map_err(|_| NO_URL)?;
    match target.authority() {
        Some(authority) if authority.as_str().contains('@') => Err("it carries credentials"),
        Some(_) if target.scheme().is_some() => Ok(target),
        _ => Err(NO_URL),
    }
}

/// Where a 307 or 308 leads, if that is the same origin (ST-06, SEC-02).
pub(super) fn redirected(from: &Uri, headers: &HeaderMap) -> Result<Uri, Error> {
    let refused = |why| Err(Error::protocol(Violation::Redirect(why)));
    let location = headers.get(header::LOCATION).map(|value| value.as_bytes().trim_ascii());
    // An empty reference is the same place once more.
    let Some(location) = location.filter(|location| !location.is_empty()) else {
        return refused("it does not say where");
    };
    let to = match resolve(from, location) {
        Ok(to) => to,
        Err("it carries credentials") => return refused("its target carries credentials"),
        Err(_) => return refused("its target is not a URL"),
    };
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

/// OLD-02, OLD-03: relative to the stream's URL, and never to another origin: that would send the
/// caller's credentials there.
pub(super) fn endpoint(stream: &Uri, target: &[u8]) -> Result<Uri, Error> {
    let refused = |why| Err(Error::protocol(Violation::Endpoint(why)));
    match resolve(stream, target) {
        Ok(target) if origin(&target) == origin(stream) => Ok(target),
        Ok(_) => refused("it is of another origin"),
        Err(why) => refused(why),
    }
}

/// Where a redirect leads that is not followed, without what may be secret (ST-05, SEC-09).
pub(super) fn location(headers: &HeaderMap) -> Option<String> {
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

/// Scheme, host and port.
pub(super) fn origin(uri: &Uri) -> (Option<&str>, Option<String>, u16) {
    let scheme = uri.scheme_str();
    let default = if scheme == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    (scheme, uri.host().map(str::to_ascii_lowercase), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

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
    fn st_06_where_a_redirect_leads_may_be_written_as_for_a_browser() {
        for (sent, leads) in [
            (&b"/mcp/\xc3\xbc"[..], Ok("http://host:1/mcp/%C3%BC")),
            (b"/mcp/\xfc", Ok("http://host:1/mcp/%FC")),
            (b" /mcp/a b ", Ok("http://host:1/mcp/a%20b")),
            (b"/{x}|y?z=%7B{", Ok("http://host:1/%7Bx%7D%7Cy?z=%7B%7B")),
            (b"//h\xc3\xb6st:1/", Err("its target is not a URL")),
            (b"//host:1 /", Err("its target is not a URL")),
            (b"//{u}@host:1/", Err("its target carries credentials")),
            (b"\\there", Err("its target is not a URL")),
            (b" ", Err("it does not say where")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_bytes(sent).unwrap());
            let found = redirected(&"http://host:1/a/mcp".parse().unwrap(), &headers);
            let found = found.map(|url| url.to_string()).map_err(|error| error.to_string());
            let leads =
                leads.map(str::to_owned).map_err(|why| format!("the redirect was not followed: {why}"));
            assert_eq!(found, leads, "{}", String::from_utf8_lossy(sent));
        }
    }

    #[test]
    fn st_06_a_redirect_is_relative_to_the_url() {
        for (sent, leads) in [
            ("/there", Ok("http://host:1/there")),
            ("../x", Ok("http://host:1/x")),
            ("x?y=http://elsewhere/", Ok("http://host:1/a/x?y=http://elsewhere/")),
            ("?y", Ok("http://host:1/a/mcp?y")),
            ("//host:1/x#there", Ok("http://host:1/x")),
            ("http://HOST:1/x", Ok("http://HOST:1/x")),
            ("//other/x", Err("it leads to another origin")),
            ("https://host:1/x", Err("it leads to another origin")),
            ("http://u:p@host:1/x", Err("its target carries credentials")),
            ("mailto:x", Err("its target is not a URL")),
            ("http://[x", Err("its target is not a URL")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, sent.parse().unwrap());
            let found = redirected(&"http://host:1/a/mcp?key=1".parse().unwrap(), &headers);
            let found = found.map(|url| url.to_string()).map_err(|error| error.to_string());
            let leads =
                leads.map(str::to_owned).map_err(|why| format!("the redirect was not followed: {why}"));
            assert_eq!(found, leads, "{sent}");
        }
    }

    fn resolved(target: &str) -> Result<String, String> {
        let base = "http://host:1/a/sse?key=1".parse().unwrap();
        endpoint(&base, target.as_bytes()).map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn old_02_the_endpoint_is_relative_to_the_stream() {
        for (target, expected) in [
            ("/messages?s=1", "http://host:1/messages?s=1"),
            ("messages", "http://host:1/a/messages"),
            ("?s=1", "http://host:1/a/sse?s=1"),
            ("/messages?from=http://elsewhere/", "http://host:1/messages?from=http://elsewhere/"),
            ("?from=http://elsewhere/", "http://host:1/a/sse?from=http://elsewhere/"),
            ("http://HOST:1/x", "http://HOST:1/x"),
            ("//host:1/x", "http://host:1/x"),
            ("/messages/ü?s={1}", "http://host:1/messages/%C3%BC?s=%7B1%7D"),
        ] {
            assert_eq!(resolved(target).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn old_03_an_endpoint_of_another_origin_is_refused() {
        for target in ["http://host:2/x", "https://host:1/x", "//other/x", "http://u:p@host:1/x", "http://[x"]
        {
            assert!(resolved(target).is_err(), "{target}");
        }
    }
}
