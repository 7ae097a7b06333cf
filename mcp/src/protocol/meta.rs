//! `_meta`: what goes with a request besides its parameters (PRG-01, META-01).

use super::json::object::Object;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// `params` with these members in its `_meta`; those the caller has set by the same name give way.
/// `params` must be an object.
pub(crate) fn with_meta(params: Option<&RawValue>, entries: &[(&str, Cow<'_, RawValue>)]) -> Box<RawValue> {
    let mut params = params.and_then(|params| Object::read(params.get())).unwrap_or_default();
    let old = params.get("_meta").map(RawValue::to_owned);
    let mut meta = old.as_deref().and_then(|meta| Object::read(meta.get())).unwrap_or_default();
    for (name, value) in entries {
        meta.set(name, Cow::Borrowed(value));
    }
    let meta = meta.write();
    params.set("_meta", Cow::Owned(meta));
    params.write()
}

/// Whether an extension may be called so: a prefix of dotted labels, a slash, a name (MOD-09).
pub(crate) fn check_extension(key: &str) -> Result<(), &'static str> {
    let alphanumeric = |byte: &u8| byte.is_ascii_alphanumeric();
    let made_of = |text: &str, others: &[u8]| {
        let bytes = text.as_bytes();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(byte) || others.contains(byte))
    };
    let Some((prefix, name)) = key.split_once('/') else { return Err("its key has no prefix") };
    let is_label = |label: &str| made_of(label, b"-") && label.as_bytes()[0].is_ascii_alphabetic();
    match prefix.split('.').all(is_label) {
        false => Err("the prefix of its key is none"),
        true if !made_of(name, b"-_.") => Err("the name in its key is not allowed"),
        true => Ok(()),
    }
}

#[cfg(test)]
mod tests;
