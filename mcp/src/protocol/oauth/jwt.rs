//! JSON Web Tokens, as far as we make them: what is signed is put together here, and signed elsewhere.

use super::base64;
use super::config::{AssertionKey, UnixTime};
use serde_json::{Value, json};

/// What is signed: header and claims (RFC 7515, 5.1).
pub(super) fn input(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64::encode(header.to_string().as_bytes()),
        base64::encode(claims.to_string().as_bytes())
    )
}

/// The token, of what was signed and its signature.
pub(crate) fn seal(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", base64::encode(signature))
}

/// What a client signs in place of showing a secret (RFC 7523, 3). It is good for a minute.
pub(super) fn assertion(key: &AssertionKey, client: &str, issuer: &str, now: UnixTime, jti: &[u8]) -> String {
    let mut header = json!({ "alg": key.algorithm.name(), "typ": "JWT" });
    if let Some(id) = &key.id {
        header["kid"] = json!(id);
    }
    let claims = json!({
        "iss": client,
        "sub": client,
        "aud": issuer,
        "jti": base64::encode(jti),
        "iat": now.0,
        "exp": now.0.saturating_add(60),
    });
    input(&header, &claims)
}

#[cfg(test)]
mod tests;
