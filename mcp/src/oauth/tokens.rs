//! [`Tokens`]: what is known of one server's tokens in this process.

use super::event::AuthEvent;
use super::parts::{Parts, Prompt};
use super::run::unix_now;
use super::store::StoreKey;
use crate::error::AuthError;
use crate::protocol::oauth::config::Nonces;
use crate::protocol::oauth::demand::Demand;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure, Refusal};
use crate::protocol::oauth::grant::back_off;
use crate::protocol::oauth::scope;
use crate::protocol::oauth::secret::Secret;
use crate::protocol::oauth::stored::Stored;
use crate::sync::Mutex;
use http::HeaderValue;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many events are kept until somebody takes them. Of more the oldest are lost.
const EVENTS: usize = 64;

/// How many questions to a person calls may cause in how much time.
const QUESTIONS: (usize, Duration) = (2, Duration::from_secs(600));

/// What is known of one server's tokens in this process. It knows no flight, so a flight may own it.
pub(super) struct Tokens {
    pub(super) parts: Arc<Parts>,
    /// The server's URL, as the user wrote it, and its host.
    pub(super) url: String,
    pub(super) host: String,
    pub(super) key: StoreKey,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) is_loaded: bool,
    /// How often the tokens have changed.
    pub(super) generation: u64,
    pub(super) stored: Option<Arc<Stored>>,
    /// Whether the tokens are newer than those in the store, because they could not be saved.
    pub(super) unsaved: bool,
    /// The access token as it is sent.
    pub(super) authorization: Option<HeaderValue>,
    /// When the access token expires, by the monotonic clock, and when it is to be refreshed.
    expires: Option<Instant>,
    due: Option<Instant>,
    pub(super) nonces: Nonces,
    /// The revision of MCP that was agreed on last.
    pub(super) revision: Option<&'static str>,
    /// By how many seconds the server's clock was ahead of ours at its last answer, and by how many proofs are ahead.
    pub(super) ahead: i64,
    pub(super) skew: i64,
    /// How many refreshes have failed in a row, how many of them were refused, and when the next may be tried.
    failures: u32,
    refusals: u32,
    not_before: Option<Instant>,
    /// Whether the refresh token was refused so often, for unknown reasons, that this process tries it no more.
    is_worn_out: bool,
    /// Whether a person is asked just now.
    pub(super) is_asking: bool,
    /// When the last question was over.
    pub(super) answered: Option<Instant>,
    /// When calls have had a person asked; and whether they may no longer have one asked.
    pub(super) questions: VecDeque<Instant>,
    pub(super) is_silenced: bool,
    /// What the server wanted when nobody could be asked: the next login asks for that.
    pub(super) wanted: Option<Demand>,
    events: VecDeque<AuthEvent>,
}

impl State {
    pub(super) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|at| Instant::now() >= at)
            || self.stored.as_ref().is_some_and(|stored| stored.is_expired(unix_now()))
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|at| Instant::now() >= at)
            || self.stored.as_ref().is_some_and(|stored| stored.is_due(unix_now()))
    }

    pub(super) fn can_refresh(&self) -> bool {
        let tokens = self.stored.as_ref().and_then(|stored| stored.tokens.as_ref());
        tokens.is_some_and(|tokens| tokens.refresh.is_some()) && !self.is_worn_out
    }

    /// Whether these scopes were asked for already, so that another login would bring no more.
    pub(super) fn has_asked_for(&self, demand: &Demand) -> bool {
        let stored = self.stored.as_ref().filter(|stored| stored.tokens.is_some());
        stored.is_some_and(|stored| scope::is_within(&demand.scope, &stored.requested))
    }

    /// For how long no refresh may be tried.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.not_before?.checked_duration_since(Instant::now())
    }

    /// Counts a refusal for an unknown reason. Returns whether the refresh token is tried no more.
    pub(super) fn is_worn_out_by(&mut self, refusal: Option<Refusal>, limit: u32) -> bool {
        if refusal == Some(Refusal::Other) {
            self.refusals += 1;
            self.is_worn_out = self.refusals >= limit;
        }
        self.is_worn_out
    }

    /// After a failure the token endpoint is left alone for a while.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.failures = self.failures.saturating_add(1);
        let retry_after = match failure.kind {
            AuthErrorKind::Unavailable { retry_after, .. } => retry_after,
            _ => None,
        };
        let pause = Duration::from_secs(back_off(self.failures, retry_after));
        self.not_before = Instant::now().checked_add(pause);
    }

    fn install(&mut self, stored: Option<Arc<Stored>>) {
        self.is_loaded = true;
        // The same token again makes no new generation.
        if access(self.stored.as_deref()) != access(stored.as_deref()) {
            self.generation += 1;
        }
        (self.failures, self.refusals, self.is_worn_out, self.not_before) = (0, 0, false, None);
        self.authorization = stored.as_ref().and_then(|stored| {
            let mut value = HeaderValue::from_str(stored.authorization()?.expose()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let tokens = stored.as_ref().and_then(|stored| stored.tokens.as_ref());
        let left = tokens.and_then(|tokens| {
            let expires = tokens.expires?;
            let seconds = |from: u64| Duration::from_secs(expires.0.saturating_sub(from));
            Some((seconds(unix_now().0), seconds(tokens.obtained.0)))
        });
        self.expires = left.and_then(|(left, _)| Instant::now().checked_add(left));
        self.due = left.and_then(|(left, life)| {
            let ahead = Duration::from_secs(30).min(life / 4);
            Instant::now().checked_add(left.saturating_sub(ahead))
        });
        self.stored = stored;
    }

    pub(super) fn tell(&mut self, event: AuthEvent) -> Option<AuthEvent> {
        self.events.push_back(event);
        if self.events.len() > EVENTS { self.events.pop_front() } else { None }
    }
}

impl Tokens {
    pub(super) fn tell(&self, event: AuthEvent) {
        let lost = self.state.lock().tell(event);
        drop(lost);
    }

    pub(super) fn take_events(&self) -> VecDeque<AuthEvent> {
        std::mem::take(&mut self.state.lock().events)
    }

    pub(super) fn install(&self, stored: Option<Stored>, unsaved: bool) {
        let old = {
            let mut state = self.state.lock();
            let old = state.stored.clone();
            state.install(stored.map(Arc::new));
            state.unsaved = unsaved;
            old
        };
        drop(old);
    }

    /// Marks the tokens of this entry, if they are still the present ones: nobody knows whether the refresh token was used.
    pub(super) fn doubt(&self, sent: &Stored) {
        let old = {
            let mut state = self.state.lock();
            let stored = state.stored.as_mut().filter(|stored| access(Some(stored)) == access(Some(sent)));
            stored.map(|stored| {
                let doubtful = Stored { uncertain: true, ..(**stored).clone() };
                std::mem::replace(stored, Arc::new(doubtful))
            })
        };
        drop(old);
    }

    /// Takes down that a person is asked by the authorization server at `host`; that another question is waited for, if
    /// `host` is empty; or that either is over, if there is none.
    pub(super) fn asking(&self, host: Option<&str>, by_call: bool) {
        let mut state = self.state.lock();
        state.is_asking = host.is_some();
        if host.is_none() {
            state.answered = Some(Instant::now());
        }
        let mut lost = None;
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            if by_call {
                state.questions.push_back(Instant::now());
                if state.questions.len() > QUESTIONS.0 {
                    state.questions.pop_front();
                }
            }
            lost = state.tell(AuthEvent::Asking { host: host.to_owned() });
        }
        drop(state);
        drop(lost);
    }

    /// Whether a call may have a person asked now.
    pub(super) fn may_ask(&self) -> bool {
        let state = self.state.lock();
        let (most, time) = QUESTIONS;
        let recent = state.questions.iter().filter(|at| at.elapsed() < time).count();
        // A call that joins an open question causes no other one.
        let has_room = state.is_asking || recent < most;
        self.parts.consent.is_some() && self.parts.prompt == Prompt::OnCall && !state.is_silenced && has_room
    }

    pub(super) fn login_required(&self) -> AuthError {
        let issuer = self.state.lock().stored.as_ref().map(|stored| stored.issuer.clone());
        AuthError::new(Failure::new(AuthErrorKind::LoginRequired { issuer }, AuthStep::Consent))
    }
}

/// The access token of an entry.
pub(super) fn access(stored: Option<&Stored>) -> Option<&Secret> {
    stored?.tokens.as_ref().map(|tokens| &tokens.access)
}
