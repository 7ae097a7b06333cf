//! What the servers say: the same bytes to every client.

use std::sync::LazyLock;

/// What a server does about a message.
pub(crate) enum Answer {
    Reply(String),
    Nothing,
    /// Over HTTP: this status and no reply.
    Status(&'static str),
    /// Over HTTP the connection is closed; a process exits.
    Die,
}

/// The result of the tool `echo`: with its envelope and an id of one digit, 129 bytes.
pub(crate) const RESULT: &str =
    r#"{"content":[{"type":"text","text":"The capital of France is Paris, as ever."}],"isError":false}"#;

/// A page of 100 tools, 28 kB.
pub(crate) static TOOLS: LazyLock<String> = LazyLock::new(|| {
    let tool = |number: usize| {
        format!(
            concat!(
                r#"{{"name":"tool_{number}","title":"Tool {number}","description":"Looks up record {number} by its key and returns it.","#,
                r#""inputSchema":{{"type":"object","properties":{{"key":{{"type":"string","description":"The key."}},"#,
                r#""limit":{{"type":"integer","minimum":1,"maximum":100}}}},"required":["key"]}}}}"#
            ),
            number = number
        )
    };
    let tools: Vec<_> = (0..100).map(tool).collect();
    format!(r#"{{"tools":[{}]}}"#, tools.join(","))
});

pub(crate) const INITIALIZED: &str = concat!(
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"#,
    r#""serverInfo":{"name":"server","version":"1"}}"#
);

pub(crate) fn reply(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The answer to a message. This looks for what it needs and no further: the server is not what is measured.
pub(crate) fn answer(message: &str) -> Answer {
    let Some(id) = after(message, r#""id":"#, &[',', '}']) else { return Answer::Nothing };
    let result = match after(message, r#""method":""#, &['"']) {
        Some("initialize") => INITIALIZED,
        Some("tools/list") => &TOOLS,
        Some("tools/call") => match after(message, r#""name":""#, &['"']) {
            Some("held") => return Answer::Nothing,
            Some("accepted") => return Answer::Status("202 Accepted"),
            Some("failed") => return Answer::Status("500 Internal Server Error"),
            Some("malformed") => return Answer::Reply(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"#)),
            Some("die") => return Answer::Die,
            _ => RESULT,
        },
        _ => "{}",
    };
    Answer::Reply(reply(id, result))
}

fn after<'a>(text: &'a str, name: &str, ends: &[char]) -> Option<&'a str> {
    let rest = &text[text.find(name)? + name.len()..];
    rest.split(ends).next()
}
