//! Form elicitation: the defaults that a form's schema gives (REV-04, SEP-1034).

use super::object::Object;
use serde_json::value::RawValue;

/// `content` with the schema's defaults for what it leaves out; `None` if `content` is no object.
pub(crate) fn with_defaults(schema: &str, content: &RawValue) -> Option<Box<RawValue>> {
    let mut filled = Object::read(content.get())?;
    let schema = Object::read(schema).unwrap_or_default();
    let properties = schema.get("properties").and_then(|properties| Object::read(properties.get()));
    let properties = properties.unwrap_or_default();
    for (name, property) in properties.iter() {
        let property = Object::read(property.get()).unwrap_or_default();
        if filled.get(name).is_none()
            && let Some(default) = property.get("default")
        {
            filled.push(name, default.to_owned());
        }
    }
    Some(filled.write())
}

#[cfg(test)]
mod tests;
