//! From an absolute URL to a place to connect to and the request to send there.

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Uri, Version};
use http_body_util::Full;

use super::connection::Key;

/// Splits `request` into where it goes and what is sent there.
///
/// What is sent has an origin-form target and, unless the caller set it, a Host field without the
/// user name and password a URL may contain.
pub(super) fn split(
    request: Request<Bytes>,
    scope: u64,
) -> Result<(Key, Request<Full<Bytes>>), &'static str> {
    let uri = request.uri();
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") if cfg!(feature = "mcp-tls") => true,
        Some("https") => return Err("https needs the feature `mcp-tls`"),
        _ => return Err("not an absolute http or https url"),
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or("no host")?;
    let default_port = if tls { 443 } else { 80 };
    let port = explicit_port(authority)?.unwrap_or(default_port);
    let host = authority.host();
    let host_field =
        if port == default_port { HeaderValue::try_from(host) } else { format!("{host}:{port}").try_into() };
    let host_field = host_field.map_err(|_| "not a host name")?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let key = Key { tls, host: host.to_ascii_lowercase(), port, scope };
    let target = uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);

    let mut request = request.map(Full::new);
    *request.uri_mut() = target;
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().entry(HOST).or_insert(host_field);
    Ok((key, request))
}

/// Unlike [`Authority::port_u16`] this does not take a port that is out of range for no port at all.
pub(super) fn explicit_port(authority: &Authority) -> Result<Option<u16>, &'static str> {
    let text = authority.as_str();
    let without_user = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    match without_user.strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':')) {
        None | Some("") => Ok(None),
        Some(port) => port.parse().map(Some).map_err(|_| "not a port number"),
    }
}
