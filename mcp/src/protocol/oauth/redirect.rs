//! What a person comes back with, and whether it belongs to what they were sent away with.

use super::failure::{AuthErrorKind, IssuerIn, OAuthAnswer};
use super::place;
use super::secret::Secret;
use super::{form, place::Place};
use ring::digest;

/// What has to come back.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) state: &'a Secret,
    pub(super) issuer: &'a str,
    /// Whether the server said that it names itself (RFC 9207, 2.3).
    pub(super) names_itself: bool,
}

impl Expected<'_> {
    /// The code of a redirect URL. Whose it is comes before anything that it says (RFC 9207, 2.4): words of somebody
    /// else's are not shown.
    pub(super) fn read(&self, url: &str) -> Result<Secret, Refused> {
        let fields = fields(url);
        let field = |name| single(&fields, name);
        if !field("state")?.is_some_and(|state| is_same(state, self.state.expose())) {
            return Err(AuthErrorKind::State.into());
        }
        let issuer = field("iss")?;
        if issuer.map_or(self.names_itself, |issuer| issuer != self.issuer) {
            return Err(Refused::Kind(AuthErrorKind::IssuerMismatch {
                expected: self.issuer.to_owned(),
                found: issuer.unwrap_or_default().to_owned(),
                at: IssuerIn::Redirect,
            }));
        }
        if let Some(error) = field("error")? {
            let description = field("error_description")?.map(str::to_owned);
            let uri = field("error_uri")?.map(|uri| place::shown(uri).to_owned());
            let answer = OAuthAnswer { error: error.to_owned(), description, uri };
            return Err(AuthErrorKind::Denied(answer).into());
        }
        match field("code")? {
            Some(code) if !code.is_empty() => Ok(Secret::new(code)),
            _ => Err(Refused::Reason("the redirect has neither a code nor an error")),
        }
    }
}

/// Why a redirect is of no use.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refused {
    Kind(AuthErrorKind),
    Reason(&'static str),
}

impl From<AuthErrorKind> for Refused {
    fn from(kind: AuthErrorKind) -> Self {
        Self::Kind(kind)
    }
}

/// Whether a request to a receiver comes from the person who was sent to `visit`: anybody can ask a port of this machine
/// for something. `target` is a path with a query, or a whole URL.
pub(crate) fn belongs(visit: &str, target: &str) -> bool {
    let (sent, came) = (fields(visit), fields(target));
    let states = (single(&sent, "state"), single(&came, "state"));
    matches!(states, (Ok(Some(sent)), Ok(Some(came))) if is_same(sent, came))
}

/// The codes of a redirect, whatever else it says: no error shows them.
pub(super) fn codes(url: &str) -> Vec<Secret> {
    fields(url).into_iter().filter(|(name, _)| name == "code").map(|(_, code)| Secret::new(code)).collect()
}

/// The fields of a URL's query.
fn fields(url: &str) -> Vec<(String, String)> {
    let bare = url.trim().split('#').next().unwrap_or_default();
    form::decode(bare.split_once('?').map_or("", |(_, query)| query))
}

/// A field that may be there once (RFC 6749, 3.1).
fn single<'a>(fields: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Refused> {
    let mut values = fields.iter().filter(|(field, _)| field == name).map(|(_, value)| &**value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Refused::Reason("the redirect has a parameter twice")),
    }
}

/// Compares digests: how long it takes says nothing about where two texts differ.
fn is_same(one: &str, other: &str) -> bool {
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    let (one, other) = (digest(one), digest(other));
    let difference = one.as_ref().iter().zip(other.as_ref()).fold(0, |all, (one, other)| all | (one ^ other));
    std::hint::black_box(difference) == 0
}

/// Whether a redirect URI is an application's own, and not a web server's (OpenID Connect Registration, 2).
pub(super) fn is_native(uri: &str) -> bool {
    Place::of(uri).is_none_or(|it| it.is_loopback() && !it.is_https())
}

#[cfg(test)]
mod tests;
