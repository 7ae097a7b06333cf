//! What a flow wants done, and how it is told what came of it.

use super::config::{Algorithm, UnixTime};
use super::failure::{AuthStep, Failure};
use super::place;
use super::secret::Secret;
use super::stored::Stored;
use crate::encoding::is_compressed;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What comes next. Each is answered by the method of [`Flow`](super::flow::Flow) that is named here, and by no other.
#[derive(Debug)]
pub(crate) enum Step {
    /// One exchange, no redirect followed: `answered` or `unreachable`.
    Fetch(Fetch),
    /// A signature is wanted: `signed`.
    Sign(Sign),
    /// Start the receiver: `receiver`, with its redirect URI. `refused` is set if the authorization server does not take
    /// the URI of the last one: then one with another name for this machine is wanted, or `no_receiver`.
    Receiver { refused: bool },
    /// Send the person there: `redirected`, with the whole URL that they come back with.
    Visit { url: Secret },
    /// An ID token or an assertion is wanted from the application, for this issuer: `subject`.
    Subject { issuer: String },
    /// Over: this is to be stored.
    Done(Box<Stored>),
    /// Over.
    Failed(Failure),
}

/// A request of ours to an authorization server, or for a document.
#[derive(Clone)]
pub(crate) struct Fetch {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    /// Without `Host` and `Content-Length`.
    pub(crate) headers: Vec<(&'static str, Secret)>,
    pub(crate) body: Option<Secret>,
    /// The longest answer that is read.
    pub(crate) longest: usize,
    pub(crate) step: AuthStep,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("method", &self.method)
            .field("url", &place::shown(&self.url))
            .field("step", &self.step)
            .finish()
    }
}

/// What is to be signed. The signature is as JOSE has it: `r` and `s` for ES256, not DER.
#[derive(Debug)]
pub(crate) struct Sign {
    pub(crate) input: Secret,
    pub(crate) with: SignWith,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SignWith {
    /// The client's configured key.
    Client(Algorithm),
    /// The key for proofs; ES256. PKCS#8 in Base64 (URL alphabet, without padding).
    Proof(Secret),
}

/// What came back.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// In seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) dpop_nonce: Option<String>,
    pub(crate) date: Option<UnixTime>,
    pub(crate) content_encoding: Option<String>,
    /// As far as it was read: one byte more than the longest if there is more.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Whether the body is in a form that was not asked for.
    pub(super) fn is_compressed(&self) -> bool {
        self.content_encoding.as_deref().is_some_and(|it| is_compressed(it.as_bytes()))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why nothing came back.
#[derive(Clone, Debug)]
pub(crate) struct Unreachable {
    /// The address may not be connected to: its class.
    pub(crate) forbidden: Option<&'static str>,
    /// Whether the request may have arrived.
    pub(crate) sent: bool,
    pub(crate) source: Arc<dyn StdError + Send + Sync>,
}
