//! The requests that carry secrets: registrations, tokens for codes and the like, revocations.

use super::{At, Attempt, Flow};
use crate::protocol::oauth::config::{AssertionKey, Client, Dpop, GrantKind, claim};
use crate::protocol::oauth::dpop::Proof;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep};
use crate::protocol::oauth::form::Form;
use crate::protocol::oauth::grant;
use crate::protocol::oauth::jwt;
use crate::protocol::oauth::place;
use crate::protocol::oauth::register;
use crate::protocol::oauth::scope;
use crate::protocol::oauth::secret::Secret;
use crate::protocol::oauth::step::{Fetch, Sign, SignWith, Step};
use crate::protocol::oauth::stored::{AuthMethod, Registration, RegistrationKind, Scheme, Tokens};

/// The kind of an assertion that one company's identity provider makes for another company's server.
pub(super) const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// A POST that is being made.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) what: What,
    pub(super) url: String,
    /// For the client's assertion, and for the proof.
    random: [[u8; 32]; 2],
    assertion: Option<Secret>,
    pub(super) proof: Option<Secret>,
    signing: Option<Signing>,
    /// Whether the server has asked for another nonce before.
    pub(super) has_new_nonce: bool,
}

#[derive(Debug)]
pub(super) enum What {
    Register {
        redirect_uri: String,
        method: AuthMethod,
        again: bool,
    },
    /// A code, and what a person was sent away with to get it.
    Code(Secret, Attempt),
    Refresh(Secret),
    ClientCredentials,
    Identity(Secret),
    Assertion(Secret),
    Revoke(Secret, &'static str),
}

impl What {
    pub(super) fn step(&self) -> AuthStep {
        match self {
            Self::Register { .. } => AuthStep::Registration,
            Self::Code(..) => AuthStep::Code,
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
        // A refresh binds no token to a key.
        let may_be = |scheme| scheme == Scheme::Dpop || self.config.dpop != Dpop::Required;
        let is_fit = |it: &Tokens| it.refresh.is_some() && may_be(it.scheme);
        let endpoint = stored.filter(|it| it.tokens.as_ref().is_some_and(is_fit));
        match endpoint.map(|it| it.token_endpoint.clone()) {
            Some(url) => self.refresh_at(url),
            None => {
                let issuer = stored.map(|it| it.issuer.clone());
                self.fail(AuthErrorKind::LoginRequired { issuer }, AuthStep::Refresh);
            }
        }
    }

    /// Refreshes with the client, the authentication and the resource that the token came from.
    pub(super) fn refresh_at(&mut self, url: String) {
        let Some(stored) = &self.known.stored else { return };
        let Some(tokens) = &stored.tokens else { return };
        let Some(token) = tokens.refresh.clone() else { return };
        self.proof_key = stored.proof_key.clone().filter(|_| tokens.scheme == Scheme::Dpop);
        self.registration = Some(self.with_its_secret(stored.registration.clone(), &stored.issuer));
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
                self.registration = Some(self.with_its_secret(stored.registration, &stored.issuer));
                self.post(what, url);
            }
            None => self.at = At::Over(Ok(Box::new(stored.without_tokens()))),
        }
    }

    /// A stored client. If it is the configured one, it has the secret of the present configuration, provided that this
    /// issuer may see it.
    fn with_its_secret(&self, mut client: Registration, issuer: &str) -> Registration {
        let is_its = |it: &&Client| it.id == client.id && place::is_same_issuer(claim(it, issuer), issuer);
        let configured = self.config.client.as_ref().filter(is_its);
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

    /// Posts to the token endpoint of the server that was found.
    pub(super) fn post_token(&mut self, what: What) {
        if let Some(url) = self.server.as_ref().map(|it| it.metadata.token_endpoint.clone()) {
            self.post(what, url);
        }
    }

    /// Posts once more. What is good for one request only is made anew.
    pub(super) fn post_again(&mut self, exchange: Exchange, has_new_nonce: bool) {
        self.post(exchange.what, exchange.url);
        if let At::Exchange(exchange) = &mut self.at {
            exchange.has_new_nonce = has_new_nonce;
        }
    }

    fn signs_assertions(&self) -> bool {
        self.registration.as_ref().is_some_and(|it| it.method == AuthMethod::PrivateKeyJwt)
    }

    fn assertion_key(&self) -> Option<&AssertionKey> {
        self.config.client.as_ref()?.key.as_ref()
    }

    /// What has to be signed before the request can be made, if anything has.
    pub(super) fn sign(&mut self) -> Option<Step> {
        let At::Exchange(exchange) = &self.at else { return None };
        let (signing, with) = self.to_be_signed(exchange)?;
        let (Signing::Assertion(input) | Signing::Proof(input)) = &signing;
        let input = input.clone();
        if let At::Exchange(exchange) = &mut self.at {
            exchange.signing = Some(signing);
        }
        Some(Step::Sign(Sign { input, with }))
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
        let now = self.now.plus(self.skew);
        let nonce = self.known.nonces.of(&exchange.url);
        let proof =
            Proof { method: "POST", url: &exchange.url, now, jti: &for_proof[..16], nonce, token: None };
        Some((Signing::Proof(Secret::new(proof.input(key))), SignWith::Proof(key.pkcs8.clone())))
    }

    /// The issuer that our assertions are for.
    pub(super) fn audience(&self) -> &str {
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

    pub(super) fn fetch_exchange(&self, exchange: &Exchange) -> Fetch {
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
            What::Code(code, attempt) => Form::new("authorization_code")
                .with("code", code.expose())
                .with("redirect_uri", &attempt.redirect_uri)
                .with("code_verifier", attempt.verifier.expose())
                .maybe("resource", resource.as_deref()),
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
}
