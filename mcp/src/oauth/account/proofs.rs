//! Proofs for tokens that are bound to a key (RFC 9449): how one is made for a request, and what the server's answers
//! change in the next one.

use super::{Account, Credentials, Rounds};
use crate::error::AuthError;
use crate::oauth::key;
use crate::oauth::run::{date, unix_now};
use crate::protocol::oauth::dpop::Proof;
use crate::protocol::oauth::jwt;
use crate::protocol::www_authenticate::Challenge;
use http::{HeaderMap, HeaderValue};

impl Account {
    /// The proof that goes with a bound token, for this one request (RFC 9449, 4.2). `None` if the token is not bound.
    pub(crate) fn proof(
        &self,
        credentials: &Credentials,
        method: &str,
        url: &str,
    ) -> Result<Option<HeaderValue>, AuthError> {
        let Some(stored) = &credentials.bound else { return Ok(None) };
        let (Some(key), Some(tokens)) = (&stored.proof_key, &stored.tokens) else { return Ok(None) };
        let failed = |why| AuthError::new(key::failure(why));
        let jti = key::random().map_err(failed)?;
        let (nonce, skew) = {
            let state = self.tokens.state.lock();
            (state.nonces.of(url).map(str::to_owned), state.skew)
        };
        let proof = Proof {
            method,
            url,
            now: unix_now().plus(skew),
            jti: &jti[..16],
            nonce: nonce.as_deref(),
            token: Some(tokens.access.expose()),
        };
        let input = proof.input(key);
        let signature = key::sign_proof(&key.pkcs8, input.as_bytes()).map_err(failed)?;
        let mut value = HeaderValue::try_from(jwt::seal(&input, &signature)).expect("it is Base64 and dots");
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What an answer says for the next proofs: a nonce (RFC 9449, 8.2), and the server's time (11.1).
    pub(crate) fn heard(&self, url: &str, answer: &HeaderMap) {
        let text = |name| answer.get(name).and_then(|value| value.to_str().ok());
        let ahead = text("date").and_then(date).map(|date| date.ahead_of(unix_now()));
        let mut state = self.tokens.state.lock();
        if let Some(nonce) = text("dpop-nonce") {
            state.nonces.heard(url, nonce, self.tokens.parts.config.limits.nonces);
        }
        state.ahead = ahead.unwrap_or(state.ahead);
    }

    /// Whether a refused request is sent again with the same token and another proof: with the nonce that came with the
    /// refusal, or with the server's time.
    pub(super) fn needs_another_proof(
        &self,
        sent: &Credentials,
        challenges: &[Challenge],
        rounds: &mut Rounds,
    ) -> Result<bool, AuthError> {
        let says = |error| sent.is_bound() && challenges.iter().any(|it| it.param("error") == Some(error));
        if says("use_dpop_nonce") {
            // The last proof had the nonce that the server wanted.
            if rounds.has_been_given_a_nonce {
                return Err(self.rejected());
            }
            rounds.has_been_given_a_nonce = true;
            return Ok(true);
        }
        if says("invalid_dpop_proof") && !rounds.has_set_clock && self.sets_clock() {
            rounds.has_set_clock = true;
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes over the server's time for proofs. `false` if it cannot be why a proof was refused: it differs by 30 s at
    /// most, both from ours and from what the last proofs had.
    fn sets_clock(&self) -> bool {
        let mut state = self.tokens.state.lock();
        let is_off = |seconds: i64| seconds.unsigned_abs() > 30;
        let is_wrong = is_off(state.ahead) || is_off(state.ahead - state.skew);
        if is_wrong {
            state.skew = state.ahead;
        }
        is_wrong
    }
}

#[cfg(test)]
mod tests;
