//! One way to a token, from what is known to what is to be stored: a machine without I/O.

use super::config::{Config, Known, Nonces, Resource, UnixTime, Why};
use super::failure::{AuthErrorKind, AuthStep, Failure};
use super::secret::{Entropy, Secret};
use super::step::{Answer, Step, Unreachable};
use std::sync::Arc;

/// Ask it for its next [`step`](Self::step), do that, tell it what came of it, ask again. It ends after at most
/// `OAuthLimits::fetches` requests and two visits.
#[derive(Debug)]
pub(crate) struct Flow {
    config: Arc<Config>,
    resource: Resource,
    why: Why,
    known: Known,
    entropy: Entropy,
}

impl Flow {
    pub(crate) fn begin(
        config: Arc<Config>,
        resource: Resource,
        why: Why,
        known: Known,
        entropy: Entropy,
    ) -> Self {
        Self { config, resource, why, known, entropy }
    }

    /// What is to be done next. Asked again without an answer, it is the same.
    pub(crate) fn step(&mut self, now: UnixTime) -> Step {
        let _ = (now, &self.config, &self.resource, &self.why, &self.entropy);
        Step::Failed(Failure::new(AuthErrorKind::LoginRequired { issuer: None }, AuthStep::Resource))
    }

    pub(crate) fn answered(&mut self, answer: Answer) {
        let _ = answer;
    }

    pub(crate) fn unreachable(&mut self, failure: Unreachable) {
        let _ = failure;
    }

    pub(crate) fn signed(&mut self, signature: &[u8]) {
        let _ = signature;
    }

    pub(crate) fn receiver(&mut self, redirect_uri: &str) {
        let _ = redirect_uri;
    }

    /// There is no other receiver.
    pub(crate) fn no_receiver(&mut self) {}

    pub(crate) fn redirected(&mut self, url: Secret) {
        let _ = url;
    }

    pub(crate) fn subject(&mut self, token: Secret) {
        let _ = token;
    }

    /// What was heard meanwhile, for later requests.
    pub(crate) fn nonces(&self) -> &Nonces {
        &self.known.nonces
    }
}
