//! What nobody may read by accident: tokens, codes, keys. And the randomness that some of them are made of.

use ring::hmac;
use std::fmt;
use zeroize::Zeroize;

/// A text that is no part of any message or `Debug`, and is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one request that carries it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The randomness of one flow: 256 bits from the system. Whatever the flow needs is derived from it and tells nothing
/// about the rest (HMAC is a pseudorandom function), so a flow may need any number of values.
#[derive(Clone)]
pub(crate) struct Entropy([u8; 32]);

impl Entropy {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The `count`th value for this `purpose`.
    pub(super) fn bytes(&self, purpose: &str, count: u32) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(purpose.as_bytes());
        context.update(&count.to_be_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        bytes
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
