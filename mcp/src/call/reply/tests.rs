//! Unit tests of `call::reply`.

use super::*;
use crate::inbox::config::Config;
use crate::protocol::message::{Inbound, Message, parse};
use crate::types::{CallToolResult, Json};
use serde::Deserialize;
use serde_json::Value;

fn reply(text: &str) -> ResultText {
    match parse(text.as_bytes()) {
        Ok(Inbound::One(Message::Response { outcome: Ok(result), .. })) => result,
        other => panic!("{text}: {other:?}"),
    }
}

#[derive(Debug, Deserialize)]
struct Part {
    text: String,
    kept: Json,
}

fn decoded<T: DeserializeOwned>(reply: ResultText) -> Result<T, Error> {
    read_result(&Inbox::new(Config::new(), None), "x", reply)
}

#[test]
fn a_result_is_read_in_whatever_envelope_it_comes() {
    const RESULT: &str = r#"{"text":"t","kept":[ 1 ]}"#;
    for text in [
        r#"{"jsonrpc":"2.0","id":7,"result":R}"#,
        r#"{"result":R,"jsonrpc":"2.0","id":7}"#,
        r#"{"id":7,"result":R,"more":{}}"#,
        r#"{"id":"7","result":R}"#,
    ] {
        let text = text.replace('R', RESULT);
        let part: Part = decoded(reply(&text)).unwrap();
        assert_eq!((&*part.text, part.kept.text()), ("t", "[ 1 ]"));
        assert_eq!(checked(reply(&text)).unwrap().get(), RESULT);
    }
}

#[test]
fn a_failure_says_what_is_wrong() {
    for (text, expected) in [
        (r#"{"id":7,"result":{"text":7}}"#, Violation::Result),
        (r#"{"id":7,"result":{"text":}}"#, Violation::Malformed("message is not valid JSON")),
        (r#"{"id":7,"result":{"text":"}}"#, Violation::Malformed("message is not valid JSON")),
        (r#"{"id":7,"result":{},"id":8,"more":{}}"#, Violation::Malformed("message has two ids")),
    ] {
        let error = decoded::<Part>(reply(text)).unwrap_err();
        assert_eq!(*violation(&error), expected, "{text}: {error}");
    }
    // A whole reply with something behind it is a reply.
    assert_eq!(checked(reply(r#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}}"#)).unwrap().get(), r#"{"a":1}"#);
    let error = checked(reply(r#"{"id":7,"result":{"a":1}{}}"#)).unwrap_err();
    assert_eq!(*violation(&error), Violation::Malformed("message is not valid JSON"));
}

fn violation(error: &Error) -> &Violation {
    match error.kind() {
        ErrorKind::Protocol(error) => error.violation(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn half_a_surrogate_anywhere_is_mended() {
    let text = r#"{"id":7,"result":{"text":"a \ud83d b","kept":{"\ude00":"\uD83D\uDE00 \uD83D"}}}"#;
    let part: Part = decoded(reply(text)).unwrap();
    assert_eq!(part.text, "a \u{fffd} b");
    assert_eq!(part.kept.text(), r#"{"\ufffd":"\uD83D\uDE00 \ufffd"}"#);
    let whole: Value = Json::from(checked(reply(text)).unwrap()).parse().unwrap();
    assert_eq!(whole["kept"]["\u{fffd}"], "\u{1f600} \u{fffd}");
    let tool =
        r#"{"\ud83d":1,"id":7,"result":{"content":[{"type":"text","text":"\ud83d"}],"\ud83d":"\ud83d"}}"#;
    let tool: CallToolResult = decoded(reply(tool)).unwrap();
    let again = serde_json::to_string(&tool).unwrap();
    assert!(serde_json::from_str::<Value>(&again).is_ok(), "{again}");
    assert_eq!(again.matches('\u{fffd}').count() + again.matches(r"\ufffd").count(), 3);
}

#[test]
fn the_largest_limit_lets_every_result_through() {
    let mut config = Config::new();
    config.limits.decoded = usize::MAX;
    let text = r#"{"id":7,"result":{"content":[{"type":"text","text":"hello"}]}}"#;
    let read = read_result_within::<CallToolResult>(&Inbox::new(config, None), "x", reply(text), usize::MAX);
    let (result, taken) = read.unwrap();
    assert_eq!(result.text(), "hello");
    assert!((5..1000).contains(&taken), "{taken}");
}
