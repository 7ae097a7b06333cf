//! The requests that carry secrets: registrations, tokens for codes and the like, revocations.

use super::machine::ID_JAG;
use super::{At, Flow};
use crate::protocol::oauth::config::{Dpop, GrantKind};
use crate::protocol::oauth::dpop::Proof;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure, Refusal};
use crate::protocol::oauth::form::Form;
use crate::protocol::oauth::grant;
use crate::protocol::oauth::jwt;
use crate::protocol::oauth::place::{self, Place};
use crate::protocol::oauth::register;
use crate::protocol::oauth::scope;
use crate::protocol::oauth::secret::Secret;
use crate::protocol::oauth::step::{Answer, Fetch, Sign, SignWith, Step, Unreachable};
use crate::protocol::oauth::stored::{AuthMethod, Registration, RegistrationKind, Scheme, Stored, Tokens};
use serde_json::{Map, Value};

/// A POST that is being made.
#[derive(Debug)]
pub(super) struct Exchange {
    what: What,
    pub(super) url: String,
    /// For the client's assertion, and for the proof.
    random: [[u8; 32]; 2],
    assertion: Option<Secret>,
    proof: Option<Secret>,
    signing: Option<Signing>,
    /// Whether the server has asked for another nonce before.
    has_new_nonce: bool,
}

#[derive(Debug)]
pub(super) enum What {
    Register { redirect_uri: String, method: AuthMethod, again: bool },
    Code(Secret),
    Refresh(Secret),
    ClientCredentials,
    Identity(Secret),
    Assertion(Secret),
    Revoke(Secret, &'static str),
}

impl What {
    fn step(&self) -> AuthStep {
        match self {
            Self::Register { .. } => AuthStep::Registration,
            Self::Code(_) => AuthStep::Code,
            Self::Refresh(_) => AuthStep::Refresh,
            Self::ClientCredentials => AuthStep::ClientCredentials,
            Self::Identity(_) => AuthStep::Identity,
            Self::Assertion(_) => AuthStep::Assertion,
            Self::Revoke(..) => AuthStep::Revocation,
        }
    }

    /// Whether its answer is a token that may be bound to a key.
    fn is_for_token(&self) -> bool {
        !matches!(self, Self::Register { .. } | Self::Identity(_) | Self::Revoke(..))
    }

    /// Whether the client says who it is: to the authorization server, not to an identity provider.
    fn is_authenticated(&self) -> bool {
        !matches!(self, Self::Register { .. } | Self::Identity(_))
    }
}

/// What was given out to be signed.
#[derive(Debug)]
enum Signing {
    Assertion(Secret),
    Proof(Secret),
}

impl Flow {
    /// Refreshes what is stored.
    pub(super) fn refresh(&mut self) {
        let stored = self.known.stored.as_ref();
        let endpoint = stored.filter(|it| it.tokens.as_ref().is_some_and(|it| it.refresh.is_some()));
        match endpoint.map(|it| it.token_endpoint.clone()) {
            Some(url) => self.refresh_at(url),
            None => {
                let issuer = stored.map(|it| it.issuer.clone());
                self.fail(AuthErrorKind::LoginRequired { issuer }, AuthStep::Refresh);
            }
        }
    }

    /// With the client, the authentication and the resource that the token came from.
    pub(super) fn refresh_at(&mut self, url: String) {
        let Some(stored) = &self.known.stored else { return };
        let Some(tokens) = &stored.tokens else { return };
        let Some(token) = tokens.refresh.clone() else { return };
        self.proof_key = stored.proof_key.clone().filter(|_| tokens.scheme == Scheme::Dpop);
        self.registration = Some(self.with_its_secret(stored.registration.clone()));
        self.post(What::Refresh(token), url);
    }

    /// Revokes what is stored (RFC 7009), if that can be done.
    pub(super) fn revoke(&mut self) {
        let Some(stored) = self.known.stored.clone() else {
            return self.fail(AuthErrorKind::LoginRequired { issuer: None }, AuthStep::Revocation);
        };
        let token = stored.tokens.as_ref().map(|tokens| match &tokens.refresh {
            Some(refresh) => What::Revoke(refresh.clone(), "refresh_token"),
            None => What::Revoke(tokens.access.clone(), "access_token"),
        });
        match token.zip(stored.revocation_endpoint.clone()) {
            Some((what, url)) => {
                self.registration = Some(self.with_its_secret(stored.registration));
                self.post(what, url);
            }
            None => self.at = At::Over(Ok(Box::new(stored.without_tokens()))),
        }
    }

    /// A configured client has the secret of today's configuration.
    fn with_its_secret(&self, mut client: Registration) -> Registration {
        let configured = self.config.client.as_ref().filter(|it| it.id == client.id);
        if let (RegistrationKind::Configured, Some(configured)) = (client.kind, configured) {
            client.secret = configured.secret.clone();
        }
        client
    }

    pub(super) fn post(&mut self, what: What, url: String) {
        let step = what.step();
        if !place::is_allowed(&url, &self.resource.url, self.config.insecure_http) {
            let what = format!("{:?}", place::shown(&url));
            return self.fail(AuthErrorKind::Insecure { what }, step);
        }
        if what.is_authenticated() && self.signs_assertions() && self.assertion_key().is_none() {
            let help = "its key has to be configured with `client`";
            return self.fail(AuthErrorKind::ClientUnknown { help }, step);
        }
        if self.may_fetch(step) {
            let random = [self.bytes(), self.bytes()];
            let (assertion, proof, signing) = (None, None, None);
            self.at =
                At::Exchange(Exchange { what, url, random, assertion, proof, signing, has_new_nonce: false });
        }
    }

    /// The same once more, with everything fresh that is good for one request only.
    fn post_again(&mut self, exchange: Exchange, has_new_nonce: bool) {
        self.post(exchange.what, exchange.url);
        if let At::Exchange(exchange) = &mut self.at {
            exchange.has_new_nonce = has_new_nonce;
        }
    }

    fn signs_assertions(&self) -> bool {
        self.registration.as_ref().is_some_and(|it| it.method == AuthMethod::PrivateKeyJwt)
    }

    fn assertion_key(&self) -> Option<&crate::protocol::oauth::config::AssertionKey> {
        self.config.client.as_ref()?.key.as_ref()
    }

    pub(super) fn step_of_exchange(&mut self) -> Step {
        let signing = match &self.at {
            At::Exchange(exchange) => self.to_be_signed(exchange),
            _ => None,
        };
        let At::Exchange(exchange) = &mut self.at else { unreachable!("an exchange is under way") };
        let Some((signing, with)) = signing else {
            let At::Exchange(exchange) = &self.at else { unreachable!("an exchange is under way") };
            return Step::Fetch(self.fetch_exchange(exchange));
        };
        let input = match exchange.signing.insert(signing) {
            Signing::Assertion(input) | Signing::Proof(input) => input.clone(),
        };
        Step::Sign(Sign { input, with })
    }

    fn to_be_signed(&self, exchange: &Exchange) -> Option<(Signing, SignWith)> {
        let [for_assertion, for_proof] = &exchange.random;
        if exchange.what.is_authenticated() && self.signs_assertions() && exchange.assertion.is_none() {
            let key = self.assertion_key()?;
            let id = self.registration.as_ref().map_or("", |it| &it.id);
            let input = jwt::assertion(key, id, self.audience(), self.now, &for_assertion[..16]);
            return Some((Signing::Assertion(Secret::new(input)), SignWith::Client(key.algorithm)));
        }
        let key =
            self.proof_key.as_ref().filter(|_| exchange.what.is_for_token() && exchange.proof.is_none())?;
        let mut now = self.now;
        now.0 = now.0.saturating_add_signed(self.skew);
        let nonce = self.known.nonces.of(&exchange.url);
        let proof =
            Proof { method: "POST", url: &exchange.url, now, jti: &for_proof[..16], nonce, token: None };
        Some((Signing::Proof(Secret::new(proof.input(key))), SignWith::Proof(key.pkcs8.clone())))
    }

    /// Who reads our assertions.
    fn audience(&self) -> &str {
        let stored = self.known.stored.as_ref().map_or("", |it| &it.issuer);
        self.server.as_ref().map_or(stored, |it| &it.issuer)
    }

    /// The signature that was wanted.
    pub(crate) fn signed(&mut self, signature: &[u8]) {
        let At::Exchange(exchange) = &mut self.at else { return };
        match exchange.signing.take() {
            Some(Signing::Assertion(input)) => {
                let assertion = Secret::new(jwt::seal(input.expose(), signature));
                self.mask.add(&assertion);
                exchange.assertion = Some(assertion);
            }
            Some(Signing::Proof(input)) => {
                exchange.proof = Some(Secret::new(jwt::seal(input.expose(), signature)));
            }
            None => {}
        }
    }

    fn fetch_exchange(&self, exchange: &Exchange) -> Fetch {
        let mut fetch = self.fetch("POST", &exchange.url, exchange.what.step());
        let mut put = |name, value: Secret| fetch.headers.push((name, value));
        if let What::Register { redirect_uri, method, .. } = &exchange.what {
            put("content-type", Secret::new("application/json"));
            fetch.body = Some(Secret::new(register::request(&self.config, redirect_uri, *method)));
            return fetch;
        }
        let form = self.form(&exchange.what);
        let client = match &self.config.grant {
            GrantKind::IdentityAssertion(provider) if matches!(exchange.what, What::Identity(_)) => {
                let has_secret = provider.client_secret.is_some();
                Some(Registration {
                    kind: RegistrationKind::Configured,
                    id: provider.client_id.clone(),
                    secret: provider.client_secret.clone(),
                    secret_expires: None,
                    method: if has_secret { AuthMethod::Basic } else { AuthMethod::None },
                    redirect_uri: None,
                })
            }
            _ => self.registration.clone(),
        };
        let (form, authorization) = match &client {
            Some(client) => grant::authenticate(form, client, exchange.assertion.as_ref()),
            None => (form, None),
        };
        put("content-type", Secret::new("application/x-www-form-urlencoded"));
        authorization.into_iter().for_each(|it| put("authorization", it));
        exchange.proof.iter().for_each(|it| put("dpop", it.clone()));
        fetch.body = Some(Secret::new(form.into_text()));
        fetch
    }

    fn form(&self, what: &What) -> Form {
        let resource = self.resource_parameter();
        let wanted = scope::parameter(&self.requested);
        let for_us =
            |form: Form| form.maybe("resource", resource.as_deref()).maybe("scope", wanted.as_deref());
        match what {
            What::Register { .. } => Form::default(),
            What::Code(code) => {
                let form = Form::new("authorization_code").with("code", code.expose());
                let form = match &self.attempt {
                    Some(attempt) => form
                        .with("redirect_uri", &attempt.redirect_uri)
                        .with("code_verifier", attempt.verifier.expose()),
                    None => form,
                };
                form.maybe("resource", resource.as_deref())
            }
            What::Refresh(token) => Form::new("refresh_token")
                .with("refresh_token", token.expose())
                .maybe("resource", self.known.stored.as_ref().and_then(|it| it.resource.as_deref()))
                .maybe("scope", self.config.refresh_scope.as_deref()),
            What::ClientCredentials => for_us(Form::new("client_credentials")),
            What::Identity(token) => for_us(
                Form::new("urn:ietf:params:oauth:grant-type:token-exchange")
                    .with("requested_token_type", ID_JAG)
                    .with("audience", self.issuer())
                    .with("subject_token", token.expose())
                    .with("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ),
            What::Assertion(assertion) => for_us(
                Form::new("urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .with("assertion", assertion.expose()),
            ),
            What::Revoke(token, hint) => {
                Form::default().with("token", token.expose()).with("token_type_hint", hint)
            }
        }
    }

    pub(super) fn exchange_unreachable(&mut self, exchange: &Exchange, why: Unreachable) {
        let is_refresh = matches!(exchange.what, What::Refresh(_));
        let (sent, forbidden) = (why.sent, why.forbidden.is_some());
        let failure = Self::failure_of(why, exchange.what.step(), &exchange.url);
        match is_refresh && !sent && !forbidden && !self.search.is_past_resource {
            // Sent twice, a token that is good for once would be a stolen one.
            true => self.look_again(self.audience().to_owned(), failure),
            false => self.fail_as(Failure { uncertain: is_refresh && sent, ..failure }, None),
        }
    }

    pub(super) fn exchange_answered(&mut self, exchange: Exchange, answer: &Answer) {
        let code = grant::error(&answer.body).map(|it| it.error);
        let code = code.as_deref().filter(|_| exchange.proof.is_some());
        if code == Some("use_dpop_nonce") && answer.dpop_nonce.is_some() && !exchange.has_new_nonce {
            return self.post_again(exchange, true);
        }
        let ahead = answer.date.map_or(0, |date| date.0.cast_signed().wrapping_sub(self.now.0.cast_signed()));
        if code == Some("invalid_dpop_proof") && ahead.unsigned_abs() > 30 && self.skew == 0 {
            self.skew = ahead;
            let has_new_nonce = exchange.has_new_nonce;
            return self.post_again(exchange, has_new_nonce);
        }
        let Exchange { what, url, .. } = exchange;
        let step = what.step();
        let usable = match answer {
            _ if matches!(what, What::Revoke(..)) => Ok(()),
            it if it.body.len() > self.config.limits.document => Err("the answer is too long"),
            it if it.is_compressed() => Err("the answer is compressed, though that was not asked for"),
            _ => Ok(()),
        };
        if let Err(why) = usable {
            return self.fail_as(Failure::new(AuthErrorKind::TokenUnusable(why), step), Some(&url));
        }
        if let What::Register { .. } = what {
            return self.registered(what, &url, answer);
        }
        if let What::Revoke(..) = what {
            return self.revoked(&url, answer);
        }
        match grant::read(answer.status, answer.retry_after, &answer.body) {
            Ok(members) if matches!(what, What::Identity(_)) => self.identity_exchanged(&members, &url),
            Ok(members) => self.issued(&what, &url, members, exchange.proof.is_some()),
            Err(refused) => self.refused(&what, &url, refused),
        }
    }

    fn refused(&mut self, what: &What, url: &str, refused: grant::Refused) {
        let is_dynamic = self.registration.as_ref().is_some_and(|it| it.kind == RegistrationKind::Dynamic);
        let is_forgotten = refused.refusal == Some(Refusal::ClientForgotten) && is_dynamic;
        if matches!(what, What::Code(_)) && is_forgotten && !self.registered_again {
            self.registered_again = true;
            self.registration = None;
            self.at = At::Receiver { refused: false };
            return;
        }
        let mut failure = Failure::new(refused.kind, what.step());
        if let What::Refresh(_) = what {
            let is_elsewhere =
                matches!(failure.kind, AuthErrorKind::Unavailable { status: Some(404 | 405), .. });
            if is_elsewhere && !self.search.is_past_resource {
                failure.host = Place::of(url).map(|it| it.authority().to_owned());
                return self.look_again(self.audience().to_owned(), failure);
            }
            failure.refusal = match refused.refusal {
                // Whoever configured a client wrongly loses no tokens by it.
                Some(Refusal::ClientForgotten) if !is_dynamic => Some(Refusal::Other),
                refusal => refusal,
            };
        }
        self.fail_as(failure, Some(url));
    }

    fn issued(&mut self, what: &What, url: &str, members: Map<String, Value>, has_proof: bool) {
        let before = self.known.stored.as_ref().filter(|_| matches!(what, What::Refresh(_)));
        let old = before.and_then(|it| it.tokens.as_ref());
        let is_bound = self.config.dpop == Dpop::Required
            || self.about.as_ref().is_some_and(|it| it.wants_proofs && has_proof)
            || old.is_some_and(|it| it.scheme == Scheme::Dpop);
        let issued = grant::issued(members, old, self.now, &self.config.limits).and_then(|issued| {
            match (issued.tokens.scheme, is_bound, has_proof) {
                (Scheme::Bearer, true, _) => Err("it is not bound to a key, and has to be"),
                (Scheme::Dpop, _, false) => Err("it is bound to a key, and not to ours"),
                _ => Ok(issued),
            }
        });
        let issued = match issued {
            Ok(issued) => issued,
            Err(why) => {
                return self.fail_as(Failure::new(AuthErrorKind::TokenUnusable(why), what.step()), Some(url));
            }
        };
        let stored = match before {
            Some(before) => self.refreshed(before, url, issued),
            None => self.granted(issued),
        };
        match stored {
            Some(stored) => self.at = At::Over(Ok(Box::new(stored))),
            None => self.fail(AuthErrorKind::LoginRequired { issuer: None }, what.step()),
        }
    }

    fn refreshed(&self, before: &Stored, url: &str, issued: grant::Issued) -> Option<Stored> {
        let mut others = before.tokens.as_ref()?.others.clone();
        others.0.extend(issued.tokens.others.0);
        Some(Stored {
            token_endpoint: url.to_owned(),
            registration: self.registration.clone()?,
            tokens: Some(Tokens { others, ..issued.tokens }),
            granted: issued.granted.unwrap_or_else(|| before.granted.clone()),
            uncertain: false,
            ..before.clone()
        })
    }

    fn granted(&self, issued: grant::Issued) -> Option<Stored> {
        let server = self.server.as_ref()?;
        let mut registration = self.registration.clone()?;
        if registration.redirect_uri.is_none() {
            registration.redirect_uri.clone_from(&self.redirect_uri);
        }
        Some(Stored {
            issuer: server.issuer.clone(),
            token_endpoint: server.metadata.token_endpoint.clone(),
            revocation_endpoint: server.metadata.revocation_endpoint.clone(),
            resource: self.resource_parameter(),
            registration,
            proof_key: self.proof_key.clone().filter(|_| issued.tokens.scheme == Scheme::Dpop),
            tokens: Some(issued.tokens),
            granted: issued.granted.unwrap_or_else(|| self.requested.clone()),
            requested: self.requested.clone(),
            uncertain: false,
            others: self
                .stored_of(Some(&server.issuer))
                .map_or_else(Default::default, |it| it.others.clone()),
        })
    }

    fn revoked(&mut self, url: &str, answer: &Answer) {
        let failure = match grant::error(&answer.body) {
            Some(words) => AuthErrorKind::Refused(words),
            None if answer.status == 200 => {
                let stored = self.known.stored.as_ref().map(|it| Box::new(it.without_tokens()));
                return self.at = stored.map_or_else(|| self.take(), |stored| At::Over(Ok(stored)));
            }
            None => {
                let (status, retry_after) = (Some(answer.status), answer.retry_after);
                AuthErrorKind::Unavailable { status, retry_after }
            }
        };
        self.fail_as(Failure::new(failure, AuthStep::Revocation), Some(url));
    }
}
