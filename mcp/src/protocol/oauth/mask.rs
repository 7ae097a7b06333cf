//! Takes what is secret out of texts that strangers wrote: some servers repeat in an error what they were sent.

use super::form;
use super::secret::Secret;
use crate::protocol::excerpt::is_unseen;
use std::borrow::Cow;

/// What the requests of one flow carry.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask(Vec<Secret>);

/// A shorter secret is a part of many texts by chance.
const SHORTEST: usize = 4;

/// The longest text of a stranger's in an error, in characters.
const LONGEST: usize = 500;

impl Mask {
    pub(super) fn add(&mut self, secret: &Secret) {
        let encoded = Secret::new(form::encode(secret.expose()));
        for secret in [secret.clone(), encoded] {
            if secret.expose().len() >= SHORTEST && !self.0.contains(&secret) {
                self.0.push(secret);
            }
        }
        // A secret may be a part of a longer one, which is masked first.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    }

    /// The text without them, short, and nothing in it but what can be seen.
    pub(super) fn apply(&self, text: &mut String) {
        let mut masked = Cow::Borrowed(&**text);
        for secret in &self.0 {
            if masked.contains(secret.expose()) {
                masked = Cow::Owned(masked.replace(secret.expose(), "***"));
            }
        }
        let mut seen = masked.chars().map(|c| if is_unseen(c) { '\u{fffd}' } else { c });
        let mut short: String = seen.by_ref().take(LONGEST).collect();
        if seen.next().is_some() {
            short.pop();
            short.push('…');
        }
        *text = short;
    }
}

#[cfg(test)]
mod tests;
