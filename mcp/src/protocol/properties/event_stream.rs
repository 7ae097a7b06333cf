//! Events are those of the definition, however they are cut, and within their limit.

use super::super::event_stream::{Event, EventDecoder, EventTooLarge};
use super::{Input, without_mark};

#[derive(Debug, Default, PartialEq)]
struct Decoded {
    events: Vec<Event>,
    cursor: Option<String>,
    retry: Option<u64>,
    failed: bool,
}

/// A byte for the limit, cuts, a stream.
pub fn event_stream(input: &[u8]) {
    let mut input = Input(input);
    let max = match input.byte() {
        255 => 100_000,
        max => usize::from(max % 64),
    };
    let chunkings = input.cut();
    let expected = defined(max, &chunkings[0].concat());
    for event in &expected.events {
        assert!(event.data.len() <= max);
    }
    let fit = |id: &str| id.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control());
    assert!(expected.cursor.as_deref().is_none_or(fit));
    for chunks in &chunkings {
        assert_eq!(decoded(max, chunks), expected, "{chunks:?}");
    }
}

fn decoded(max: usize, chunks: &[&[u8]]) -> Decoded {
    let mut decoder = EventDecoder::new(max);
    let mut decoded = Decoded::default();
    for chunk in chunks {
        let fed = decoder.feed(chunk, |event| decoded.events.push(event));
        assert!(fed == Err(EventTooLarge { limit: max }) || (fed == Ok(()) && !decoded.failed));
        decoded.failed = fed.is_err();
    }
    decoded.cursor = decoder.last_event_id().map(str::to_owned);
    decoded.retry = decoder.retry_millis();
    decoded
}

/// WHATWG HTML, 9.2.6.
fn defined(max: usize, text: &[u8]) -> Decoded {
    // CRLF, LF and CR all end a line.
    let text: Vec<u8> = without_mark(text).to_owned();
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && text[at - 1] == b'\r' => {}
            b'\n' | b'\r' => lines.push(Vec::new()),
            byte => lines.last_mut().expect("there is one").push(*byte),
        }
    }
    let unfinished = lines.pop().expect("there is one");
    let mut decoded = Decoded::default();
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let too_large = |fields: &[Vec<u8>]| fields.iter().map(Vec::len).sum::<usize>() > max;
    for line in lines {
        if line.is_empty() {
            dispatch(&mut decoded, std::mem::take(&mut fields));
        } else if line[0] != b':' {
            fields.push(line);
            if too_large(&fields) {
                decoded.failed = true;
                return decoded;
            }
            let (name, value) = field(fields.last().expect("just pushed"));
            // At once, whatever becomes of the event.
            if let ("retry", Some(millis)) = (name, retry(value)) {
                decoded.retry = Some(millis);
            }
        }
    }
    if unfinished.first() != Some(&b':') {
        fields.push(unfinished);
        decoded.failed = too_large(&fields);
    }
    decoded
}

fn dispatch(decoded: &mut Decoded, fields: Vec<Vec<u8>>) {
    let (mut event, mut data, mut news) = (Event { name: None, data: Vec::new() }, Vec::new(), false);
    for line in &fields {
        let (name, value) = field(line);
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.chars().all(|c| c == '\t' || !c.is_ascii_control()));
        match (name, text) {
            ("data", _) => data.push(value),
            ("event", _) => event.name = Some(std::str::from_utf8(value).unwrap_or("\u{fffd}").to_owned()),
            ("id", Some(id)) => {
                news = true;
                decoded.cursor = Some(id.to_owned());
            }
            ("retry", _) => news |= retry(value).is_some(),
            _ => {}
        }
    }
    event.name = event.name.filter(|name| !name.is_empty());
    event.data = data.join(b"\n".as_slice());
    if news || !data.is_empty() {
        decoded.events.push(event);
    }
}

fn field(line: &[u8]) -> (&str, &[u8]) {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    (std::str::from_utf8(name).unwrap_or_default(), value.strip_prefix(b" ").unwrap_or(value))
}

/// Digits, and at most 49 days.
fn retry(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let most = u64::from(u32::MAX);
    Some(text.parse().unwrap_or(most).min(most))
}
