//! An endpoint: where requests go and what goes with each of them.

use super::added::{Added, header};
use super::answer::failed;
use super::authorizer::{Ask, Authorization, Authorizer};
use super::secrets::Secrets;
use super::url;
use crate::error::{Delivery, Error};
use crate::http_client::{Body, Engine, EngineConfig, Proxy};
use crate::inbox::Inbox;
#[cfg(feature = "oauth")]
use crate::inbox::{deadline::within, event::Event};
#[cfg(feature = "oauth")]
use crate::oauth::Seen;
use crate::protocol::handshake::Revision;
#[cfg(feature = "tokio")]
use crate::runtime::Reactor;
use crate::transport::Tracking;
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use std::fmt;
use std::sync::OnceLock;
#[cfg(feature = "oauth")]
use std::{future::poll_fn, pin::pin, task::Poll};

/// A URL with everything that goes with each request to its server.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) url: Uri,
    /// The same as it was given: a URL that was read and printed may have a slash more.
    #[cfg(feature = "oauth")]
    pub(super) text: String,
    /// What goes with each request, whatever it is.
    pub(super) headers: HeaderMap,
    pub(super) config: EngineConfig,
    /// Whether the caller has said where sockets come from.
    pub(super) has_net: bool,
    pub(super) authorizer: Option<Authorizer>,
    pub(super) added: Added,
    /// Whether it is there for a second session: nobody is asked to let that begin.
    #[cfg(feature = "oauth")]
    pub(super) is_renewed: bool,
    engine: OnceLock<Engine>,
}

impl Endpoint {
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        // A compressed answer would have to be undone, and an event stream could not be read as it comes.
        let plain = (header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(Self {
            #[cfg(feature = "oauth")]
            text: url.to_owned(),
            url: url::parse(url)?,
            headers: HeaderMap::from_iter([plain]),
            config: EngineConfig::default(),
            has_net: false,
            authorizer: None,
            added: Added::default(),
            #[cfg(feature = "oauth")]
            is_renewed: false,
            engine: OnceLock::new(),
        })
    }

    pub(super) fn header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let (name, value) = header(name, value)?;
        self.headers.append(name, value);
        Ok(())
    }

    pub(super) fn bearer(&mut self, token: &str) -> Result<(), Error> {
        self.headers.remove(header::AUTHORIZATION);
        self.authorizer = None;
        self.header(header::AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// What goes with each POST of Streamable HTTP. Host, length and token are not known yet: they keep room, so
    /// that a copy for one request need not grow.
    pub(super) fn post_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.reserve(7);
        headers.insert(header::HOST, HeaderValue::from_static(""));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        if self.authorizer.is_some() {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(""));
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        let (scheme, host, port) = url::origin(&self.url);
        format!("{}://{}:{port}", scheme.unwrap_or_default(), host.unwrap_or_default())
    }

    fn engine(&self, inbox: &Inbox) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        #[cfg(feature = "tls")]
        if self.config.tls.is_contradictory() {
            let why = "options about certificates have no effect beside a configuration of one's own";
            return Err(Error::invalid(crate::error::InvalidInput::Tls(why)));
        }
        let config = self.connecting(inbox);
        let engine = Engine::new(config).map_err(|failure| failed(failure, &self.config))?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// How connections are opened for this client.
    fn connecting(&self, inbox: &Inbox) -> EngineConfig {
        let mut config = self.config.clone();
        config.max_idle_per_host = inbox.limits().idle_connections;
        match inbox.reactor() {
            #[cfg(feature = "tokio")]
            Reactor::Tokio if !self.has_net => config.net = std::sync::Arc::new(crate::runtime::TokioNet),
            _ => {}
        }
        config
    }

    /// A copy of this endpoint, with connections of its own.
    pub(super) fn renewed(&self) -> Self {
        Self {
            engine: OnceLock::new(),
            #[cfg(feature = "oauth")]
            is_renewed: true,
            ..self.clone()
        }
    }

    /// Closes idle connections, and from now on each as soon as it is no longer used.
    pub(super) fn close(&self) {
        if let Some(engine) = self.engine.get() {
            engine.close();
        }
    }

    /// What a request to `url` carries that no text may show.
    pub(super) fn secrets(&self, headers: &HeaderMap, url: &Uri) -> Secrets {
        self.secrets_with(self.authorizer.as_ref().and_then(Authorizer::latest).as_ref(), headers, url)
    }

    fn secrets_with<'a>(
        &self,
        credentials: impl IntoIterator<Item = &'a HeaderValue>,
        headers: &'a HeaderMap,
        url: &Uri,
    ) -> Secrets {
        let proxy = self.config.proxy.iter().flat_map(Proxy::secrets);
        let added = self.added.values().into_iter().map(|value| value.as_bytes().to_vec());
        Secrets::of(credentials, headers, url, proxy.chain(added))
    }

    /// The error of a server that is not there any more, as soon as that is so.
    pub(super) async fn gone(&self, inbox: &Inbox) -> Error {
        match self.engine(inbox) {
            Ok(engine) => failed(engine.gone(&self.url).await, &self.config),
            Err(_) => std::future::pending().await,
        }
    }

    #[cfg(feature = "oauth")]
    pub(super) fn place(&self) -> crate::oauth::Place<'_> {
        crate::oauth::Place { url: &self.text, connect: &self.config }
    }

    /// `work`, and beside it what becomes of tokens while nobody waits for them.
    pub(super) async fn with_tokens<T>(&self, inbox: &Inbox, work: impl Future<Output = T>) -> T {
        #[cfg(feature = "oauth")]
        if let Some(Authorizer::OAuth(account)) = &self.authorizer {
            let watch = |seen: Seen<'_>| match seen {
                Seen::Event(event) => inbox.emit(&Event::Auth(std::borrow::Cow::Borrowed(event))),
                Seen::Asking(_) => {}
            };
            let (mut work, mut carrying) = (pin!(work), pin!(account.carry(&watch)));
            return poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Pending => carrying.as_mut().poll(cx).map(|never| match never {}),
                ready => ready,
            })
            .await;
        }
        let _ = inbox;
        work.await
    }

    /// At the end: a refresh that is under way is not left half done, if it ends soon.
    pub(super) async fn settle_tokens(&self, inbox: &Inbox) {
        #[cfg(feature = "oauth")]
        if let Some(Authorizer::OAuth(account)) = &self.authorizer {
            let settled = async {
                account.settle().await;
                Ok(())
            };
            let _: Result<(), Error> = within(inbox, Some(inbox.timeouts().close), settled).await;
        }
        let _ = inbox;
    }

    /// The session's revision is agreed on: a sign-in says it to the server, too.
    pub(super) fn negotiated(&self, revision: Revision) {
        #[cfg(feature = "oauth")]
        if let Some(Authorizer::OAuth(account)) = &self.authorizer {
            account.negotiated(revision.as_str());
        }
        let _ = revision;
    }

    /// For a session that begins anew by itself nobody is asked (OA-99).
    pub(super) fn begins(&self, tracking: &Tracking) {
        #[cfg(feature = "oauth")]
        if self.is_renewed {
            tracking.allow_asking(false);
        }
        let _ = tracking;
    }

    /// One request and the head of its answer, whatever the status; redirects within the origin are
    /// followed (where they led is an extension of the answer), and a refused token is replaced once.
    /// `headers` are all but the token: the endpoint's own and those of the request. `tracking` is told how
    /// far it has come until the first answer, whatever that is.
    pub(super) async fn request(
        &self,
        method: Method,
        url: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        tracking: &Tracking,
        inbox: &Inbox,
    ) -> Result<Response<Body>, Error> {
        let limits = inbox.limits();
        let engine = self.engine(inbox)?;
        tracking.waiting();
        let ask = Ask {
            tracking,
            inbox,
            #[cfg(feature = "oauth")]
            connect: &|| self.connecting(inbox),
        };
        let mut authorization = match &self.authorizer {
            Some(authorizer) => Some(authorizer.authorize(&ask).await?),
            None => None,
        };
        // Whatever comes of a redirect or a new token: the server has seen the request.
        let mut answered = false;
        loop {
            let mut redirected: Option<Uri> = None;
            let mut hops = 0;
            let response = loop {
                let uri = redirected.as_ref().unwrap_or(url);
                let begun = |begun| match begun {
                    _ if answered => {}
                    true => tracking.begun(),
                    false => tracking.waiting(),
                };
                let token_value = authorization.as_ref().and_then(Authorization::header);
                let held = self.authorizer.as_ref().zip(authorization.as_ref());
                let proof = match held {
                    Some((authorizer, authorization)) => authorizer.prove(authorization, &method, uri)?,
                    None => None,
                };
                let request = build(&method, uri, headers, [token_value, proof.as_ref()], &body);
                let response = engine.send_noting(request, begun).await;
                let mut response = response.map_err(|failure| {
                    let error = failed(failure, &self.config);
                    if answered { error.of_answered() } else { error }
                })?;
                answered = true;
                if let Some((authorizer, authorization)) = held {
                    authorizer.answered(authorization, uri, &response);
                }
                if !response.status().is_success() {
                    let secrets = self.secrets_with(token_value.into_iter().chain(&proof), headers, uri);
                    response.extensions_mut().insert(secrets);
                }
                if !matches!(
                    response.status(),
                    StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
                ) {
                    if let Some(place) = redirected {
                        response.extensions_mut().insert(place);
                    }
                    break response;
                }
                hops += 1;
                if hops > limits.redirects {
                    return Err(Error::limit("redirects", limits.redirects, Delivery::Answered));
                }
                redirected = Some(url::redirected(uri, response.headers())?);
            };
            let (Some(authorizer), Some(authorization)) = (&self.authorizer, &mut authorization) else {
                return Ok(response);
            };
            if let Some(response) = authorizer.renew(authorization, response, &ask).await? {
                return Ok(response);
            }
        }
    }
}

fn build(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    [token, proof]: [Option<&HeaderValue>; 2],
    body: &Bytes,
) -> Request<Bytes> {
    let mut request = Request::new(body.clone());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    if !body.is_empty() {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let headers = request.headers_mut();
    if let Some(token) = token {
        headers.insert(header::AUTHORIZATION, token.clone());
    } else if headers.get(header::AUTHORIZATION).is_some_and(HeaderValue::is_empty) {
        // It has kept room for one.
        headers.remove(header::AUTHORIZATION);
    }
    if let Some(proof) = proof {
        headers.insert(HeaderName::from_static("dpop"), proof.clone());
    }
    request
}

impl fmt::Debug for Endpoint {
    /// Without the query and the headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", format_args!("{}{}", self.url.host().unwrap_or_default(), self.url.path()))
    }
}

/// What all transports over HTTP can be given.
macro_rules! endpoint_options {
    () => {
        /// Adds a header to every request.
        ///
        /// # Errors
        ///
        /// When HTTP does not allow it (a line break in the value, for instance), or when it is one that
        /// the transport sets itself.
        pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
            self.endpoint.header(name, value)?;
            Ok(self)
        }

        /// Sends this bearer token with every request.
        ///
        /// # Errors
        ///
        /// When the token has characters that are not allowed in a header.
        pub fn bearer(mut self, token: &str) -> Result<Self, Error> {
            self.endpoint.bearer(token)?;
            Ok(self)
        }

        /// Asks for a bearer token before every request, and, if the server refuses it with a 401, once
        /// more for that request, or for all that were refused at the same time. The request is repeated
        /// then: a server that refuses a token has not acted.
        pub fn token_provider(mut self, tokens: impl TokenProvider) -> Self {
            self.endpoint.authorizer = Some(Authorizer::Provider(Tokens::new(tokens)));
            self
        }

        /// Signs in with this handle, and keeps signed in: see [`oauth`](crate::oauth). It takes the place of
        /// [`bearer`](Self::bearer) and [`token_provider`](Self::token_provider), and they its.
        #[cfg(feature = "oauth")]
        pub fn oauth(mut self, oauth: &crate::oauth::OAuth) -> Self {
            self.endpoint.headers.remove(::http::header::AUTHORIZATION);
            let account = oauth.account(&self.endpoint.text);
            self.endpoint.authorizer = Some(Authorizer::OAuth(account));
            self
        }

        /// Where sockets come from. Default: [`AsyncIo`](crate::http::AsyncIo), which works on every executor; or
        /// tokio's, where the client is to run [on tokio](crate::Builder) (`Builder::on_tokio`).
        pub fn net(mut self, net: impl Net) -> Self {
            self.endpoint.config.net = Arc::new(net);
            self.endpoint.has_net = true;
            self
        }

        /// Sends requests through a proxy. Default: none, whatever the environment says.
        pub fn proxy(mut self, proxy: Proxy) -> Self {
            self.endpoint.config.proxy = Some(proxy);
            self
        }

        /// How long connecting may take, proxy and TLS included. Default 10 s; `None` for no limit of its own.
        pub fn connect_timeout(mut self, limit: Option<Duration>) -> Self {
            self.endpoint.config.connect_timeout = limit;
            self
        }

        /// Trusts this root certificate too (DER).
        #[cfg(feature = "tls")]
        pub fn root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
            self.endpoint.config.tls.extra_roots.push(der.into());
            self
        }

        /// Trusts these root certificates too: all that the text has (PEM).
        ///
        /// # Errors
        ///
        /// When it has none, or is no PEM.
        #[cfg(feature = "tls")]
        pub fn root_certificates_pem(mut self, pem: impl AsRef<[u8]>) -> Result<Self, Error> {
            let read = self.endpoint.config.tls.add_roots(pem.as_ref());
            read.map_err(|why| Error::invalid(crate::error::InvalidInput::Tls(why)))?;
            Ok(self)
        }

        /// Shows this certificate to a server that asks for one (mutual TLS). Both texts are PEM, and may be the same:
        /// a chain that begins with the client's own certificate, and its private key, which is not encrypted.
        ///
        /// ```no_run
        /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// let http = shared_fate_mcp::Http::new("https://server.example/mcp")?
        ///     .client_certificate(std::fs::read("client.crt")?, std::fs::read("client.key")?)?;
        /// # Ok(()) }
        /// ```
        ///
        /// # Errors
        ///
        /// When one of them is not there, the key is of a kind that is not known or is not the certificate's.
        #[cfg(feature = "tls")]
        pub fn client_certificate(
            mut self,
            chain: impl AsRef<[u8]>,
            key: impl AsRef<[u8]>,
        ) -> Result<Self, Error> {
            let read = self.endpoint.config.tls.set_identity(chain.as_ref(), key.as_ref());
            read.map_err(|why| Error::invalid(crate::error::InvalidInput::Tls(why)))?;
            Ok(self)
        }

        /// Uses this TLS configuration, which says all of trust, certificates and versions. Its type is that of
        /// [`rustls`](crate::http::rustls), as this crate names it.
        ///
        /// Only its ALPN protocols are replaced: this client speaks HTTP/1.1. The verifier of the configuration is
        /// given the name in the server's URL, through a proxy too; one that does not look at it is the caller's own.
        ///
        /// ```no_run
        /// use shared_fate_mcp::http::{Http, rustls};
        ///
        /// # fn connect(roots: rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
        /// let provider = rustls::crypto::ring::default_provider();
        /// let config = rustls::ClientConfig::builder_with_provider(provider.into())
        ///     .with_protocol_versions(&[&rustls::version::TLS13])?
        ///     .with_root_certificates(roots)
        ///     .with_no_client_auth();
        /// let http = Http::new("https://server.example/mcp")?.tls_config(config);
        /// # Ok(()) }
        /// ```
        ///
        /// Beside the other options about certificates, which would have no effect, it is an error of the first request:
        /// [`InvalidInput::Tls`](crate::error::InvalidInput::Tls).
        #[cfg(feature = "tls")]
        pub fn tls_config(mut self, config: impl Into<Arc<rustls::ClientConfig>>) -> Self {
            self.endpoint.config.tls.set_own(config.into());
            self
        }

        /// Trusts Mozilla's roots, as compiled in, in place of the platform's: for containers that have
        /// no certificates.
        #[cfg(feature = "webpki-roots")]
        pub fn webpki_roots(mut self) -> Self {
            self.endpoint.config.tls.roots = Roots::WebPki;
            self
        }
    };
}
pub(super) use endpoint_options;
