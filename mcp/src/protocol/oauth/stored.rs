//! What is kept between flows: a registration and its tokens, as a text with a version.

use super::config::UnixTime;
use super::secret::Secret;
use serde_json::{Map, Value};

/// What a token store keeps: who issued what for which client, and until when. Opaque; `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub(crate) issuer: String,
    pub(crate) token_endpoint: String,
    pub(crate) revocation_endpoint: Option<String>,
    /// As it was sent, byte for byte; `None` if it is not sent.
    pub(crate) resource: Option<String>,
    pub(crate) registration: Registration,
    pub(crate) tokens: Option<Tokens>,
    /// The scopes that the last authorization asked for.
    pub(crate) requested: Vec<String>,
    pub(crate) granted: Vec<String>,
    /// The key to which the tokens are bound.
    pub(crate) proof_key: Option<ProofKey>,
    /// Whether the refresh token may have been used already, by an exchange whose answer never came.
    pub(crate) uncertain: bool,
    /// Members of later versions.
    pub(crate) others: Map<String, Value>,
}

/// Who we are to an authorization server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registration {
    pub(crate) kind: RegistrationKind,
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_expires: Option<UnixTime>,
    pub(crate) method: AuthMethod,
    pub(crate) redirect_uri: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegistrationKind {
    /// Configured.
    Configured,
    /// The id is the URL of our metadata document.
    Document,
    /// Registered by us.
    Dynamic,
}

/// How the client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    Basic,
    Post,
    None,
    PrivateKeyJwt,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tokens {
    pub(crate) access: Secret,
    pub(crate) scheme: Scheme,
    pub(crate) refresh: Option<Secret>,
    pub(crate) obtained: UnixTime,
    /// `None` if it is not known.
    pub(crate) expires: Option<UnixTime>,
    /// What else the server's answer had.
    pub(crate) others: Map<String, Value>,
}

/// How a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Dpop,
}

/// A P-256 key for proofs of possession.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProofKey {
    /// The private key, PKCS#8 in Base64 (URL alphabet, without padding).
    pub(crate) pkcs8: Secret,
    /// The public point's coordinates.
    pub(crate) x: [u8; 32],
    pub(crate) y: [u8; 32],
}

impl Stored {
    /// The text that a store writes. It holds secrets.
    pub fn to_text(&self) -> String {
        String::new()
    }

    /// Reads what [`to_text`](Self::to_text) wrote, of this version or of a later one.
    ///
    /// # Errors
    ///
    /// The text is not one, or it is of a version that this one cannot read.
    pub fn from_text(text: &str) -> Result<Self, StoredError> {
        let _ = text;
        Err(StoredError::Form)
    }

    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<Secret> {
        None
    }

    /// Whether the access token is over, by the wall clock.
    pub(crate) fn is_expired(&self, now: UnixTime) -> bool {
        let _ = now;
        false
    }

    /// Whether it is time to refresh ahead: less than 30 s, or less than a quarter of its life is left.
    pub(crate) fn is_due(&self, now: UnixTime) -> bool {
        let _ = now;
        false
    }

    /// The same without its tokens: for a grant that was refused for good.
    pub(crate) fn without_tokens(&self) -> Self {
        Self { tokens: None, ..self.clone() }
    }
}

/// Why a stored text cannot be read. It says nothing of what is in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// It is not what [`Stored::to_text`] writes.
    #[error("the stored tokens cannot be read: the text is damaged")]
    Form,
    /// A later version of this crate wrote it, and an older one must not read it.
    #[error("the stored tokens cannot be read: they have the version {0}")]
    Version(u64),
}
