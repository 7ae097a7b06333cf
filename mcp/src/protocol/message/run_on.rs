//! Messages that are not alone in their text: several on one line, or a reply among other words.

use super::{Batch, Message, ResponseId, parse_object};
use memchr::memchr_iter;
use serde_json::value::RawValue;

/// The messages in a text that is not one JSON value, each judged by itself; `None` if there are none.
///
/// Values with nothing but white space between them are all taken. Among other words only a reply to us is: a request
/// there may be one of ours that the server shows in its log. And where a value breaks off, there is nothing more: what
/// follows is a part of it, and may be a stranger's text that looks like a reply.
pub(super) fn run_on(text: &str) -> Option<Batch> {
    let values = only_values(text).unwrap_or_else(|| replies_among_words(text));
    if values.is_empty() {
        return None;
    }
    Batch::new(&format!("[{}]", values.join(","))).ok()
}

fn only_values(text: &str) -> Option<Vec<&str>> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    values.map(|value| value.map(RawValue::get).ok()).collect()
}

fn replies_among_words(text: &str) -> Vec<&str> {
    let mut replies = Vec::new();
    let mut end = 0;
    for start in memchr_iter(b'{', text.as_bytes()) {
        let is_within = start < end;
        if is_within || !text[start + 1..].trim_ascii_start().starts_with('"') {
            continue;
        }
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<&RawValue>();
        let Some(Ok(value)) = values.next() else { break };
        end = start + values.byte_offset();
        let message = parse_object(value.get());
        if matches!(message, Ok(Message::Response { id: ResponseId::Ours(_), .. })) {
            replies.push(value.get());
        }
    }
    replies
}

#[cfg(test)]
mod tests;
