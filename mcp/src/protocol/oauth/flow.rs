//! One way to a token, from what is known to what is to be stored: a machine without I/O.
//!
//! ```text
//! Refresh ───────────────────────────────────────────▶ Exchange ──▶ Done
//! Unauthorized, StepUp, Login ──▶ documents ──▶ client ──▶ person ──▶ Exchange
//!                                                  └───── machine ──────┘
//! ```
//!
//! A flow ends: each request is counted, and so is each time that a person is sent away. All other transitions lead only
//! forward.

mod answers;
mod client;
mod documents;
mod exchange;
mod machine;
mod person;

use super::config::{Config, GrantKind, Known, Nonces, Resource, UnixTime, Why};
use super::demand::Demand;
use super::failure::{AuthErrorKind, AuthStep, Failure};
use super::mask::Mask;
use super::metadata::{ResourceMetadata, ServerMetadata};
use super::place;
use super::scope;
use super::secret::{Entropy, Secret};
use super::step::{Answer, Fetch, Step, Unreachable};
use super::stored::{ProofKey, Registration, Stored};
use documents::{Document, Search};
use exchange::Exchange;
use std::fmt;
use std::sync::Arc;

/// Ask it for its next [`step`](Self::step), do that, tell it what came of it, ask again. It ends after at most
/// `OAuthLimits::fetches` requests and two visits.
pub(crate) struct Flow {
    config: Arc<Config>,
    resource: Resource,
    why: Why,
    known: Known,
    entropy: Entropy,
    /// When the last step was asked for.
    now: UnixTime,
    at: At,
    fetches: usize,
    visits: u32,
    /// How many random values were used for tokens that we sign.
    serial: u32,
    search: Search,
    about: Option<ResourceMetadata>,
    server: Option<Server>,
    registration: Option<Registration>,
    redirect_uri: Option<String>,
    /// The scopes that are asked for.
    requested: Vec<String>,
    /// The key for proofs, if there are proofs.
    proof_key: Option<ProofKey>,
    /// By how many seconds the server's clock is ahead of ours, as far as proofs are concerned.
    skew: i64,
    /// Whether the client was registered anew because the server had forgotten it.
    registered_again: bool,
    mask: Mask,
}

/// Shows only how far the flow is: what documents say is chosen by strangers.
impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("fetches", &self.fetches)
            .field("visits", &self.visits)
            .finish_non_exhaustive()
    }
}

/// An authorization server, and who it says it is.
#[derive(Debug)]
struct Server {
    issuer: String,
    metadata: ServerMetadata,
}

/// What a person was sent away with.
#[derive(Debug)]
struct Attempt {
    url: Secret,
    state: Secret,
    verifier: Secret,
    redirect_uri: String,
}

/// What the flow waits for.
#[derive(Debug)]
enum At {
    Document(Document),
    Exchange(Exchange),
    Receiver { refused: bool },
    Visit(Attempt),
    Subject,
    Over(Result<Box<Stored>, Failure>),
}

impl Flow {
    pub(crate) fn begin(
        config: Arc<Config>,
        resource: Resource,
        why: Why,
        known: Known,
        entropy: Entropy,
    ) -> Self {
        let nothing = Failure::new(AuthErrorKind::LoginRequired { issuer: None }, AuthStep::Request);
        let mut flow = Self {
            config,
            resource,
            why,
            known,
            entropy,
            now: UnixTime::default(),
            at: At::Over(Err(nothing)),
            fetches: 0,
            visits: 0,
            serial: 0,
            search: Search::default(),
            about: None,
            server: None,
            registration: None,
            redirect_uri: None,
            requested: Vec::new(),
            proof_key: None,
            skew: 0,
            registered_again: false,
            mask: Mask::default(),
        };
        flow.known.stored.iter().for_each(|stored| flow.config.learn_owner(stored));
        flow.learn_secrets();
        flow.start();
        flow
    }

    fn start(&mut self) {
        let server = &self.resource.url;
        if !place::is_allowed(server, server, self.config.insecure_http) {
            let what = format!("the server's URL {:?}", place::shown(server));
            return self.fail(AuthErrorKind::Insecure { what }, AuthStep::Request);
        }
        match &self.why {
            Why::Refresh => self.refresh(),
            Why::Logout => self.revoke(),
            Why::StepUp(_) | Why::Unauthorized(_) | Why::Login => {
                let issuer = self.known.stored.as_ref().map(|it| it.issuer.clone());
                if self.is_asking_in_vain(None) {
                    self.fail_for_scopes();
                } else if self.config.grant.needs_person() && !self.known.person {
                    self.fail(AuthErrorKind::LoginRequired { issuer }, AuthStep::Consent);
                } else {
                    self.look_for_resource();
                }
            }
        }
    }

    /// What is to be done next. It is the same until it is answered.
    pub(crate) fn step(&mut self, now: UnixTime) -> Step {
        self.now = now;
        if let Some(sign) = self.sign() {
            return sign;
        }
        match &self.at {
            At::Document(document) => Step::Fetch(self.fetch_document(document)),
            At::Exchange(exchange) => {
                let fetch = self.fetch_exchange(exchange);
                // A server may repeat the header in an error, and there is a secret in the Base64.
                let sent = fetch.headers.iter().find(|(name, _)| *name == "authorization");
                if let Some((_, credentials)) = sent.and_then(|(_, value)| value.expose().split_once(' ')) {
                    self.mask.add(&Secret::new(credentials));
                }
                Step::Fetch(fetch)
            }
            At::Receiver { refused } => Step::Receiver { refused: *refused },
            At::Visit(attempt) => Step::Visit { url: attempt.url.clone() },
            At::Subject => Step::Subject { issuer: self.issuer().to_owned() },
            At::Over(Ok(stored)) => Step::Done(stored.clone()),
            At::Over(Err(failure)) => Step::Failed(failure.clone()),
        }
    }

    /// The answer to the last [`Fetch`].
    pub(crate) fn answered(&mut self, answer: Answer) {
        let Some(url) = self.url() else { return };
        if let Some(nonce) = &answer.dpop_nonce {
            self.known.nonces.heard(&url, nonce, self.config.limits.nonces);
        }
        match self.take() {
            At::Document(document) => self.document_answered(document, &answer),
            At::Exchange(exchange) => self.exchange_answered(exchange, &answer),
            at => self.at = at,
        }
    }

    /// There is no answer to the last [`Fetch`].
    pub(crate) fn unreachable(&mut self, why: Unreachable) {
        match self.take() {
            At::Document(document) => self.document_unreachable(&document, why),
            At::Exchange(exchange) => self.exchange_unreachable(&exchange, why),
            at => self.at = at,
        }
    }

    /// The nonces that were heard, for later requests.
    pub(crate) fn nonces(&self) -> &Nonces {
        &self.known.nonces
    }

    /// What is waited for, to be replaced.
    fn take(&mut self) -> At {
        let nothing = Failure::new(AuthErrorKind::Limit("steps"), AuthStep::Request);
        std::mem::replace(&mut self.at, At::Over(Err(nothing)))
    }

    /// Where the last request goes.
    fn url(&self) -> Option<String> {
        match &self.at {
            At::Document(document) => Some(document.url.clone()),
            At::Exchange(exchange) => Some(exchange.url.clone()),
            _ => None,
        }
    }

    /// Counts a request; `false` if it is one too many, and the flow is over.
    fn may_fetch(&mut self, step: AuthStep) -> bool {
        let is_left = self.fetches < self.config.limits.fetches;
        match is_left {
            true => self.fetches += 1,
            false => self.fail(AuthErrorKind::Limit("fetches"), step),
        }
        is_left
    }

    fn demand(&self) -> Option<&Demand> {
        match &self.why {
            Why::Unauthorized(demand) | Why::StepUp(demand) => Some(demand),
            Why::Login | Why::Refresh | Why::Logout => None,
        }
    }

    fn is_step_up(&self) -> bool {
        matches!(&self.why, Why::StepUp(_)) || self.demand().is_some_and(Demand::is_step_up)
    }

    /// What is stored, if it is of this issuer. With `None` it may be of any.
    fn stored_of(&self, issuer: Option<&str>) -> Option<&Stored> {
        let stored = self.known.stored.as_ref()?;
        issuer.is_none_or(|issuer| place::is_same_issuer(issuer, &stored.issuer)).then_some(stored)
    }

    /// Whether the scopes that are wanted were asked for already: asking again would go on for ever.
    fn is_asking_in_vain(&self, issuer: Option<&str>) -> bool {
        let stored = self.stored_of(issuer).filter(|it| it.tokens.is_some());
        let pair = stored.zip(self.demand().filter(|_| self.is_step_up()));
        pair.is_some_and(|(stored, demand)| scope::is_within(&demand.scope, &stored.requested))
    }

    fn fail_for_scopes(&mut self) {
        let wanted = self.demand().map_or_else(Vec::new, |it| it.scope.clone());
        let granted = self.known.stored.as_ref().map_or_else(Vec::new, |it| it.granted.clone());
        self.fail(AuthErrorKind::InsufficientScope { wanted, granted }, AuthStep::Request);
    }

    fn issuer(&self) -> &str {
        self.server.as_ref().map_or("", |it| &it.issuer)
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.serial += 1;
        self.entropy.bytes("jti", self.serial)
    }

    /// Collects what no text of an error may have in it.
    fn learn_secrets(&mut self) {
        let stored = self.known.stored.as_ref();
        let tokens = stored.and_then(|it| it.tokens.as_ref());
        let configured = self.config.client.as_ref().and_then(|it| it.secret.as_ref());
        let identity = match &self.config.grant {
            GrantKind::IdentityAssertion(provider) => provider.client_secret.as_ref(),
            _ => None,
        };
        let registered = stored.and_then(|it| it.registration.secret.as_ref());
        let access = tokens.map(|it| &it.access);
        let refresh = tokens.and_then(|it| it.refresh.as_ref());
        for secret in [configured, identity, registered, access, refresh].into_iter().flatten() {
            self.mask.add(secret);
        }
    }

    fn fail(&mut self, kind: AuthErrorKind, step: AuthStep) {
        self.fail_as(Failure::new(kind, step), None);
    }

    /// Ends the flow. The failure names the host of `url`; without one, that of the authorization server, or else that of the
    /// MCP server.
    fn fail_as(&mut self, mut failure: Failure, url: Option<&str>) {
        failure.kind.rewrite(|text| self.mask.apply(text));
        if failure.host.is_none() {
            let url =
                url.or_else(|| self.server.as_ref().map(|it| &*it.issuer)).unwrap_or(&self.resource.url);
            failure.host = place::authority(url);
        }
        self.at = At::Over(Err(failure));
    }

    /// What comes of an exchange or of a document that cannot be reached.
    fn failure_of(why: Unreachable, step: AuthStep, url: &str) -> Failure {
        let kind = match why.forbidden {
            Some(what) => AuthErrorKind::Forbidden { what },
            None => AuthErrorKind::Unavailable { status: None, retry_after: None },
        };
        Failure { host: place::authority(url), source: Some(why.source), ..Failure::new(kind, step) }
    }

    /// A request of ours has these headers, and nothing of the MCP endpoint's.
    fn fetch(&self, method: &'static str, url: &str, step: AuthStep) -> Fetch {
        let headers =
            vec![("accept", Secret::new("application/json")), ("accept-encoding", Secret::new("identity"))];
        Fetch { method, url: url.to_owned(), headers, body: None, longest: self.config.limits.document, step }
    }
}

#[cfg(test)]
mod tests;
