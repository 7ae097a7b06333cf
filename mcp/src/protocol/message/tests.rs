//! Unit tests of `protocol::message`.

use proptest::prelude::*;

use super::*;

/// As [`parse`], and with a look into the result.
fn read(text: &[u8]) -> Result<Inbound, Malformed> {
    parse(text).and_then(settled)
}

fn one(text: &str) -> Message {
    match read(text.as_bytes()) {
        Ok(Inbound::One(message)) => message,
        other => panic!("{text}: {other:?}"),
    }
}

fn batch(text: &str) -> Vec<Result<Message, Malformed>> {
    match parse(text.as_bytes()) {
        Ok(Inbound::Batch(members)) => members.collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn malformed(text: impl AsRef<[u8]>) -> (MalformedReason, Option<u64>) {
    let Malformed { reason, id } = read(text.as_ref()).expect_err("input is malformed");
    (reason, id)
}

fn response(text: &str) -> (ResponseId, Result<String, RpcError>) {
    match one(text) {
        Message::Response { id, outcome } => (id, outcome.map(|result| result.text().to_owned())),
        other => panic!("{text}: {other:?}"),
    }
}

fn result(text: &str) -> (ResponseId, String) {
    let (id, outcome) = response(text);
    (id, outcome.expect("response is a result"))
}

fn error(text: &str) -> RpcError {
    response(text).1.expect_err("response is an error")
}

fn request(text: &str) -> (String, String, Option<String>) {
    match one(text) {
        Message::Request { id, method, params } => {
            (id.as_str().to_owned(), method, params.map(|raw| raw.get().to_owned()))
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn notification(text: &str) -> (String, Option<String>) {
    match one(text) {
        Message::Notification { method, params } => (method, params.map(|raw| raw.get().to_owned())),
        other => panic!("{text}: {other:?}"),
    }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("test JSON is valid")
}

fn id(json: &str) -> RequestId {
    RequestId::new(&raw(json)).expect("test id is valid")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("output is UTF-8")
}

#[test]
fn m_01_the_version_member_may_be_missing_or_wrong() {
    for version in ["", r#""jsonrpc":"2.0","#, r#""jsonrpc":"1.0","#, r#""jsonrpc":2,"#] {
        let (id, result) = result(&format!(r#"{{{version}"id":7,"result":{{}}}}"#));
        assert_eq!((id, result.as_str()), (ResponseId::Ours(7), "{}"), "{version}");
    }
}

#[test]
fn m_01_one_byte_order_mark_is_skipped() {
    assert_eq!(result("\u{feff} {\"id\":7,\"result\":1}").0, ResponseId::Ours(7));
    assert_eq!(malformed("\u{feff}\u{feff}{\"id\":7,\"method\":\"x\"}"), (MalformedReason::NotJson, None));
}

#[test]
fn m_01_text_that_is_not_utf8_still_tells_its_id() {
    let text = b"{\"id\":7,\"result\":\"\xff\"}";
    assert_eq!(malformed(text), (MalformedReason::NotUtf8, Some(7)));
}

#[test]
fn m_01_text_that_is_not_json_still_tells_its_id() {
    for (text, id) in [
        (r#"{"id":7,"result":{"x":NaN}}"#, Some(7)),
        (r#"{"id":7,"result":{"#, Some(7)),
        (r#"{"id":7,"result":{} {}"#, Some(7)),
        (r#"{"id":7,"method":"ping","params":{"#, None),
        ("Listening on port 3000", None),
        ("Content-Length: 20", None),
        ("", None),
        (" ", None),
    ] {
        assert_eq!(malformed(text), (MalformedReason::NotJson, id), "{text}");
    }
}

#[test]
fn m_01_json_that_is_no_object_is_no_message() {
    for text in ["7", "null", "true", "\"text\"", " -1.5e3 "] {
        assert_eq!(malformed(text), (MalformedReason::NotAnObject, None), "{text}");
    }
}

#[test]
fn m_02_a_request_id_is_a_string_or_a_number() {
    for json in ["1", "-1", "1.0", "1.50", "1e3", "18446744073709551616", r#""a\u0062 ""#] {
        let (id, method, params) = request(&format!(r#"{{"id": {json} ,"method":"ping"}}"#));
        assert_eq!((id.as_str(), method.as_str(), params), (json, "ping", None));
    }
    for json in ["null", "{}", "[1]", "true"] {
        let text = format!(r#"{{"id":{json},"method":"ping"}}"#);
        assert_eq!(malformed(&text), (MalformedReason::BadRequestId, None), "{text}");
    }
}

#[test]
fn m_05_a_method_without_id_is_a_notification() {
    let (method, params) = notification(r#"{"method":"notifications/x","params":{"a":[ 1 ]}}"#);
    assert_eq!((method.as_str(), params.as_deref()), ("notifications/x", Some(r#"{"a":[ 1 ]}"#)));
}

#[test]
fn m_05_a_notification_may_have_an_id_that_is_null() {
    let (method, params) = notification(r#"{"id":null,"method":"notifications/x"}"#);
    assert_eq!((method.as_str(), params), ("notifications/x", None));
    let with_id = request(r#"{"id":1,"method":"notifications/x"}"#);
    assert_eq!((with_id.0.as_str(), with_id.1.as_str()), ("1", "notifications/x"));
}

#[test]
fn m_06_a_result_xor_an_error() {
    for (text, reason) in [
        (r#"{"id":7,"result":1,"error":{"code":1,"message":"m"}}"#, MalformedReason::ResultAndError),
        (r#"{"id":7}"#, MalformedReason::NoMethodNoOutcome),
        (r#"{"id":"7","error":null}"#, MalformedReason::NoMethodNoOutcome),
        (r#"{"id":7,"method":"ping","result":{}}"#, MalformedReason::MethodAndOutcome),
        (r#"{"id":7,"method":1,"error":{}}"#, MalformedReason::MethodAndOutcome),
    ] {
        assert_eq!(malformed(text), (reason, Some(7)), "{text}");
    }
    assert_eq!(malformed(r#"{"id":"x"}"#), (MalformedReason::NoMethodNoOutcome, None));
    assert_eq!(malformed("{}"), (MalformedReason::NoMethodNoOutcome, None));
}

#[test]
fn m_06_null_members_count_as_absent_but_a_result_may_be_null() {
    let null = (ResponseId::Ours(7), "null".to_owned());
    assert_eq!(result(r#"{"id":7,"result":{},"error":null}"#).1, "{}");
    assert_eq!(result(r#"{"id":7,"result":null}"#), null);
    assert_eq!(result(r#"{"id":7,"result":null,"error":null}"#), null);
    assert_eq!(result(r#"{"id":7,"result":null,"method":null,"params":null}"#), null);
    assert_eq!(error(r#"{"id":7,"result":null,"error":{"code":3}}"#).code(), 3);
    let text = r#"{"id":7,"method":"ping","params":null,"result":null,"error":null}"#;
    assert_eq!(request(text).1, "ping");
}

#[test]
fn m_07_a_response_may_have_no_id() {
    assert_eq!(response(r#"{"error":{"code":1,"message":"m"}}"#).0, ResponseId::Absent);
    assert_eq!(response(r#"{"id":null,"error":{"code":1,"message":"m"}}"#).0, ResponseId::Null);
    assert_eq!(response(r#"{"result":{}}"#).0, ResponseId::Absent);
}

#[test]
fn m_08_an_error_keeps_code_message_and_data() {
    let text = r#"{"id":1,"error":{"code":-32602,"message":"n\u006f","data":{ "b":1, "a":1.0 }}}"#;
    let error = error(text);
    assert_eq!((error.code(), error.message()), (-32602, "no"));
    assert_eq!(error.data(), Some(r#"{ "b":1, "a":1.0 }"#));
    assert_eq!(error.to_string(), "no (code -32602)");
    assert_eq!(error, error.clone());
}

#[test]
fn m_08_a_badly_formed_error_is_still_an_error() {
    for (json, code, message, data) in [
        ("{}", 0, "", None),
        (r#"{"code":-32000.0,"message":null}"#, -32000, "", None),
        (r#"{"code":" -32000 ","message":{"t":1}}"#, -32000, r#"{"t":1}"#, None),
        (r#"{"code":"E_FAIL","message":5,"data":null}"#, 0, "5", Some("null")),
        (r#"{"code":1e400,"message":"\ud800!"}"#, 0, "\u{fffd}!", None),
        (r#"{"code":1,"data":["\udfff"],"\ud800":1}"#, 1, "", Some(r#"["\ufffd"]"#)),
        (r#"{"code":"inf"}"#, 0, "", None),
        (r#"{"code":[1]}"#, 0, "", None),
        (r#"{"code":1e30}"#, i64::MAX, "", None),
        (r#"["\ud800"]"#, 0, "", Some(r#"["\ufffd"]"#)),
        (r#""\ud800""#, 0, "\u{fffd}", None),
        (r#""boom""#, 0, "boom", None),
        ("17", 0, "", Some("17")),
        ("[]", 0, "", Some("[]")),
    ] {
        let error = error(&format!(r#"{{"id":1,"error":{json}}}"#));
        assert_eq!((error.code(), error.message(), error.data()), (code, message, data), "{json}");
    }
    assert_eq!(error(r#"{"id":1,"error":{}}"#).to_string(), "no message (code 0)");
}

#[test]
fn m_09_our_id_is_recognised_as_string_and_as_float() {
    for (json, id) in [
        ("7", 7),
        ("7.0", 7),
        ("70e-1", 7),
        ("0.7E1", 7),
        (r#""7""#, 7),
        (r#""\u0037""#, 7),
        ("0", 0),
        ("18446744073709551615", u64::MAX),
        ("9007199254740991.0", (1 << 53) - 1),
    ] {
        assert_eq!(result(&format!(r#"{{"id":{json},"result":1}}"#)).0, ResponseId::Ours(id));
    }
    for json in [
        "-7",
        "7.5",
        "1e400",
        "18446744073709551616",
        "9007199254740992.0",
        "true",
        "{}",
        "[7]",
        r#""""#,
        r#""07""#,
        r#""+7""#,
        r#""7.0""#,
        r#"" 7""#,
        r#""x""#,
        r#""\ud800""#,
    ] {
        let text = format!(r#"{{"id":{json},"result":1}}"#);
        assert_eq!(result(&text).0, ResponseId::Foreign, "{text}");
    }
}

#[test]
fn m_09_the_answer_echoes_the_peers_id_with_its_type() {
    for json in ["7", "7.0", r#""7""#, r#""\u0037""#] {
        let answer = text(encode_result(&id(json), &raw("{}")));
        assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":{json},"result":{{}}}}"#));
    }
    assert_ne!(id("7"), id("\"7\""));
}

#[test]
fn m_10_absent_params_are_left_out() {
    let expected = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    assert_eq!(text(encode_request(7, "ping", None)), expected);
    assert_eq!(text(encode_request(7, "ping", Some(&raw("null")))), expected);
    assert_eq!(request(r#"{"id":7,"method":"ping","params":null}"#).2, None);
    assert_eq!(
        text(encode_notification("n", Some(&raw("[]")))),
        r#"{"jsonrpc":"2.0","method":"n","params":[]}"#
    );
    assert_eq!(text(encode_notification("n", None)), r#"{"jsonrpc":"2.0","method":"n"}"#);
}

#[test]
fn m_11_every_member_of_a_batch_is_judged_by_itself() {
    let members = batch(r#" [ {"id":1,"result":1}, {"method":"n"}, 5, [{"id":2,"result":1}], {"id":3} ] "#);
    assert!(matches!(&members[0], Ok(Message::Response { id: ResponseId::Ours(1), .. })));
    assert!(matches!(&members[1], Ok(Message::Notification { .. })));
    let not_an_object = Malformed::from(MalformedReason::NotAnObject);
    assert_eq!(members[2].as_ref().err(), Some(&not_an_object));
    assert_eq!(members[3].as_ref().err(), Some(&not_an_object));
    assert_eq!(members[4].as_ref().err().and_then(|malformed| malformed.id), Some(3));
    assert_eq!(members.len(), 5);
}

#[test]
fn m_02_a_request_id_has_at_most_1_kib() {
    for (length, fits) in [(RequestId::LONGEST, true), (RequestId::LONGEST + 1, false)] {
        let id = format!("\"{}\"", "i".repeat(length - 2));
        let read = read(format!(r#"{{"id":{id},"method":"ping"}}"#).as_bytes());
        assert_eq!(read.is_ok(), fits, "{length}");
    }
}

#[test]
fn m_11_a_batch_is_not_empty_and_is_valid_json() {
    assert_eq!(malformed("[]"), (MalformedReason::EmptyBatch, None));
    for text in ["[", r#"[{"id":1,"result":1"#, r#"[{"id":1,"method":"x"}] x"#, "[1,]"] {
        assert_eq!(malformed(text), (MalformedReason::NotJson, None), "{text}");
    }
}

#[test]
fn m_11_a_batch_is_read_to_its_end_however_it_is_written() {
    for (text, count) in [
        (format!("[{}]", vec![r#"{"id":1,"result":1}"#; 5000].join(",")), 5000),
        (format!(" \t[ {} ] \n", [r#"{"id":1,"result":"],["}"#; 3].join(" \n,\t")), 3),
        (r#"[{"id":1,"result":[1,[2]]}]"#.to_owned(), 1),
    ] {
        let members = batch(&text);
        assert_eq!(members.len(), count);
        for member in members {
            assert!(matches!(member, Ok(Message::Response { id: ResponseId::Ours(1), .. })), "{member:?}");
        }
    }
    let reasons = batch(r#"[1,null,"],",[ ],{},true,-1e5]"#).into_iter().map(|it| it.unwrap_err().reason);
    let mut expected = [MalformedReason::NotAnObject; 7];
    expected[4] = MalformedReason::NoMethodNoOutcome;
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
}

#[test]
fn m_16_a_refusal_carries_code_and_message() {
    assert_eq!(
        text(encode_error(&id("\"a\""), &RpcError::new(-32601, "no \"x\"\n"))),
        r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32601,"message":"no \"x\"\n"}}"#
    );
}

#[test]
fn m_16_a_method_is_a_string() {
    assert_eq!(request(r#"{"id":1,"method":"a\u002fb"}"#).1, "a/b");
    assert_eq!(request(r#"{"id":1,"method":"a\ud800"}"#).1, "a\u{fffd}");
    for json in ["1", "{}"] {
        let text = format!(r#"{{"id":1,"method":{json}}}"#);
        assert_eq!(malformed(&text), (MalformedReason::BadMethod, None), "{text}");
    }
}

#[test]
fn m_20_a_result_keeps_its_text() {
    let json = r#"{ "z":1.10, "a":[1e2 ,"\u00e9"], "z":12345678901234567890123, "$defs":{} }"#;
    assert_eq!(result(&format!(r#"{{"x":[{{}}],"id":1,"result": {json} }}"#)).1, json);
}

#[test]
fn m_20_of_duplicate_members_the_last_wins() {
    let text = r#"{"id":1,"result":1,"\u0069d":2,"result":2,"error":{},"error":null}"#;
    assert_eq!(result(text), (ResponseId::Ours(2), "2".to_owned()));
}

#[test]
fn m_23_nesting_costs_no_stack() {
    const DEPTH: usize = 1_000_000;
    let (open, close) = ("[".repeat(DEPTH), "]".repeat(DEPTH));
    let nested = format!("{open}{close}");
    assert_eq!(result(&format!(r#"{{"id":7,"result":{nested}}}"#)).1, nested);
    assert_eq!(result(&format!(r#"{{"x":{nested},"id":7,"result":1}}"#)).1, "1");
    assert_eq!(error(&format!(r#"{{"id":7,"error":{nested}}}"#)).data(), Some(&*nested));
    assert_eq!(batch(&nested).len(), 1);
    assert_eq!(malformed(&open), (MalformedReason::NotJson, None));
    let unclosed = format!(r#"{{"id":7,"result":{open}"#);
    assert_eq!(malformed(&unclosed), (MalformedReason::NotJson, Some(7)));
    let objects = format!(r#"{{"id":7,"result":{}"#, r#"{"a":"#.repeat(DEPTH));
    assert_eq!(malformed(&objects), (MalformedReason::NotJson, Some(7)));
}

#[test]
fn io_01_a_message_has_no_line_break() {
    let params = raw("{\r\n  \"a\": [\n1,\n2],\n\"b\": \"x\\n y\"\n}");
    let request = text(encode_request(1, "a\n\"b", Some(&params)));
    assert_eq!(request, r#"{"jsonrpc":"2.0","id":1,"method":"a\n\"b","params":{  "a": [1,2],"b": "x\n y"}}"#);
    let answer = text(encode_result(&id("1"), &params));
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":1,"result":{  "a": [1,2],"b": "x\n y"}}"#);
}

#[test]
fn malformed_says_what_and_for_whom() {
    let malformed = Malformed { reason: MalformedReason::ResultAndError, id: Some(7) };
    assert_eq!(malformed.to_string(), "response has both a result and an error (answers request 7)");
    assert_eq!(Malformed::from(MalformedReason::NotJson).to_string(), "message is not valid JSON");
}

/// Text made of pieces of messages, so that most of it is nearly a message.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "7",
        "7.0",
        "-",
        "null",
        "true",
        "NaN",
        "\"id\":",
        "\"id\":7,",
        "\"method\":\"m\"",
        "\"result\":",
        "\"error\":",
        "\"params\":{}",
        "{\"id\":7,\"result\":",
        "{\"code\":1}",
        "\"\\u0069d\"",
        "\"\\ud800\"",
        "\u{feff}",
        "é",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn m_01_any_bytes_are_a_message_or_malformed(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = parse(&bytes);
    }

    #[test]
    fn m_01_any_soup_is_a_message_or_malformed(bytes in soup()) {
        let _ = parse(&bytes);
    }

    #[test]
    fn m_06_the_id_recovered_from_a_message_is_the_one_parsed(bytes in soup()) {
        let recovered = recover_response_id(&bytes);
        if let Ok(Inbound::One(message)) = read(&bytes) {
            let expected = match message {
                Message::Response { id: ResponseId::Ours(id), .. } => Some(id),
                _ => None,
            };
            prop_assert_eq!(recovered, expected);
        }
    }

    #[test]
    fn m_03_a_request_reads_back(number: u64, name: String, param: String) {
        let json = serde_json::to_string(&[&param]).expect("strings encode");
        let line = text(encode_request(number, &name, Some(&raw(&json))));
        prop_assert!(!line.contains(['\n', '\r']));
        prop_assert_eq!(request(&line), (number.to_string(), name, Some(json)));
    }

    #[test]
    fn m_08_an_error_reads_back(code: i64, message: String) {
        let error = error(&text(encode_error(&id("7"), &RpcError::new(code, &*message))));
        prop_assert_eq!((error.code(), error.message()), (code, &*message));
    }
}

#[cfg(feature = "http")]
#[test]
fn oa_00_an_error_of_oauth_is_no_error_of_json_rpc() {
    let oauth = br#"{"error":"invalid_token","error_description":"The access token expired"}"#;
    assert_eq!(error_in(oauth), None);
    assert_eq!(error_in(br#"{"error":["invalid_token"]}"#), None);
    for (error, code) in [
        (&br#"{"error":{"code":-32000,"message":"no"}}"#[..], -32000),
        (br#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#, 1),
        // It answers somebody, however badly.
        (br#"{"id":7,"error":"no"}"#, 0),
    ] {
        assert_eq!(error_in(error).map(|error| error.code()), Some(code));
    }
    assert_eq!(error_in(br#"{"result":{}}"#), None);
    assert_eq!(error_in(b"<html>"), None);
}
