//! What a request carries that no error may show, though its answer may repeat it (SEC-09).

use super::SESSION_ID;
use ::http::header::{HeaderMap, HeaderValue};

/// The token and the session id of one request. An extension of its answer, if that is an error.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<Vec<u8>>);

/// What is shorter stands in every other text by chance.
const SHORTEST: usize = 4;

impl Secrets {
    pub(super) fn of(authorization: Option<&HeaderValue>, headers: &HeaderMap) -> Self {
        // Without its scheme: that is no secret, and may be written otherwise.
        let token = authorization.map(|value| {
            let value = value.as_bytes();
            value.iter().position(|&byte| byte == b' ').map_or(value, |space| &value[space + 1..])
        });
        let session = headers.get(SESSION_ID).map(|value| value.as_bytes());
        let known = token.into_iter().chain(session).map(<[u8]>::trim_ascii);
        Self(known.filter(|secret| secret.len() >= SHORTEST).map(<[u8]>::to_vec).collect())
    }

    /// The text without them.
    pub(super) fn mask(&self, text: &[u8]) -> Vec<u8> {
        self.0.iter().fold(text.to_vec(), |text, secret| replace(&text, secret))
    }
}

fn replace(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, others)) = rest.split_first() {
        match rest.strip_prefix(secret) {
            Some(behind) => {
                masked.extend_from_slice(b"***");
                rest = behind;
            }
            None => {
                masked.push(first);
                rest = others;
            }
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(authorization: &str, session: &str, text: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_ID, session.parse().unwrap());
        let authorization = authorization.parse().unwrap();
        String::from_utf8(Secrets::of(Some(&authorization), &headers).mask(text.as_bytes())).unwrap()
    }

    #[test]
    fn sec_09_the_token_and_the_session_are_masked_wherever_they_stand() {
        let text = "s-12345: bearer t0ken, t0ken!t0kent0ke";
        assert_eq!(masked("Bearer t0ken", "s-12345", text), "***: bearer ***, ***!***t0ke");
        assert_eq!(masked("t0ken", "s", text), "s-12345: bearer ***, ***!***t0ke");
        assert_eq!(masked("Bearer t", "sss", text), text, "too short to be told from other text");
    }
}
