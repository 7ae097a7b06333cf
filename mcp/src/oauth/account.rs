//! [`Account`]: one server's tokens as requests see them.

use super::flight::{Got, Purpose};
use super::flights::{Connect, Flights, Questions, Watch};
use super::key;
use super::parts::Parts;
use super::run::{date, unix_now};
use super::store::StoreKey;
use super::tokens::{State, Tokens};
use crate::error::AuthError;
use crate::protocol::oauth::config::{UnixTime, Why};
use crate::protocol::oauth::demand::Demand;
use crate::protocol::oauth::dpop::Proof;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure};
use crate::protocol::oauth::jwt;
use crate::protocol::oauth::place;
use crate::protocol::oauth::stored::{Scheme, Stored};
use crate::protocol::www_authenticate::Challenge;
use crate::sync::Mutex;
use http::{HeaderMap, HeaderValue, Uri};
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

/// What goes with a request.
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

    /// What the next request is sent with: nothing, if there is no token. In most cases that is known at once.
    ///
    /// **Cancel safety:** a refresh goes on without this one.
    pub(crate) async fn credentials(
        &self,
        connect: Connect<'_>,
        watch: Watch<'_>,
    ) -> Result<Credentials, AuthError> {
        for _ in 0..ROUNDS {
            let purpose = {
                let state = self.tokens.state.lock();
                match &state.stored {
                    None if !state.is_loaded => Purpose::Load(None),
                    // One that is over is due.
                    Some(stored) if state.is_due() => {
                        let (is_expired, pause) = (state.is_expired(), state.pause());
                        match state.can_refresh() {
                            true if pause.is_none() => Purpose::Refresh(Arc::clone(stored)),
                            true if is_expired => return Err(unavailable(pause)),
                            // The server says what it wants in its place.
                            false if is_expired => {
                                let generation = state.generation;
                                return Ok(Credentials { generation, ..Credentials::default() });
                            }
                            _ => return self.present(&state),
                        }
                    }
                    _ => return self.present(&state),
                }
            };
            let is_early = matches!(&purpose, Purpose::Refresh(_));
            let flown = self.flights.fly(purpose, connect, Some(watch)).await;
            if is_early {
                // It may be good still; and one that is over as soon as it is there is sent all the same.
                let state = self.tokens.state.lock();
                return match flown {
                    Err(error) if state.is_expired() => Err(error),
                    _ => self.present(&state),
                };
            }
            // What was joined may have read the store, and been about something else.
            if !self.tokens.state.lock().is_loaded {
                flown?;
            }
        }
        let state = self.tokens.state.lock();
        self.present(&state)
    }

    fn present(&self, state: &State) -> Result<Credentials, AuthError> {
        match (&self.insecure, &state.authorization) {
            (Some(kind), Some(_)) => Err(self.is_insecure(kind)),
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

    /// The proof that goes with a bound token, for this one request (RFC 9449, 4.2). `None` if the token is not bound.
    pub(crate) fn proof(
        &self,
        credentials: &Credentials,
        method: &str,
        url: &str,
    ) -> Result<Option<HeaderValue>, AuthError> {
        let Some(stored) = &credentials.bound else { return Ok(None) };
        let (Some(key), Some(tokens)) = (&stored.proof_key, &stored.tokens) else { return Ok(None) };
        let failed = |why| AuthError::new(key::failure(why));
        let jti = key::random().map_err(failed)?;
        let (nonce, skew) = {
            let state = self.tokens.state.lock();
            (state.nonces.of(url).map(str::to_owned), state.skew)
        };
        let proof = Proof {
            method,
            url,
            now: UnixTime(unix_now().0.saturating_add_signed(skew)),
            jti: &jti[..16],
            nonce: nonce.as_deref(),
            token: Some(tokens.access.expose()),
        };
        let input = proof.input(key);
        let signature = key::sign_proof(&key.pkcs8, input.as_bytes()).map_err(failed)?;
        let mut value = HeaderValue::try_from(jwt::seal(&input, &signature)).expect("it is Base64 and dots");
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What an answer says for the next proofs: a nonce (RFC 9449, 8.2), and what time it is there (11.1).
    pub(crate) fn heard(&self, url: &str, answer: &HeaderMap) {
        let text = |name| answer.get(name).and_then(|value| value.to_str().ok());
        let seconds = |time: UnixTime| i64::try_from(time.0).unwrap_or(i64::MAX);
        let ahead = text("date").and_then(date).map(|date| seconds(date) - seconds(unix_now()));
        let mut state = self.tokens.state.lock();
        if let Some(nonce) = text("dpop-nonce") {
            state.nonces.heard(url, nonce, self.tokens.parts.config.limits.nonces);
        }
        state.ahead = ahead.unwrap_or(state.ahead);
    }

    /// Whether proofs have another time now than the one that was refused may have had.
    fn sets_clock(&self) -> bool {
        let mut state = self.tokens.state.lock();
        let is_off = |seconds: i64| seconds.unsigned_abs() > 30;
        let is_wrong = is_off(state.ahead) || is_off(state.ahead - state.skew);
        if is_wrong {
            state.skew = state.ahead;
        }
        is_wrong
    }

    /// Nothing secret goes over the network in the clear.
    pub(super) fn check_security(&self) -> Result<(), AuthError> {
        self.insecure.as_ref().map_or(Ok(()), |kind| Err(self.is_insecure(kind)))
    }

    fn authority(&self) -> Option<String> {
        place::Place::of(&self.tokens.url).map(|place| place.authority().to_owned())
    }

    fn is_insecure(&self, kind: &AuthErrorKind) -> AuthError {
        AuthError::new(Failure { host: self.authority(), ..Failure::new(kind.clone(), AuthStep::Request) })
    }

    /// Whether an answer with this status and these challenges asks for another token, and not for something else.
    pub(crate) fn is_refusal(status: u16, challenges: &[Challenge]) -> bool {
        status == 401 || (status == 403 && challenges.iter().any(is_step_up))
    }

    /// What the request is sent with once more. It was refused with these challenges; `asks` says whether a person may be
    /// asked for it.
    ///
    /// **Cancel safety:** what has begun goes on without this one.
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
        let says = |error| sent.is_bound() && challenges.iter().any(|it| it.param("error") == Some(error));
        if says("use_dpop_nonce") {
            // It has got the one that it wanted.
            if rounds.has_been_given_a_nonce {
                return Err(self.rejected());
            }
            rounds.has_been_given_a_nonce = true;
            return Ok(sent.clone());
        }
        if says("invalid_dpop_proof") && !rounds.has_set_clock && self.sets_clock() {
            rounds.has_set_clock = true;
            return Ok(sent.clone());
        }
        rounds.count += 1;
        if rounds.count > ROUNDS {
            return Err(self.rejected());
        }
        let demand = Demand::of(challenges, &self.tokens.parts.config.limits);
        let is_step_up = challenges.iter().any(is_step_up);
        let mut has_looked = false;
        // A flight of another purpose may come first, and a definitive refusal of a refresh does.
        for _ in 0..=ROUNDS + 1 {
            let refused = {
                let state = self.tokens.state.lock();
                if state.generation != sent.generation && state.authorization.is_some() {
                    return self.present(&state);
                }
                let pause = state.pause();
                match &state.stored {
                    Some(_)
                        if !is_step_up && !rounds.has_refreshed && state.can_refresh() && pause.is_some() =>
                    {
                        return Err(unavailable(pause));
                    }
                    stored => stored.clone(),
                }
            };
            let can_refresh = self.tokens.state.lock().can_refresh();
            let purpose = match refused {
                Some(stored) if !is_step_up && !rounds.has_refreshed && can_refresh => {
                    Purpose::Refresh(stored)
                }
                _ if rounds.has_authorized && !is_step_up => return Err(self.rejected()),
                refused => {
                    let asks = asks && self.tokens.needs_person() && self.tokens.may_ask();
                    let pause = self.tokens.state.lock().pause();
                    if pause.is_some() && !self.tokens.needs_person() {
                        return Err(unavailable(pause));
                    }
                    match self.tokens.needs_person() && !asks {
                        false => authorization(&demand, is_step_up, refused, asks),
                        // Somebody may have signed in elsewhere.
                        true if !has_looked => {
                            has_looked = true;
                            Purpose::Load(refused)
                        }
                        true if is_step_up && self.tokens.state.lock().has_asked_for(&demand) => {
                            return Err(self.has_too_little(demand));
                        }
                        true => {
                            let old = self.tokens.state.lock().wanted.replace(demand);
                            drop(old);
                            return Err(self.tokens.login_required());
                        }
                    }
                }
            };
            let refreshed = match &purpose {
                Purpose::Refresh(stored) => Some(Arc::clone(stored)),
                _ => None,
            };
            let got = self.flights.fly(purpose, connect, Some(watch)).await?;
            // A flight that was joined may have been about something else; and the same token may have come again.
            let present = self.tokens.state.lock().stored.clone();
            let is_same = |old: &Arc<Stored>| present.as_ref().is_some_and(|it| Arc::ptr_eq(it, old));
            rounds.has_refreshed |= refreshed.is_some_and(|old| !is_same(&old));
            rounds.has_authorized |= got == Got::Authorized;
        }
        let state = self.tokens.state.lock();
        self.present(&state)
    }

    /// The authorization server has granted less than was asked for.
    fn has_too_little(&self, demand: Demand) -> AuthError {
        let stored = self.tokens.state.lock().stored.clone();
        let granted = stored.map_or_else(Vec::new, |stored| stored.granted.clone());
        let kind = AuthErrorKind::InsufficientScope { wanted: demand.scope, granted };
        AuthError::new(Failure { host: self.authority(), ..Failure::new(kind, AuthStep::Request) })
    }

    /// A token that was issued just now is refused.
    fn rejected(&self) -> AuthError {
        let stored = self.tokens.state.lock().stored.clone();
        let (issuer, resource) = stored.map_or_else(Default::default, |stored| {
            (stored.issuer.clone(), stored.resource.clone().unwrap_or_default())
        });
        let kind = AuthErrorKind::TokenRejected { resource, issuer };
        AuthError::new(Failure { host: self.authority(), ..Failure::new(kind, AuthStep::Request) })
    }

    /// Carries flights on that nobody waits for, as long as it is polled. Never resolves.
    pub(crate) async fn carry(&self, watch: Watch<'_>) -> Infallible {
        self.flights.carry(watch).await
    }

    /// Waits for the flight under way, if it does not wait for a person.
    pub(crate) async fn settle(&self) {
        self.flights.settle().await;
    }

    /// The token as it is sent, which no text may show.
    pub(crate) fn latest(&self) -> Option<HeaderValue> {
        self.tokens.state.lock().authorization.clone()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("key", &self.tokens.key.as_str()).finish_non_exhaustive()
    }
}

fn authorization(demand: &Demand, is_step_up: bool, refused: Option<Arc<Stored>>, asks: bool) -> Purpose {
    let why = match is_step_up {
        true => Why::StepUp(demand.clone()),
        false => Why::Unauthorized(demand.clone()),
    };
    Purpose::Authorize { why, refused, asks, is_login: false }
}

fn is_step_up(challenge: &Challenge) -> bool {
    challenge.param("error") == Some("insufficient_scope")
}

/// The last attempt has just failed.
fn unavailable(pause: Option<Duration>) -> AuthError {
    let retry_after = pause.map(|pause| pause.as_secs().max(1));
    let kind = AuthErrorKind::Unavailable { status: None, retry_after };
    AuthError::new(Failure::new(kind, AuthStep::Refresh))
}

#[cfg(test)]
mod proofs;
