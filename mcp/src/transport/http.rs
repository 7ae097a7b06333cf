//! Streamable HTTP: every message is a POST of its own, answered by JSON or by an event stream.
//!
//! A call's future owns its exchange: it connects, writes, waits for the head and reads the body
//! itself. So a failed POST fails its call and no other, a dropped call closes its connection, and
//! nothing waits for a driver. The only thing that POSTs share, besides idle connections, is the
//! session's id; an answer of 404 to a POST that carried it ends the session for all.

mod added;
mod answer;
mod authorizer;
mod endpoint;
mod events;
mod post;
mod secrets;
mod sse;
mod tokens;
mod url;

#[cfg(test)]
mod tests;

use super::{Sending, Sent, Tracking, Transport};
use crate::error::{Error, ErrorKind, HttpError};
#[cfg(feature = "webpki-roots")]
use crate::http_client::Roots;
use crate::http_client::{Net, Proxy};
use crate::inbox::Inbox;
use crate::inbox::deadline::within;
use crate::protocol::handshake::{INITIALIZE, Revision};
use crate::protocol::outgoing::Outgoing;
use crate::protocol::stateless::is_stateless_error;
use crate::runtime::timer::BoxFuture;
use crate::sync::Mutex;
use ::http::Method;
use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use authorizer::Authorizer;
use bytes::Bytes;
use endpoint::{Endpoint, endpoint_options};
use shared_fate::Session;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokens::Tokens;

pub use sse::Sse;
pub use tokens::TokenProvider;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// A server behind a URL.
///
/// Speaks Streamable HTTP. If a server refuses that with 400, 404 or 405, or answers with the event stream of the older
/// HTTP+SSE transport, the client falls back to HTTP+SSE. [`legacy_fallback`](Self::legacy_fallback) switches that off;
/// [`Sse`] speaks the older transport right away.
///
/// `https` needs the feature `tls`; certificates are verified against the platform's roots. Redirects are followed only
/// within the same origin and without a change of method, at most
/// [`Limits::redirects`](crate::Limits::redirects) times.
///
/// ```
/// use shared_fate_mcp::Http;
///
/// # fn main() -> Result<(), shared_fate_mcp::Error> {
/// let http = Http::new("http://localhost:8080/mcp")?
///     .bearer("my-token")?
///     .header("x-tenant", "blue")?;
/// assert!(Http::new("ftp://localhost").is_err());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Http {
    endpoint: Endpoint,
    state: Mutex<State>,
    /// Ends, `Closed`, when the server's own stream may be opened: after the handshake, or when it turns
    /// out that the older transport begins with it.
    settled: Session<Infallible>,
    /// Ends, `Closed`, when the server has answered to its own stream's request, one way or the other.
    listening: Session<Infallible>,
    fallback: bool,
    /// The older transport, where it came to that, and what the server had said to this one.
    legacy: OnceLock<(Sse, HttpError)>,
}

/// What the handshake left.
#[derive(Default)]
struct State {
    session_id: Option<HeaderValue>,
    revision: Option<Revision>,
    /// What goes with each POST, made of the above when first needed.
    post_headers: Option<Arc<HeaderMap>>,
}

impl State {
    /// SES-02, INI-09.
    fn session_headers(&self, headers: &mut HeaderMap) {
        if let Some(id) = &self.session_id {
            headers.insert(SESSION_ID, id.clone());
        }
        if let Some(revision) = self.revision {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("has_session", &self.session_id.is_some())
            .field("revision", &self.revision)
            .finish()
    }
}

impl Http {
    /// A server's MCP endpoint: an absolute `http` or `https` URL.
    ///
    /// # Errors
    ///
    /// When it is not, or carries credentials: those belong in a header.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            endpoint: Endpoint::new(url)?,
            state: Mutex::default(),
            settled: Session::new(),
            listening: Session::new(),
            fallback: true,
            legacy: OnceLock::new(),
        })
    }

    endpoint_options!();

    /// Whether a server that refuses Streamable HTTP is tried with HTTP+SSE. Default `true`.
    pub fn legacy_fallback(mut self, fallback: bool) -> Self {
        self.fallback = fallback;
        self
    }

    fn is_stateless(&self) -> bool {
        self.state.lock().revision.is_some_and(Revision::is_stateless)
    }

    /// The first message decides what the server speaks (OLD-09).
    async fn initialize(
        &self,
        message: Outgoing<'_>,
        tracking: &Tracking,
        inbox: &Inbox,
    ) -> Result<Sent, Error> {
        let again = message.clone();
        let error = match self.post(message, tracking, inbox).await {
            Err(error) if self.fallback => error,
            result => return result,
        };
        let is_stateless = |http: &HttpError| http.rpc().is_some_and(is_stateless_error);
        let refused = match error.kind() {
            ErrorKind::Http(http)
                if matches!(http.status(), 200 | 400 | 404 | 405) && !is_stateless(http) =>
            {
                http.clone()
            }
            _ => return Err(error),
        };
        let (sse, _) = self.legacy.get_or_init(|| (Sse::over(self.endpoint.clone()), refused));
        self.settled.close();
        // It was sent once already, so nothing that becomes of this one makes it unsent.
        sse.send(again, &Tracking::default(), inbox).await
    }
}

#[cfg(feature = "oauth")]
impl crate::oauth::ProtectedServer for Http {}

#[cfg(feature = "oauth")]
impl crate::oauth::Sealed for Http {
    fn place(&self) -> crate::oauth::Place<'_> {
        self.endpoint.place()
    }
}

impl Transport for Http {
    fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        match self.legacy.get() {
            Some((sse, _)) => sse.send(message, tracking, inbox),
            None if message.method() == Some(INITIALIZE) => {
                Sending::later(self.initialize(message, tracking, inbox))
            }
            None => Sending::later(self.post(message, tracking, inbox)),
        }
    }

    fn is_request_response(&self) -> bool {
        self.legacy.get().is_none()
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        let run = async move {
            self.settled.ended().await;
            if let Some((sse, refused)) = self.legacy.get() {
                return sse.run(inbox).await.map_err(|error| match sse.is_open() {
                    true => error,
                    false => Error::no_endpoint(refused.clone(), error),
                });
            }
            if !self.is_stateless() {
                // Boxed: it needs much room, and most servers have no such stream.
                Box::pin(self.listen(inbox)).await;
            }
            // Without the server's own stream the session goes on all the same.
            std::future::pending().await
        };
        Box::pin(self.endpoint.with_tokens(inbox, run))
    }

    fn negotiated(&self, revision: Revision) {
        if let Some((sse, _)) = self.legacy.get() {
            return sse.negotiated(revision);
        }
        self.endpoint.negotiated(revision);
        let mut state = self.state.lock();
        (state.revision, state.post_headers) = (Some(revision), None);
    }

    /// A server that may speak first needs its stream before the first call: common ones send what
    /// belongs to no stream of a call there, and drop it if it is not open. But not before it
    /// knows that the handshake is over.
    fn ready<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.settled.close();
            if self.legacy.get().is_none() && !self.is_stateless() {
                let listening = async {
                    self.listening.ended().await;
                    Ok(())
                };
                let _: Result<(), Error> = within(inbox, Some(inbox.timeouts().stream), listening).await;
            }
        })
    }

    /// Whatever the server says to the DELETE, this is over.
    fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut headers = self.endpoint.headers.clone();
            self.state.lock().session_headers(&mut headers);
            if headers.contains_key(SESSION_ID) {
                let (url, tracking) = (&self.endpoint.url, Tracking::default());
                let delete =
                    self.endpoint.request(Method::DELETE, url, &headers, Bytes::new(), &tracking, inbox);
                let _: Result<_, Error> = within(inbox, Some(inbox.timeouts().close), delete).await;
            }
            self.endpoint.settle_tokens(inbox).await;
            self.abort();
        })
    }

    fn origin(&self) -> Option<String> {
        Some(self.endpoint.origin())
    }

    fn abort(&self) {
        self.endpoint.close();
    }

    fn renew(&self) -> Option<Result<Box<dyn Transport>, Error>> {
        Some(Ok(Box::new(Self {
            endpoint: self.endpoint.renewed(),
            state: Mutex::default(),
            settled: Session::new(),
            listening: Session::new(),
            fallback: self.fallback,
            legacy: OnceLock::new(),
        })))
    }
}
