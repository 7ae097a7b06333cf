//! Unit tests of `protocol::elicitation`.

use super::*;

fn filled(schema: &str, content: &str) -> Option<String> {
    let content = RawValue::from_string(content.to_owned()).unwrap();
    with_defaults(schema, &content).map(|filled| filled.get().to_owned())
}

const SCHEMA: &str = r#"{"type":"object","properties":{
    "name":{"type":"string","default":"Ada"},
    "age":{"type":"integer","default":36},
    "sure":{"type":"boolean","default":false},
    "free":{"type":"string"}}}"#;

#[test]
fn rev_04_omitted_fields_get_their_defaults() {
    assert_eq!(filled(SCHEMA, "{}").unwrap(), r#"{"name":"Ada","age":36,"sure":false}"#);
}

#[test]
fn rev_04_given_fields_stay() {
    assert_eq!(
        filled(SCHEMA, r#"{"age":null,"extra":[1]}"#).unwrap(),
        r#"{"age":null,"extra":[1],"name":"Ada","sure":false}"#
    );
}

#[test]
fn rev_04_a_schema_without_defaults_or_form_changes_nothing() {
    for schema in ["{}", "[]", "null", r#"{"properties":7}"#, r#"{"properties":{"a":7}}"#, "not json"] {
        assert_eq!(filled(schema, r#"{"a":1}"#).unwrap(), r#"{"a":1}"#, "{schema}");
    }
}

#[test]
fn rev_04_content_must_be_an_object() {
    assert_eq!(filled(SCHEMA, "[]"), None);
}

#[test]
fn rev_04_of_duplicate_properties_the_last_counts() {
    let schema = r#"{"properties":{"a":{"default":1},"b":{},"a":{},"b":{"default":2}}}"#;
    assert_eq!(filled(schema, "{}").unwrap(), r#"{"b":2}"#);
}

/// Read anew for each time it stands there, this schema would take hours.
#[test]
fn a_property_that_is_repeated_is_read_once() {
    let mut schema = r#"{"properties":{"#.to_owned();
    schema += &r#""a":{},"#.repeat(100_000);
    schema += &format!(r#""a":{{"default":7,"x":"{}"}}}}}}"#, "x".repeat(10_000_000));
    assert_eq!(filled(&schema, "{}").unwrap(), r#"{"a":7}"#);
}
