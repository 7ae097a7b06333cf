//! Lists of scopes: names separated by blanks, in an order that is kept, none of them twice.

use super::limits::OAuthLimits;

/// The scope for refresh tokens (OpenID Connect Core, 11).
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

/// The scopes of a text (RFC 6749, 3.3). What is no scope is left out, and so is what is beyond the limits.
pub(crate) fn read(text: &str, limits: &OAuthLimits) -> Vec<String> {
    union(text.split(' ').filter(|scope| is_scope(scope, limits)).map(str::to_owned), limits)
}

/// The scopes, each once, up to the limit.
pub(crate) fn union(scopes: impl IntoIterator<Item = String>, limits: &OAuthLimits) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for scope in scopes {
        if all.len() < limits.scopes && !all.contains(&scope) {
            all.push(scope);
        }
    }
    all
}

/// Whether a server may call a scope so: visible ASCII without quote and backslash, not too long.
pub(crate) fn is_scope(text: &str, limits: &OAuthLimits) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.len() <= limits.scope && text.bytes().all(is_plain)
}

/// Whether all of `wanted` are in `asked`.
pub(crate) fn is_within(wanted: &[String], asked: &[String]) -> bool {
    wanted.iter().all(|scope| asked.contains(scope))
}

/// As a parameter; `None` if there are none.
pub(crate) fn parameter(scopes: &[String]) -> Option<String> {
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

#[cfg(test)]
mod tests;
