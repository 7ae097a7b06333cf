//! Unit tests of `protocol::stateless`.

use super::*;

fn error(code: i64, data: &str) -> RpcError {
    let text = format!(r#"{{"id":1,"error":{{"code":{code},"message":"","data":{data}}}}}"#);
    match super::super::message::parse(text.as_bytes()) {
        Ok(super::super::message::Inbound::One(super::super::message::Message::Response {
            outcome: Err(error),
            ..
        })) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn era_07_a_discover_result_is_modern() {
    let result = r#"{"supportedVersions":["2025-11-25","2026-07-28","2099-01-01"],"capabilities":{}}"#;
    assert_eq!(answer_of_result(result), ProbeAnswer::Stateless(Revision::V2026_07_28));
}

#[test]
fn era_08_era_09_a_refused_version_is_tried_again() {
    let sent = Revision::V2026_07_28;
    assert_eq!(
        answer_of_error(&error(-32022, r#"{"supported":["2026-07-28"]}"#), sent),
        ProbeAnswer::Again(sent)
    );
    assert_eq!(
        answer_of_error(&error(-32022, r#"{"supported":["2099-01-01"]}"#), sent),
        ProbeAnswer::NoCommonRevision(vec!["2099-01-01".to_owned()])
    );
    assert_eq!(answer_of_error(&error(-32022, "7"), sent), ProbeAnswer::Refused);
}

#[test]
fn era_10_only_legacy_versions_mean_a_handshake() {
    let legacy = ProbeAnswer::Handshake(Some(Revision::V2025_06_18));
    assert_eq!(answer_of_result(r#"{"supportedVersions":["2025-06-18","2024-11-05"]}"#), legacy);
    assert_eq!(answer_of_error(&error(-32022, r#"{"supported":["2025-06-18"]}"#), Revision::LATEST), legacy);
}

#[test]
fn era_11_another_result_is_no_evidence() {
    for result in ["{}", "[]", "null", r#"{"supportedVersions":7}"#, r#"{"protocolVersion":"2025-11-25"}"#] {
        assert_eq!(answer_of_result(result), ProbeAnswer::Handshake(None), "{result}");
    }
}

#[test]
fn era_12_era_15_error_codes() {
    for (code, era) in [
        (-32601, ProbeAnswer::Handshake(None)),
        (-32600, ProbeAnswer::Handshake(None)),
        (-32000, ProbeAnswer::Handshake(None)),
        (-32020, ProbeAnswer::Refused),
        (-32021, ProbeAnswer::Refused),
    ] {
        assert_eq!(answer_of_error(&error(code, "null"), Revision::LATEST), era, "{code}");
    }
}

#[test]
fn m_18_m_19_result_types() {
    for result in ["{}", r#"{"resultType":"complete"}"#] {
        assert!(matches!(outcome("tools/call", result, false), Some(Outcome::Complete)), "{result}");
    }
    for result in ["[]", "null", r#"{},"x":{}"#, r#"{"resultType":"task""#] {
        assert!(outcome("tools/call", result, false).is_none(), "{result}");
    }
    for result in [
        r#"{"resultType":"task"}"#,
        r#"{"resultType":7}"#,
        r#"{"resultType":"input_required"}"#,
        r#"{"resultType":"input_required","inputRequests":[]}"#,
        r#"{"resultType":"input_required","inputRequests":{}}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"params":{}}}}"#,
    ] {
        assert!(matches!(outcome("tools/call", result, false), Some(Outcome::Unknown)), "{result}");
    }
}

#[test]
fn mr_01_only_three_methods_may_ask() {
    let result = r#"{"resultType":"input_required","requestState":"s"}"#;
    for (method, may) in
        [("tools/call", true), ("prompts/get", true), ("resources/read", true), ("tools/list", false)]
    {
        assert_eq!(
            matches!(outcome(method, result, false), Some(Outcome::InputRequired(_))),
            may,
            "{method}"
        );
    }
}

#[test]
fn mr_03_the_state_is_echoed_byte_for_byte() {
    let result = r#"{"resultType":"input_required","requestState":"\u0041\/ b",
        "inputRequests":{"k\u0031":{"method":"roots/list"}}}"#;
    let Some(Outcome::InputRequired(wanted)) = outcome("tools/call", result, false) else { panic!() };
    assert_eq!(wanted.requests[0].0, "k1");
    let answers = [("k1".to_owned(), RawValue::from_string("{}".to_owned()).unwrap())];
    let params = RawValue::from_string(r#"{"name":"x"}"#.to_owned()).unwrap();
    let repeated = with_input(Some(&params), &answers, wanted.state.as_deref());
    assert_eq!(repeated.get(), r#"{"name":"x","inputResponses":{"k1":{}},"requestState":"\u0041\/ b"}"#);
    assert_eq!(with_input(Some(&params), &[], None).get(), params.get());
}

#[test]
fn mr_03_null_is_no_state_and_no_request() {
    for (members, has_state, requests) in [
        (r#""requestState":"s","inputRequests":null"#, true, 0),
        (r#""requestState":null,"inputRequests":{"k":{"method":"roots/list"}}"#, false, 1),
    ] {
        let result = format!(r#"{{"resultType":"input_required",{members}}}"#);
        let Some(Outcome::InputRequired(wanted)) = outcome("tools/call", &result, false) else { panic!() };
        assert_eq!((wanted.state.is_some(), wanted.requests.len()), (has_state, requests));
    }
    let result = r#"{"resultType":"input_required","requestState":null,"inputRequests":null}"#;
    assert!(matches!(outcome("tools/call", result, false), Some(Outcome::Unknown)));
}

#[test]
fn mr_03_what_is_asked_is_unicode_and_the_state_is_as_it_came() {
    let result = r#"{"resultType":"input_required","requestState":"\ud83d",
        "inputRequests":{"k":{"method":"elicitation/create","params":{"message":"\ud83d"}}}}"#;
    let Some(Outcome::InputRequired(wanted)) = outcome("tools/call", result, false) else { panic!() };
    assert_eq!(wanted.requests[0].1.params.as_deref().unwrap().get(), r#"{"message":"\ufffd"}"#);
    assert_eq!(wanted.state.unwrap().get(), r#""\ud83d""#);
}

#[test]
fn sub_04_the_subscription_of_a_notification() {
    let of = |id: &str| subscription_of(&format!(r#"{{"_meta":{{"{SUBSCRIPTION_ID}":{id}}}}}"#));
    assert_eq!(of("7"), Some(7));
    assert_eq!(of(r#""7""#), Some(7));
    assert_eq!(of("null"), None);
    assert_eq!(subscription_of("{}"), None);
}

#[test]
fn tsk_05_tsk_10_a_task_only_where_it_was_offered() {
    let result = r#"{"resultType":"task","taskId":"t","status":"working","ttlMs":null,"pollIntervalMs":5}"#;
    assert!(matches!(outcome("tools/call", result, false), Some(Outcome::Unknown)));
    assert!(matches!(outcome("prompts/get", result, true), Some(Outcome::Unknown)));
    let Some(Outcome::Task(task)) = outcome("tools/call", result, true) else { panic!() };
    assert_eq!(
        (&*task.task_id, &*task.status, task.ttl_ms, task.poll_interval_ms),
        ("t", "working", None, Some(5.0))
    );
    for bad in [r#"{"resultType":"task"}"#, r#"{"resultType":"task","taskId":7,"status":"working"}"#] {
        assert!(matches!(outcome("tools/call", bad, true), Some(Outcome::Unknown)), "{bad}");
    }
}

#[test]
fn tsk_06_what_a_task_wants() {
    let task = task_state(
        r#"{"taskId":"t","status":"input_required","inputRequests":{"k":{"method":"roots/list"}}}"#,
    );
    assert_eq!(task.unwrap().requests[0].0, "k");
    // The server has the answers already, and has not taken note of them.
    for requests in ["", r#","inputRequests":{}"#, r#","inputRequests":null"#] {
        let task = task_state(&format!(r#"{{"taskId":"t","status":"input_required"{requests}}}"#));
        assert!(task.unwrap().requests.is_empty(), "{requests}");
    }
    assert!(task_state(r#"{"taskId":"t","status":"input_required","inputRequests":7}"#).is_none());
}
