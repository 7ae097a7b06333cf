//! Messages are what `serde_json` makes of them, keep their text, and when damaged their id.

use super::super::json::object::Object;
use super::super::json::surrogates::mend;
use super::super::message::recover_id::recover_response_id;
use super::super::message::{
    Batch, Inbound, Malformed, MalformedReason, Message, RequestId, ResponseId, RpcError, encode_error,
    encode_notification, encode_request, encode_result, parse, parse_by_scan, settled,
};
use super::{BOM, Input};
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// A message.
pub fn message(input: &[u8]) {
    let text = Input(input).0;
    let parsed = read(text);
    as_by_scan(text, &parsed);
    agrees(text, &parsed);
    match &parsed {
        // A reply that has words behind it.
        Ok(Inbound::One(message)) if !is_one_value(text) => kept(text, message),
        Ok(Inbound::One(message)) => {
            let id = response_id(message);
            // Of two ids the scan may have stopped before the second, which counts.
            if ids(text) < 2 {
                assert_eq!(recover_response_id(text), id);
            }
            kept(text, message);
            sent(message);
            if matches!(message, Message::Response { .. }) {
                damaged(text, id);
            }
        }
        Ok(Inbound::Batch(_)) => {
            let members = batch(text);
            assert!(!members.is_empty());
            members.iter().flatten().for_each(|message| kept(text, message));
        }
        Err(_) => {}
    }
}

/// What a message is when its result has been looked at.
fn read(text: &[u8]) -> Result<Inbound, Malformed> {
    parse(text).and_then(settled)
}

/// A result that was split off its envelope is the one that a scan of the message finds.
fn as_by_scan(text: &[u8], parsed: &Result<Inbound, Malformed>) {
    let scanned = parse_by_scan(text);
    let compared = match scanned {
        Ok(Inbound::Batch(members)) => among_words(text, parsed, &members),
        scanned => compare(parsed, &scanned),
    };
    let Err(found) = compared else { return };
    panic!("{found}: {}", String::from_utf8_lossy(text));
}

/// A reply that has words behind it is the one that the scan finds. If it says its version, there may be more of them that
/// do not. Or its call fails: the scan found another id.
fn among_words(text: &[u8], parsed: &Result<Inbound, Malformed>, members: &Batch) -> Result<(), String> {
    let replies =
        || members.clone().filter_map(Result::ok).filter(|it| matches!(it, Message::Response { .. }));
    let may_be_more = || memchr::memmem::find(text, b"\"jsonrpc\"").is_some();
    let same = match parsed {
        Ok(Inbound::Batch(_)) => true,
        Ok(Inbound::One(_)) => {
            (members.clone().count() == 1 || may_be_more())
                && replies().any(|it| compare(parsed, &Ok(Inbound::One(it))).is_ok())
        }
        Err(ours) => ours.id.is_some() && replies().all(|it| response_id(&it) != ours.id),
    };
    if same { Ok(()) } else { Err(format!("{parsed:?}, and by a scan {members:?}")) }
}

fn compare(parsed: &Result<Inbound, Malformed>, scanned: &Result<Inbound, Malformed>) -> Result<(), String> {
    let differ = || Err(format!("{parsed:?}, and by a scan {scanned:?}"));
    let same = match (parsed, scanned) {
        (Ok(Inbound::One(parsed)), Ok(Inbound::One(scanned))) => match (parsed, scanned) {
            (
                Message::Response { id: left, outcome: Ok(ours) },
                Message::Response { id: right, outcome: Ok(theirs) },
            ) => left == right && ours.text() == theirs.text(),
            (
                Message::Response { id: left, outcome: Err(ours) },
                Message::Response { id: right, outcome: Err(theirs) },
            ) => left == right && ours == theirs,
            _ => kind(parsed) == kind(scanned) && kind(parsed) != Kind::Result,
        },
        // The one exception: it was attributed by the id of its form before it was known not to have it.
        (Err(ours), Ok(Inbound::One(scanned))) if ours.id.is_some() => match scanned {
            Message::Response { id, .. } => ours.reason == MalformedReason::OtherId && id.ours() != ours.id,
            Message::Request { .. } | Message::Notification { .. } => {
                ours.reason == MalformedReason::MethodAndOutcome
            }
        },
        (Err(ours), Err(theirs)) => {
            ours.reason == theirs.reason && (ours.id == theirs.id || ours.id.is_some())
        }
        _ => false,
    };
    if same { Ok(()) } else { differ() }
}

fn is_one_value(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text.strip_prefix(BOM).unwrap_or(text)).is_ok()
}

/// How many ids a message has.
fn ids(text: &[u8]) -> usize {
    let json = std::str::from_utf8(text.strip_prefix(BOM).unwrap_or(text)).expect("it was read");
    let json = mend(json);
    let members = Object::read(&json).expect("it was read");
    members.iter().filter(|(name, _)| *name == "id").count()
}

/// The members of what is a batch.
fn batch(text: &[u8]) -> Vec<Result<Message, Malformed>> {
    match read(text) {
        Ok(Inbound::Batch(batch)) => batch.collect(),
        other => panic!("{other:?} is no batch"),
    }
}

fn response_id(message: &Message) -> Option<u64> {
    match message {
        Message::Response { id: ResponseId::Ours(id), .. } => Some(*id),
        _ => None,
    }
}

/// Cut off anywhere, an answer is to nobody else than it is whole.
fn damaged(text: &[u8], id: Option<u64>) {
    // Of two ids the second counts, and the cut may be between them.
    if ids(text) < 2 {
        for len in 0..text.len().min(500) {
            let found = recover_response_id(&text[..len]);
            assert!(found.is_none() || found == id, "{found:?} of {id:?} in {len}");
        }
    }
}

/// What is passed on is passed on as it came, but for what is no Unicode.
fn kept(text: &[u8], message: &Message) {
    let json = std::str::from_utf8(text).expect("it was read");
    let mended = mend(json);
    let text = mended.as_bytes();
    let part = match message {
        Message::Request { params, .. } | Message::Notification { params, .. } => {
            params.as_deref().map(RawValue::get)
        }
        Message::Response { outcome: Ok(result), .. } => Some(result.text()),
        Message::Response { outcome: Err(error), .. } => error.data(),
    };
    // A result is mended when it is read.
    let Some(part) = part.map(mend) else { return };
    assert!(text.windows(part.len()).any(|window| window == part.as_bytes()));
}

/// What is sent is one line, and the same when it is read.
fn sent(message: &Message) {
    match message {
        Message::Request { id, method, params } => {
            let params = params.as_deref();
            reads_back(&encode_request(7, method, params), Some("7"), method, params);
            let empty = raw("{}");
            let result = params.unwrap_or(&empty);
            answers(&encode_result(id, result), id, &Ok(result.to_owned()));
            let error = RpcError::new(-1, method.as_str());
            answers(&encode_error(id, &error), id, &Err(error));
        }
        Message::Notification { method, params } => {
            reads_back(&encode_notification(method, params.as_deref()), None, method, params.as_deref());
        }
        Message::Response { outcome: Err(error), .. } => {
            let id = RequestId::new(&raw("\"x\"")).expect("a string");
            answers(&encode_error(&id, error), &id, &Err(error.clone()));
        }
        Message::Response { outcome: Ok(_), .. } => {}
    }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("JSON")
}

fn reads_back(line: &[u8], number: Option<&str>, name: &str, content: Option<&RawValue>) {
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    let (id, method, params) = match read(line) {
        Ok(Inbound::One(Message::Request { id, method, params })) => (Some(id), method, params),
        Ok(Inbound::One(Message::Notification { method, params })) => (None, method, params),
        other => panic!("{other:?}"),
    };
    assert_eq!(id.as_ref().map(RequestId::as_str), number);
    assert_eq!(method, name);
    assert_eq!(params.map(|params| params.get().to_owned()), content.map(on_one_line));
}

fn answers(line: &[u8], to: &RequestId, expected: &Result<Box<RawValue>, RpcError>) {
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    // The id is theirs, byte for byte.
    let echo: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_slice(line).expect("an object");
    assert_eq!(echo["id"].get(), to.as_str());
    let Ok(Inbound::One(Message::Response { outcome, .. })) = read(line) else { panic!("no answer") };
    match (outcome, expected) {
        (Ok(result), Ok(expected)) => assert_eq!(result.text(), on_one_line(expected)),
        (Err(error), Err(expected)) => {
            assert_eq!((error.code(), error.message()), (expected.code(), expected.message()));
            let data = expected.data().map(|data| data.replace(['\n', '\r'], ""));
            assert_eq!(error.data(), data.as_deref());
        }
        (outcome, _) => panic!("{outcome:?}"),
    }
}

/// In JSON that is valid, line breaks are between tokens.
fn on_one_line(raw: &RawValue) -> String {
    raw.get().replace(['\n', '\r'], "")
}

/// Compares with what `serde_json` reads.
fn agrees(message: &[u8], parsed: &Result<Inbound, Malformed>) {
    let text = message.strip_prefix(BOM).unwrap_or(message);
    let reason = parsed.as_ref().err().map(|malformed| malformed.reason);
    let Ok(json) = std::str::from_utf8(text) else {
        return assert_eq!(reason, Some(MalformedReason::NotUtf8));
    };
    if serde_json::from_str::<IgnoredAny>(json).is_err() {
        // Several messages on one line, or replies to us among other words.
        if matches!(parsed, Ok(Inbound::Batch(_))) {
            let mut values = serde_json::Deserializer::from_str(json).into_iter::<IgnoredAny>();
            let is_reply = |member: &Result<Message, _>| {
                matches!(member, Ok(Message::Response { id: ResponseId::Ours(_), .. }))
            };
            return assert!(values.all(|value| value.is_ok()) || batch(message).iter().all(is_reply));
        }
        // A reply that has words behind it.
        if matches!(parsed, Ok(Inbound::One(Message::Response { id: ResponseId::Ours(_), .. }))) {
            return;
        }
        return assert_eq!(reason, Some(MalformedReason::NotJson));
    }
    if reason == Some(MalformedReason::OtherId) {
        return assert!(ids(text) > 1);
    }
    // It refuses some values that are JSON: much nesting, large numbers, half surrogates.
    let Ok(value) = serde_json::from_str::<Value>(json) else { return };
    match (value, parsed) {
        (Value::Array(values), Ok(Inbound::Batch(_))) => {
            let members = batch(message);
            assert_eq!(members.len(), values.len());
            for (value, member) in values.iter().zip(&members) {
                agrees_one(value, member);
            }
        }
        (Value::Array(values), Err(_)) => {
            assert!(values.is_empty());
            assert_eq!(reason, Some(MalformedReason::EmptyBatch));
        }
        (value, Ok(Inbound::One(message))) => {
            assert_eq!(classified(&value), Ok(kind(message)));
            contents(&value, message);
        }
        (value, Err(malformed)) => assert_eq!(classified(&value), Err(malformed.reason)),
        (value, Ok(Inbound::Batch(_))) => panic!("{value} is no array"),
    }
}

fn agrees_one(value: &Value, member: &Result<Message, Malformed>) {
    let found = member.as_ref().map(kind).map_err(|malformed| malformed.reason);
    assert_eq!(found, classified(value));
    if let Ok(message) = member {
        contents(value, message);
    }
}

#[derive(Debug, PartialEq)]
enum Kind {
    Request,
    Notification,
    Result,
    Error,
}

fn kind(message: &Message) -> Kind {
    match message {
        Message::Request { .. } => Kind::Request,
        Message::Notification { .. } => Kind::Notification,
        Message::Response { outcome: Ok(_), .. } => Kind::Result,
        Message::Response { outcome: Err(_), .. } => Kind::Error,
    }
}

fn classified(value: &Value) -> Result<Kind, MalformedReason> {
    let Value::Object(members) = value else { return Err(MalformedReason::NotAnObject) };
    let present = |name| members.get(name).filter(|member| !member.is_null());
    match (present("method"), members.get("result"), present("error")) {
        (Some(_), result, error) if error.is_some() || result.is_some_and(|result| !result.is_null()) => {
            Err(MalformedReason::MethodAndOutcome)
        }
        (Some(Value::String(method)), ..) => match members.get("id") {
            Some(Value::Null) if method.starts_with("notifications/") => Ok(Kind::Notification),
            None => Ok(Kind::Notification),
            Some(Value::String(_) | Value::Number(_)) => Ok(Kind::Request),
            Some(_) => Err(MalformedReason::BadRequestId),
        },
        (Some(_), ..) => Err(MalformedReason::BadMethod),
        (None, Some(_), None) => Ok(Kind::Result),
        (None, None | Some(Value::Null), Some(_)) => Ok(Kind::Error),
        (None, Some(_), Some(_)) => Err(MalformedReason::ResultAndError),
        (None, None, None) => Err(MalformedReason::NoMethodNoOutcome),
    }
}

fn contents(value: &Value, message: &Message) {
    let reads = |text: &str| serde_json::from_str::<Value>(text).expect("it was read before");
    match message {
        Message::Request { method, params, .. } | Message::Notification { method, params } => {
            assert_eq!(Some(method.as_str()), value["method"].as_str());
            assert_eq!(params.as_deref().map(RawValue::get).map(reads).unwrap_or_default(), value["params"]);
        }
        Message::Response { id, outcome } => {
            same_id(*id, value.get("id"));
            match outcome {
                Ok(result) => assert_eq!(reads(result.text()), value["result"]),
                Err(error) => {
                    let sent = &value["error"];
                    let data = error.data().map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
                    if let Value::Object(members) = sent {
                        assert_eq!(data.as_ref(), members.get("data"));
                    }
                    if let Some(code) = sent["code"].as_i64() {
                        assert_eq!(error.code(), code);
                    }
                    if let Some(message) = sent["message"].as_str() {
                        assert_eq!(error.message(), message);
                    }
                }
            }
        }
    }
}

fn same_id(id: ResponseId, value: Option<&Value>) {
    let expected = match value {
        None => ResponseId::Absent,
        Some(Value::Null) => ResponseId::Null,
        Some(Value::String(text)) => match text.parse::<u64>() {
            Ok(number) if number.to_string() == *text => ResponseId::Ours(number),
            _ => ResponseId::Foreign,
        },
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(number), _) => ResponseId::Ours(number),
            // `serde_json` may be one digit off.
            (None, Some(float)) => {
                let ResponseId::Ours(id) = id else { return assert_eq!(id, ResponseId::Foreign) };
                return assert!((id as f64 - float).abs() <= float.abs() * f64::EPSILON, "{id} for {float}");
            }
            (None, None) => ResponseId::Foreign,
        },
        Some(_) => ResponseId::Foreign,
    };
    assert_eq!(id, expected);
}
