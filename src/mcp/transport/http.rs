//! Streamable HTTP: every message is a POST of its own, answered by JSON or by an event stream.
//!
//! A call's future owns its exchange: it connects, writes, waits for the head and reads the body
//! itself. So a failed POST fails its call and no other, a dropped call closes its connection, and
//! nothing waits for a driver. The only thing that POSTs share, besides idle connections, is the
//! session's id; an answer of 404 to a POST that carried it ends the session for all.

mod body;
mod connection;
mod engine;
mod failure;
mod net;
mod pool;
mod post;
mod target;
#[cfg(feature = "mcp-tls")]
mod tls;

#[cfg(test)]
mod tests;

use super::{BoxFuture, Inbox, Outgoing, Revision, Sent, Transport};
use crate::mcp::client::within;
use crate::mcp::error::{Error, InvalidInput};
use crate::sync::Mutex;
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Uri};
use bytes::Bytes;
use engine::{Engine, EngineConfig};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(crate) use failure::Failure;
pub use net::{AsyncIo, ConnectError, Connecting, Net, Stream};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// What belongs to the transport (HT-18), and to HTTP itself.
const RESERVED: [&str; 11] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// A server behind a URL, over Streamable HTTP.
///
/// `https` needs the feature `mcp-tls`; certificates are verified, against the platform's roots.
/// Redirects are followed within the same origin only, with the method kept, and a bounded number of
/// times ([`Limits::redirects`](crate::mcp::Limits::redirects)).
///
/// ```
/// use shared_fate::mcp::Http;
///
/// # fn main() -> Result<(), shared_fate::mcp::Error> {
/// let http = Http::new("http://localhost:8080/mcp")?
///     .bearer("my-token")?
///     .header("x-tenant", "blue")?;
/// assert!(Http::new("ftp://localhost").is_err());
/// # Ok(()) }
/// ```
pub struct Http {
    url: Uri,
    headers: HeaderMap,
    config: EngineConfig,
    engine: OnceLock<Engine>,
    state: Mutex<State>,
}

/// What the handshake left.
#[derive(Default)]
struct State {
    session_id: Option<HeaderValue>,
    revision: Option<Revision>,
}

impl Http {
    /// A server's MCP endpoint: an absolute `http` or `https` URL.
    ///
    /// # Errors
    ///
    /// When it is not, or carries credentials: those belong in a header.
    pub fn new(url: &str) -> Result<Self, Error> {
        let invalid = |why| Err(Error::invalid(InvalidInput::Url(why)));
        let Ok(url) = url.parse::<Uri>() else { return invalid("it is not a URL") };
        match url.scheme_str() {
            Some("http") => {}
            Some("https") if cfg!(feature = "mcp-tls") => {}
            Some("https") => return invalid("https needs the feature `mcp-tls`"),
            _ => return invalid("it is not an absolute http or https URL"),
        }
        match url.authority() {
            Some(authority) if authority.host().is_empty() => return invalid("it has no host"),
            Some(authority) if authority.as_str().contains('@') => {
                return invalid("it carries credentials: use a header");
            }
            Some(authority) if target::explicit_port(authority).is_err() => {
                return invalid("its port is not a number up to 65535");
            }
            Some(_) => {}
            None => return invalid("it has no host"),
        }
        Ok(Self {
            url,
            headers: HeaderMap::new(),
            config: EngineConfig::default(),
            engine: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    /// Adds a header to every request.
    ///
    /// # Errors
    ///
    /// When HTTP does not allow it (a line break in the value, for instance), or when it is one that the
    /// transport sets itself.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let invalid = |why| Error::invalid(InvalidInput::Header(why));
        let name: HeaderName = name.parse().map_err(|_| invalid("its name is not allowed in HTTP"))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(invalid("it belongs to the transport"));
        }
        let mut value =
            HeaderValue::from_str(value).map_err(|_| invalid("its value is not allowed in HTTP"))?;
        value.set_sensitive(true);
        self.headers.append(name, value);
        Ok(self)
    }

    /// Sends this bearer token with every request.
    ///
    /// # Errors
    ///
    /// When the token has characters that are not allowed in a header.
    pub fn bearer(mut self, token: &str) -> Result<Self, Error> {
        self.headers.remove(header::AUTHORIZATION);
        self.header(header::AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// Where sockets come from. Default: [`AsyncIo`], which works on every executor.
    pub fn net(mut self, net: impl Net) -> Self {
        self.config.net = Arc::new(net);
        self
    }

    /// How long connecting may take, TLS included. Default 10 s; `None` for no limit of its own.
    pub fn connect_timeout(mut self, limit: Option<Duration>) -> Self {
        self.config.connect_timeout = limit;
        self
    }

    /// Trusts this root certificate too (DER).
    #[cfg(feature = "mcp-tls")]
    pub fn root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.config.tls.extra_roots.push(der.into());
        self
    }

    /// Trusts Mozilla's roots, as compiled in, in place of the platform's: for containers that have no
    /// certificates.
    #[cfg(feature = "mcp-webpki-roots")]
    pub fn webpki_roots(mut self) -> Self {
        self.config.tls.roots = tls::Roots::WebPki;
        self
    }

    fn engine(&self) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine =
            Engine::new(self.config.clone()).map_err(|failure| post::failed(failure, &self.config))?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// A request to the endpoint, with everything that goes with each.
    fn request(&self, method: Method, uri: &Uri, fresh: bool, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if !fresh {
            let state = self.state.lock();
            if let Some(id) = &state.session_id {
                headers.insert(SESSION_ID, id.clone());
            }
            if let Some(revision) = state.revision {
                headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
            }
        }
        request
    }
}

impl Transport for Http {
    fn send<'a>(&'a self, message: Outgoing, inbox: &'a Inbox) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(self.post(message, inbox))
    }

    fn run<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::pending())
    }

    fn negotiated(&self, revision: Revision) {
        self.state.lock().revision = Some(revision);
    }

    /// SES-08, SES-09: whatever the server says to the DELETE, this is over.
    fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let has_session = self.state.lock().session_id.is_some();
            if has_session && let Ok(engine) = self.engine() {
                let request = self.request(Method::DELETE, &self.url, false, Bytes::new());
                let delete = async {
                    engine
                        .send(request)
                        .await
                        .map(drop)
                        .map_err(|failure| post::failed(failure, &self.config))
                };
                let _: Result<(), Error> = within(inbox, Some(inbox.timeouts().close), delete).await;
            }
            self.abort();
        })
    }

    fn abort(&self) {
        if let Some(engine) = self.engine.get() {
            engine.close();
        }
    }
}

impl fmt::Debug for Http {
    /// Without the query and the headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("host", &self.url.host())
            .field("path", &self.url.path())
            .finish_non_exhaustive()
    }
}
