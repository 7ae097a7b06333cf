//! Proofs of possession (RFC 9449): that whoever sends a token has the key to which it is bound.

use super::config::{Nonces, UnixTime};
use super::stored::ProofKey;
use super::{base64, jwt, place};
use ring::digest;
use serde_json::json;

/// What a proof is about: one request, and no other.
#[derive(Debug)]
pub(crate) struct Proof<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) now: UnixTime,
    /// Fresh randomness for each proof: 128 bits are enough.
    pub(crate) jti: &'a [u8],
    pub(crate) nonce: Option<&'a str>,
    /// The access token, if one is sent along.
    pub(crate) token: Option<&'a str>,
}

impl Proof<'_> {
    /// What is signed with `key`, ES256; [`jwt::seal`] makes the header's value of it.
    pub(crate) fn input(&self, key: &ProofKey) -> String {
        let header = json!({
            "alg": "ES256",
            "typ": "dpop+jwt",
            "jwk": {
                "crv": "P-256",
                "kty": "EC",
                "x": base64::encode(&key.x),
                "y": base64::encode(&key.y),
            },
        });
        let mut claims = json!({
            "htm": self.method,
            "htu": place::shown(self.url),
            "iat": self.now.0,
            "jti": base64::encode(self.jti),
        });
        if let Some(nonce) = self.nonce {
            claims["nonce"] = json!(nonce);
        }
        if let Some(token) = self.token {
            claims["ath"] = json!(sha256(token));
        }
        jwt::input(&header, &claims)
    }
}

/// A text's SHA-256 in Base64: also what PKCE calls the challenge of a verifier (RFC 7636, 4.2).
pub(crate) fn sha256(text: &str) -> String {
    base64::encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

impl Nonces {
    /// Remembers a nonce for the origin of `url`; of more than `limit` the oldest goes.
    pub(crate) fn heard(&mut self, url: &str, nonce: &str, limit: usize) {
        // RFC 9449, 8.1; and no server needs as much as 1 KiB.
        let is_nonce =
            !nonce.is_empty() && nonce.len() <= 1024 && nonce.bytes().all(|byte| byte.is_ascii_graphic());
        let Some(origin) = place::Place::of(url).filter(|_| is_nonce).map(|it| it.origin()) else { return };
        self.put(origin, nonce.to_owned(), limit);
    }

    /// Takes over what `later` has heard since it was a copy of `before`, and keeps what `self` has heard meanwhile of other
    /// origins.
    pub(crate) fn catch_up(&mut self, before: &Self, later: Self, limit: usize) {
        for (origin, nonce) in later.0 {
            if !before.0.iter().any(|(its, known)| *its == origin && *known == nonce) {
                self.put(origin, nonce, limit);
            }
        }
    }

    fn put(&mut self, origin: String, nonce: String, limit: usize) {
        self.0.retain(|(known, _)| *known != origin);
        self.0.push_back((origin, nonce));
        while self.0.len() > limit {
            self.0.pop_front();
        }
    }

    pub(crate) fn of(&self, url: &str) -> Option<&str> {
        let origin = place::Place::of(url)?.origin();
        self.0.iter().find(|(known, _)| *known == origin).map(|(_, nonce)| &**nonce)
    }
}

#[cfg(test)]
mod tests;
