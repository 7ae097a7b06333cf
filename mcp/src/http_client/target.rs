//! From an absolute URL to a place to connect to and the request to send there.

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Uri, Version};
use http_body_util::Full;

use super::connection::Key;

/// Where the requests for one URL go.
#[derive(Debug)]
pub(super) struct Target {
    url: Uri,
    pub(super) key: Key,
    host: HeaderValue,
    /// In origin form.
    path: Uri,
}

impl Target {
    pub(super) fn new(url: &Uri, scope: u64) -> Result<Self, &'static str> {
        let tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") if cfg!(feature = "tls") => true,
            Some("https") => return Err("https needs the feature `tls`"),
            _ => return Err("not an absolute http or https url"),
        };
        let authority = url.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or("no host")?;
        let default_port = if tls { 443 } else { 80 };
        let port = explicit_port(authority)?.unwrap_or(default_port);
        let host = authority.host();
        let host_field = if port == default_port {
            HeaderValue::try_from(host)
        } else {
            format!("{host}:{port}").try_into()
        };
        let host_field = host_field.map_err(|_| "not a host name")?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let key = Key { tls, host: host.to_ascii_lowercase(), port, scope };
        let path = url.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
        Ok(Self { url: url.clone(), key, host: host_field, path })
    }

    /// Whether it was made of these.
    pub(super) fn is_of(&self, url: &Uri, scope: u64) -> bool {
        self.key.scope == scope && (is_clone(&self.url, url) || self.url == *url)
    }

    /// What is sent there: it has an origin-form target and, unless the caller set it, a Host field without
    /// the user name and password a URL may contain. An empty one only keeps room for it.
    pub(super) fn address(&self, request: Request<Bytes>) -> Request<Full<Bytes>> {
        let mut request = request.map(Full::new);
        *request.uri_mut() = self.path.clone();
        *request.version_mut() = Version::HTTP_11;
        let host = request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        if host.is_empty() {
            *host = self.host.clone();
        }
        request
    }
}

/// Whether both are the same text in the same place. `false` means nothing.
fn is_clone(one: &Uri, other: &Uri) -> bool {
    let path = |url: &Uri| url.path_and_query().map(|path| path.as_str().as_bytes().as_ptr_range());
    let authority = |url: &Uri| url.authority().map(|authority| authority.as_str().as_bytes().as_ptr_range());
    path(one) == path(other) && authority(one) == authority(other) && one.scheme() == other.scheme()
}

/// Unlike [`Authority::port_u16`] this does not take a port that is out of range for no port at all.
pub(crate) fn explicit_port(authority: &Authority) -> Result<Option<u16>, &'static str> {
    let text = authority.as_str();
    let without_user = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    match without_user.strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':')) {
        None | Some("") => Ok(None),
        Some(port) => port.parse().map(Some).map_err(|_| "not a port number"),
    }
}
