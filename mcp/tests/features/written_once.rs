//! Parameters are written into the message directly, or made JSON first where something is added to them. The messages are
//! the same.

use futures::future::join;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared_fate_mcp::types::LoggingLevel;
use shared_fate_mcp::{CallOptions, Client, Memory, Mode};
use std::time::Duration;

const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#;

/// What a server with a handshake gets of these calls, after the handshake.
async fn received(builder: shared_fate_mcp::Builder, options: CallOptions) -> Vec<String> {
    let (transport, server) = Memory::pair();
    let serve = async {
        let mut lines = Vec::new();
        while let Some(line) = server.receive().await {
            let line = String::from_utf8(line).unwrap();
            let message: Value = serde_json::from_str(&line).unwrap();
            let Some(id) = message.get("id") else { continue };
            let result = if message["method"] == "initialize" {
                INITIALIZED
            } else {
                r#"{"content":[],"messages":[]}"#
            };
            server.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await.unwrap();
            if message["method"] != "initialize" {
                lines.push(line);
            }
        }
        lines
    };
    let calls = async {
        let (client, driver) = builder.mode(Mode::Legacy).connect(transport).await.unwrap();
        driver.run_until(calls(client.with_options(options))).await;
    };
    join(serve, calls).await.0
}

async fn calls(client: Client) {
    let text = "{ \"a\" :\r\n [1,\n2], \"_meta\": {\"own\":1} }";
    client.call_tool("t", json!({ "a": { "b": "x\n" }, "c": [1.5, null] })).await.unwrap();
    client.call_tool("\"quoted\"", ()).await.unwrap();
    client.call_tool("text", RawValue::from_string(text.to_owned()).unwrap()).await.unwrap();
    client.get_prompt("p", json!({})).await.unwrap();
    client.request("example/x", RawValue::from_string(text.to_owned()).unwrap()).await.unwrap();
    client.request("example/\"y\"", ()).await.unwrap();
    client.close().await;
}

/// The message without what was added.
fn bare(line: &str) -> Value {
    let mut message: Value = serde_json::from_str(line).unwrap();
    if let Some(Value::Object(params)) = message.get_mut("params") {
        params.remove("_meta");
        if params.is_empty() {
            message.as_object_mut().unwrap().remove("params");
        }
    }
    message
}

fn meta(line: &str) -> Value {
    serde_json::from_str::<Value>(line).unwrap()["params"]["_meta"].clone()
}

#[test]
fn m_10_io_01_with_and_without_additions_a_message_is_the_same() {
    pollster::block_on(async {
        let plain = received(Client::builder(), CallOptions::default()).await;
        assert_eq!(
            plain,
            [
                r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t","arguments":{"a":{"b":"x\n"},"c":[1.5,null]}}}"#,
                r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"\"quoted\""}}"#,
                r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"text","arguments":{ "a" : [1,2], "_meta": {"own":1} }}}"#,
                r#"{"jsonrpc":"2.0","id":5,"method":"prompts/get","params":{"name":"p","arguments":{}}}"#,
                r#"{"jsonrpc":"2.0","id":6,"method":"example/x","params":{ "a" : [1,2], "_meta": {"own":1} }}"#,
                r#"{"jsonrpc":"2.0","id":7,"method":"example/\"y\""}"#,
            ]
        );

        // First, nothing is added, but a request may have to be repeated. Then the options add nothing.
        let visits = Client::builder().on_elicit_url(|_| async { shared_fate_mcp::types::Elicited::Decline });
        assert_eq!(received(visits, CallOptions::default()).await, plain);
        for options in [
            CallOptions::timeout(Duration::from_secs(9)),
            CallOptions::default().log_level(LoggingLevel::Debug),
        ] {
            assert_eq!(received(Client::builder(), options).await, plain);
        }

        let progress = received(Client::builder(), CallOptions::default().on_progress(|_| {})).await;
        let own = received(Client::builder(), CallOptions::default().meta("m", &7).unwrap()).await;
        for (at, plain) in plain.iter().enumerate() {
            assert_eq!(bare(&progress[at]), bare(plain));
            assert_eq!(bare(&own[at]), bare(plain));
            assert_eq!(meta(&progress[at])["progressToken"], at + 2);
            assert_eq!(meta(&own[at])["m"], 7);
            assert_eq!(meta(&own[at]).get("own"), meta(plain).get("own"));
        }
    });
}
