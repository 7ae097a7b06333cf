//! [`AuthError`]: what kept a request from a token.

use super::{Delivery, Error, ErrorKind, HttpError};
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure};
use std::error::Error as StdError;
use std::fmt;

/// Why there is no token that the server takes: what failed at which step, with whom, and what may help.
///
/// No text of it contains a token, a code, a secret, a key, or a URL's query.
#[derive(Clone, Debug)]
pub struct AuthError {
    inner: Box<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    failure: Failure,
    refused: Option<HttpError>,
}

impl AuthError {
    pub(crate) fn new(failure: Failure) -> Self {
        Self { inner: Box::new(Inner { failure, refused: None }) }
    }

    /// The same failure of a request that was refused with this answer before.
    pub(crate) fn after(mut self, refused: HttpError) -> Self {
        self.inner.refused = Some(refused);
        self
    }

    /// What failed.
    pub fn kind(&self) -> &AuthErrorKind {
        &self.inner.failure.kind
    }

    /// What was being done.
    pub fn step(&self) -> AuthStep {
        self.inner.failure.step
    }

    /// With whom it was being done: host and port.
    pub fn host(&self) -> Option<&str> {
        self.inner.failure.host.as_deref()
    }

    /// The answer of the MCP server for which a token was to be got.
    pub fn refused(&self) -> Option<&HttpError> {
        self.inner.refused.as_ref()
    }

    /// Whether the same may go well a little later, with nothing done about it.
    pub fn is_retryable(&self) -> bool {
        self.inner.failure.is_transient()
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refused) = &self.inner.refused {
            write!(f, "{refused}; then, ")?;
        }
        let Failure { kind, step, host, .. } = &self.inner.failure;
        match host {
            Some(host) => write!(f, "{step} at {host} failed: {kind}"),
            None => write!(f, "{step} failed: {kind}"),
        }
    }
}

impl StdError for AuthError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.failure.source.as_ref().map(|source| &**source as _)
    }
}

impl From<AuthError> for Error {
    /// Of a request that was not sent.
    fn from(error: AuthError) -> Self {
        Self::new(ErrorKind::Auth(error), Delivery::NotSent)
    }
}
