//! What a request carries that no error may show, though its answer may repeat it (SEC-09).

use crate::encoding::unescape_form;
use crate::protocol::message::RpcError;
use ::http::Uri;
use ::http::header::{HeaderMap, HeaderValue};
use serde_json::Value;
use std::borrow::Cow;

/// The values of the headers that are sensitive and of the URL's query, and a proxy's credentials. An answer that is an error
/// has them as an extension.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<Vec<u8>>);

/// What is shorter stands in every other text by chance.
const SHORTEST: usize = 4;

impl Secrets {
    /// `credentials` are what is sent beside the headers; `others` are no headers.
    pub(super) fn of<'a>(
        credentials: impl IntoIterator<Item = &'a HeaderValue>,
        headers: &'a HeaderMap,
        url: &Uri,
        others: impl Iterator<Item = Vec<u8>>,
    ) -> Self {
        let mut known: Vec<_> = others.collect();
        for value in headers.values().filter(|value| value.is_sensitive()).chain(credentials) {
            let value = value.as_bytes();
            known.push(value.to_vec());
            // Without a scheme: that is no secret, and may be written otherwise.
            if let Some(space) = value.iter().position(|&byte| byte == b' ') {
                known.push(value[space + 1..].to_vec());
            }
        }
        for pair in url.query().unwrap_or_default().split('&') {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            known.push(value.as_bytes().to_vec());
            known.push(unescape_form(value));
        }
        for secret in &mut known {
            *secret = secret.trim_ascii().to_vec();
        }
        known.retain(|secret| secret.len() >= SHORTEST);
        // One may be a part of another.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        known.dedup();
        Self(known)
    }

    /// The text without them.
    pub(super) fn mask(&self, text: &[u8]) -> Vec<u8> {
        self.0.iter().fold(text.to_vec(), |text, secret| replace(&text, secret))
    }

    pub(super) fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned()
    }

    /// A body without them. If it is JSON, they may be written with escapes.
    pub(super) fn mask_body(&self, body: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(body) {
            Ok(json) if body.contains(&b'\\') => self.mask_json(json).into_bytes(),
            _ => self.mask(body),
        }
    }

    pub(super) fn mask_error(&self, error: RpcError) -> RpcError {
        error.rewritten(|message| self.mask_text(message), |data| self.mask_json(data))
    }

    /// Strings with escapes are looked at one by one, so this costs no more memory than the text.
    fn mask_json(&self, json: &str) -> String {
        let text = self.mask_text(json);
        let mut masked = String::with_capacity(text.len());
        let mut rest = &*text;
        while let Some((before, literal, behind)) = next_string(rest) {
            masked.push_str(before);
            masked.push_str(&self.mask_literal(literal));
            rest = behind;
        }
        masked + rest
    }

    /// A string as JSON writes it, quotes included. Without a secret in it, it stays as it came.
    fn mask_literal<'a>(&self, literal: &'a str) -> Cow<'a, str> {
        let text = literal.contains('\\').then(|| serde_json::from_str::<String>(literal).ok()).flatten();
        match text.map(|text| (self.mask_text(&text), text)) {
            Some((masked, text)) if masked != text => Cow::Owned(Value::String(masked).to_string()),
            _ => Cow::Borrowed(literal),
        }
    }
}

/// What comes before the next string of a JSON text, the string with its quotes, and what follows.
fn next_string(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find('"')?;
    let mut end = start + 1;
    loop {
        end += text[end..].find(['"', '\\'])?;
        match text.as_bytes()[end] {
            b'"' => break,
            // The character behind it is one byte, or the text is no JSON.
            _ => end += 1 + text[end + 1..].chars().next()?.len_utf8(),
        }
    }
    Some((&text[..start], &text[start..=end], &text[end + 1..]))
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

    fn secrets(token: &str, key: &str, query: &str) -> Secrets {
        let mut headers = HeaderMap::new();
        let mut value: HeaderValue = key.parse().unwrap();
        value.set_sensitive(true);
        headers.insert("x-api-key", value);
        headers.insert("accept", "application/json".parse().unwrap());
        let url = format!("http://a/b?{query}").parse().unwrap();
        Secrets::of(Some(&token.parse().unwrap()), &headers, &url, std::iter::empty())
    }

    fn masked(token: &str, key: &str, text: &str) -> String {
        String::from_utf8(secrets(token, key, "").mask(text.as_bytes())).unwrap()
    }

    #[test]
    fn sec_09_the_values_of_a_query_are_masked_however_they_are_written() {
        let secrets = secrets("x", "y", "key=s%2Fecret&page=12&tok+en&empty=&odd=a%+1b");
        let text = "Cannot POST /b?key=s%2Fecret&page=12 (s/ecret, tok en, a% 1b, application/json)";
        let expected = "Cannot POST /b?key=***&page=12 (***, ***, ***, application/json)";
        assert_eq!(secrets.mask_text(text), expected);
    }

    #[test]
    fn sec_09_what_is_written_with_escapes_is_masked() {
        let secrets = secrets("Bearer t0ken", "k", "");
        assert_eq!(secrets.mask_body(br#"{"a":["\u0074\u0030ken"],"b":1}"#), br#"{"a":["***"],"b":1}"#);
        assert_eq!(secrets.mask_body(br#"{"a": "\n"}"#), br#"{"a": "\n"}"#, "as it came");
        assert_eq!(
            secrets.mask_body(br#"[{"\"\\":"\u0074\u0030ken"}, "#),
            br#"[{"\"\\":"***"}, "#,
            "broken off"
        );
        assert_eq!(secrets.mask_body(br#"["t\u0030ken \"#), br#"["t\u0030ken \"#, "no string");
        let deep = "[".repeat(1000) + r#""t\u0030ken""#;
        assert_eq!(secrets.mask_body(deep.as_bytes()), ("[".repeat(1000) + r#""***""#).as_bytes());
        assert_eq!(secrets.mask_body(b"not json \\ t0ken"), b"not json \\ ***");
        let error = RpcError::new(1, "for t0ken");
        assert_eq!(secrets.mask_error(error).message(), "for ***");
    }

    #[test]
    fn sec_09_the_token_and_the_session_are_masked_wherever_they_stand() {
        let text = "s-12345: bearer t0ken, t0ken!t0kent0ke";
        assert_eq!(masked("Bearer t0ken", "s-12345", text), "***: bearer ***, ***!***t0ke");
        assert_eq!(masked("t0ken", "s", text), "s-12345: bearer ***, ***!***t0ke");
        assert_eq!(masked("Bearer t", "sss", text), text, "too short to be told from other text");
    }
}
