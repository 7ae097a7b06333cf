//! Form elicitation: the defaults that a form's schema gives (REV-04, SEP-1034).

use super::json::object::Object;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};

/// `content` with the schema's defaults for what it leaves out; `None` if `content` is no object.
pub(crate) fn with_defaults(schema: &str, content: &RawValue) -> Option<Box<RawValue>> {
    let mut filled = Object::read(content.get())?;
    let schema = Object::read(schema).unwrap_or_default();
    let properties = schema.get("properties").and_then(|properties| Object::read(properties.get()));
    let properties = properties.unwrap_or_default();
    // Of duplicates the last one, as everywhere.
    let last: HashMap<_, _> = properties.iter().collect();
    let mut known: HashSet<_> = filled.iter().map(|(name, _)| name).collect();
    let mut missing = Vec::new();
    for (name, _) in properties.iter() {
        // A property is read once, however often the schema repeats it.
        if known.insert(name) {
            let property = Object::read(last[name].get()).unwrap_or_default();
            if let Some(default) = property.get("default") {
                missing.push((name, default.to_owned()));
            }
        }
    }
    for (name, default) in missing {
        filled.push(name, default);
    }
    Some(filled.write())
}

#[cfg(test)]
mod tests;
