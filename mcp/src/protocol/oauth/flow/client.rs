//! Decides who we are to the authorization server, and what is asked for.

use super::exchange::What;
use super::{At, Flow};
use crate::protocol::oauth::config::{Client, Dpop, GrantKind, Why, claim};
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure, OAuthAnswer};
use crate::protocol::oauth::grant;
use crate::protocol::oauth::place;
use crate::protocol::oauth::register;
use crate::protocol::oauth::scope;
use crate::protocol::oauth::step::Answer;
use crate::protocol::oauth::stored::{AuthMethod, Registration, RegistrationKind};

impl Flow {
    /// Goes on after an authorization server was found.
    pub(super) fn choose_client(&mut self) {
        let issuer = self.issuer().to_owned();
        if self.is_asking_in_vain(Some(&issuer)) {
            return self.fail_for_scopes();
        }
        self.choose_scopes(&issuer);
        if scope::parameter(&self.requested).is_some_and(|it| it.len() > self.config.limits.scope_parameter) {
            return self.fail(AuthErrorKind::Limit("scope_parameter"), AuthStep::Server);
        }
        if let Err(kind) = self.choose_proofs(&issuer) {
            return self.fail(kind, AuthStep::Server);
        }
        match self.client_for(&issuer) {
            Ok(registration) => self.registration = registration,
            Err(kind) => return self.fail(kind, AuthStep::Registration),
        }
        match self.config.grant.needs_person() {
            true => self.at = At::Receiver { refused: false },
            false => self.ask_as_machine(),
        }
    }

    /// Decides which scopes are asked for. What this issuer was asked for before is asked for again: the new token replaces
    /// the old one.
    fn choose_scopes(&mut self, issuer: &str) {
        let limits = &self.config.limits;
        let stored = self.stored_of(Some(issuer)).filter(|_| !matches!(self.why, Why::Login));
        let before: Vec<String> =
            stored.map_or_else(Vec::new, |it| it.requested.iter().chain(&it.granted).cloned().collect());
        let challenged = self.demand().map_or_else(Vec::new, |it| it.scope.clone());
        let wanted = match &self.config.scopes {
            Some(configured) if !self.is_step_up() => configured.clone(),
            _ if !challenged.is_empty() || !before.is_empty() => challenged,
            _ => self.about.as_ref().map_or_else(Vec::new, |it| it.scopes.clone()),
        };
        let has_offline = self.server.as_ref().is_some_and(|it| it.metadata.offline_access);
        let offline = (has_offline && self.config.grant.needs_person() && !self.config.no_offline_access)
            .then(|| scope::OFFLINE_ACCESS.to_owned());
        self.requested = scope::union(before.into_iter().chain(wanted).chain(offline), limits);
    }

    /// Whether tokens are bound to a key, and to which.
    fn choose_proofs(&mut self, issuer: &str) -> Result<(), AuthErrorKind> {
        let has_proofs = self.server.as_ref().is_some_and(|it| it.metadata.proofs);
        let kept = self.stored_of(Some(issuer)).and_then(|it| it.proof_key.clone());
        self.proof_key = match self.config.dpop {
            Dpop::Off => None,
            _ if has_proofs => kept.or_else(|| self.known.proof_key.clone()),
            Dpop::Auto => None,
            Dpop::Required => {
                let why = "`dpop_signing_alg_values_supported` does not list ES256";
                return Err(AuthErrorKind::Metadata(why.to_owned()));
            }
        };
        if let Some(key) = &self.proof_key {
            self.mask.add(&key.pkcs8);
        }
        Ok(())
    }

    /// The client that is used with this issuer; `None` if one is to be registered, which needs a redirect URI first.
    fn client_for(&self, issuer: &str) -> Result<Option<Registration>, AuthErrorKind> {
        let Some(server) = &self.server else { return Ok(None) };
        let metadata = &server.metadata;
        let no_method = || {
            let why = "`token_endpoint_auth_methods_supported` has no method that we have the means for";
            AuthErrorKind::Metadata(why.to_owned())
        };
        if let Some(client) = &self.config.client {
            Self::check_owner(client, issuer)?;
            if client.key.as_ref().is_some_and(|key| !metadata.takes(key.algorithm)) {
                let why =
                    "`token_endpoint_auth_signing_alg_values_supported` does not list the key's algorithm";
                return Err(AuthErrorKind::Metadata(why.to_owned()));
            }
            let method = register::method_for(metadata, client.secret.is_some(), client.key.is_some());
            return Ok(Some(Registration {
                kind: RegistrationKind::Configured,
                id: client.id.clone(),
                secret: client.secret.clone(),
                secret_expires: None,
                method: method.ok_or_else(no_method)?,
                redirect_uri: None,
            }));
        }
        let without_secret = |kind, id: &str| Registration {
            kind,
            id: id.to_owned(),
            secret: None,
            secret_expires: None,
            method: AuthMethod::None,
            redirect_uri: None,
        };
        if matches!(self.config.grant, GrantKind::JwtBearer) {
            // The assertion says who asks.
            return Ok(Some(without_secret(RegistrationKind::Configured, "")));
        }
        if let Some(url) = self.config.client_metadata_url.as_deref().filter(|_| metadata.client_documents) {
            return Ok(Some(without_secret(RegistrationKind::Document, url)));
        }
        if !self.config.grant.needs_person() {
            return Err(AuthErrorKind::ClientUnknown { help: "configure it with `client`" });
        }
        if metadata.registration_endpoint.is_none() {
            let help = match metadata.client_documents {
                true => "the server takes a `client_metadata_url`, and a client that it knows: `client`",
                false => "the server registers none: configure one that it knows with `client`",
            };
            return Err(AuthErrorKind::ClientUnknown { help });
        }
        register::method_to_register(metadata).map(|_| None).ok_or_else(no_method)
    }

    /// A configured client is shown to its own issuer alone: the one it is configured with, or was used with first, for
    /// whichever server.
    fn check_owner(client: &Client, issuer: &str) -> Result<(), AuthErrorKind> {
        let owner = claim(client, issuer);
        match place::is_same_issuer(owner, issuer) {
            true => Ok(()),
            false => Err(AuthErrorKind::ClientOfOtherIssuer {
                expected: owner.to_owned(),
                found: issuer.to_owned(),
            }),
        }
    }

    /// The receiver listens at `redirect_uri`.
    pub(crate) fn receiver(&mut self, redirect_uri: &str) {
        let At::Receiver { refused } = self.at else { return };
        if refused && self.redirect_uri.as_deref() == Some(redirect_uri) {
            return self.no_receiver();
        }
        self.redirect_uri = Some(redirect_uri.to_owned());
        if self.registration.is_none() && !refused {
            self.registration = self.registered_before(redirect_uri);
        }
        match self.registration {
            Some(_) => self.send_away(),
            None => self.register(redirect_uri.to_owned(), refused),
        }
    }

    /// There is no other receiver.
    pub(crate) fn no_receiver(&mut self) {
        if let At::Receiver { .. } = self.at {
            let answer = OAuthAnswer { error: "invalid_redirect_uri".to_owned(), ..OAuthAnswer::default() };
            self.fail(AuthErrorKind::Registration(answer), AuthStep::Registration);
        }
    }

    /// A client that we registered before is used again only while a refresh token of it lives, or to step up. Otherwise the
    /// server may have forgotten it, and the person would see an error.
    fn registered_before(&self, redirect_uri: &str) -> Option<Registration> {
        let stored = self.stored_of(Some(self.issuer()))?;
        let client = &stored.registration;
        let lives = stored.tokens.as_ref().is_some_and(|it| it.refresh.is_some());
        let is_good = client.kind == RegistrationKind::Dynamic
            && client.redirect_uri.as_deref() == Some(redirect_uri)
            && client.secret_expires.is_none_or(|end| end > self.now)
            && !self.registered_again
            && (self.is_step_up() || (lives && !matches!(self.why, Why::Login)));
        is_good.then(|| client.clone())
    }

    /// `again`: the server has refused the redirect URI of another receiver.
    fn register(&mut self, redirect_uri: String, again: bool) {
        let Some(metadata) = self.server.as_ref().map(|it| &it.metadata) else { return };
        let method = register::method_to_register(metadata).unwrap_or(AuthMethod::None);
        let Some(url) = metadata.registration_endpoint.clone() else {
            let help = "the server registers none";
            return self.fail(AuthErrorKind::ClientUnknown { help }, AuthStep::Registration);
        };
        self.post(What::Register { redirect_uri, method, again }, url);
    }

    pub(super) fn registered(&mut self, what: What, url: &str, answer: &Answer) {
        let What::Register { redirect_uri, method, again } = what else { return };
        let failed = |kind| Failure::new(kind, AuthStep::Registration);
        if matches!(answer.status, 200 | 201) && grant::error(&answer.body).is_none() {
            return match register::read(&answer.body, &redirect_uri, method, &self.config.limits) {
                Ok(registration) => {
                    registration.secret.iter().for_each(|secret| self.mask.add(secret));
                    self.registration = Some(registration);
                    self.send_away();
                }
                Err(why) => self.fail_as(failed(AuthErrorKind::Metadata(why.to_owned())), Some(url)),
            };
        }
        if grant::is_passing(answer.status) {
            let kind =
                AuthErrorKind::Unavailable { status: Some(answer.status), retry_after: answer.retry_after };
            return self.fail_as(failed(kind), Some(url));
        }
        match grant::error(&answer.body) {
            Some(words) if words.error == "invalid_redirect_uri" && !again => {
                self.at = At::Receiver { refused: true };
            }
            words => {
                let words = words.unwrap_or_else(|| OAuthAnswer {
                    error: format!("HTTP status {}", answer.status),
                    ..OAuthAnswer::default()
                });
                self.fail_as(failed(AuthErrorKind::Registration(words)), Some(url));
            }
        }
    }
}
