//! What a flow is told: by whoever configured it, about the server, and what is known from before.

use super::demand::Demand;
use super::limits::OAuthLimits;
use super::place::{self, Place};
use super::secret::Secret;
use super::stored::{ProofKey, RegistrationKind, Stored};
pub(crate) use super::unix_time::UnixTime;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What does not change between flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) grant: GrantKind,
    /// The client that somebody has registered for us.
    pub(crate) client: Option<Client>,
    /// Where our client metadata document is published.
    pub(crate) client_metadata_url: Option<String>,
    /// What we call ourselves when we register.
    pub(crate) client_name: Option<String>,
    /// The scopes that are asked for in place of those that the server wants.
    pub(crate) scopes: Option<Vec<String>>,
    /// The scopes that are sent with a refresh. Without it none are sent.
    pub(crate) refresh_scope: Option<String>,
    /// Whether refresh tokens are not wanted.
    pub(crate) no_offline_access: bool,
    pub(crate) resource_parameter: ResourceParameter,
    /// Added to the authorization URL.
    pub(crate) authorize_parameters: Vec<(String, String)>,
    /// The authorization server that is used, whatever the documents list.
    pub(crate) server: Option<PinnedServer>,
    /// Picks one of several issuers.
    pub(crate) choose_server: Option<ChooseServer>,
    pub(crate) dpop: Dpop,
    pub(crate) insecure_http: bool,
    pub(crate) assume_pkce: bool,
    pub(crate) allow_missing_issuer: bool,
    pub(crate) guess_endpoints: bool,
    pub(crate) limits: OAuthLimits,
}

/// Whether a client metadata document may be at this URL: it is https, and has a path.
pub(crate) fn is_client_metadata_url(url: &str) -> bool {
    Place::of(url).is_some_and(|it| it.is_https() && !matches!(it.path, "" | "/") && it.fragment.is_none())
}

/// Whether the protocol itself has a parameter of that name in the authorization URL, so that nobody else may set it.
pub(crate) fn is_reserved_parameter(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "response_type",
        "response_mode",
        "client_id",
        "client_secret",
        "redirect_uri",
        "code_challenge",
        "code_challenge_method",
        "state",
        "resource",
        "scope",
        "request",
        "request_uri",
    ];
    NAMES.contains(&name)
}

/// How a token is got.
#[derive(Clone, Debug, Default)]
pub(crate) enum GrantKind {
    /// A person agrees.
    #[default]
    AuthorizationCode,
    /// The client asks for itself.
    ClientCredentials,
    /// A person's identity is exchanged at their company's identity provider first.
    IdentityAssertion(IdentityProvider),
    /// The client has an assertion.
    JwtBearer,
}

impl GrantKind {
    /// Whether a person has to agree.
    pub(crate) fn needs_person(&self) -> bool {
        matches!(self, Self::AuthorizationCode)
    }
}

/// Who exchanges an identity for an assertion.
#[derive(Clone, Debug)]
pub(crate) struct IdentityProvider {
    pub(crate) token_endpoint: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<Secret>,
}

/// A client that is known to an authorization server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
    /// A key with which assertions are signed, in place of a secret.
    pub(crate) key: Option<AssertionKey>,
    /// Whose client it is, if that is configured.
    pub(crate) issuer: Option<String>,
    /// If no issuer is configured: the first one that the client was used with, for all servers of the handle.
    pub(crate) owner: Arc<OnceLock<String>>,
}

/// Whose client it is. Unless it is somebody's already, it is this issuer's from now on.
pub(crate) fn claim<'a>(client: &'a Client, issuer: &str) -> &'a str {
    client.issuer.as_deref().unwrap_or_else(|| client.owner.get_or_init(|| issuer.to_owned()))
}

impl Config {
    /// An entry that the configured client was used for says whose client it is.
    pub(crate) fn learn_owner(&self, stored: &Stored) {
        let registration = &stored.registration;
        let is_its = |client: &&Client| {
            registration.kind == RegistrationKind::Configured && registration.id == client.id
        };
        if let Some(client) = self.client.as_ref().filter(is_its) {
            claim(client, &stored.issuer);
        }
    }
}

/// What is said about a private key in the assertions that it signs. The key itself is with whoever signs.
#[derive(Clone, Debug)]
pub(crate) struct AssertionKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) id: Option<String>,
}

/// A signature's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Es256,
    Rs256,
    EdDsa,
}

impl Algorithm {
    /// Its name in a JOSE header.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ResourceParameter {
    /// As the server's metadata has it, else its URL.
    #[default]
    Standard,
    Omit,
    Fixed(String),
}

#[derive(Clone, Debug)]
pub(crate) struct PinnedServer {
    pub(crate) issuer: String,
    /// Where its metadata is, if not at a well-known place.
    pub(crate) metadata_url: Option<String>,
}

/// Which of these issuers is wanted; `None` if none of them is.
#[derive(Clone)]
pub(crate) struct ChooseServer(pub(crate) Arc<Choose>);

type Choose = dyn Fn(&[String]) -> Option<usize> + Send + Sync;

impl fmt::Debug for ChooseServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChooseServer")
    }
}

/// Whether tokens are bound to a key (RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dpop {
    #[default]
    Off,
    /// They are, if the authorization server supports it.
    Auto,
    /// They are, or the flow fails.
    Required,
}

/// The MCP server.
#[derive(Clone)]
pub(crate) struct Resource {
    /// As the user wrote it.
    pub(crate) url: String,
    /// The revision of MCP, if it is agreed on.
    pub(crate) revision: Option<&'static str>,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(place::shown(&self.url))
    }
}

/// Why there is a flow.
#[derive(Clone, Debug)]
pub(crate) enum Why {
    /// The server wants a token, or another one (401). Nothing is refreshed: that was tried before.
    Unauthorized(Demand),
    /// The server wants more scopes.
    StepUp(Demand),
    /// The application asked for it.
    Login,
    /// The token is refreshed, and nothing else happens: nobody is asked.
    Refresh,
    /// The stored tokens are revoked.
    Logout,
}

/// What is known from before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) stored: Option<Stored>,
    /// Whether a person may be asked.
    pub(crate) person: bool,
    /// A new key for proofs; must be there if `Config::dpop` is not off.
    pub(crate) proof_key: Option<ProofKey>,
    pub(crate) nonces: Nonces,
}

/// The last nonce of each origin (RFC 9449, 8.2).
#[derive(Clone, Debug, Default)]
pub(crate) struct Nonces(pub(super) VecDeque<(String, String)>);
