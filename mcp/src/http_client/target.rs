//! From an absolute URL to a place to connect to and the request to send there.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Request, Uri, Version};
use http_body_util::Full;

use super::connection::Key;
use super::port::explicit_port;
use super::proxy::{Proxy, Server};

/// Where the requests for one URL go.
#[derive(Debug)]
pub(super) struct Target {
    url: Uri,
    pub(super) key: Key,
    host: HeaderValue,
    /// In origin form; in absolute form for a proxy that forwards it (RFC 9112, 3.2.2).
    path: Uri,
    /// For that proxy.
    proxy_authorization: Option<HeaderValue>,
}

impl Target {
    pub(super) fn new(url: &Uri, scope: u64, proxy: Option<&Proxy>) -> Result<Self, &'static str> {
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
        let host = host.to_ascii_lowercase();
        let proxy = proxy.and_then(|proxy| proxy.server(tls, &host, port)).cloned();
        let key = Key { tls, host, port, scope, proxy };
        let mut path = url.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
        if key.forwarder().is_some() {
            let absolute = Uri::builder().scheme("http").authority(host_field.as_bytes());
            let absolute = absolute.path_and_query(path.to_string()).build();
            path = absolute.map_err(|_| "not a host name")?;
        }
        let proxy_authorization = key.forwarder().and_then(Server::authorization);
        Ok(Self { url: url.clone(), key, host: host_field, path, proxy_authorization })
    }

    /// Whether it was made of these.
    pub(super) fn is_of(&self, url: &Uri, scope: u64) -> bool {
        self.key.scope == scope && (is_clone(&self.url, url) || self.url == *url)
    }

    /// What is sent there: its target has the form that is understood there, and, unless the caller set it, it has a Host
    /// field without the user name and password a URL may contain. An empty one only keeps room for it.
    pub(super) fn address(&self, request: Request<Bytes>) -> Request<Full<Bytes>> {
        let mut request = request.map(Full::new);
        *request.uri_mut() = self.path.clone();
        *request.version_mut() = Version::HTTP_11;
        let host = request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        if host.is_empty() {
            *host = self.host.clone();
        }
        if let Some(authorization) = &self.proxy_authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
            // tinyproxy, for one, sees one request of a connection. Where the server leaves its own connection open, what
            // follows goes there as it is, credentials included.
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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
