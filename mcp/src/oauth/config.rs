//! [`OAuthBuilder`]: everything that can be set.

use super::consent::Consent;
use super::handle::OAuth;
use super::key::SigningKey;
use super::parts::{OAuthTimeouts, Parts, Prompt, Subject};
use super::store::{MemoryStore, TokenStore};
use crate::error::{Error, InvalidInput};
use crate::protocol::oauth::config::{
    AssertionKey, ChooseServer, Client, Config, Dpop, GrantKind, IdentityProvider as Provider, PinnedServer,
    ResourceParameter as Parameter, is_client_metadata_url, is_reserved_parameter,
};
use crate::protocol::oauth::limits::OAuthLimits;
use crate::protocol::oauth::secret::Secret;
use crate::sync::contain;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

impl OAuth {
    /// A handle with nothing set: tokens in memory, and nobody who could be asked.
    pub fn builder() -> OAuthBuilder {
        OAuthBuilder::new()
    }
}

/// How tokens are got.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Grant {
    /// A person agrees, in a browser (RFC 6749, 4.1, with PKCE).
    #[default]
    AuthorizationCode,
    /// The client asks for itself, and no person is involved (RFC 6749, 4.4): for services. It needs a
    /// [`client`](OAuthBuilder::client) with a secret or a key.
    ClientCredentials,
    /// A person has signed in at their company's identity provider, which gives out assertions for authorization servers
    /// that trust it. [`subject`](OAuthBuilder::subject) yields the ID token.
    IdentityAssertion(IdentityProvider),
    /// [`subject`](OAuthBuilder::subject) yields an assertion for the authorization server (RFC 7523): that of a workload,
    /// as a rule.
    JwtBearer,
}

/// A company's identity provider. See [`Grant::IdentityAssertion`].
#[derive(Clone, Debug)]
pub struct IdentityProvider(Provider);

impl IdentityProvider {
    /// It exchanges tokens at `token_endpoint`, and `client_id` is what it calls the client.
    pub fn new(token_endpoint: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self(Provider {
            token_endpoint: token_endpoint.into(),
            client_id: client_id.into(),
            client_secret: None,
        })
    }

    /// The secret that goes with the client's id there.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.0.client_secret = Some(Secret::new(secret));
        self
    }
}

/// A client that was registered by hand.
#[derive(Clone, Debug)]
pub struct ClientId {
    client: Client,
    key: Option<SigningKey>,
}

impl ClientId {
    /// `id` is what the authorization server calls the client.
    pub fn new(id: impl Into<String>) -> Self {
        let client = Client { id: id.into(), secret: None, key: None, issuer: None, owner: Arc::default() };
        Self { client, key: None }
    }

    /// The client's secret.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.client.secret = Some(Secret::new(secret));
        self
    }

    /// The client's private key. In place of showing a secret the client signs an assertion each time (`private_key_jwt`).
    pub fn key(mut self, key: SigningKey) -> Self {
        self.client.key = Some(AssertionKey { algorithm: key.algorithm, id: key.id.clone() });
        self.key = Some(key);
        self
    }

    /// The authorization server whose client it is. Set it: without it the client belongs to the first authorization server
    /// that any MCP server names, and a logout does not change that. No other authorization server is ever shown the client.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.client.issuer = Some(issuer.into());
        self
    }
}

/// What is sent as `resource` (RFC 8707).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResourceParameter {
    /// What the server's metadata says, else the server's URL.
    #[default]
    Standard,
    /// Nothing, for authorization servers that refuse the parameter. A token may then be good for other servers as well.
    Omit,
    /// This text.
    Fixed(String),
}

/// Whether tokens are bound to a key, so that nobody else can use them (DPoP, RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofOfPossession {
    /// They are not.
    #[default]
    Off,
    /// They are, if the authorization server supports it.
    IfOffered,
    /// They are; where the authorization server does not support it, signing in fails.
    Required,
}

/// Settings for an [`OAuth`]. What gives up some safety is off by default, and named for what it gives up.
#[must_use]
pub struct OAuthBuilder {
    config: Config,
    key: Option<SigningKey>,
    store: Arc<dyn TokenStore>,
    consent: Option<Arc<dyn Consent>>,
    prompt: Prompt,
    subject: Option<Subject>,
    allow_private: bool,
    timeouts: OAuthTimeouts,
    profile: String,
}

impl OAuthBuilder {
    fn new() -> Self {
        Self {
            config: Config::default(),
            key: None,
            store: Arc::new(MemoryStore::new()),
            consent: None,
            prompt: Prompt::default(),
            subject: None,
            allow_private: false,
            timeouts: OAuthTimeouts::default(),
            profile: String::new(),
        }
    }

    /// Where tokens are kept. Default: [`MemoryStore`].
    pub fn store(mut self, store: impl TokenStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Which of several identities this is, for a store that is shared. Default: the one without a name.
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = profile.into();
        self
    }

    /// Who can ask a person: [`Loopback`](super::Loopback), as a rule. Default: nobody.
    pub fn consent(mut self, consent: impl Consent) -> Self {
        self.consent = Some(Arc::new(consent));
        self
    }

    /// When a person may be asked. Default: by [`OAuth::login`] only.
    pub fn prompt(mut self, prompt: Prompt) -> Self {
        self.prompt = prompt;
        self
    }

    /// How tokens are got. Default: a person agrees.
    pub fn grant(mut self, grant: Grant) -> Self {
        self.config.grant = match grant {
            Grant::AuthorizationCode => GrantKind::AuthorizationCode,
            Grant::ClientCredentials => GrantKind::ClientCredentials,
            Grant::IdentityAssertion(provider) => GrantKind::IdentityAssertion(provider.0),
            Grant::JwtBearer => GrantKind::JwtBearer,
        };
        self
    }

    /// Yields an ID token ([`Grant::IdentityAssertion`]) or an assertion ([`Grant::JwtBearer`]) for the authorization server
    /// with this issuer. It is called for each new token: both expire.
    pub fn subject<F, A>(mut self, subject: F) -> Self
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.subject = Some(Arc::new(move |issuer| Box::pin(subject(issuer))));
        self
    }

    /// A client that was registered by hand. It comes before all other ways to be known.
    pub fn client(mut self, client: ClientId) -> Self {
        self.config.client = Some(client.client);
        self.key = client.key;
        self
    }

    /// The URL at which the client's metadata is published
    /// ([`OAuth::client_metadata_document`]): authorization servers that know such clients need no registration.
    ///
    /// # Errors
    ///
    /// When it is not `https`, or has no path.
    pub fn client_metadata_url(mut self, url: &str) -> Result<Self, Error> {
        if !is_client_metadata_url(url) {
            let why = "the metadata's URL is not an https one with a path";
            return Err(Error::invalid(InvalidInput::OAuth(why)));
        }
        self.config.client_metadata_url = Some(url.to_owned());
        Ok(self)
    }

    /// What the client is called where it registers itself.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.config.client_name = Some(name.into());
        self
    }

    /// Asks for these scopes first, whatever the server proposes.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.config.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Sends these scopes with each refresh, for authorization servers that want it. Default: none, which asks for the
    /// same scopes as before.
    pub fn refresh_scope(mut self, scope: impl Into<String>) -> Self {
        self.config.refresh_scope = Some(scope.into());
        self
    }

    /// Whether a refresh token is asked for with the scope `offline_access`, where the authorization server lists that.
    /// Default `true`.
    pub fn offline_access(mut self, wanted: bool) -> Self {
        self.config.no_offline_access = !wanted;
        self
    }

    /// What is sent as `resource`.
    pub fn resource_parameter(mut self, parameter: ResourceParameter) -> Self {
        self.config.resource_parameter = match parameter {
            ResourceParameter::Standard => Parameter::Standard,
            ResourceParameter::Omit => Parameter::Omit,
            ResourceParameter::Fixed(resource) => Parameter::Fixed(resource),
        };
        self
    }

    /// Adds a parameter to the address that a person visits, such as Google's `access_type`.
    ///
    /// # Errors
    ///
    /// When the protocol itself uses that name.
    pub fn authorize_parameter(mut self, name: &str, value: &str) -> Result<Self, Error> {
        if name.is_empty() || is_reserved_parameter(name) {
            return Err(Error::invalid(InvalidInput::OAuth("the parameter belongs to the protocol")));
        }
        self.config.authorize_parameters.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// The authorization server that is used, whatever the documents say; and where its metadata is, if not at a well-known
    /// place. That document must carry the issuer.
    ///
    /// The client's certificate ([`Http::client_certificate`](crate::Http::client_certificate)) is shown to these two
    /// origins and to the MCP server's own, and to no other that a document names.
    pub fn authorization_server(mut self, issuer: &str, metadata_url: Option<&str>) -> Self {
        let metadata_url = metadata_url.map(str::to_owned);
        self.config.server = Some(PinnedServer { issuer: issuer.to_owned(), metadata_url });
        self
    }

    /// Picks one of several issuers that a server lists. Default: the one that is known already, else the first that can be
    /// used. A panic in it chooses none.
    pub fn choose_server(
        mut self,
        choose: impl Fn(&[String]) -> Option<usize> + Send + Sync + 'static,
    ) -> Self {
        let contained = move |issuers: &[String]| {
            let mut chosen = None;
            contain(|| chosen = choose(issuers));
            chosen
        };
        self.config.choose_server = Some(ChooseServer(Arc::new(contained)));
        self
    }

    /// Whether tokens are bound to a key. Default: no.
    pub fn proof_of_possession(mut self, wanted: ProofOfPossession) -> Self {
        self.config.dpop = match wanted {
            ProofOfPossession::Off => Dpop::Off,
            ProofOfPossession::IfOffered => Dpop::Auto,
            ProofOfPossession::Required => Dpop::Required,
        };
        self
    }

    /// Sends secrets over `http` to other machines, too. Whoever is on the way can read them.
    pub fn insecure_http(mut self) -> Self {
        self.config.insecure_http = true;
        self
    }

    /// Goes on with an authorization server that does not say it supports PKCE (`S256`). PKCE is used all the same; if the
    /// server does not check it, a stolen code is as good as a token.
    pub fn assume_pkce(mut self) -> Self {
        self.config.assume_pkce = true;
        self
    }

    /// Goes on with an authorization server's metadata that does not say whose it is: it may be somebody else's.
    pub fn allow_missing_issuer(mut self) -> Self {
        self.config.allow_missing_issuer = true;
        self
    }

    /// Where there are no documents at all, takes `/authorize`, `/token` and `/register` of the server's own origin for the
    /// authorization server's (revision 2025-03-26).
    pub fn guess_endpoints(mut self) -> Self {
        self.config.guess_endpoints = true;
        self
    }

    /// Follows documents into private networks and to this machine, too, wherever the MCP server is. An attacker whose MCP
    /// server is configured can then cause requests there. Behind a proxy only hosts that are addresses are checked here:
    /// the proxy resolves names, and has to refuse what it should not connect to.
    pub fn allow_private_addresses(mut self) -> Self {
        self.allow_private = true;
        self
    }

    /// How much is taken from authorization servers, and kept.
    pub fn limits(mut self, limits: OAuthLimits) -> Self {
        self.config.limits = limits;
        self
    }

    /// How long the parts of signing in and of refreshing may take.
    pub fn timeouts(mut self, timeouts: OAuthTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The handle.
    pub fn build(self) -> OAuth {
        let Self { config, key, store, consent, prompt, subject, allow_private, timeouts, profile } = self;
        let parts = Parts {
            config: Arc::new(config),
            key,
            store,
            consent,
            prompt,
            subject,
            allow_private,
            timeouts,
            profile,
            question: async_channel::bounded(1),
        };
        OAuth::new(parts)
    }
}

impl fmt::Debug for OAuthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthBuilder").field("profile", &self.profile).finish_non_exhaustive()
    }
}
