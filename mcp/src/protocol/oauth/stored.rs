//! What is kept between flows: a registration and its tokens, as a text with a version.

use super::base64;
use super::secret::Secret;
use super::unix_time::UnixTime;
use serde_json::{Map, Value, json};

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
    /// Whether the refresh token may have been used already, by an exchange whose answer never came. Then a refusal of it,
    /// for whatever reason, is the last.
    pub(crate) uncertain: bool,
    /// Members of later versions.
    pub(crate) others: Members,
}

/// Who we are to an authorization server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registration {
    pub(crate) kind: RegistrationKind,
    /// Empty if the server is not told who we are.
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

impl RegistrationKind {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Configured, "configured"), (Self::Document, "document"), (Self::Dynamic, "dynamic")];
}

/// How the client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    Basic,
    Post,
    None,
    PrivateKeyJwt,
}

impl AuthMethod {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Basic, "client_secret_basic"),
        (Self::Post, "client_secret_post"),
        (Self::None, "none"),
        (Self::PrivateKeyJwt, "private_key_jwt"),
    ];

    pub(super) fn name(self) -> &'static str {
        name_of(self, &Self::ALL)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        named(name, &Self::ALL)
    }
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
    pub(crate) others: Members,
}

/// How a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Dpop,
}

impl Scheme {
    const ALL: [(Self, &'static str); 2] = [(Self::Bearer, "Bearer"), (Self::Dpop, "DPoP")];

    /// As it stands in the header.
    pub(crate) fn name(self) -> &'static str {
        name_of(self, &Self::ALL)
    }

    /// In any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, it)| it.eq_ignore_ascii_case(name)).map(|&(scheme, _)| scheme)
    }
}

fn name_of<T: PartialEq + Copy>(value: T, all: &[(T, &'static str)]) -> &'static str {
    all.iter().find(|(it, _)| *it == value).map_or("", |(_, name)| name)
}

fn named<T: Copy>(name: &str, all: &[(T, &'static str)]) -> Option<T> {
    all.iter().find(|(_, it)| *it == name).map(|&(value, _)| value)
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

/// Members that are kept as they came, and may be secret.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Members(pub(crate) Map<String, Value>);

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} members", self.0.len())
    }
}

/// The version of the text. One that only has more members keeps the number; one that this crate could not read has a
/// higher one.
const VERSION: u64 = 1;

impl Stored {
    /// The text that a store writes. It holds secrets.
    pub fn to_text(&self) -> String {
        let mut text = Writer(self.others.0.clone());
        text.put("version", VERSION);
        text.put("issuer", &*self.issuer);
        text.put("token_endpoint", &*self.token_endpoint);
        text.put("revocation_endpoint", self.revocation_endpoint.as_deref());
        text.put("resource", self.resource.as_deref());
        text.put("client", name_of(self.registration.kind, &RegistrationKind::ALL));
        text.put("client_id", &*self.registration.id);
        text.put("client_secret", self.registration.secret.as_ref().map(Secret::expose));
        text.put("client_secret_expires", self.registration.secret_expires.map(|it| it.0));
        text.put("client_auth", self.registration.method.name());
        text.put("redirect_uri", self.registration.redirect_uri.as_deref());
        text.put("requested", &*self.requested);
        text.put("granted", &*self.granted);
        text.put("uncertain", self.uncertain.then_some(true));
        let proof_key = self.proof_key.as_ref().map(|key| {
            let (x, y) = (base64::encode(&key.x), base64::encode(&key.y));
            json!({ "pkcs8": key.pkcs8.expose(), "x": x, "y": y })
        });
        text.put("proof_key", proof_key);
        let tokens = self.tokens.as_ref().map(|tokens| {
            let mut inner = Writer(tokens.others.0.clone());
            inner.put("access_token", tokens.access.expose());
            inner.put("token_type", tokens.scheme.name());
            inner.put("refresh_token", tokens.refresh.as_ref().map(Secret::expose));
            inner.put("obtained", tokens.obtained.0);
            inner.put("expires", tokens.expires.map(|it| it.0));
            inner.0
        });
        text.put("tokens", tokens);
        Value::Object(text.0).to_string()
    }

    /// Reads what [`to_text`](Self::to_text) wrote, also that of a later version of this crate with more members.
    ///
    /// # Errors
    ///
    /// When the text is damaged, or a later version of this crate wrote it in a way that this one cannot read.
    pub fn from_text(text: &str) -> Result<Self, StoredError> {
        let mut text = Reader(serde_json::from_str(text).map_err(|_| StoredError::Form)?);
        match text.number("version")? {
            Some(VERSION) => {}
            Some(version) => return Err(StoredError::Version(version)),
            None => return Err(StoredError::Form),
        }
        let proof_key = text.object("proof_key")?.map(read_key).transpose()?;
        let tokens = text.object("tokens")?.map(read_tokens).transpose()?;
        let registration = Registration {
            kind: named(&text.needed("client")?, &RegistrationKind::ALL).ok_or(StoredError::Form)?,
            id: text.string("client_id")?.ok_or(StoredError::Form)?,
            secret: text.string("client_secret")?.map(Secret::new),
            secret_expires: text.number("client_secret_expires")?.map(UnixTime),
            method: AuthMethod::named(&text.needed("client_auth")?).ok_or(StoredError::Form)?,
            redirect_uri: text.string("redirect_uri")?,
        };
        Ok(Self {
            issuer: text.needed("issuer")?,
            token_endpoint: text.needed("token_endpoint")?,
            revocation_endpoint: text.string("revocation_endpoint")?,
            resource: text.string("resource")?,
            registration,
            tokens,
            requested: text.strings("requested")?,
            granted: text.strings("granted")?,
            proof_key,
            uncertain: text.flag("uncertain")?,
            others: Members(text.0),
        })
    }

    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<Secret> {
        let tokens = self.tokens.as_ref()?;
        Some(Secret::new(format!("{} {}", tokens.scheme.name(), tokens.access.expose())))
    }

    /// Whether the access token has expired, by the wall clock. One whose end is not known is good until the server refuses it.
    pub(crate) fn is_expired(&self, now: UnixTime) -> bool {
        self.tokens.as_ref().and_then(|it| it.expires).is_some_and(|end| end <= now)
    }

    /// Whether it is time to refresh ahead: less than 30 s, or less than a quarter of its life is left, whichever comes
    /// later.
    pub(crate) fn is_due(&self, now: UnixTime) -> bool {
        let Some((tokens, end)) = self.tokens.as_ref().and_then(|it| Some((it, it.expires?))) else {
            return false;
        };
        let life = end.0.saturating_sub(tokens.obtained.0);
        end.0.saturating_sub(now.0) < (life / 4).min(30) || end <= now
    }

    /// The entry without its tokens, which were refused for good or revoked.
    pub(crate) fn without_tokens(&self) -> Self {
        Self { tokens: None, granted: Vec::new(), uncertain: false, ..self.clone() }
    }
}

fn read_key(members: Map<String, Value>) -> Result<ProofKey, StoredError> {
    let mut text = Reader(members);
    let mut point = |name| {
        let bytes = base64::decode(&text.needed(name)?).ok_or(StoredError::Form)?;
        <[u8; 32]>::try_from(bytes).map_err(|_| StoredError::Form)
    };
    let (x, y) = (point("x")?, point("y")?);
    Ok(ProofKey { pkcs8: Secret::new(text.needed("pkcs8")?), x, y })
}

fn read_tokens(members: Map<String, Value>) -> Result<Tokens, StoredError> {
    let mut text = Reader(members);
    let access = text.needed("access_token")?;
    // The token becomes a header's value.
    if !access.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(StoredError::Form);
    }
    Ok(Tokens {
        access: Secret::new(access),
        scheme: Scheme::named(&text.needed("token_type")?).ok_or(StoredError::Form)?,
        refresh: text.string("refresh_token")?.map(Secret::new),
        obtained: UnixTime(text.number("obtained")?.unwrap_or_default()),
        expires: text.number("expires")?.map(UnixTime),
        others: Members(text.0),
    })
}

/// Puts the members that are there, and takes away those that are not: a server's answer may have had one of that name.
struct Writer(Map<String, Value>);

impl Writer {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        match value.into() {
            Value::Null => self.0.remove(name),
            value => self.0.insert(name.to_owned(), value),
        };
    }
}

/// Takes out the members that are known. One of a wrong type makes the text a damaged one.
struct Reader(Map<String, Value>);

impl Reader {
    fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, StoredError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or(StoredError::Form),
        }
    }

    fn string(&mut self, name: &str) -> Result<Option<String>, StoredError> {
        self.take(name, |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    fn needed(&mut self, name: &str) -> Result<String, StoredError> {
        self.string(name)?.filter(|text| !text.is_empty()).ok_or(StoredError::Form)
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, StoredError> {
        self.take(name, |value| value.as_u64())
    }

    fn flag(&mut self, name: &str) -> Result<bool, StoredError> {
        Ok(self.take(name, |value| value.as_bool())?.unwrap_or_default())
    }

    fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, StoredError> {
        self.take(name, |value| match value {
            Value::Object(members) => Some(members),
            _ => None,
        })
    }

    fn strings(&mut self, name: &str) -> Result<Vec<String>, StoredError> {
        let strings = self.take(name, |value| match value {
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        })?;
        Ok(strings.unwrap_or_default())
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

#[cfg(test)]
pub(crate) mod tests;
