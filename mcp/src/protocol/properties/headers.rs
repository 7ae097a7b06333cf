//! Headers carry what they mirror, in characters that a header may have.

use super::super::headers::{header_arguments, header_of, header_value, name_of};
use super::Input;
use serde_json::Value;
use serde_json::value::RawValue;

/// A text for a header, a tool's schema, and its arguments.
pub fn headers(input: &[u8]) {
    let Some(texts) = Input(input).texts() else { return };
    let text = |at| texts.get(at).copied().unwrap_or_default();
    let (plain, schema, arguments) = (text(0), text(1), text(2));
    assert_eq!(read(&header_value(plain)), plain);
    let Ok(arguments) = RawValue::from_string(arguments.to_owned()) else { return };
    name(&arguments);
    const LIMIT: usize = 8;
    let Ok(found) = header_arguments(schema, LIMIT) else { return };
    assert!(found.len() <= LIMIT);
    for (at, argument) in found.iter().enumerate() {
        assert!(!argument.header.is_empty());
        assert!(argument.header.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
        assert!(found[..at].iter().all(|other| !other.header.eq_ignore_ascii_case(&argument.header)));
        let Ok(Some(header)) = header_of(argument, &arguments) else { continue };
        let plain = read(&header);
        let Ok(value) = serde_json::from_str::<Value>(arguments.get()) else { continue };
        match argument.path().iter().try_fold(&value, |value, name| value.get(name)) {
            Some(Value::String(text)) => assert_eq!(plain, *text),
            Some(Value::Bool(truth)) => assert_eq!(plain, truth.to_string()),
            Some(Value::Number(number)) => {
                let sent: i64 = plain.parse().expect("an integer");
                assert!(sent.abs() < 1 << 53);
                assert_eq!(Some(sent as f64), number.as_f64());
            }
            other => panic!("{header:?} for {other:?}"),
        }
    }
}

/// What a server reads.
fn read(header: &str) -> String {
    assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{header:?}");
    assert_eq!(header.trim_matches(' '), header);
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => header.to_owned(),
        Some(digits) => String::from_utf8(decoded(digits)).expect("it was text"),
    }
}

/// RFC 4648, 4.
fn decoded(digits: &str) -> Vec<u8> {
    assert_eq!(digits.len() % 4, 0);
    let plain = digits.trim_end_matches('=');
    assert!(digits.len() - plain.len() <= 2);
    let mut bits = String::new();
    for digit in plain.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{other} is no digit"),
        };
        bits += &format!("{value:06b}");
    }
    let whole = bits.len() / 8 * 8;
    assert!(bits[whole..].bytes().all(|bit| bit == b'0'));
    let byte = |at| u8::from_str_radix(&bits[at..at + 8], 2).expect("eight bits");
    (0..whole).step_by(8).map(byte).collect()
}

fn name(params: &RawValue) {
    let value: Value = serde_json::from_str(params.get()).unwrap_or_default();
    for (method, member) in [("tools/call", "name"), ("resources/read", "uri"), ("tasks/get", "taskId")] {
        if value.is_object() {
            assert_eq!(name_of(method, Some(params)).as_deref(), value[member].as_str());
        }
    }
    assert_eq!(name_of("tools/list", Some(params)), None);
}
