//! The peer's error object, read leniently: a badly formed error is still an answer.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::protocol::excerpt::{beginning, excerpt, is_unseen};
use crate::protocol::json::members::members;
use crate::protocol::json::surrogates::mended;

/// A JSON-RPC error: the server's answer to a request, or a handler's answer to the server.
///
/// It is written and read as JSON-RPC has it; `code` must be there.
#[derive(Clone, Serialize)]
pub struct RpcError {
    code: i64,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl RpcError {
    /// An error for the server.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// This error with additional data.
    pub(crate) fn carrying(self, data: Box<RawValue>) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The error code; 0 if the peer sent none that is a number.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.code
    }

    /// The peer's description; empty if it sent none.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The additional data as JSON text, exactly as the peer sent it; but half a surrogate is U+FFFD.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref().map(RawValue::get)
    }

    /// This error with another text and other data.
    #[cfg(feature = "http")]
    pub(crate) fn rewritten(
        self,
        message: impl FnOnce(&str) -> String,
        data: impl FnOnce(&str) -> String,
    ) -> Self {
        let data = self.data().map(data).and_then(|data| RawValue::from_string(data).ok());
        Self { code: self.code, message: message(&self.message), data }
    }

    /// Reads an error member of any shape; what is no object becomes the message or the data.
    pub(crate) fn read(raw: &RawValue) -> Self {
        let raw = &*mended(raw);
        if let Ok([code, message, data]) = members(raw.get(), ["code", "message", "data"]) {
            return Self {
                code: code.map_or(0, read_code),
                message: message.map_or_else(String::new, read_message),
                data: data.map(RawValue::to_owned),
            };
        }
        match string(raw) {
            Some(message) => Self { code: 0, message, data: None },
            None => Self { code: 0, message: String::new(), data: Some(raw.to_owned()) },
        }
    }
}

impl PartialEq for RpcError {
    /// Data is compared as text.
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.message == other.message && self.data() == other.data()
    }
}

impl Eq for RpcError {}

impl fmt::Display for RpcError {
    /// One line, whatever the peer sent, and about 1 KiB at most: [`message`](RpcError::message) has all of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beginning = beginning(&self.message, LONGEST);
        let message = if beginning.is_empty() { "no message" } else { beginning };
        let mut parts = message.split(is_unseen).filter(|part| !part.is_empty());
        f.write_str(parts.next().unwrap_or_default())?;
        for part in parts {
            write!(f, " {part}")?;
        }
        let more = if beginning.len() == self.message.len() { "" } else { "…" };
        write!(f, "{more} (code {})", self.code)
    }
}

impl fmt::Debug for RpcError {
    /// Of a message and of data the beginning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data().map(|data| excerpt(data.as_bytes(), LONGEST));
        f.debug_struct("RpcError")
            .field("code", &self.code)
            .field("message", &excerpt(self.message.as_bytes(), LONGEST))
            .field("data", &data)
            .finish()
    }
}

/// How much of a message or of data is printed, in bytes.
const LONGEST: usize = 1024;

impl std::error::Error for RpcError {}

/// The content of a JSON string, U+FFFD for half a surrogate; `None` for any other value.
pub(super) fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(mended(raw).get()).ok()
}

#[allow(clippy::cast_possible_truncation, reason = "the conversion saturates")]
fn read_code(raw: &RawValue) -> i64 {
    let text = string(raw);
    let text = text.as_deref().unwrap_or_else(|| raw.get()).trim();
    if let Ok(code) = text.parse() {
        return code;
    }
    match text.parse::<f64>() {
        Ok(code) if code.is_finite() => code as i64,
        _ => 0,
    }
}

fn read_message(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        other => string(raw).unwrap_or_else(|| other.to_owned()),
    }
}
