//! Parameters that are written into the message at once are those that are made JSON first, and so is what is wrong with
//! them.

use super::{Params, Request};
use crate::call::{NOT_AN_OBJECT, Named, invalid, params_of};
use crate::error::Error;
use crate::protocol::message::{Draft, NoParams};
use proptest::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

fn text(id: u64, method: &str, params: Params<'_>) -> String {
    let request = Request { method, params, meta: &[], routing: None };
    let message = request.into_message(id, &[]);
    assert_eq!((message.id(), message.method()), (Some(id), Some(method)));
    String::from_utf8(message.body).unwrap()
}

/// A method of ours that names what it is about.
const OWN: &str = "tools/call";

type Texts = Result<String, String>;

fn both(
    id: u64,
    method: &str,
    draft: Result<Draft, NoParams>,
    params: Result<Option<Box<RawValue>>, Error>,
) -> (Texts, Texts) {
    let told = |error: Error| format!("{error:#}");
    let at_once = draft.map(|draft| text(id, method, Params::Written(draft)));
    let first = params.map(|params| text(id, method, Params::Text(params.as_deref())));
    (at_once.map_err(|why| told(invalid(why, NOT_AN_OBJECT))), first.map_err(told))
}

/// Both ways, of a method's parameters and of a tool's arguments.
fn same(id: u64, method: &str, name: &str, value: &impl Serialize) -> [Texts; 2] {
    let (at_once, first) = both(id, method, Draft::new(method, value), params_of(value, NOT_AN_OBJECT));
    assert_eq!(at_once, first);
    let params = params_of(value, NOT_AN_OBJECT)
        .and_then(|arguments| params_of(&Named { name, arguments: arguments.as_deref() }, NOT_AN_OBJECT));
    let (named_at_once, named_first) = both(id, OWN, Draft::named(OWN, name, value), params);
    assert_eq!(named_at_once, named_first);
    for (message, method) in [(&at_once, method), (&named_at_once, OWN)] {
        let Ok(message) = message else { continue };
        assert!(!message.contains(['\n', '\r']));
        let message: Value = serde_json::from_str(message).unwrap();
        assert_eq!((&message["id"], &message["method"]), (&json!(id), &json!(method)));
    }
    [at_once, named_at_once]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn the_message_is_the_same(id: u64, method: String, name: String, value in value()) {
        let _ = same(id, &method, &name, &value);
    }

    /// JSON text keeps its spaces, and loses its line breaks.
    #[test]
    fn the_message_is_the_same_for_json_text(id: u64, method: String, name: String, value in value(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let raw = RawValue::from_string(text.unwrap().replace('\n', "\r\n")).unwrap();
        let _ = same(id, &method, &name, &raw);
    }
}

#[test]
fn ids_of_every_length() {
    for id in (0..20).map(|digits| 10_u64.pow(digits)).flat_map(|power| [power - 1, power]).chain([u64::MAX])
    {
        let [Ok(message), _] = same(id, "ping", "", &()) else { panic!("null is nothing") };
        assert_eq!(message, format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
    }
}

struct Broken;

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[test]
fn what_is_no_object_is_the_same_error() {
    let not_object = "arguments must be a JSON object";
    let errors = |value: [Texts; 2]| value.map(Result::unwrap_err);
    for error in [
        errors(same(1, "m", "n", &7)),
        errors(same(1, "m", "n", &"{")),
        errors(same(1, "m", "n", &[()])),
        errors(same(1, "m", "n", &[(); 0])),
        errors(same(1, "m", "n", &"null")),
    ] {
        assert!(error.iter().all(|error| error.contains(not_object)), "{error:?}");
    }
    for error in [
        errors(same(1, "m", "n", &Broken)),
        errors(same(1, "m", "n", &BTreeMap::from([((), 1)]))),
        errors(same(1, "m", "n", &(Value::Null, Broken))),
        errors(same(1, "m", "n", &BTreeMap::from([("a", Broken)]))),
    ] {
        assert!(error.iter().all(|error| error.contains("they cannot be made JSON")), "{error:?}");
    }
}

#[test]
fn what_serializes_as_null_is_nothing() {
    let [plain, named] = same(1, "m", "n", &f64::NAN).map(Result::unwrap);
    assert_eq!(plain, r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#);
    assert_eq!(named, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"n"}}"#);
    assert!(same(1, "m", "n", &None::<Value>).iter().all(Result::is_ok));
    assert!(same(1, "m", "n", &Some(json!({}))).iter().all(Result::is_ok));
}
