//! Unit tests of `protocol::message::run_on`.

use crate::protocol::message::{Inbound, Message, ResponseId, parse};

const ONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"a":"}{"}}"#;
const TWO: &str = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"no"}}"#;
const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
const ASK: &str = r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#;

/// What is taken from a text: the ids of replies, the methods of the rest, `!` for what is no message.
fn taken(text: &str) -> Vec<String> {
    let name = |message| match message {
        Message::Response { id: ResponseId::Ours(id), .. } => id.to_string(),
        Message::Response { id, .. } => format!("{id:?}"),
        Message::Request { method, .. } | Message::Notification { method, .. } => method,
    };
    match parse(text.as_bytes()) {
        Ok(Inbound::One(message)) => vec![name(message)],
        Ok(Inbound::Batch(batch)) => batch.map(|it| it.map_or_else(|_| "!".to_owned(), name)).collect(),
        Err(_) => Vec::new(),
    }
}

#[test]
fn several_values_on_one_line_are_all_taken() {
    assert_eq!(taken(&format!("{ONE}{TWO}")), ["1", "2"]);
    assert_eq!(taken(&format!("{NOTE} {ONE}\t{ASK}")), ["notifications/x", "1", "ping"]);
    let same = ONE.replace("\"id\":1", "\"id\":3");
    assert_eq!(taken(&format!("{ONE}{same}")), ["1", "3"], "they look like one reply with a long result");
    assert_eq!(taken(&format!("{ONE}\r{NOTE}\r")), ["1", "notifications/x"]);
    assert_eq!(taken(&format!("{ONE} 7")), ["1", "!"]);
}

#[test]
fn several_messages_without_a_version_are_all_taken() {
    let bare = |text: &str| text.replace(r#""jsonrpc":"2.0","#, "");
    let one = bare(ONE);
    let same = one.replace("\"id\":1", "\"id\":3");
    for space in ["", " ", "\t\r "] {
        assert_eq!(taken(&format!("{one}{space}{same}")), ["1", "3"]);
        assert_eq!(taken(&format!("{one}{space}{}", bare(TWO))), ["1", "2"]);
        assert_eq!(taken(&format!("{one}{space}{}", bare(NOTE))), ["1", "notifications/x"]);
        assert_eq!(taken(&format!("{one}{space}{}", bare(ASK))), ["1", "ping"]);
    }
    assert_eq!(taken(&format!("{one} - {same}")), ["1", "3"]);
}

#[test]
fn a_reply_among_words_is_taken_and_nothing_else() {
    for text in [
        format!("Listening {{on}} stdio {ONE}"),
        format!("[info] {ONE}"),
        format!("{ONE} [done]"),
        format!("\u{1b}[32m{ONE}\u{1b}[0m"),
        format!("sent {NOTE} and {ASK}, then {ONE}, done"),
        format!("{{\"level\":\"info\"}} > {ONE}"),
    ] {
        assert_eq!(taken(&text), ["1"], "{text}");
    }
    assert_eq!(taken(&format!("got {ASK}!")), Vec::<String>::new());
}

#[test]
fn what_is_inside_a_damaged_message_is_no_message() {
    let forged = r#"{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"id":2,"result":{}}"#;
    assert_eq!(taken(forged), ["1"], "whose end is missing");
    assert_eq!(taken(&format!("log: {forged}")), Vec::<String>::new());
    assert_eq!(taken(r#"{"msg":{"id":2,"result":{}}} -"#), Vec::<String>::new(), "a member is none, either");
}
