//! The two kinds of id: the peer's, echoed as it came, and ours, recognised however it comes back.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::value::RawValue;

use super::rpc_error::string;

/// The id of a request of the peer, kept byte for byte so that the answer echoes it with its type.
#[derive(Clone)]
pub(crate) struct RequestId(Box<RawValue>);

impl RequestId {
    /// The longest id, in bytes of JSON text: it is kept until the answer is sent.
    pub(crate) const LONGEST: usize = 1024;

    /// `None` if the value is neither a string nor a number, or longer than [`LONGEST`](Self::LONGEST).
    pub(crate) fn new(raw: &RawValue) -> Option<Self> {
        match raw.get().as_bytes().first() {
            Some(b'"' | b'-' | b'0'..=b'9') if raw.get().len() <= Self::LONGEST => Some(Self(raw.to_owned())),
            _ => None,
        }
    }

    /// The id as JSON text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.as_str())
    }
}

/// The id of a response, seen from the counter that numbers our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseId {
    /// A number our counter can have produced; `"7"`, `7` and `7.0` are all 7.
    Ours(u64),
    /// Anything else that is present and not null.
    Foreign,
    Null,
    Absent,
}

impl ResponseId {
    pub(super) fn read(raw: Option<&RawValue>) -> Self {
        match raw.map(RawValue::get) {
            None => Self::Absent,
            Some("null") => Self::Null,
            Some(_) => raw.and_then(own_id).map_or(Self::Foreign, Self::Ours),
        }
    }

    pub(in crate::protocol) fn ours(self) -> Option<u64> {
        match self {
            Self::Ours(id) => Some(id),
            _ => None,
        }
    }
}

/// The number of ours that a JSON value stands for.
pub(crate) fn own_id(raw: &RawValue) -> Option<u64> {
    match raw.get().as_bytes().first()? {
        b'"' => integer(&string(raw)?),
        b'-' | b'0'..=b'9' => integer(raw.get()).or_else(|| integral_float(raw.get())),
        _ => None,
    }
}

/// Decimal digits as we write them: `"07"` and `"+7"` are ids of somebody else.
fn integer(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if digits && !padded { text.parse().ok() } else { None }
}

#[allow(clippy::cast_possible_truncation, reason = "a whole number within the range is what it is")]
fn integral_float(text: &str) -> Option<u64> {
    /// From here on a float no longer tells neighbouring integers apart.
    const EXACT: f64 = (1_u64 << 53) as f64;
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && (0.0..EXACT).contains(&value)).then_some(value as u64)
}
