//! [`Account`]: one server's tokens as requests see them, and the flight that all who need other ones wait for.
//!
//! Invariants:
//!
//! 1. There is one flight at a time. The account keeps a part of it and never polls that, so it outlives whoever waits: a
//!    refresh token that has been used is not lost with the answer to it.
//! 2. Whoever waits polls it. When nobody does, the drivers of the clients that have the handle do
//!    ([`carry`](Account::carry)).
//! 3. A flight does not know its account, so with the last handle it is gone.

use super::event::AuthEvent;
use super::flight::{Got, Outcome, Purpose, State, Tokens};
use super::key;
use super::parts::Parts;
use super::run::unix_now;
use super::store::StoreKey;
use crate::error::AuthError;
use crate::http_client::EngineConfig;
use crate::protocol::oauth::config::Why;
use crate::protocol::oauth::demand::Demand;
use crate::protocol::oauth::dpop::Proof;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure};
use crate::protocol::oauth::jwt;
use crate::protocol::oauth::place;
use crate::protocol::oauth::stored::{Scheme, Stored};
use crate::protocol::www_authenticate::Challenge;
use crate::sync::Mutex;
use crate::sync::contain;
use crate::sync::shared_future::{SharedFuture, Waiter};
use http::{HeaderValue, Uri};
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// How often one request is sent again for want of another token.
const ROUNDS: u32 = 3;

/// One server's tokens, and how to get others.
pub(crate) struct Account {
    pub(super) tokens: Arc<Tokens>,
    /// Why nothing secret may be sent to this server.
    insecure: Option<AuthErrorKind>,
    flights: Mutex<Flights>,
}

#[derive(Default)]
struct Flights {
    present: Option<Flying>,
    /// How many there have been.
    count: u64,
    /// Drivers that wait for one.
    idle: Vec<(u64, Waker)>,
    drivers: u64,
}

struct Flying {
    number: u64,
    /// Whether it may have a person asked.
    asks: bool,
    began: Instant,
    shared: SharedFuture<Outcome>,
    /// Never polled.
    _kept: Waiter<Outcome>,
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
    has_refreshed: bool,
    has_authorized: bool,
}

/// What is told to whoever waits.
pub(crate) enum Seen<'a> {
    /// Whether a person is asked just now.
    Asking(bool),
    Event(&'a AuthEvent),
}

/// How connections are opened; asked when some are needed.
pub(crate) type Connect<'a> = &'a (dyn Fn() -> EngineConfig + Send + Sync);

/// Told what happens while a request waits. Called without a lock.
pub(crate) type Watch<'a> = &'a (dyn Fn(Seen<'_>) + Send + Sync);

impl Account {
    pub(super) fn new(parts: &Arc<Parts>, url: &str, key: &StoreKey) -> Self {
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
        Self { tokens: Arc::new(tokens), insecure, flights: Mutex::default() }
    }

    /// What the next request is sent with: nothing, if there is no token. In most cases that is known at once. `asks` says
    /// whether a person may be asked for its sake.
    ///
    /// **Cancel safety:** a refresh goes on without this one.
    pub(crate) async fn credentials(
        &self,
        asks: bool,
        connect: Connect<'_>,
        watch: Watch<'_>,
    ) -> Result<Credentials, AuthError> {
        for _ in 0..ROUNDS {
            let purpose = {
                let state = self.tokens.state.lock();
                let (is_expired, pause) = (state.is_expired(), state.pause());
                match &state.stored {
                    None if !state.is_loaded => Purpose::Load(None),
                    Some(stored) if state.is_due() && state.can_refresh() && pause.is_none() => {
                        Purpose::Refresh(Arc::clone(stored))
                    }
                    Some(_) if is_expired && state.can_refresh() => return Err(unavailable(pause)),
                    // The server says what it wants in its place.
                    Some(_) if is_expired => {
                        let generation = state.generation;
                        return Ok(Credentials { generation, ..Credentials::default() });
                    }
                    _ => return self.present(&state),
                }
            };
            let is_early = matches!(&purpose, Purpose::Refresh(_));
            let waits = asks && self.tokens.may_ask();
            match self.fly(purpose, waits, connect, watch).await {
                Ok(_) => {}
                Err(error) if is_early => {
                    // It is good still.
                    let state = self.tokens.state.lock();
                    return if state.is_expired() { Err(error) } else { self.present(&state) };
                }
                Err(error) => return Err(error),
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
        let nonce = self.tokens.state.lock().nonces.of(url).map(str::to_owned);
        let proof = Proof {
            method,
            url,
            now: unix_now(),
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

    /// The nonce of an answer is for the next proof (RFC 9449, 8.2).
    pub(crate) fn heard(&self, url: &str, nonce: &HeaderValue) {
        if let Ok(nonce) = nonce.to_str() {
            let limit = self.tokens.parts.config.limits.nonces;
            self.tokens.state.lock().nonces.heard(url, nonce, limit);
        }
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
        let wants_nonce = |challenge: &Challenge| challenge.param("error") == Some("use_dpop_nonce");
        if sent.is_bound() && !rounds.has_been_given_a_nonce && challenges.iter().any(wants_nonce) {
            rounds.has_been_given_a_nonce = true;
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
                        true => {
                            let old = self.tokens.state.lock().wanted.replace(demand);
                            drop(old);
                            return Err(self.tokens.login_required());
                        }
                    }
                }
            };
            let waits = asks && self.tokens.may_ask();
            let is_refresh = matches!(&purpose, Purpose::Refresh(_));
            let got = self.fly(purpose, waits, connect, watch).await?;
            // A flight that was joined may have been about tokens before these.
            rounds.has_refreshed |= is_refresh && self.tokens.state.lock().generation != sent.generation;
            rounds.has_authorized |= got == Got::Authorized;
        }
        let state = self.tokens.state.lock();
        self.present(&state)
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

    /// The token as it is sent, which no text may show.
    pub(crate) fn latest(&self) -> Option<HeaderValue> {
        self.tokens.state.lock().authorization.clone()
    }

    /// Waits for the flight under way, or begins this one.
    /// `waits`: while a person is asked, too.
    pub(super) async fn fly(
        &self,
        purpose: Purpose,
        waits: bool,
        connect: Connect<'_>,
        watch: Watch<'_>,
    ) -> Outcome {
        loop {
            let asks = matches!(&purpose, Purpose::Authorize { asks: true, .. });
            let (waiter, number, has_asked) = match self.join(asks || waits) {
                Joined::Flight(waiter, number, has_asked) => (waiter, number, has_asked),
                // Nobody waits for a person who has not asked for that.
                Joined::Asking => return Err(self.tokens.login_required()),
                Joined::None => {
                    let flight = Arc::clone(&self.tokens).fly(purpose.clone(), connect());
                    self.begin(flight, asks)
                }
            };
            let mut waiter = pin!(waiter);
            let outcome = poll_fn(|cx| {
                let polled = waiter.as_mut().poll(cx);
                let is_asking = polled.is_pending() && self.tokens.state.lock().is_asking;
                watch(Seen::Asking(is_asking));
                for event in self.tokens.take_events() {
                    watch(Seen::Event(&event));
                }
                polled
            })
            .await;
            self.clear(number);
            match outcome {
                // It was given up by somebody who has found that it stood still.
                None => {}
                // That one could not ask.
                Some(Err(_)) if asks && !has_asked => {}
                Some(outcome) => return outcome,
            }
        }
    }

    fn join(&self, waits: bool) -> Joined {
        let (is_asking, answered) = {
            let state = self.tokens.state.lock();
            (state.is_asking, state.answered)
        };
        let now = Instant::now();
        let (joined, stale) = {
            let mut flights = self.flights.lock();
            match &flights.present {
                Some(flying) if !is_asking && now >= self.stale(flying.began, answered) => {
                    (Joined::None, flights.present.take())
                }
                Some(flying) if is_asking && flying.asks && !waits => (Joined::Asking, None),
                Some(flying) => match flying.shared.waiter() {
                    Some(waiter) => (Joined::Flight(waiter, flying.number, flying.asks), None),
                    None => (Joined::None, flights.present.take()),
                },
                None => (Joined::None, None),
            }
        };
        drop(stale);
        joined
    }

    /// When a flight has stood still for too long, other than for a person: whoever carried it on has not.
    fn stale(&self, began: Instant, answered: Option<Instant>) -> Instant {
        let timeouts = &self.tokens.parts.timeouts;
        let longest = timeouts.flow.saturating_add(timeouts.store.saturating_mul(4));
        // Without a limit that a clock has, it is not given up for long.
        let year = Duration::from_secs(365 * 24 * 3600);
        answered.map_or(began, |answered| answered.max(began)) + longest.min(year)
    }

    /// Of two who begin at the same time the second waits for the first one's.
    fn begin(
        &self,
        flight: impl Future<Output = Outcome> + Send + 'static,
        asks: bool,
    ) -> (Waiter<Outcome>, u64, bool) {
        let (shared, kept) = SharedFuture::start(flight);
        let (begun, idle, left_over) = {
            let mut flights = self.flights.lock();
            let present = flights.present.as_ref();
            match present.and_then(|flying| Some((flying.shared.waiter()?, flying.number, flying.asks))) {
                Some(present) => (present, Vec::new(), (None, Some(kept))),
                None => {
                    let waiter = shared.waiter().expect("nobody has polled it");
                    flights.count += 1;
                    let number = flights.count;
                    let began = Instant::now();
                    let old = flights.present.replace(Flying { number, asks, began, shared, _kept: kept });
                    ((waiter, number, asks), std::mem::take(&mut flights.idle), (old, None))
                }
            }
        };
        drop(left_over);
        for (_, waker) in idle {
            contain(|| waker.wake());
        }
        begun
    }

    /// It is over.
    fn clear(&self, number: u64) {
        let over = {
            let mut flights = self.flights.lock();
            match &flights.present {
                Some(flying) if flying.number == number => flights.present.take(),
                _ => None,
            }
        };
        drop(over);
    }

    /// Carries flights on that nobody waits for, as long as it is polled. Never resolves.
    ///
    /// **Drop:** takes its waker away.
    pub(crate) async fn carry(&self, watch: Watch<'_>) -> Infallible {
        let number = {
            let mut flights = self.flights.lock();
            flights.drivers += 1;
            flights.drivers
        };
        let _leaving = Leaving { account: self, number };
        let mut helper: Option<(Waiter<Outcome>, u64)> = None;
        poll_fn(|cx| {
            loop {
                if let Some((waiter, flight)) = &mut helper {
                    let polled = Pin::new(waiter).poll(cx);
                    for event in self.tokens.take_events() {
                        watch(Seen::Event(&event));
                    }
                    if polled.is_pending() {
                        return Poll::Pending;
                    }
                    let flight = *flight;
                    helper = None;
                    self.clear(flight);
                }
                let waker = cx.waker().clone();
                let left_over = {
                    let mut flights = self.flights.lock();
                    let present = flights.present.as_ref();
                    helper = present.and_then(|flying| Some((flying.shared.helper()?, flying.number)));
                    match flights.idle.iter_mut().find(|(it, _)| *it == number) {
                        Some((_, registered)) => Some(std::mem::replace(registered, waker)),
                        None => {
                            flights.idle.push((number, waker));
                            None
                        }
                    }
                };
                drop(left_over);
                if helper.is_none() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Waits for the flight under way, if it does not wait for a person.
    pub(crate) async fn settle(&self) {
        let is_asking = self.tokens.state.lock().is_asking;
        let helper = self.flights.lock().present.as_ref().and_then(|flying| flying.shared.helper());
        if let (Some(helper), false) = (helper, is_asking) {
            helper.await;
        }
    }
}

enum Joined {
    /// Its number, and whether it may have a person asked.
    Flight(Waiter<Outcome>, u64, bool),
    /// A person is asked.
    Asking,
    None,
}

struct Leaving<'a> {
    account: &'a Account,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let registered = {
            let mut flights = self.account.flights.lock();
            let index = flights.idle.iter().position(|(it, _)| *it == self.number);
            index.map(|index| flights.idle.swap_remove(index))
        };
        drop(registered);
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
mod tests;
