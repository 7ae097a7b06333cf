//! Why a flow ended without a token: what it is, at which step, and what may help. No text here holds a secret.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What kept us from a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// Nobody may be asked now, or the tokens are gone for good: call `login`.
    #[error("a login is needed{}", at(issuer.as_deref()))]
    LoginRequired {
        /// The authorization server, if it is known.
        issuer: Option<String>,
    },
    /// The network, a deadline, or a server that is in trouble. Nothing was lost: try again.
    #[error("the authorization server cannot be used just now{}", status_of(*status))]
    Unavailable {
        /// The status of its answer, if there was one.
        status: Option<u16>,
        /// After how many seconds it wants to be asked again.
        retry_after: Option<u64>,
    },
    /// No document says who gives out tokens. Each place that was asked, and what came of it.
    #[error(
        "no authorization server was found; name it with `authorization_server` (asked: {})",
        list(tried)
    )]
    NoAuthorizationServer {
        /// Each place, without its query, and what came of it.
        tried: Vec<(String, String)>,
    },
    /// The server's metadata is about another server: use the URL that it names.
    #[error("the metadata is for {found:?}, not for {expected:?}: connect to the URL that it names")]
    ResourceMismatch {
        /// Our server's URL.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// Whoever answered is not who was asked.
    #[error(
        "the authorization server calls itself {found:?}, not {expected:?} ({at}); if that is right, pin it with `authorization_server`"
    )]
    IssuerMismatch {
        /// The identifier that led there.
        expected: String,
        /// What it says of itself; empty if it says nothing.
        found: String,
        /// Where it says so.
        at: IssuerIn,
    },
    /// A document cannot be used; the reason names the member.
    #[error("the authorization server's metadata cannot be used: {0}")]
    Metadata(String),
    /// The server does not say that it knows PKCE with S256.
    #[error(
        "the authorization server does not say that it supports PKCE; if it is known to, use `assume_pkce`"
    )]
    NoPkce,
    /// Something secret would travel in the clear.
    #[error("{what} is not https; use https, or `insecure_http`")]
    Insecure {
        /// Where it would be sent.
        what: String,
    },
    /// A document of the server's points into a network that it has no business in.
    #[error("the address is {what}; if that is right, use `allow_private_addresses`")]
    Forbidden {
        /// The class of the address, such as "a private one".
        what: &'static str,
    },
    /// We have no client id there and no way to get one.
    #[error("no client is known to the authorization server; {help}")]
    ClientUnknown {
        /// What may be configured.
        help: &'static str,
    },
    /// The configured client belongs to another authorization server.
    #[error("the client belongs to {expected:?}, not to {found:?}")]
    ClientOfOtherIssuer {
        /// Whose client it is.
        expected: String,
        /// Who would have been shown it.
        found: String,
    },
    /// The server does not register us.
    #[error("the registration was refused: {0}")]
    Registration(OAuthAnswer),
    /// The person could not be asked, or brought nothing back that can be read; the cause may be the source.
    #[error("the application's part of it failed")]
    Consent,
    /// The person, or the server on their behalf, said no.
    #[error("the authorization was denied: {0}")]
    Denied(OAuthAnswer),
    /// The answer that a person brought back belongs to another attempt.
    #[error("the redirect belongs to another attempt: its state is not the one that was sent")]
    State,
    /// The person did not come back in time: call `login` again.
    #[error("the person did not answer within {seconds} s; call `login` again")]
    TimedOut {
        /// How long the client has waited.
        seconds: u64,
    },
    /// The token endpoint refuses for good.
    #[error("the authorization server refused: {0}")]
    Refused(OAuthAnswer),
    /// The token endpoint's answer cannot be used.
    #[error("the token cannot be used: {0}")]
    TokenUnusable(&'static str),
    /// The MCP server refuses a token that was issued just now.
    #[error("the server refuses a token that {issuer:?} issued just now for the resource {resource:?}")]
    TokenRejected {
        /// The resource for which it was asked.
        resource: String,
        /// Who issued it.
        issuer: String,
    },
    /// The server wants what was asked for already, and not granted.
    #[error("the server wants the scopes {:?}, which were asked for already; granted: {:?}", wanted.join(" "), granted.join(" "))]
    InsufficientScope {
        /// What the server wants.
        wanted: Vec<String>,
        /// What was granted.
        granted: Vec<String>,
    },
    /// The store failed; the tokens are kept in memory. The cause is the source.
    #[error("the token store failed; the tokens are kept in memory")]
    Store,
    /// A private key cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(&'static str),
    /// A limit was reached. This is its name: as a rule, that of the field of [`OAuthLimits`](super::limits::OAuthLimits).
    #[error("the limit {0:?} was reached")]
    Limit(&'static str),
}

impl AuthErrorKind {
    /// Rewrites every text that a stranger may have chosen.
    pub(super) fn rewrite(&mut self, rewrite: impl Fn(&mut String)) {
        let answer = |answer: &mut OAuthAnswer| {
            rewrite(&mut answer.error);
            answer.description.iter_mut().chain(&mut answer.uri).for_each(&rewrite);
        };
        match self {
            Self::LoginRequired { issuer } => issuer.iter_mut().for_each(rewrite),
            Self::NoAuthorizationServer { tried } => tried.iter_mut().for_each(|(place, _)| rewrite(place)),
            Self::ResourceMismatch { expected, found }
            | Self::IssuerMismatch { expected, found, .. }
            | Self::ClientOfOtherIssuer { expected, found }
            | Self::TokenRejected { resource: expected, issuer: found } => {
                rewrite(expected);
                rewrite(found);
            }
            Self::Metadata(text) | Self::Insecure { what: text } => rewrite(text),
            Self::Registration(words) | Self::Denied(words) | Self::Refused(words) => answer(words),
            Self::InsufficientScope { wanted, granted } => wanted.iter_mut().chain(granted).for_each(rewrite),
            Self::Unavailable { .. }
            | Self::NoPkce
            | Self::Forbidden { .. }
            | Self::ClientUnknown { .. }
            | Self::Consent
            | Self::State
            | Self::TimedOut { .. }
            | Self::TokenUnusable(_)
            | Self::Store
            | Self::Key(_)
            | Self::Limit(_) => {}
        }
    }
}

fn at(issuer: Option<&str>) -> String {
    issuer.map_or(String::new(), |issuer| format!(" at {issuer:?}"))
}

fn status_of(status: Option<u16>) -> String {
    status.map_or(String::new(), |status| format!(": it answered with HTTP status {status}"))
}

fn list(tried: &[(String, String)]) -> String {
    let tried: Vec<_> = tried.iter().map(|(place, outcome)| format!("{place}: {outcome}")).collect();
    tried.join("; ")
}

/// Where an authorization server says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuerIn {
    /// Its metadata document.
    Metadata,
    /// The redirect that a person brings back (RFC 9207).
    Redirect,
}

impl fmt::Display for IssuerIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "in its metadata",
            Self::Redirect => "in the redirect",
        })
    }
}

/// An authorization server's own words: the members of an OAuth error, bounded, and without what was secret in the
/// request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OAuthAnswer {
    /// The error's code, such as `invalid_grant`.
    pub error: String,
    /// What the server says about it, at most 500 characters.
    pub description: Option<String>,
    /// A page about it, without its query. It is not fetched.
    pub uri: Option<String>,
}

impl fmt::Display for OAuthAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if let Some(description) = &self.description {
            write!(f, " ({description:?})")?;
        }
        match &self.uri {
            Some(uri) => write!(f, ", see {uri}"),
            None => Ok(()),
        }
    }
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthStep {
    /// Reading the metadata of the MCP server (RFC 9728).
    Resource,
    /// Reading the metadata of an authorization server (RFC 8414).
    Server,
    /// Choosing or registering a client (RFC 7591).
    Registration,
    /// Asking a person.
    Consent,
    /// Exchanging a code for a token.
    Code,
    /// Refreshing a token.
    Refresh,
    /// Asking for a token of the client's own.
    ClientCredentials,
    /// Exchanging an identity for an assertion (RFC 8693).
    Identity,
    /// Exchanging an assertion for a token (RFC 7523).
    Assertion,
    /// Revoking a token (RFC 7009).
    Revocation,
    /// Using a token at the MCP server.
    Request,
    /// Reading or writing the store.
    Store,
}

impl fmt::Display for AuthStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resource => "reading the server's OAuth metadata",
            Self::Server => "reading the authorization server's metadata",
            Self::Registration => "registering the client",
            Self::Consent => "asking for consent",
            Self::Code => "exchanging the authorization code",
            Self::Refresh => "refreshing the token",
            Self::ClientCredentials => "asking for a token of the client's own",
            Self::Identity => "exchanging the identity for an assertion",
            Self::Assertion => "exchanging the assertion for a token",
            Self::Revocation => "revoking the token",
            Self::Request => "using the token",
            Self::Store => "using the token store",
        })
    }
}

/// A cause that is a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Reason(pub(super) &'static str);

/// What a refusal by the token endpoint means for what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The grant is gone: the tokens are of no use.
    Definitive,
    /// The client that we had registered is gone, and its tokens with it.
    ClientForgotten,
    /// Something else, which may pass: the token is kept, and tried a few times.
    Other,
}

/// Why a flow failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: AuthErrorKind,
    pub(crate) step: AuthStep,
    /// With whom it was being done: host and port.
    pub(crate) host: Option<String>,
    pub(crate) source: Option<Arc<dyn StdError + Send + Sync>>,
    /// Set if the token endpoint refused what is stored.
    pub(crate) refusal: Option<Refusal>,
    /// Whether a refresh token may have arrived, though no answer came: it may be used up.
    pub(crate) uncertain: bool,
}

impl Failure {
    pub(crate) fn new(kind: AuthErrorKind, step: AuthStep) -> Self {
        Self { kind, step, host: None, source: None, refusal: None, uncertain: false }
    }

    /// Whether the same may go well a little later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, AuthErrorKind::Unavailable { .. })
    }
}
