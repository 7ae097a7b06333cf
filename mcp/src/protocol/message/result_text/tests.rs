//! Unit tests of `protocol::message::result_text`.

use super::super::{Inbound, parse, parse_by_scan};
use super::*;
use proptest::prelude::*;

fn split(text: &str) -> Option<(u64, String)> {
    ResultText::split(text).map(|(id, result)| (id, result.text().to_owned()))
}

/// What comes of a reply that was split.
fn outcome(text: &str) -> Result<String, String> {
    let (_, result) = ResultText::split(text).expect("a reply in the usual form");
    match result.into_checked() {
        Ok(raw) => Ok(raw.get().to_owned()),
        Err(ReplyError::Malformed(reason)) => Err(reason.to_string()),
        Err(error) => Err(format!("{error:?}")),
    }
}

#[test]
fn a_reply_of_any_usual_form_is_split() {
    const RESULT: &str = r#"{ "a": [{}], "text":"é,\"id\":9}" }"#;
    for text in [
        r#"{"jsonrpc":"2.0","id":7,"result":R}"#,
        r#"{"id":7,"jsonrpc":"2.0","result":R}"#,
        r#"{"jsonrpc": "2.0", "id": 7, "result": R}"#,
        r#"{"result":R,"jsonrpc":"2.0","id":7}"#,
        r#"{"result":R,"id":7,"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","result":R,"id":7}"#,
        r#"{"id":7,"result":R,"jsonrpc":"2.0"}"#,
        r#"{"id":7,"result":R}"#,
        r#"{"result":R,"id":7}"#,
        " \r\n{\t\"result\" :\nR\n, \"jsonrpc\"\t: \"2.0\" , \"id\" : 7 } \n",
    ] {
        let text = text.replace('R', RESULT);
        assert_eq!(split(&text), Some((7, RESULT.to_owned())), "{text}");
        assert_eq!(outcome(&text).as_deref(), Ok(RESULT));
    }
    assert_eq!(split(r#"{"id":0,"result":{}}"#), Some((0, "{}".to_owned())));
    let most = format!(r#"{{"id":{},"result":{{}}}}"#, u64::MAX);
    assert_eq!(split(&most), Some((u64::MAX, "{}".to_owned())));
}

#[test]
fn everything_else_is_left_to_the_scan() {
    for text in [
        "",
        "{",
        "{}",
        "{}}",
        r#"{"id":7,"result":}"#,
        r#"{"id":7,"result":{"#,
        r#"{"id":7,"result":{}"#,
        r#"{"id":7,"result":{}]"#,
        r#"{"id":7,"result":null}"#,
        r#"{"id":7,"result":[]}"#,
        r#"{"id":7,"result":{},"error":null}"#,
        r#"{"id":7,"error":{}}"#,
        r#"{"id":7,"method":"ping"}"#,
        r#"{"id":7,"method":"ping","result":{}}"#,
        r#"{"id":7,"id":8,"result":{}}"#,
        r#"{"result":{},"id":7,"id":8}"#,
        r#"{"id":07,"result":{}}"#,
        r#"{"id":-7,"result":{}}"#,
        r#"{"id":7.0,"result":{}}"#,
        r#"{"id":"7","result":{}}"#,
        r#"{"id":18446744073709551616,"result":{}}"#,
        r#"{"result":{},"id":07}"#,
        r#"{"result":{},"id":-7}"#,
        r#"{"result":{},"id":1.7}"#,
        r#"{"result":{},"id":1e7}"#,
        r#"{"result":{},"id":18446744073709551616}"#,
        r#"{"result":{},"id":}"#,
        r#"{"result":{} "id":7}"#,
        r#"{"result":{}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"1.0","id":7,"result":{}}"#,
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":7,"result":{}}"#,
        r#"{"jsonrpc":2.0,"id":7,"result":{}}"#,
        r#"{"\u0069d":7,"result":{}}"#,
        "{\"id\":7,\x0c\"result\":{}}",
    ] {
        assert_eq!(split(text), None, "{text}");
    }
}

#[test]
fn what_is_no_result_is_found_out_by_the_scan() {
    for (text, expected) in [
        (r#"{"id":7,"result":{"a":1},"more":{}}"#, Ok(r#"{"a":1}"#)),
        (r#"{"id":7,"result":{"a":1},"result":{"a":2}}"#, Ok(r#"{"a":2}"#)),
        (r#"{"result":{},"more":{},"id":7}"#, Ok("{}")),
        (r#"{"result":{},"id":8,"result":{},"id":7}"#, Ok("{}")),
        (r#"{"id":7,"result":{},"id":8,"more":{}}"#, Err("message has two ids")),
        (r#"{"id":7,"result":{},"error":{}}"#, Err("response has both a result and an error")),
        (
            r#"{"id":7,"result":{},"method":"ping","more":{}}"#,
            Err("message has both a method and a result or error"),
        ),
        (
            r#"{"id":7,"result":{},"result":null,"method":"ping","more":{}}"#,
            Err("message has both a method and a result or error"),
        ),
        (r#"{"id":7,"result":{"a":NaN}}"#, Err("message is not valid JSON")),
        (r#"{"id":7,"result":{"a":{}}"#, Err("message is not valid JSON")),
        (r#"{"jsonrpc":"2.0","id":7,"result":{}}}"#, Ok("{}")),
        (r#"{"id":7,"result":{}{}}"#, Err("message is not valid JSON")),
        ("{\"id\":7,\"result\":{\"a\":\"\n\"}}", Err("message is not valid JSON")),
        (r#"{"result":{"a":},"jsonrpc":"2.0","id":7}"#, Err("message is not valid JSON")),
    ] {
        let found = outcome(text);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }
    let (_, result) = ResultText::split(r#"{"id":7,"result":{},"result":null,"error":{"code":3}}"#).unwrap();
    assert!(matches!(result.into_checked(), Err(ReplyError::Rpc(error)) if error.code() == 3));
}

#[test]
fn half_a_surrogate_is_mended() {
    for text in [
        r#"{"id":7,"result":{"\ud83d":["\ude00","\ud83d\ude00"]}}"#,
        r#"{"id":7,"result":{"\ud83d":["\ude00","\ud83d\ude00"]},"more":{}}"#,
        r#"{"id":7,"result":{"\ud83d":["\ude00","\ud83d\ude00"]},"\ud83d":{}}"#,
    ] {
        assert_eq!(outcome(text).as_deref(), Ok(r#"{"\ufffd":["\ufffd","\ud83d\ude00"]}"#), "{text}");
    }
}

/// JSON objects, and what is not quite one.
fn result() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "{}",
        r#"{"a":1}"#,
        r#"{"a":{"id":9,"jsonrpc":"2.0"}}"#,
        r#"{ "a" : [ {} , "}\"," ] }"#,
        r#"{"\ud83d":"\ude00"}"#,
        r#"{"é":"\ud83d\ude00"}"#,
        "null",
        "[]",
        r#""{}""#,
        "{",
        "}",
        r#"{"a":"#,
        r#"{"a":"}"#,
        r#"{"a":NaN}"#,
        "{}}",
        "{} {}",
        "",
    ])
    .prop_map(str::to_owned)
}

fn member() -> impl Strategy<Value = (&'static str, String)> {
    let fixed = |name: &'static str, values: &'static [&'static str]| {
        prop::sample::select(values).prop_map(move |value| (name, value.to_owned()))
    };
    prop_oneof![
        3 => fixed(r#""jsonrpc""#, &[r#""2.0""#, r#""2.0""#, r#""2.0""#, r#""1.0""#, "2.0"]),
        4 => fixed(r#""id""#, &["7", "7", "8", "70", "0", "07", "-7", "7.0", "\"7\"", "null", "99999999999999999999"]),
        4 => result().prop_map(|value| (r#""result""#, value)),
        1 => fixed(r#""error""#, &["null", r#"{"code":1,"message":"\ud83d"}"#]),
        1 => fixed(r#""method""#, &["null", "\"m\""]),
        1 => fixed(r#""more""#, &["{}", "null", r#"{"a":"}"#]),
        1 => fixed(r#""\u0069d""#, &["7", "8"]),
        1 => fixed(r#""\ud83d""#, &["{}"]),
    ]
}

/// A message of these members, with this for a space.
fn object(members: &[(&'static str, String)], space: &str) -> String {
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("{space}{name}{space}:{space}{value}{space}")).collect();
    format!("{space}{{{}}}{space}", members.join(","))
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", " ", "\t\r\n ", "\x0c"])
}

fn reply() -> impl Strategy<Value = String> {
    let any_members = prop::collection::vec(member(), 0..6);
    let usual = (result(), any::<bool>(), prop::collection::vec(member(), 0..2)).prop_flat_map(
        |(result, version, mut members)| {
            members.push((r#""id""#, "7".to_owned()));
            members.push((r#""result""#, result));
            if version {
                members.push((r#""jsonrpc""#, r#""2.0""#.to_owned()));
            }
            Just(members).prop_shuffle()
        },
    );
    (prop_oneof![any_members, usual], space()).prop_map(|(members, space)| object(&members, space))
}

/// Cut off, or with a byte that is another one.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (reply(), any::<prop::sample::Index>(), any::<bool>(), prop::sample::select(&b"{}[]\",:\\7 \n\xff"[..]))
        .prop_map(|(reply, at, cut, byte)| {
            let mut bytes = reply.into_bytes();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            bytes
        })
}

/// What a message comes to, to be compared.
fn comes_to(parsed: Result<Inbound, Malformed>) -> Result<(Option<u64>, String), MalformedReason> {
    match parsed {
        Ok(Inbound::One(Message::Response { id, outcome: Ok(result) })) => {
            Ok((id.ours(), result.into_checked().expect("it was looked at").get().to_owned()))
        }
        Ok(Inbound::One(Message::Response { id, outcome: Err(error) })) => {
            Ok((id.ours(), format!("{error:?}")))
        }
        // One message among other words.
        Ok(Inbound::Batch(batch)) => {
            let mut messages: Vec<_> = batch.collect();
            match messages.pop() {
                Some(Ok(message)) if messages.is_empty() => {
                    comes_to(super::super::settled(Inbound::One(message)))
                }
                last => Ok((None, format!("{messages:?} {last:?}"))),
            }
        }
        Ok(other) => Ok((None, format!("{other:?}"))),
        Err(malformed) => Err(malformed.reason),
    }
}

/// The form's outcome is that of the scan. The exception: where the scan finds another id, it has two, and is malformed.
fn agree(text: &[u8]) {
    let scanned = comes_to(parse_by_scan(text));
    // `parse` takes a byte order mark off before it looks at the form.
    let unmarked = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let split = std::str::from_utf8(unmarked).ok().and_then(ResultText::split);
    let parsed = comes_to(parse(text).and_then(super::super::settled));
    match (split, &scanned) {
        (Some((id, _)), Ok((found, _))) if *found != Some(id) => {
            assert!(
                // No JSON, where what is damaged is behind the reply that the scan finds.
                matches!(
                    parsed,
                    Err(MalformedReason::OtherId
                        | MalformedReason::MethodAndOutcome
                        | MalformedReason::NotJson)
                ),
                "{parsed:?}, {scanned:?}"
            );
        }
        _ => assert_eq!(parsed, scanned, "{}", String::from_utf8_lossy(text)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_ways_agree(text in reply()) {
        agree(text.as_bytes());
        agree(format!("\u{feff}{text}").as_bytes());
    }

    #[test]
    fn both_ways_agree_on_batches(replies in prop::collection::vec(reply(), 0..4)) {
        let text = format!("[{}]", replies.join(","));
        let members = |parsed| match parsed {
            Ok(Inbound::Batch(batch)) => {
                Ok(batch.map(|member| comes_to(member.map(Inbound::One))).collect::<Vec<_>>())
            }
            other => Err(comes_to(other)),
        };
        prop_assert_eq!(members(parse(text.as_bytes())), members(parse_by_scan(text.as_bytes())));
    }

    #[test]
    fn both_ways_agree_on_what_is_damaged(text in damaged()) {
        agree(&text);
    }

    /// What was split off and can be read is what the scan finds.
    #[test]
    fn what_can_be_read_needs_no_scan(text in reply()) {
        if let Some((id, result)) = ResultText::split(&text) {
            if serde_json::from_str::<serde_json::Value>(result.text()).is_ok() {
                let found = comes_to(parse_by_scan(text.as_bytes()));
                prop_assert_eq!(found, Ok((Some(id), result.text().to_owned())));
            }
        }
    }

    #[test]
    fn any_text_will_do(text in ".{0,60}") {
        prop_assert_eq!(split(&text), None);
    }
}
