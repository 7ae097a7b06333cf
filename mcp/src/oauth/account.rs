//! [`Account`]: one server's tokens as requests see them.
//!
//! A request comes here before it is sent ([`Account::credentials`]), and again whenever the server refuses it
//! ([`Account::refused`]). Both decide under the lock what comes [`Next`]: either the request is sent or fails, or it
//! waits for a flight, and then there is another decision.

mod proofs;

use super::flight::{Got, Purpose};
use super::flights::{Connect, Flights, Questions, Watch};
use super::parts::Parts;
use super::store::StoreKey;
use super::tokens::{State, Tokens};
use crate::error::AuthError;
use crate::protocol::oauth::config::Why;
use crate::protocol::oauth::demand::Demand;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure};
use crate::protocol::oauth::place;
use crate::protocol::oauth::stored::{Scheme, Stored};
use crate::protocol::www_authenticate::Challenge;
use crate::sync::Mutex;
use http::{HeaderValue, Uri};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often one request is sent again for want of another token.
const ROUNDS: u32 = 3;

/// One server's tokens, and how to get others.
pub(crate) struct Account {
    pub(super) tokens: Arc<Tokens>,
    /// Why nothing secret may be sent to this server.
    insecure: Option<AuthErrorKind>,
    pub(super) flights: Flights,
}

/// What a request is sent with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) authorization: Option<HeaderValue>,
    generation: u64,
    /// The tokens, if they are bound to a key.
    bound: Option<Arc<Stored>>,
}

impl Credentials {
    /// Whether each request needs a proof.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound.is_some()
    }
}

/// What one request has been through.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    count: u32,
    has_been_given_a_nonce: bool,
    has_set_clock: bool,
    has_refreshed: bool,
    has_authorized: bool,
}

/// What comes next for a request.
enum Next {
    /// It is sent with these credentials, or it fails.
    End(Result<Credentials, AuthError>),
    /// It waits for a flight of this purpose.
    Wait(Purpose),
}

/// What a refusal asks for.
struct Wanted {
    demand: Demand,
    /// Whether the server wants more scopes, and not only another token.
    is_step_up: bool,
    /// Whether a person may be asked for it.
    asks: bool,
    /// Whether the store was read, in case that another process has signed in.
    has_looked: bool,
}

impl Account {
    pub(super) fn new(parts: &Arc<Parts>, url: &str, key: &StoreKey, questions: Questions) -> Self {
        let uri: Option<Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().to_ascii_lowercase();
        let insecure = (!place::is_allowed(url, url, parts.config.insecure_http))
            .then(|| AuthErrorKind::Insecure { what: "the MCP server".to_owned() });
        let tokens = Tokens {
            parts: Arc::clone(parts),
            url: url.to_owned(),
            host,
            key: key.clone(),
            state: Mutex::new(State::default()),
        };
        let tokens = Arc::new(tokens);
        Self { flights: Flights::new(Arc::clone(&tokens), questions), tokens, insecure }
    }

    /// A session with this server has agreed on a revision of MCP.
    pub(crate) fn negotiated(&self, revision: &'static str) {
        self.tokens.state.lock().revision = Some(revision);
    }

    /// What the next request is sent with: nothing, if there is no token. In most cases that is known at once.
    ///
    /// **Cancel safety:** a refresh goes on without this caller.
    pub(crate) async fn credentials(
        &self,
        connect: Connect<'_>,
        watch: Watch<'_>,
    ) -> Result<Credentials, AuthError> {
        for _ in 0..ROUNDS {
            let purpose = match self.before_request() {
                Next::End(result) => return result,
                Next::Wait(purpose) => purpose,
            };
            let is_refresh = matches!(&purpose, Purpose::Refresh(_));
            let flown = self.flights.fly(purpose, connect, Some(watch)).await;
            let state = self.tokens.state.lock();
            if is_refresh {
                // After a failure the old token may still be good. A new one is sent even if it has expired already.
                return match flown {
                    Err(error) if state.is_expired() => Err(error),
                    _ => self.remembered(&state),
                };
            }
            // A flight that was joined may have read the store, and have failed at something else.
            if !state.is_loaded {
                flown?;
            }
        }
        self.remembered(&self.tokens.state.lock())
    }

    fn before_request(&self) -> Next {
        let state = self.tokens.state.lock();
        let stored = match &state.stored {
            None if !state.is_loaded => return Next::Wait(Purpose::Load(None)),
            Some(stored) if state.is_due() => stored,
            _ => return Next::End(self.remembered(&state)),
        };
        let is_expired = state.is_expired();
        match (state.can_refresh(), state.pause()) {
            (true, None) => Next::Wait(Purpose::Refresh(Arc::clone(stored))),
            (true, Some(pause)) if is_expired => Next::End(Err(unavailable(pause))),
            // Without a token the server refuses the request, and says what it wants.
            (false, _) if is_expired => {
                let generation = state.generation;
                Next::End(Ok(Credentials { generation, ..Credentials::default() }))
            }
            _ => Next::End(self.remembered(&state)),
        }
    }

    /// What the request is sent with once more. The server has refused it with these challenges; `asks` says whether a
    /// person may be asked for what it wants.
    ///
    /// **Cancel safety:** a flight that has begun goes on without this caller.
    pub(crate) async fn refused(
        &self,
        sent: &Credentials,
        challenges: &[Challenge],
        rounds: &mut Rounds,
        asks: bool,
        connect: Connect<'_>,
        watch: Watch<'_>,
    ) -> Result<Credentials, AuthError> {
        self.check_security()?;
        if self.needs_another_proof(sent, challenges, rounds)? {
            return Ok(sent.clone());
        }
        rounds.count += 1;
        if rounds.count > ROUNDS {
            return Err(self.rejected());
        }
        let demand = Demand::of(challenges, &self.tokens.parts.config.limits);
        let is_step_up = challenges.iter().any(is_step_up);
        let mut wanted = Wanted { demand, is_step_up, asks, has_looked: false };
        // The flight that is joined may have another purpose, and a refresh may end without a token: so there are more
        // flights than rounds.
        for _ in 0..=ROUNDS + 1 {
            let purpose = match self.after_refusal(sent, &wanted, rounds) {
                Next::End(result) => return result,
                Next::Wait(purpose) => purpose,
            };
            wanted.has_looked |= matches!(&purpose, Purpose::Load(_));
            let old = match &purpose {
                Purpose::Refresh(stored) => Some(Arc::clone(stored)),
                _ => None,
            };
            let got = self.flights.fly(purpose, connect, Some(watch)).await?;
            // A refresh replaces the entry, even if the same token comes again. A joined flight of another purpose may
            // leave it as it is.
            let present = self.tokens.state.lock().stored.clone();
            let is_present = |old: &Arc<Stored>| present.as_ref().is_some_and(|it| Arc::ptr_eq(it, old));
            rounds.has_refreshed |= old.is_some_and(|old| !is_present(&old));
            rounds.has_authorized |= got == Got::Authorized;
        }
        self.remembered(&self.tokens.state.lock())
    }

    /// In this order: a token that somebody else has got meanwhile, a refresh, a new authorization.
    fn after_refusal(&self, sent: &Credentials, wanted: &Wanted, rounds: &Rounds) -> Next {
        let refused = {
            let state = self.tokens.state.lock();
            if state.generation != sent.generation && state.authorization.is_some() {
                return Next::End(self.remembered(&state));
            }
            let refreshes = !wanted.is_step_up && !rounds.has_refreshed && state.can_refresh();
            match (state.stored.clone(), state.pause()) {
                (Some(_), Some(pause)) if refreshes => return Next::End(Err(unavailable(pause))),
                (Some(stored), None) if refreshes => return Next::Wait(Purpose::Refresh(stored)),
                (stored, _) => stored,
            }
        };
        if rounds.has_authorized && !wanted.is_step_up {
            return Next::End(Err(self.rejected()));
        }
        let needs_person = self.tokens.parts.config.grant.needs_person();
        let asks = wanted.asks && needs_person && self.tokens.may_ask();
        let pause = self.tokens.state.lock().pause();
        match pause {
            _ if needs_person && !asks => self.without_person(refused, wanted),
            Some(pause) if !needs_person => Next::End(Err(unavailable(pause))),
            _ => {
                let demand = wanted.demand.clone();
                let why = if wanted.is_step_up { Why::StepUp(demand) } else { Why::Unauthorized(demand) };
                Next::Wait(Purpose::Authorize { why, refused, asks, is_login: false })
            }
        }
    }

    /// A person would have to be asked, and may not be. Another process may have signed in; else the next login asks
    /// for what is wanted.
    fn without_person(&self, refused: Option<Arc<Stored>>, wanted: &Wanted) -> Next {
        if !wanted.has_looked {
            return Next::Wait(Purpose::Load(refused));
        }
        let demand = &wanted.demand;
        let is_in_vain = wanted.is_step_up && self.tokens.state.lock().has_asked_for(demand);
        if is_in_vain {
            return Next::End(Err(self.has_too_little(demand)));
        }
        let old = self.tokens.state.lock().wanted.replace(demand.clone());
        drop(old);
        Next::End(Err(self.tokens.login_required()))
    }

    /// The token that is known, whatever it is worth; nothing, if none is.
    fn remembered(&self, state: &State) -> Result<Credentials, AuthError> {
        match (&self.insecure, &state.authorization) {
            (Some(kind), Some(_)) => Err(self.failed(kind.clone())),
            _ => {
                let is_bound = |stored: &&Arc<Stored>| {
                    stored.tokens.as_ref().is_some_and(|tokens| tokens.scheme == Scheme::Dpop)
                };
                Ok(Credentials {
                    authorization: state.authorization.clone(),
                    generation: state.generation,
                    bound: state.stored.as_ref().filter(is_bound).cloned(),
                })
            }
        }
    }

    /// Whether an answer with this status and these challenges asks for another token, and not for something else.
    pub(crate) fn is_refusal(status: u16, challenges: &[Challenge]) -> bool {
        status == 401 || (status == 403 && challenges.iter().any(is_step_up))
    }

    /// Nothing secret goes over the network in the clear.
    pub(super) fn check_security(&self) -> Result<(), AuthError> {
        self.insecure.as_ref().map_or(Ok(()), |kind| Err(self.failed(kind.clone())))
    }

    /// The authorization server has granted less than was asked for.
    fn has_too_little(&self, demand: &Demand) -> AuthError {
        let stored = self.tokens.state.lock().stored.clone();
        let granted = stored.map_or_else(Vec::new, |stored| stored.granted.clone());
        self.failed(AuthErrorKind::InsufficientScope { wanted: demand.scope.clone(), granted })
    }

    /// A token that was issued just now is refused.
    fn rejected(&self) -> AuthError {
        let stored = self.tokens.state.lock().stored.clone();
        let (issuer, resource) = stored.map_or_else(Default::default, |stored| {
            (stored.issuer.clone(), stored.resource.clone().unwrap_or_default())
        });
        self.failed(AuthErrorKind::TokenRejected { resource, issuer })
    }

    /// Why a request to the MCP server cannot be made.
    fn failed(&self, kind: AuthErrorKind) -> AuthError {
        let host = place::authority(&self.tokens.url);
        AuthError::new(Failure { host, ..Failure::new(kind, AuthStep::Request) })
    }

    /// Carries flights on that nobody waits for, as long as it is polled. Never resolves.
    pub(crate) async fn carry(&self, watch: Watch<'_>) -> Infallible {
        self.flights.carry(watch).await
    }

    /// Waits for the flights under way, but for one that waits for a person.
    pub(crate) async fn settle(&self) {
        self.flights.settle().await;
    }

    /// The `Authorization` header as it is sent, which no text may show.
    pub(crate) fn latest(&self) -> Option<HeaderValue> {
        self.tokens.state.lock().authorization.clone()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("key", &self.tokens.key.as_str()).finish_non_exhaustive()
    }
}

fn is_step_up(challenge: &Challenge) -> bool {
    challenge.param("error") == Some("insufficient_scope")
}

/// The last attempt has failed, and the next one has to wait for so long.
fn unavailable(pause: Duration) -> AuthError {
    let retry_after = Some(pause.as_secs().max(1));
    let kind = AuthErrorKind::Unavailable { status: None, retry_after };
    AuthError::new(Failure::new(kind, AuthStep::Refresh))
}
