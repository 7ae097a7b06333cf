//! Unit tests of `protocol::meta`.

use super::*;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn with(params: Option<&str>) -> String {
    let params = params.map(raw);
    let token = raw("7");
    with_meta(params.as_deref(), &[("progressToken", Cow::Borrowed(&token))]).get().to_owned()
}

#[test]
fn prg_01_the_token_is_in_the_metadata() {
    assert_eq!(with(None), r#"{"_meta":{"progressToken":7}}"#);
    assert_eq!(with(Some(r#"{"name":"x"}"#)), r#"{"name":"x","_meta":{"progressToken":7}}"#);
}

#[test]
fn meta_01_what_the_caller_put_there_stays() {
    assert_eq!(
        with(Some(r#"{"_meta":{"a": [1], "progressToken":"mine"},"name":"x"}"#)),
        r#"{"_meta":{"a":[1],"progressToken":7},"name":"x"}"#
    );
}

#[test]
fn mod_09_the_key_of_an_extension_has_a_prefix() {
    for key in ["com.example/thing", "a/b", "io.modelcontextprotocol/ui", "com.ex-ample2/x_y-z.1", "a.b/7"] {
        assert_eq!(check_extension(key), Ok(()), "{key}");
    }
    for key in [
        "",
        "thing",
        "/thing",
        "com.example/",
        "com..example/x",
        ".com/x",
        "com./x",
        "1com/x",
        "-a/x",
        "a-/x",
        "com.example/-x",
        "com.example/x.",
        "com.example/x y",
        "com.example/a/b",
        "com example/x",
        "côm/x",
    ] {
        assert!(check_extension(key).is_err(), "{key}");
    }
}
