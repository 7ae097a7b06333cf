//! Sends a person to the authorization server, and reads what they come back with.

use super::exchange::What;
use super::{At, Attempt, Flow};
use crate::protocol::oauth::base64;
use crate::protocol::oauth::config::ResourceParameter;
use crate::protocol::oauth::dpop::sha256;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure, Reason};
use crate::protocol::oauth::form::Form;
use crate::protocol::oauth::place;
use crate::protocol::oauth::redirect::{self, Expected, Refused};
use crate::protocol::oauth::scope;
use crate::protocol::oauth::secret::Secret;
use std::sync::Arc;

impl Flow {
    /// Sends the person away, once the client is known.
    pub(super) fn send_away(&mut self) {
        // One visit, and another one with a client that was registered again.
        if self.visits == 2 {
            return self.fail(AuthErrorKind::Limit("visits"), AuthStep::Consent);
        }
        self.visits += 1;
        let state = Secret::new(base64::encode(&self.entropy.bytes("state", self.visits)[..16]));
        let verifier = Secret::new(base64::encode(&self.entropy.bytes("verifier", self.visits)));
        self.mask.add(&state);
        self.mask.add(&verifier);
        let url = self.authorization_url(state.expose(), verifier.expose());
        if url.expose().len() > self.config.limits.authorization_url {
            return self.fail(AuthErrorKind::Limit("authorization_url"), AuthStep::Consent);
        }
        let redirect_uri = self.redirect_uri.clone().unwrap_or_default();
        self.at = At::Visit(Attempt { url, state, verifier, redirect_uri });
    }

    fn authorization_url(&self, state: &str, verifier: &str) -> Secret {
        let endpoint = self.server.as_ref().and_then(|it| it.metadata.authorization_endpoint.as_deref());
        let endpoint = endpoint.unwrap_or_default();
        let ours = &self.config.authorize_parameters;
        // Without this prompt a server may issue no refresh token (OpenID Connect Core, 11).
        let is_offline = self.requested.iter().any(|it| it == scope::OFFLINE_ACCESS);
        let prompt = (is_offline && !ours.iter().any(|(name, _)| name == "prompt")).then_some("consent");
        let mut form = Form::default()
            .with("response_type", "code")
            .with("client_id", self.registration.as_ref().map_or("", |it| &it.id))
            .with("redirect_uri", self.redirect_uri.as_deref().unwrap_or_default())
            .with("code_challenge", &sha256(verifier))
            .with("code_challenge_method", "S256")
            .with("state", state)
            .maybe("resource", self.resource_parameter().as_deref())
            .maybe("scope", scope::parameter(&self.requested).as_deref())
            .maybe("prompt", prompt);
        for (name, value) in ours {
            form = form.with(name, value);
        }
        let joint = match endpoint.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some((_, query)) if query.ends_with('&') => "",
            Some(_) => "&",
        };
        Secret::new(format!("{endpoint}{joint}{}", form.into_text()))
    }

    /// For which server the token is to be: as its metadata has it, byte for byte; else its URL.
    pub(super) fn resource_parameter(&self) -> Option<String> {
        match &self.config.resource_parameter {
            ResourceParameter::Omit => None,
            ResourceParameter::Fixed(text) => Some(text.clone()),
            ResourceParameter::Standard => {
                let found = self.about.as_ref().map(|it| it.resource.as_str());
                Some(found.unwrap_or_else(|| place::canonical(&self.resource.url)).to_owned())
            }
        }
    }

    /// The person is back, with this URL.
    pub(crate) fn redirected(&mut self, url: Secret) {
        let (At::Visit(attempt), Some(server)) = (&self.at, &self.server) else { return };
        if url.expose().len() > self.config.limits.redirect_url {
            return self.fail(AuthErrorKind::Limit("redirect_url"), AuthStep::Consent);
        }
        redirect::codes(url.expose()).iter().for_each(|code| self.mask.add(code));
        let names_itself = server.metadata.names_itself;
        let expected = Expected { state: &attempt.state, issuer: &server.issuer, names_itself };
        let (code, issuer) = (expected.read(url.expose()), server.issuer.clone());
        let failure = |kind| Failure::new(kind, AuthStep::Consent);
        match (code, self.take()) {
            (Ok(code), At::Visit(attempt)) => {
                self.post_token(What::Code(code, attempt));
            }
            (Err(Refused::Kind(kind)), _) => self.fail_as(failure(kind), Some(&issuer)),
            (Err(Refused::Reason(why)), _) => {
                let source = Some(Arc::new(Reason(why)) as _);
                self.fail_as(Failure { source, ..failure(AuthErrorKind::Consent) }, Some(&issuer));
            }
            (Ok(_), at) => self.at = at,
        }
    }
}
