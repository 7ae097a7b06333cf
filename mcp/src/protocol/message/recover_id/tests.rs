//! Unit tests of `protocol::message::recover_id`.

use proptest::prelude::*;

use super::*;
use crate::protocol::message::{Inbound, Message, ResponseId, parse};

fn recover(text: &str) -> Option<u64> {
    recover_response_id(text.as_bytes())
}

#[test]
fn m_06_the_id_of_a_damaged_response_is_found() {
    for text in [
        r#"{"jsonrpc":"2.0","id":7,"result":{"a":"#,
        r#"{"jsonrpc":"2.0","id":7,"res[INFO] ready"#,
        r#" { "id" : "7" , "error" : { "code" : 1"#,
        r#"{"id":7.0 "#,
        r#"{"id":"7""#,
        "\u{feff}{\"\\u0069d\":7}",
        r#"{"result":{"x":NaN,'y':1,"z":"\q"},"id":7}"#,
        r#"{"result":[1,2,]  ,"id":7,}"#,
        r#"{"result":undefined,"id":7}"#,
        r#"{"id":1,"id":7,"result"#,
        r#"{"id":7}{"id":8}"#,
        r#"{"id":7,"method":null,"result":{"#,
    ] {
        assert_eq!(recover(text), Some(7), "{text}");
    }
    assert_eq!(recover_response_id(b"{\"result\":\"\xff\n\",\"id\":7}"), Some(7));
}

#[test]
fn m_06_only_the_id_of_the_message_itself_counts() {
    for text in [
        "",
        "7",
        r#"[{"id":7,"result":1}"#,
        r#""id":7"#,
        r#"{"result":{"id":7}"#,
        r#"{"result":[{"id":7},"#,
        r#"{"result":"\"id\":7,"#,
        r#"{"result":"{\"id\":7}"#,
        r#"{"result":"x\\\",\"id\":7,"#,
        r#"{"x":"say ""id":7,"#,
        r#"{"x":{"y":[1},"id":7}"#,
        r#"{"x":[1},"id":7}"#,
        r#"{"x":[1}],"id":7}"#,
        r#"{"x":1],"id":7}"#,
        r#"{"result":1}{"id":7}"#,
        r#"{"a":1 "id":7}"#,
        r#"{"params":{},"xid":7,"#,
    ] {
        assert_eq!(recover(text), None, "{text}");
    }
}

#[test]
fn m_06_an_id_that_may_be_cut_off_is_not_trusted() {
    for text in [
        r#"{"id":"#,
        r#"{"id":7"#,
        r#"{"id":"7"#,
        r#"{"id":7[INFO]2,"result":1}"#,
        r#"{"id":7 2,"result":1}"#,
        r#"{"id":7"result":1}"#,
        r#"{"id":1,"id":7"#,
        r#"{"id":07,"#,
        r#"{"id":+7,"#,
    ] {
        assert_eq!(recover(text), None, "{text}");
    }
}

#[test]
fn m_15_the_id_of_the_peers_own_request_is_not_ours() {
    for text in [
        r#"{"id":7,"method":"ping","params":{"#,
        r#"{"method":"ping","id":7,"#,
        r#"{"id":7,"method":"pi"#,
        r#"{"id":7,"method":"#,
        r#"{"id":7,"method""#,
        r#"{"id":7,"m\u0065thod":"ping"#,
    ] {
        assert_eq!(recover(text), None, "{text}");
    }
    assert_eq!(recover(r#"{"id":7,"result":{"method":"ping"},"#), Some(7));
}

#[test]
fn m_23_nesting_costs_no_stack() {
    let open = "[".repeat(1_000_000);
    assert_eq!(recover(&format!(r#"{{"id":7,"result":{open}"#)), Some(7));
    assert_eq!(recover(&open), None);
    let close = "]".repeat(1_000_000);
    assert_eq!(recover(&format!(r#"{{"result":{open}{close},"id":7,"#)), Some(7));
}

#[test]
fn m_23_what_is_nested_too_deeply_ends_the_scan() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(recover(&format!(r#"{{"result":{},"id":7}}"#, nested(DEPTH))), Some(7));
    assert_eq!(recover(&format!(r#"{{"result":{},"id":7}}"#, nested(DEPTH + 1))), None);
    assert_eq!(recover(&format!(r#"{{"id":7,"x":{},"id":8}}"#, nested(DEPTH + 1))), Some(7));
}

#[test]
fn m_23_of_names_and_ids_only_what_matters_is_kept() {
    let id = r"\u0031\u0038".repeat(10);
    let long = "9".repeat(KEPT);
    let mut scan = Scan::default();
    for (id, found) in
        [(format!("\"{id}\""), Some(18_181_818_181_818_181_818)), (format!("1.0{}", "0".repeat(KEPT)), None)]
    {
        scan = Scan::default();
        scan.feed(format!(r#"{{"{long}":"{long}","id":{id},"{long}":[{long}"#).as_bytes());
        assert_eq!(scan.id(), found);
    }
    scan.feed("[[\"x".as_bytes());
    scan.feed("x".repeat(100_000).as_bytes());
    assert!(scan.text.capacity() <= 2 * KEPT && scan.closers.capacity() <= 8);
}

/// What follows cannot change it: then the rest need not be awaited.
#[test]
fn m_06_a_response_is_known_by_its_id_and_its_outcome() {
    for (text, known) in [
        (r#"{"id":7,"result":{"#, true),
        (r#"{"id":7,"result":1"#, true),
        (r#"{"error":{},"id":7,"#, true),
        (r#"{"result":[],"id":7}"#, true),
        (r#"{"id":7,"result":"#, false),
        (r#"{"id":7,"result":null,"error":null,"#, false),
        (r#"{"id":"x","result":{"#, false),
        (r#"{"result":[],"id":7"#, false),
        (r#"{"method":"x","id":7,"result":{"#, false),
        (r#"{"params":[],"id":7,"#, false),
        ("npm", true),
        (r#"{"id":7}"#, true),
        (r#"{"id":7,x"#, true),
    ] {
        let mut scan = Scan::default();
        scan.feed(text.as_bytes());
        assert_eq!(scan.is_done(), known, "{text}");
    }
}

/// A valid JSON value that contains what must not be mistaken for members of the message.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "-1.5e3", "{}", "[]", r#""\"id\":9,""#, r#""\\""#])
            .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("strings encode")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(" ,"))),
            prop::collection::vec(inner, 1..4).prop_map(|all| {
                let names = ["id", "method", "a", "result"];
                let members = all.iter().zip(names).map(|(value, name)| format!("\"{name}\": {value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// A valid response, and the length of its beginning up to the end of its id.
fn response() -> impl Strategy<Value = (String, usize)> {
    let id = (any::<u64>(), 0..3_u8).prop_map(|(id, form)| match form {
        0 => format!("{id}"),
        1 => format!("\"{id}\""),
        _ => format!("{}.0", id >> 12),
    });
    let extra = prop::collection::vec(("[a-z]{0,3}x", value()), 0..3);
    (id, value(), extra, any::<bool>(), any::<prop::sample::Index>()).prop_map(
        |(id, result, extra, error, at)| {
            let outcome = if error && result != "null" { "error" } else { "result" };
            let mut members = vec![format!("\"{outcome}\" :{result}")];
            members.extend(extra.iter().map(|(name, value)| format!("\"{name}\":{value}")));
            let at = at.index(members.len() + 1);
            members.insert(at, format!(" \"id\": {id}"));
            let before = format!("{{{},", members[..=at].join(","));
            let text = format!("{{{} }}", members.join(","));
            // A number ends where the next byte begins.
            (text, before.len())
        },
    )
}

fn ours(text: &str) -> u64 {
    match parse(text.as_bytes()) {
        Ok(Inbound::One(Message::Response { id: ResponseId::Ours(id), .. })) => id,
        other => panic!("{text}: {other:?}"),
    }
}

proptest! {
    #[test]
    fn m_06_no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = recover_response_id(&bytes);
    }

    #[test]
    fn m_06_every_truncation_behind_the_id_finds_it((text, id_end) in response()) {
        let id = Some(ours(&text));
        prop_assert_eq!(recover(&text), id);
        for len in 0..text.len() {
            let found = recover_response_id(&text.as_bytes()[..len]);
            // Before its end the id is unknown, or known already when its end needs no further
            // byte.
            prop_assert!(found == id || (found.is_none() && len < id_end), "{} of {}", len, text);
        }
    }

    #[test]
    fn m_06_what_is_found_does_not_depend_on_the_chunks(
        (text, _) in response(),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut text = text.into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let (mut whole, mut cut, mut single) = (Scan::default(), Scan::default(), Scan::default());
        whole.feed(&text);
        cuts.windows(2).for_each(|pair| cut.feed(&text[pair[0]..pair[1]]));
        text.chunks(1).for_each(|byte| single.feed(byte));
        for scan in [cut, single] {
            prop_assert_eq!((scan.id(), scan.is_done()), (whole.id(), whole.is_done()));
        }
    }
}
