//! [`OAuth`], the handle: logins, and what is known of each server.

use super::account::Account;
use super::flight::{self, Got, Purpose};
use super::flights::Questions;
use super::parts::Parts;
use super::store::StoreKey;
use crate::error::Error;
use crate::http_client::EngineConfig;
#[cfg(doc)]
use crate::oauth::{AuthErrorKind, OAuthBuilder};
use crate::protocol::oauth::config::Why;
use crate::protocol::oauth::demand::Demand;
use crate::protocol::oauth::stored::Stored;
use crate::protocol::oauth::{place, register};
use crate::sync::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One identity: its tokens, and how to get them. Clones share everything.
///
/// Made by [`builder`](Self::builder), and given to transports with [`Http::oauth`](crate::Http::oauth). See
/// [the module](crate::oauth) for an example.
///
/// **Drop:** a refresh that is under way is dropped with the last clone and the last transport that has the handle.
/// Dropping needs no executor.
#[derive(Clone)]
pub struct OAuth {
    parts: Arc<Parts>,
    accounts: Arc<Mutex<HashMap<StoreKey, Arc<Account>>>>,
    questions: Questions,
}

impl OAuth {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), accounts: Arc::default(), questions: Arc::default() }
    }

    /// The JSON to publish at the URL that [`client_metadata_url`](OAuthBuilder::client_metadata_url) names, with these
    /// redirect URIs. Write those to this machine without a port, as each login may use another one (RFC 8252, 7.3):
    /// `http://127.0.0.1/callback` for [`Loopback`](super::Loopback).
    ///
    /// `None` if no such URL is set.
    pub fn client_metadata_document(&self, redirect_uris: &[&str]) -> Option<String> {
        register::document(&self.parts.config, redirect_uris)
    }

    /// What is known of one server. `url` is as the user wrote it.
    pub(crate) fn account(&self, url: &str) -> Arc<Account> {
        let key = StoreKey::new(place::canonical(url), &self.parts.profile);
        let mut accounts = self.accounts.lock();
        let account = accounts.entry(key).or_insert_with_key(|key| {
            Arc::new(Account::new(&self.parts, url, key, Arc::clone(&self.questions)))
        });
        Arc::clone(account)
    }

    /// Signs in anew: asks a person, or, with other grants, the authorization server. No call's deadline is involved.
    ///
    /// Do this before connecting. A server that names the place of its metadata in its refusals only, and not where
    /// the standard has it, has to be asked something first: connect, and call this when that fails with
    /// [`LoginRequired`](AuthErrorKind::LoginRequired).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth).
    ///
    /// **Cancel safety:** the question stays open, and the next `login` finds it; with the last handle it is gone.
    pub async fn login(&self, server: &impl ProtectedServer) -> Result<(), Error> {
        let place = server.place();
        let account = self.account(place.url);
        account.check_security()?;
        let (wanted, refused) = {
            let state = account.tokens.state.lock();
            // Scopes that were asked for in vain are not asked for again: this is a plain login then.
            let in_vain = |demand: &&Demand| demand.is_step_up() && state.has_asked_for(demand);
            let wanted = state.wanted.as_ref().filter(|demand| !in_vain(demand));
            (wanted.cloned(), state.stored.clone())
        };
        let why = match wanted {
            Some(demand) if demand.is_step_up() => Why::StepUp(demand),
            Some(demand) => Why::Unauthorized(demand),
            None => Why::Login,
        };
        let purpose = Purpose::Authorize { why, refused, asks: true, is_login: true };
        loop {
            let got = account.flights.fly(purpose.clone(), &|| place.connect.clone(), None).await?;
            // Otherwise another flight was joined, of another purpose.
            if got == Got::Authorized {
                return Ok(());
            }
        }
    }

    /// What is stored for this server, or kept in memory because the store did not take it. No network is involved, and no
    /// login is waited for.
    ///
    /// # Errors
    ///
    /// When the store fails.
    ///
    /// **Cancel safety:** nothing is changed, so nothing is lost.
    pub async fn status(&self, server: &impl ProtectedServer) -> Result<Option<Status>, Error> {
        let place = server.place();
        let account = self.account(place.url);
        let unsaved = {
            let state = account.tokens.state.lock();
            state.stored.clone().filter(|_| state.unsaved)
        };
        if let Some(unsaved) = unsaved {
            return Ok(Some(Status::of(&unsaved)));
        }
        let stored = flight::read(&account.tokens, place.connect.clone()).await?;
        Ok(stored.map(|stored| Status::of(&stored)))
    }

    /// Revokes the tokens where the authorization server can (RFC 7009), and forgets them, whatever comes of that. It does
    /// not wait for a person: a question that is open stays open, and whoever answers it signs in again.
    ///
    /// # Errors
    ///
    /// When revoking fails, or the store does. The handle has forgotten the tokens all the same; after a failure of the
    /// store they may still be there.
    ///
    /// **Cancel safety:** a logout that has begun is carried on by the next call and by the drivers of clients that have the
    /// handle; with the last handle it is gone.
    pub async fn logout(&self, server: &impl ProtectedServer) -> Result<(), Error> {
        let place = server.place();
        let account = self.account(place.url);
        loop {
            let got = account.flights.fly(Purpose::Logout, &|| place.connect.clone(), None).await?;
            let is_over = {
                let state = account.tokens.state.lock();
                state.is_loaded && state.stored.is_none()
            };
            if got == Got::Gone && is_over {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth").field("profile", &self.parts.profile).finish_non_exhaustive()
    }
}

/// A server that OAuth can be used with: [`Http`](crate::Http), [`Sse`](crate::Sse). It cannot be implemented elsewhere.
pub trait ProtectedServer: Sealed + Sync {}

/// What a handle needs to know of a server.
#[allow(unnameable_types, reason = "it seals `ProtectedServer`")]
pub trait Sealed {
    /// Its URL as the user wrote it, and how it is connected to.
    #[doc(hidden)]
    fn place(&self) -> Place<'_>;
}

/// See [`Sealed`].
#[allow(unnameable_types, reason = "only this crate uses it")]
pub struct Place<'a> {
    pub(crate) url: &'a str,
    pub(crate) connect: &'a EngineConfig,
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// What is known of the tokens for one server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The authorization server that has issued them.
    pub issuer: String,
    /// The scopes that were granted, as far as the server has said.
    pub scopes: Vec<String>,
    /// Whether there is an access token.
    pub has_access: bool,
    /// When the access token expires, if that is known.
    pub expires: Option<SystemTime>,
    /// Whether there is a refresh token.
    pub has_refresh: bool,
}

impl Status {
    fn of(stored: &Stored) -> Self {
        let tokens = stored.tokens.as_ref();
        let expires = tokens.and_then(|tokens| tokens.expires);
        Self {
            issuer: stored.issuer.clone(),
            scopes: stored.granted.clone(),
            has_access: tokens.is_some(),
            expires: expires.and_then(|expires| UNIX_EPOCH.checked_add(Duration::from_secs(expires.0))),
            has_refresh: tokens.is_some_and(|tokens| tokens.refresh.is_some()),
        }
    }
}
