//! Unit tests of `protocol::json::object`.

use super::*;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

#[test]
fn m_20_order_and_text_survive() {
    let json = r#"{"z":1.0,"a":{"y": [ ]},"\u0061b":"\u00e9"}"#;
    let object = Object::read(json).unwrap();
    assert_eq!(object.write().get(), r#"{"z":1.0,"a":{"y": [ ]},"ab":"\u00e9"}"#);
}

#[test]
fn a_member_is_set_in_its_place_or_at_the_end() {
    let mut object = Object::read(r#"{"a":1,"b":2}"#).unwrap();
    object.set("a", Cow::Owned(raw("3")));
    object.set("c", Cow::Owned(raw("4")));
    assert_eq!(object.write().get(), r#"{"a":3,"b":2,"c":4}"#);
}

#[test]
fn of_duplicates_the_last_counts() {
    let object = Object::read(r#"{"a":1,"a":2}"#).unwrap();
    assert_eq!(object.get("a").unwrap().get(), "2");
}

#[test]
fn nothing_but_one_object_will_do() {
    for json in ["", "[]", "null", "{} {}", "{", "1"] {
        assert!(Object::read(json).is_none(), "{json:?}");
    }
}
