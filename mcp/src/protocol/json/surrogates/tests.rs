//! Unit tests of `protocol::json::surrogates`.

use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

fn borrows(text: &str) {
    assert!(matches!(mend(text), Cow::Borrowed(same) if same == text), "{text}");
}

#[test]
fn what_is_unicode_stays_as_it_is() {
    for text in [
        "",
        "{}",
        r#""plain""#,
        r#""\n\t\"\\\/ \u0041 \uFFFD""#,
        r#""\ud83d\ude00 \uD83D\uDE00""#,
        // The backslash is escaped, the rest is text.
        r#""\\ud83d \\\\uDE00""#,
    ] {
        borrows(text);
    }
}

#[test]
fn half_a_pair_is_replaced() {
    for (text, expected) in [
        (r#""a \ud83d b""#, r#""a \ufffd b""#),
        (r#""\uD83D""#, r#""\ufffd""#),
        (r#""\udE00""#, r#""\ufffd""#),
        (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
        // The first high half is alone, the second is not.
        (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
        (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
        (r#""\ud83d\n""#, r#""\ufffd\n""#),
        (r#""\ud83d\\ude00""#, r#""\ufffd\\ude00""#),
        (r#""\\\ud83d""#, r#""\\\ufffd""#),
        (r#"{"\udbff":"é\udfff"}"#, r#"{"\ufffd":"é\ufffd"}"#),
    ] {
        assert_eq!(mend(text), expected);
        assert!(serde_json::from_str::<Value>(expected).is_ok());
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(mended(&raw).get(), expected);
    }
}

#[test]
fn what_is_cut_off_or_no_escape_stays_as_it_is() {
    for text in [r"\", r"\u", r"\ud83", r"\ud8gg", r"\u+d83", r"\ud8é", "\\é\\"] {
        borrows(text);
    }
    assert_eq!(mend(r"\ud83d\ude0"), r"\ufffd\ude0");
}

/// The inside of a JSON string.
fn content() -> impl Strategy<Value = String> {
    let escape = prop_oneof![
        Just(r"\ud83d".to_owned()),
        Just(r"\uDE00".to_owned()),
        Just(r"\\".to_owned()),
        Just("ud83d".to_owned()),
        Just(r"\n".to_owned()),
        any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
        (0xd700_u16..0xe100).prop_map(|unit| format!("\\u{unit:04X}")),
        "[a-zé€😀]{0,3}",
    ];
    prop::collection::vec(escape, 0..8).prop_map(|parts| parts.concat())
}

fn value() -> impl Strategy<Value = String> {
    let string = content().prop_map(|content| format!("\"{content}\""));
    let leaf = prop_oneof![string, Just("null".to_owned()), Just("-1.5".to_owned())];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((content(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.into_iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_json_becomes_unicode(text in value()) {
        prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{text}");
        let mended = mend(&text);
        prop_assert!(serde_json::from_str::<Value>(&mended).is_ok(), "{text}");
        prop_assert_eq!(mended.len(), text.len());
        prop_assert!(matches!(mend(&mended), Cow::Borrowed(_)));
        if serde_json::from_str::<Value>(&text).is_ok() {
            prop_assert!(matches!(mended, Cow::Borrowed(_)));
        }
    }

    #[test]
    fn any_text_will_do(text in r#"[\\ud83eDé"]{0,30}"#) {
        let mended = mend(&text);
        prop_assert_eq!(&mend(&mended), &mended);
    }
}
