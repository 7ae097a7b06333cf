//! `_meta`: what goes with a request besides its parameters (PRG-01, META-01).

use super::object::Object;
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

#[cfg(test)]
mod tests;
