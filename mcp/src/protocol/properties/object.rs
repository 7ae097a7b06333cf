//! Objects lose nothing when something is added, and what is read in them is what `serde_json` reads.

use super::super::elicitation::with_defaults;
use super::super::handshake::Revision;
use super::super::json::object::Object;
use super::super::message::RpcError;
use super::super::meta::with_meta;
use super::super::stateless::{
    Outcome, ProbeAnswer, answer_of_error, answer_of_result, outcome, subscription_of, task_state, with_input,
};
use super::Input;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Two values: an object, and what is added to it.
pub fn object(input: &[u8]) {
    let Some(texts) = Input(input).texts() else { return };
    let (text, other) = (texts[0], texts.get(1).copied().unwrap_or("{}"));
    meanings(text);
    let Ok(other) = RawValue::from_string(other.to_owned()) else { return };
    let error = RpcError::read(&other);
    if let ProbeAnswer::Stateless(revision) | ProbeAnswer::Again(revision) =
        answer_of_error(&error, Revision::LATEST)
    {
        assert!(revision.is_stateless());
    }
    let Some(object) = Object::read(text) else {
        let value = serde_json::from_str::<Map<String, Value>>(text);
        assert!(value.is_err(), "{text}");
        return;
    };
    let written = object.write();
    let again = Object::read(written.get()).expect("an object");
    assert_eq!(members(&object), members(&again));
    let Some(value) = map(text) else { return };
    assert_eq!(map(written.get()).as_ref(), Some(&value));
    for (name, member) in &value {
        let found = object.get(name).expect("it is there");
        assert_eq!(serde_json::from_str::<Value>(found.get()).ok().as_ref(), Some(member));
    }
    added(text, &value, &other);
}

fn members<'a>(object: &'a Object<'_>) -> Vec<(&'a str, &'a str)> {
    object.iter().map(|(name, value)| (name, value.get())).collect()
}

/// What `serde_json` reads, where it can: it knows neither any nesting nor any number.
fn map(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

fn added(text: &str, value: &Map<String, Value>, other: &RawValue) {
    let raw = RawValue::from_string(text.to_owned()).expect("it was read");
    let Ok(more) = serde_json::from_str::<Value>(other.get()) else { return };

    let entry = |name| (name, Cow::Borrowed(other));
    let with = map(with_meta(Some(&raw), &[entry("a"), entry("b"), entry("a")]).get()).expect("an object");
    let mut expected = value.clone();
    let mut meta = value.get("_meta").and_then(Value::as_object).cloned().unwrap_or_default();
    meta.insert("a".to_owned(), more.clone());
    meta.insert("b".to_owned(), more.clone());
    expected.insert("_meta".to_owned(), meta.into());
    assert_eq!(with, expected);

    let answers = [("k".to_owned(), other.to_owned())];
    let with = map(with_input(Some(&raw), &answers, Some(other)).get()).expect("an object");
    let mut expected = value.clone();
    expected.insert("inputResponses".to_owned(), Map::from_iter([("k".to_owned(), more.clone())]).into());
    expected.insert("requestState".to_owned(), more);
    assert_eq!(with, expected);

    let with = map(with_defaults(other.get(), &raw).expect("an object").get()).expect("an object");
    for (name, member) in &with {
        let default = || {
            let properties = serde_json::from_str::<Value>(other.get()).ok()?;
            properties.get("properties")?.get(name)?.get("default").cloned()
        };
        assert_eq!(Some(member.clone()), value.get(name).cloned().or_else(default), "{name}");
    }
    assert!(value.keys().all(|name| with.contains_key(name)));
}

/// What a result or parameters are taken for.
fn meanings(text: &str) {
    // Null where `serde_json` cannot read all of it.
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    if let ProbeAnswer::Stateless(revision) = answer_of_result(text) {
        assert!(revision.is_stateless());
        let named = value["supportedVersions"].as_array();
        assert!(value.is_null() || named.is_some_and(|named| named.contains(&revision.as_str().into())));
    }
    if let Some(id) = subscription_of(text) {
        if value.is_object() {
            let named = &value["_meta"]["io.modelcontextprotocol/subscriptionId"];
            assert_eq!(named.as_u64().or_else(|| named.as_str()?.parse().ok()), Some(id));
        }
    }
    let _ = task_state(text);
    let kind = value.get("resultType");
    for (method, tasks) in [("tools/call", false), ("tools/call", true), ("tools/list", true)] {
        match outcome(method, text, tasks).unwrap_or(Outcome::Complete) {
            Outcome::Complete => assert!(kind.is_none_or(|kind| kind == "complete"), "{kind:?}"),
            Outcome::InputRequired(input) => {
                assert!(method == "tools/call" && kind.is_none_or(|kind| kind == "input_required"));
                assert!(input.state.is_some() || !input.requests.is_empty());
            }
            Outcome::Task(task) => {
                assert!(tasks && method == "tools/call" && kind.is_none_or(|kind| kind == "task"));
                assert!(task.requests.is_empty() || task.status == "input_required");
            }
            Outcome::Unknown => {}
        }
    }
}
