//! An endpoint: where requests go and what goes with each of them.

use super::body::Body;
use super::engine::{Engine, EngineConfig};
use super::status::{failed, http_error, redirected};
use super::target::explicit_port;
use super::{Inbox, TokenProvider};
use crate::mcp::error::{Delivery, Error, HttpError, InvalidInput, IoStage};
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What belongs to the transport (HT-18), and to HTTP itself.
const RESERVED: [&str; 12] = [
    "accept",
    "accept-encoding",
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

/// A URL with everything that goes with each request to its server.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) url: Uri,
    headers: HeaderMap,
    pub(super) config: EngineConfig,
    pub(super) tokens: Option<Arc<dyn TokenProvider>>,
    engine: OnceLock<Engine>,
}

impl Endpoint {
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            url: parse(url)?,
            headers: HeaderMap::new(),
            config: EngineConfig::default(),
            tokens: None,
            engine: OnceLock::new(),
        })
    }

    pub(super) fn header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let invalid = |why| Error::invalid(InvalidInput::Header(why));
        let name: HeaderName = name.parse().map_err(|_| invalid("its name is not allowed in HTTP"))?;
        if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-") {
            return Err(invalid("it belongs to the transport"));
        }
        let mut value =
            HeaderValue::from_str(value).map_err(|_| invalid("its value is not allowed in HTTP"))?;
        value.set_sensitive(true);
        self.headers.append(name, value);
        Ok(())
    }

    pub(super) fn bearer(&mut self, token: &str) -> Result<(), Error> {
        self.headers.remove(header::AUTHORIZATION);
        self.header(header::AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    fn engine(&self) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::new(self.config.clone()).map_err(|failure| failed(failure, &self.config))?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// The same endpoint, with connections of its own.
    pub(super) fn renewed(&self) -> Self {
        Self { engine: OnceLock::new(), ..self.clone() }
    }

    /// Closes idle connections, and from now on each as soon as it is no longer used.
    pub(super) fn close(&self) {
        if let Some(engine) = self.engine.get() {
            engine.close();
        }
    }

    /// The error of a server that is not there any more.
    pub(super) async fn refusal(&self) -> Option<Error> {
        let failure = self.engine().ok()?.refusal(&self.url).await?;
        Some(failed(failure, &self.config))
    }

    /// One request and the head of its answer, whatever the status; redirects within the origin are
    /// followed, and a refused token is replaced once.
    pub(super) async fn exchange(
        &self,
        method: Method,
        url: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        inbox: &Inbox,
    ) -> Result<Response<Body>, Error> {
        let engine = self.engine()?;
        let limits = inbox.limits();
        let mut refused = None;
        loop {
            let token = self.token(refused.as_ref()).await?;
            let mut uri = url.clone();
            let mut hops = 0;
            let response = loop {
                let mut request = Request::new(body.clone());
                *request.method_mut() = method.clone();
                *request.uri_mut() = uri.clone();
                // Room for the three that are added here and further on, too.
                request.headers_mut().reserve(self.headers.len() + headers.len() + 3);
                for (name, value) in self.headers.iter().chain(headers) {
                    request.headers_mut().append(name, value.clone());
                }
                // A compressed answer would have to be undone, and an event stream could not be read as it
                // comes.
                request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
                if let Some(token) = &token {
                    request.headers_mut().insert(header::AUTHORIZATION, token.clone());
                }
                let response = engine.send(request).await.map_err(|failure| failed(failure, &self.config))?;
                if !matches!(
                    response.status(),
                    StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
                ) {
                    break response;
                }
                hops += 1;
                if hops > limits.redirects {
                    return Err(Error::limit("redirects", limits.redirects, Delivery::Answered));
                }
                uri = redirected(&uri, response.headers())?;
            };
            if response.status() == StatusCode::UNAUTHORIZED && self.tokens.is_some() && refused.is_none() {
                refused = Some(http_error(response, inbox).await);
                continue;
            }
            return Ok(response);
        }
    }

    async fn token(&self, refused: Option<&HttpError>) -> Result<Option<HeaderValue>, Error> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let failed = |error| Error::io(IoStage::Credentials, error, Delivery::NotSent);
        let token = tokens.token(refused).await.map_err(failed)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::invalid(InvalidInput::Header("the token is not allowed in HTTP")))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl fmt::Debug for Endpoint {
    /// Without the query and the headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", format_args!("{}{}", self.url.host().unwrap_or_default(), self.url.path()))
    }
}

fn parse(url: &str) -> Result<Uri, Error> {
    let invalid = |why| Err(Error::invalid(InvalidInput::Url(why)));
    let Ok(url) = url.parse::<Uri>() else { return invalid("it is not a URL") };
    match url.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "mcp-tls") => {}
        Some("https") => return invalid("https needs the feature `mcp-tls`"),
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
