//! [`Flight`]: one load, refresh, login or logout, for all who wait for it.
//!
//! The store decides, not what this process remembers. A refresh reads the store again under its lock, and uses what
//! another process has stored meanwhile. It saves what it gets by compare and swap. Tokens that the authorization server
//! has refused for good are removed, if they are still in the store. A failure that may pass (the network, a server in
//! trouble) removes nothing.

use super::consent::BoxError;
use super::event::AuthEvent;
use super::run::{Run, foreign, in_time};
use super::store::{StoreGuard, Swapped, is_damage};
use super::tokens::{Tokens, access};
use crate::error::AuthError;
use crate::http_client::EngineConfig;
use crate::protocol::oauth::config::{Known, Why};
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure, Refusal};
use crate::protocol::oauth::stored::Stored;
use crate::runtime::BoxFuture;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a flight is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// The store is read: for the first time, or because these tokens are of no use and another process may have others.
    Load(Option<Arc<Stored>>),
    /// These tokens are to be replaced: they have expired, or will soon, or were refused.
    Refresh(Arc<Stored>),
    /// A new authorization.
    Authorize {
        why: Why,
        /// These tokens were refused, if there were any.
        refused: Option<Arc<Stored>>,
        /// Whether a person may be asked.
        asks: bool,
        /// Whether the application has asked for it.
        is_login: bool,
    },
    Logout,
}

/// What came of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// There may be other tokens now, or none: the state says which.
    Changed,
    /// There are new tokens, of a new authorization.
    Authorized,
    /// The tokens are gone for good.
    Gone,
}

pub(super) type Outcome = Result<Got, AuthError>;

/// One flight, from beginning to end. Whoever waits for it polls it.
pub(super) async fn fly(tokens: Arc<Tokens>, purpose: Purpose, connect: EngineConfig) -> Outcome {
    let flight = Flight { tokens: &tokens, connect };
    let result = match purpose {
        Purpose::Load(refused) => flight.look(refused).await,
        Purpose::Refresh(refused) => flight.refresh(refused).await,
        Purpose::Authorize { why, refused, asks, is_login } => {
            flight.authorize(why, refused, asks, is_login).await
        }
        Purpose::Logout => flight.logout().await,
    };
    result.map_err(|failure| {
        let error = AuthError::new(failure);
        tokens.tell(AuthEvent::Failed(error.clone()));
        error
    })
}

/// What is stored now. This is no flight: nobody else waits for it, and it changes nothing.
pub(super) async fn read(tokens: &Tokens, connect: EngineConfig) -> Result<Option<Stored>, AuthError> {
    Flight { tokens, connect }.load().await.map_err(AuthError::new)
}

struct Flight<'a> {
    tokens: &'a Tokens,
    connect: EngineConfig,
}

impl Flight<'_> {
    async fn look(&self, refused: Option<Arc<Stored>>) -> Result<Got, Failure> {
        let found = self.load().await?;
        let is_loaded = self.tokens.state.lock().is_loaded;
        match found {
            found if !is_loaded => Ok(self.install(found, false)),
            Some(found) if self.is_news(&found, refused.as_deref()) => Ok(self.adopt(found)),
            _ => Ok(Got::Changed),
        }
    }

    async fn refresh(&self, refused: Arc<Stored>) -> Result<Got, Failure> {
        // The flight before this one may have refreshed the token.
        let present = self.tokens.state.lock().stored.clone();
        if access(present.as_deref()).is_some_and(|present| Some(present) != access(Some(&refused))) {
            return Ok(Got::Changed);
        }
        let guard = match self.lock().await {
            Ok(guard) => guard,
            // Whoever has the lock may have stored something.
            Err(failure) => {
                return match self.load().await? {
                    Some(found) if self.is_news(&found, Some(&refused)) => Ok(self.adopt(found)),
                    _ => {
                        // Otherwise every request would wait as long for a lock that is not given back.
                        if failure.is_transient() {
                            self.tokens.state.lock().failed(&failure);
                        }
                        Err(failure)
                    }
                };
            }
        };
        let found = self.load().await?;
        let unsaved = self.tokens.state.lock().unsaved;
        let old = match &found {
            Some(found) if self.is_news(found, Some(&refused)) => return Ok(self.adopt(found.clone())),
            _ if unsaved => (*refused).clone(),
            None => {
                self.install(None, false);
                return Ok(Got::Gone);
            }
            Some(found) if found.tokens.is_none() => {
                self.install(Some(found.clone()), false);
                return Ok(Got::Gone);
            }
            Some(found) => {
                let is_same = access(Some(found)) == access(Some(&refused));
                Stored { uncertain: found.uncertain || (is_same && refused.uncertain), ..found.clone() }
            }
        };
        let known = self.known(Some(old.clone()), false);
        let mut unanswered = Unanswered { tokens: self.tokens, sent: Some(&old) };
        let result = self.run(Why::Refresh, known, false).await;
        unanswered.sent = None;
        drop(unanswered);
        match result {
            Ok(new) => {
                let issuer = new.issuer.clone();
                let got = self.save(found, new).await?;
                drop(guard);
                self.tokens.tell(AuthEvent::Refreshed { issuer });
                Ok(got)
            }
            Err(failure) => self.not_refreshed(found, old, failure).await,
        }
    }

    /// What a failed refresh means for what is stored.
    async fn not_refreshed(
        &self,
        found: Option<Stored>,
        old: Stored,
        failure: Failure,
    ) -> Result<Got, Failure> {
        // A token that may have been used already is tried only once more.
        let limit = if old.uncertain { 1 } else { self.tokens.parts.config.limits.refreshes };
        let is_worn_out = self.tokens.state.lock().is_worn_out_by(failure.refusal, limit);
        // If the entry has other tokens, these were never saved, and the entry stays as it is.
        let is_stored = access(found.as_ref()) == access(Some(&old));
        let left = match failure.refusal {
            Some(Refusal::Definitive) => Some(old.without_tokens()),
            Some(Refusal::ClientForgotten) => None,
            // The token may still be good, so it stays in the store. Only this process tries it no more.
            Some(Refusal::Other) if is_worn_out => return Ok(Got::Gone),
            _ => {
                self.tokens.state.lock().failed(&failure);
                if failure.uncertain {
                    self.tokens.doubt(&old);
                    if is_stored {
                        let uncertain = Stored { uncertain: true, ..old };
                        let _ = self.swap(found.as_ref(), Some(&uncertain)).await;
                    }
                }
                return Err(failure);
            }
        };
        let swapped = match is_stored {
            true => self.swap(found.as_ref(), left.as_ref()).await,
            false => Ok(Swapped::Other(found)),
        };
        match swapped.inspect_err(|failure| self.tokens.state.lock().failed(failure))? {
            // Another process has stored other tokens.
            Swapped::Other(Some(theirs)) if theirs.tokens.is_some() => Ok(self.adopt(theirs)),
            Swapped::Other(theirs) => {
                self.install(theirs, false);
                Ok(Got::Gone)
            }
            Swapped::Done => {
                self.install(left, false);
                Ok(Got::Gone)
            }
        }
    }

    async fn authorize(
        &self,
        why: Why,
        refused: Option<Arc<Stored>>,
        asks: bool,
        is_login: bool,
    ) -> Result<Got, Failure> {
        let found = self.load_to_replace().await?;
        let (is_loaded, unsaved) = {
            let state = self.tokens.state.lock();
            (state.is_loaded, state.unsaved)
        };
        if !is_loaded {
            // Calls that do not wait for the person use these tokens meanwhile.
            self.install(found.clone(), false);
        }
        match &found {
            Some(found) if !is_login && self.is_news(found, refused.as_deref()) => {
                return Ok(self.adopt(found.clone()));
            }
            _ => {}
        }
        let stored = match unsaved {
            true => refused.map(|refused| (*refused).clone()),
            false => found,
        };
        let result = self.run(why, self.known(stored, asks), !is_login).await;
        {
            let mut state = self.tokens.state.lock();
            match &result {
                Ok(_) if is_login => (state.is_silenced, state.questions) = (false, VecDeque::new()),
                Err(failure)
                    if matches!(failure.kind, AuthErrorKind::Denied(_) | AuthErrorKind::TimedOut { .. }) =>
                {
                    state.is_silenced = true;
                }
                Err(failure) if failure.is_transient() && !asks => state.failed(failure),
                _ => {}
            }
        }
        let new = result?;
        let granted = AuthEvent::Granted { issuer: new.issuer.clone(), scopes: new.granted.clone() };
        let guard = match self.lock().await {
            Ok(guard) => guard,
            Err(failure) => return Err(self.not_saved(new, failure)),
        };
        let found = match self.load_to_replace().await {
            Ok(found) => found,
            Err(failure) => return Err(self.not_saved(new, failure)),
        };
        self.save_over(found, new).await?;
        drop(guard);
        let demand = self.tokens.state.lock().wanted.take();
        drop(demand);
        self.tokens.tell(granted);
        Ok(Got::Authorized)
    }

    /// The entry is removed, whatever comes of the revocation.
    async fn logout(&self) -> Result<Got, Failure> {
        let found = self.load_to_replace().await;
        let revoked = match &found {
            Ok(Some(stored)) if stored.tokens.is_some() => {
                self.run(Why::Logout, self.known(Some(stored.clone()), false), false).await.map(drop)
            }
            _ => Ok(()),
        };
        let guard = self.lock().await;
        let removed = match self.load_to_replace().await {
            Ok(found) => self.overwrite(found, None).await,
            Err(failure) => Err(failure),
        };
        self.install(None, false);
        let wanted = self.tokens.state.lock().wanted.take();
        drop(wanted);
        guard?;
        removed?;
        revoked.map(|()| Got::Gone)
    }

    /// Saves `new` in place of `old`. If another process was quicker, its tokens are used.
    async fn save(&self, old: Option<Stored>, new: Stored) -> Result<Got, Failure> {
        match self.swap(old.as_ref(), Some(&new)).await {
            Ok(Swapped::Done) => Ok(self.install(Some(new), false)),
            Ok(Swapped::Other(Some(theirs))) if theirs.tokens.is_some() => Ok(self.adopt(theirs)),
            Ok(Swapped::Other(theirs)) => self.save_over(theirs, new).await,
            Err(failure) => Err(self.not_saved(new, failure)),
        }
    }

    async fn save_over(&self, found: Option<Stored>, new: Stored) -> Result<Got, Failure> {
        match self.overwrite(found, Some(&new)).await {
            Ok(()) => Ok(self.install(Some(new), false)),
            Err(failure) => Err(self.not_saved(new, failure)),
        }
    }

    /// Puts `new` in place of `found`, or of what has replaced that meanwhile.
    async fn overwrite(&self, mut found: Option<Stored>, new: Option<&Stored>) -> Result<(), Failure> {
        // Only in a store without a real lock the entry can change meanwhile.
        for _ in 0..3 {
            match self.swap(found.as_ref(), new).await? {
                Swapped::Done => return Ok(()),
                Swapped::Other(other) => found = other,
            }
        }
        Err(store_failed("the entry changes all the time".into()))
    }

    /// Tokens that the store does not take are kept in memory.
    fn not_saved(&self, new: Stored, failure: Failure) -> Failure {
        self.install(Some(new), true);
        failure
    }

    fn install(&self, stored: Option<Stored>, unsaved: bool) -> Got {
        self.tokens.install(stored, unsaved);
        Got::Changed
    }

    fn adopt(&self, found: Stored) -> Got {
        let got = self.install(Some(found), false);
        self.tokens.tell(AuthEvent::Adopted);
        got
    }

    /// Whether the entry has tokens that another process has got since it had those that were refused.
    fn is_news(&self, found: &Stored, refused: Option<&Stored>) -> bool {
        // While tokens are unsaved the store has older ones, which may have been issued in the same second.
        let unsaved = self.tokens.state.lock().unsaved;
        match (&found.tokens, refused.and_then(|refused| refused.tokens.as_ref())) {
            (Some(found), Some(refused)) => {
                let is_later = found.obtained > refused.obtained;
                found.access != refused.access
                    && (is_later || (!unsaved && found.obtained == refused.obtained))
            }
            (Some(_), None) => !unsaved,
            (None, _) => false,
        }
    }

    fn known(&self, stored: Option<Stored>, person: bool) -> Known {
        let nonces = self.tokens.state.lock().nonces.clone();
        Known { stored, person, proof_key: None, nonces }
    }

    async fn run(&self, why: Why, known: Known, by_call: bool) -> Result<Stored, Failure> {
        let Tokens { parts, url, host, .. } = self.tokens;
        let asking = |host: Option<&str>| self.tokens.asking(host, by_call);
        let revision = self.tokens.state.lock().revision;
        let run = Run { parts, url, host, revision, connect: self.connect.clone(), asking: &asking };
        let before = known.nonces.clone();
        let (stored, nonces) = run.flow(why, known).await?;
        self.tokens.state.lock().nonces.catch_up(&before, nonces, parts.config.limits.nonces);
        Ok(stored)
    }

    async fn load(&self) -> Result<Option<Stored>, Failure> {
        let Tokens { parts, key, .. } = self.tokens;
        let found = self.of_store(|| parts.store.load(key)).await?;
        found.iter().for_each(|found| parts.config.learn_owner(found));
        Ok(found)
    }

    /// The entry, for whoever replaces it: a damaged one is as good as none.
    async fn load_to_replace(&self) -> Result<Option<Stored>, Failure> {
        match self.load().await {
            Err(failure) if failure.source.as_deref().is_some_and(is_damage) => Ok(None),
            loaded => loaded,
        }
    }

    async fn swap(&self, old: Option<&Stored>, new: Option<&Stored>) -> Result<Swapped, Failure> {
        let Tokens { parts, key, .. } = self.tokens;
        self.of_store(|| parts.store.swap(key, old, new)).await
    }

    /// A lock that cannot be had in time is a failure that may pass.
    async fn lock(&self) -> Result<StoreGuard, Failure> {
        let Tokens { parts, key, .. } = self.tokens;
        let locked =
            in_time(&*self.connect.net, parts.timeouts.store, foreign(|| parts.store.lock(key))).await;
        match locked {
            Some(locked) => locked.map_err(store_failed),
            None => {
                let kind = AuthErrorKind::Unavailable { status: None, retry_after: None };
                let source = BoxError::from("the store's lock could not be had in time");
                Err(Failure { source: Some(Arc::from(source)), ..Failure::new(kind, AuthStep::Store) })
            }
        }
    }

    /// An operation of the store, within its time limit.
    async fn of_store<'f, T>(
        &self,
        work: impl FnOnce() -> BoxFuture<'f, Result<T, BoxError>>,
    ) -> Result<T, Failure> {
        let limit = self.tokens.parts.timeouts.store;
        let worked = in_time(&*self.connect.net, limit, foreign(work)).await;
        worked.unwrap_or_else(|| Err("it took too long".into())).map_err(store_failed)
    }
}

/// A refresh under way. **Drop:** without an answer the tokens are marked, as nobody knows whether the refresh token was
/// used.
struct Unanswered<'a> {
    tokens: &'a Tokens,
    sent: Option<&'a Stored>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent {
            self.tokens.doubt(sent);
        }
    }
}

fn store_failed(error: BoxError) -> Failure {
    Failure { source: Some(Arc::from(error)), ..Failure::new(AuthErrorKind::Store, AuthStep::Store) }
}

#[cfg(test)]
mod tests;
