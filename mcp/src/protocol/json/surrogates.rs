//! Half a surrogate in JSON text: it is JSON, and it is no Unicode.
//!
//! JSON's grammar allows any `\uXXXX`, and programs that cut texts in UTF-16 write half a pair now and then. No Rust
//! string can hold it. What is lost is the other half already, so U+FFFD stands in its place, as everywhere in Unicode.

use memchr::memchr;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// How many bytes `\uXXXX` has.
const ESCAPE: usize = 6;

/// JSON text in which every half of a surrogate pair is `\ufffd`, and everything else as it was, byte for byte. It says
/// the same and is as long; borrowed where there is nothing to mend.
pub(crate) fn mend(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut mended = String::new();
    // Up to where the text is in `mended`, and up to where it has been looked at.
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        let escape = at + found;
        at = match unit(bytes, escape) {
            // It takes the next byte with it, which may be a backslash.
            None => escape + 2,
            Some(0xd800..=0xdbff) if matches!(unit(bytes, escape + ESCAPE), Some(0xdc00..=0xdfff)) => {
                escape + 2 * ESCAPE
            }
            Some(0xd800..=0xdfff) => {
                mended.push_str(&text[copied..escape]);
                mended.push_str("\\ufffd");
                copied = escape + ESCAPE;
                copied
            }
            Some(_) => escape + ESCAPE,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(&text[copied..]);
    Cow::Owned(mended)
}

/// A value without halves of surrogates: see [`mend`].
pub(crate) fn mended(raw: &RawValue) -> Cow<'_, RawValue> {
    match mend(raw.get()) {
        Cow::Borrowed(_) => Cow::Borrowed(raw),
        Cow::Owned(text) => match RawValue::from_string(text) {
            Ok(mended) => Cow::Owned(mended),
            Err(_) => unreachable!("one escape in the place of another leaves JSON what it is"),
        },
    }
}

/// The UTF-16 unit that is written as an escape at this place.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = bytes.get(at..at + ESCAPE)? else { return None };
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests;
