//! The headers that say what a request is about (MOD-05 to MOD-07, PAR-01 to PAR-11).

mod annotations;
mod list;

pub(crate) use annotations::header_arguments;
pub(crate) use list::read_page;

use super::json::object::Object;
use crate::encoding::base64;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// The parameter that `Mcp-Name` repeats (MOD-05, MOD-06).
pub(crate) fn name_of(method: &str, params: Option<&RawValue>) -> Option<String> {
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    string(Object::read(params?.get())?.get(member)?)
}

/// A value as a header may carry it: as it is, or in Base64 between the markers (PAR-05, PAR-06).
pub(crate) fn header_value(value: &str) -> Cow<'_, str> {
    let printable = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    let padded = value.starts_with(' ') || value.ends_with(' ');
    let like_encoded = value.starts_with("=?base64?") && value.ends_with("?=");
    let plain = printable && !padded && !like_encoded;
    match plain {
        true => Cow::Borrowed(value),
        false => Cow::Owned(format!("=?base64?{}?=", base64(value.as_bytes()))),
    }
}

/// An argument of a tool that is repeated as a header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeaderArgument {
    /// Without `Mcp-Param-`.
    pub(crate) header: String,
    path: Arc<Property>,
}

impl HeaderArgument {
    /// The names of the properties on the way to it.
    pub(super) fn path(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.path.upwards().collect();
        names.reverse();
        names
    }

    /// How much text it has to itself, about, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.header.len() + self.path.name.len()
    }
}

/// A property of a schema. Those in the same object share what is above them, so that a schema costs no more than its
/// text.
#[derive(Debug, PartialEq)]
struct Property {
    name: String,
    above: Option<Arc<Self>>,
}

impl Property {
    fn upwards(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self), |it| it.above.as_deref()).map(|it| &*it.name)
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The header for one argument; `None` where it is absent or null (PAR-04). `Err` for a value that must
/// not be sent (PAR-07).
pub(crate) fn header_of(
    argument: &HeaderArgument,
    arguments: &RawValue,
) -> Result<Option<String>, &'static str> {
    at(&argument.path(), arguments, header_text).unwrap_or(Ok(None))
}

/// What `read` says of the value on that path, if there is one.
fn at<T>(path: &[&str], value: &RawValue, read: impl FnOnce(&RawValue) -> T) -> Option<T> {
    let Some((name, path)) = path.split_first() else { return Some(read(value)) };
    at(path, Object::read(value.get())?.get(name)?, read)
}

fn header_text(value: &RawValue) -> Result<Option<String>, &'static str> {
    const SAFE: i64 = (1 << 53) - 1;
    let text = value.get();
    if text == "null" {
        return Ok(None);
    }
    if let Some(text) = string(value) {
        return Ok(Some(header_value(&text).into_owned()));
    }
    if matches!(text, "true" | "false") {
        return Ok(Some(text.to_owned()));
    }
    match text.parse::<i64>() {
        Ok(number) if (-SAFE..=SAFE).contains(&number) => Ok(Some(number.to_string())),
        Ok(_) => Err("an integer for a header is beyond 2^53"),
        Err(_)
            if text
                .parse::<f64>()
                .is_ok_and(|number| number.fract() != 0.0 || number.abs() > SAFE as f64) =>
        {
            Err("a number for a header is no integer within 2^53")
        }
        Err(_) => Ok(text.parse::<f64>().ok().map(|number| format!("{number:.0}"))),
    }
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests;
