//! An endpoint: where requests go and what goes with each of them.

use super::body::Body;
use super::engine::{Engine, EngineConfig};
use super::secrets::Secrets;
use super::status::{failed, http_error, origin, redirected};
use super::target::explicit_port;
use super::tokens::Tokens;
use super::{Inbox, Tracking};
use crate::error::{Delivery, Error, InvalidInput};
use crate::limits::Limits;
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use std::fmt;
use std::sync::OnceLock;

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
    pub(super) tokens: Option<Tokens>,
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

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        let (scheme, host, port) = origin(&self.url);
        format!("{}://{}:{port}", scheme.unwrap_or_default(), host.unwrap_or_default())
    }

    fn engine(&self, limits: &Limits) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let config = EngineConfig { max_idle_per_host: limits.idle_connections, ..self.config.clone() };
        let engine = Engine::new(config).map_err(|failure| failed(failure, &self.config))?;
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
    pub(super) async fn refusal(&self, inbox: &Inbox) -> Option<Error> {
        let failure = self.engine(inbox.limits()).ok()?.refusal(&self.url).await?;
        Some(failed(failure, &self.config))
    }

    /// One request and the head of its answer, whatever the status; redirects within the origin are
    /// followed, and a refused token is replaced once. `tracking` is told how far it has come until the
    /// first answer, whatever that is.
    pub(super) async fn exchange(
        &self,
        method: Method,
        url: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        tracking: &Tracking,
        inbox: &Inbox,
    ) -> Result<Response<Body>, Error> {
        let limits = inbox.limits();
        let engine = self.engine(limits)?;
        tracking.waiting();
        let mut token = match &self.tokens {
            Some(tokens) => Some(tokens.get().await?),
            None => None,
        };
        let mut replaced = false;
        // Whatever comes of a redirect or a new token: the server has seen the request.
        let mut answered = false;
        loop {
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
                    request.headers_mut().insert(header::AUTHORIZATION, token.value.clone());
                }
                let secrets = Secrets::of(request.headers());
                let begun = |begun| match begun {
                    _ if answered => {}
                    true => tracking.begun(),
                    false => tracking.waiting(),
                };
                let response = engine.send_noting(request, begun).await;
                let mut response = response.map_err(|failure| {
                    let error = failed(failure, &self.config);
                    if answered { error.of_answered() } else { error }
                })?;
                answered = true;
                response.extensions_mut().insert(secrets);
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
            match (&self.tokens, &mut token) {
                (Some(tokens), Some(token)) if response.status() == StatusCode::UNAUTHORIZED && !replaced => {
                    let answer = http_error(response, inbox).await;
                    *token = match tokens.replace(token, &answer).await {
                        Ok(token) => token,
                        Err(error) => return Err(error.of_answered().after_refusal(answer)),
                    };
                    replaced = true;
                }
                _ => return Ok(response),
            }
        }
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
