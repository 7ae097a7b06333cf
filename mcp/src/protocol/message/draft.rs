//! [`Draft`]: a request before it has its id. Its parameters are written once, straight into the message.

use super::encode::{JSONRPC, without_line_breaks};
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
        let mut text = open(method.len());
        value(&mut text, method)?;
        object_member(&mut text, br#","params":"#, params)?;
        Ok(Self::close(text))
    }

    /// With the parameters `name` and `arguments`: an object, or `null` for none. The method is one of our own, and needs no
    /// escaping.
    pub(crate) fn named(
        method: &'static str,
        name: &str,
        arguments: &impl Serialize,
    ) -> Result<Self, NoParams> {
        let mut text = open(method.len());
        text.push(b'"');
        text.extend_from_slice(method.as_bytes());
        text.extend_from_slice(br#"","params":{"name":"#);
        value(&mut text, name)?;
        object_member(&mut text, br#","arguments":"#, arguments)?;
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

/// Up to the method, which has so many bytes.
fn open(method: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(ROOM + method);
    text.extend_from_slice(&[b' '; HEAD]);
    text.extend_from_slice(br#","method":"#);
    text
}

/// Writes a member, or nothing for `null`. `key` is its name as it stands in the message.
fn object_member(text: &mut Vec<u8>, key: &[u8], content: &impl Serialize) -> Result<(), NoParams> {
    let before = text.len();
    text.extend_from_slice(key);
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
