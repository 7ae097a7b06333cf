//! The grants without a person: the client for itself, or with an assertion about somebody.

use super::exchange::{ID_JAG, What};
use super::{At, Flow};
use crate::protocol::oauth::config::GrantKind;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure};
use crate::protocol::oauth::secret::Secret;
use serde_json::{Map, Value};

impl Flow {
    pub(super) fn ask_as_machine(&mut self) {
        match self.config.grant {
            GrantKind::ClientCredentials => self.post_token(What::ClientCredentials),
            _ => self.at = At::Subject,
        }
    }

    /// The ID token or the assertion that was wanted.
    pub(crate) fn subject(&mut self, token: Secret) {
        let At::Subject = self.at else { return };
        self.mask.add(&token);
        match &self.config.grant {
            GrantKind::IdentityAssertion(provider) => {
                let url = provider.token_endpoint.clone();
                self.post(What::Identity(token), url);
            }
            _ => self.post_token(What::Assertion(token)),
        }
    }

    /// The identity provider's answer has an assertion for the authorization server.
    pub(super) fn identity_exchanged(&mut self, answer: &Map<String, Value>, url: &str) {
        let text = |member| answer.get(member).and_then(Value::as_str);
        let assertion =
            text("access_token").filter(|it| !it.is_empty() && it.len() <= self.config.limits.token);
        match (text("issued_token_type"), assertion) {
            (Some(ID_JAG), Some(assertion)) => {
                let assertion = Secret::new(assertion);
                self.mask.add(&assertion);
                self.post_token(What::Assertion(assertion));
            }
            _ => {
                let kind = AuthErrorKind::TokenUnusable("the identity provider's answer is not an ID-JAG");
                self.fail_as(Failure::new(kind, AuthStep::Identity), Some(url));
            }
        }
    }
}
