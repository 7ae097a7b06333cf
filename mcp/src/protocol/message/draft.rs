//! [`Draft`]: a request before it has its id. Its parameters are written once, straight into the message.

use super::encode::{JSONRPC, key, without_line_breaks};
use serde::Serialize;

/// The longest beginning of a request: up to its id, and the longest id.
const HEAD: usize = JSONRPC.len() + r#","id":"#.len() + 20;

/// Room for the fixed members, and for parameters as short as most are.
const ROOM: usize = HEAD + 192;

/// A request but for its id: room for the beginning, then `,"method":…,"params":…}`.
#[derive(Debug)]
pub(crate) struct Draft {
    text: Vec<u8>,
}

/// Why a value cannot be a request's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoParams {
    NotAnObject,
    NotJson,
}

impl Draft {
    /// With these parameters: an object, or `null` for none.
    pub(crate) fn new(method: &str, params: &impl Serialize) -> Result<Self, NoParams> {
        let mut text = open(method)?;
        object_member(&mut text, "params", params)?;
        Ok(Self::close(text))
    }

    /// With the parameters `name` and `arguments`: an object, or `null` for none.
    pub(crate) fn named(method: &str, name: &str, arguments: &impl Serialize) -> Result<Self, NoParams> {
        let mut text = open(method)?;
        text.extend_from_slice(br#","params":{"name":"#);
        value(&mut text, name)?;
        object_member(&mut text, "arguments", arguments)?;
        text.push(b'}');
        Ok(Self::close(text))
    }

    fn close(mut text: Vec<u8>) -> Self {
        text.push(b'}');
        without_line_breaks(&mut text, HEAD);
        Self { text }
    }

    /// The message.
    pub(super) fn with_id(self, id: u64) -> Vec<u8> {
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut rest = id;
        loop {
            first -= 1;
            digits[first] = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let mut text = self.text;
        // Towards the end of the room, so that what is in front of it can go.
        let parts = [JSONRPC, br#","id":"#, &digits[first..]];
        let mut at = HEAD - parts.iter().map(|part| part.len()).sum::<usize>();
        let unused = at;
        for part in parts {
            text[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        text.drain(..unused);
        text
    }
}

fn open(method: &str) -> Result<Vec<u8>, NoParams> {
    let mut text = Vec::with_capacity(ROOM + method.len());
    text.resize(HEAD, b' ');
    key(&mut text, "method");
    value(&mut text, method)?;
    Ok(text)
}

/// Writes a member, or nothing for `null`.
fn object_member(text: &mut Vec<u8>, name: &str, content: &impl Serialize) -> Result<(), NoParams> {
    let before = text.len();
    key(text, name);
    let from = text.len();
    value(text, content)?;
    match &text[from..] {
        b"null" => text.truncate(before),
        json if json.trim_ascii_start().starts_with(b"{") => {}
        _ => return Err(NoParams::NotAnObject),
    }
    Ok(())
}

fn value<T: Serialize + ?Sized>(text: &mut Vec<u8>, content: &T) -> Result<(), NoParams> {
    serde_json::to_writer(text, content).map_err(|_| NoParams::NotJson)
}
