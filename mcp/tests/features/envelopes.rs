//! Results in any envelope, and with half a surrogate in them.

use crate::check::{on, violation};
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::lines::{normal, pair};
use crate::fault::run::{everywhere, once};
use crate::fault::tool;
use crate::modern::{connect, modern};
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::Root;
use shared_fate_mcp::{Client, ErrorKind, Mode};

/// Puts the id and the result into an envelope.
fn fill(envelope: &str, id: &Value, result: &str) -> String {
    envelope.replace("ID", &id.to_string()).replace("RESULT", result)
}

const ENVELOPES: [&str; 8] = [
    r#"{"jsonrpc":"2.0","id":ID,"result":RESULT}"#,
    r#"{"jsonrpc": "2.0", "id": ID, "result": RESULT}"#,
    r#"{"result":RESULT,"jsonrpc":"2.0","id":ID}"#,
    r#"{"id":"ID","jsonrpc":"2.0","result":RESULT}"#,
    r#"{"jsonrpc":"2.0","id":ID,"result":RESULT,"error":null}"#,
    r#"{"jsonrpc":"2.0","id":ID,"result":RESULT,"more":{}}"#,
    r#"{"\ud83d":{},"id":ID,"result":RESULT}"#,
    r#"[{"jsonrpc":"2.0","id":ID,"result":RESULT}]"#,
];

/// Half a surrogate in a text, in a name that is not known, and in what is kept as JSON text.
const RESULT: &str =
    r#"{"content":[{"type":"text","text":"a \ud83d b"}],"structuredContent":{"\ude00":"\ud83d"},"\ud83d":1}"#;

async fn is_read(client: &Client) {
    for envelope in ENVELOPES {
        let result = client.call_tool(envelope, ()).await.unwrap();
        assert_eq!(result.text(), "a \u{fffd} b", "{envelope}");
        let kept: Value = result.structured_content.unwrap().parse().unwrap();
        assert_eq!(kept, json!({ "\u{fffd}": "\u{fffd}" }));
        let whole = client.request("tools/call", json!({ "name": envelope })).await.unwrap();
        let whole: Value = whole.parse().unwrap();
        assert_eq!(whole["\u{fffd}"], 1);
    }
    client.close().await;
}

#[test]
fn a_result_is_read_in_any_envelope_from_a_pipe() {
    everywhere(async |run| {
        let (stdio, _server) = pair(|peer, message| match tool(message) {
            "" => normal(peer, message),
            envelope => peer.write(fill(envelope, &message["id"], RESULT) + "\n"),
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, is_read(&client)).await;
    });
}

#[test]
fn a_result_is_read_in_any_envelope_over_http() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "" => modern(call),
            envelope => {
                let text = fill(envelope, &call.request.body["id"], RESULT);
                call.json(&[], &text);
            }
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, is_read(&client)).await;
    });
}

/// Only a message that has been read to its end tells whether the server asks for input.
#[test]
fn a_server_asks_in_any_envelope() {
    once(async |run| {
        let server = Server::start(|call| {
            let (id, params) = (&call.request.body["id"], &call.request.body["params"]);
            match (call.request.tool(), params.get("inputResponses")) {
                ("", _) | (_, Some(_)) => modern(call),
                (envelope, None) => {
                    let asks = r#"{"resultType":"input_required","inputRequests":{"r":{"method":"roots/list"}},"\ud83d":1}"#;
                    let text = fill(envelope, id, asks);
                    call.json(&[], &text);
                }
            }
        });
        let builder = on(&Clock::new()).roots([Root::new("file:///a")]);
        let (client, driver) = connect(builder, &server).await;
        run.drive(driver, async {
            for envelope in ENVELOPES {
                assert_eq!(client.call_tool(envelope, ()).await.unwrap().text(), "fine", "{envelope}");
            }
        })
        .await;
    });
}

/// A damaged reply fails its call even where nobody looks at the result, as with a ping.
#[test]
fn what_is_no_reply_fails_its_call_and_no_other() {
    once(async |run| {
        for (envelope, why) in [
            (r#"{"jsonrpc":"2.0","id":ID,"result":{}{}}"#, "message is not valid JSON"),
            (r#"{"result":{"a":[}]},"jsonrpc":"2.0","id":ID}"#, "message is not valid JSON"),
            (r#"{"id":ID,"result":{},"id":0,"more":{}}"#, "message has two ids"),
            (r#"{"id":ID,"result":{},"error":{}}"#, "response has both a result and an error"),
        ] {
            let (stdio, _server) = pair(move |peer, message| match message["method"].as_str() {
                Some("ping" | "tools/call") => peer.write(fill(envelope, &message["id"], "{}") + "\n"),
                _ => normal(peer, message),
            });
            let (client, driver) = on(&Clock::new()).mode(Mode::Legacy).connect(stdio).await.unwrap();
            run.drive(driver, async {
                let results = [
                    client.ping().await.err(),
                    client.call_tool("echo", ()).await.err(),
                    client.request("tools/call", ()).await.err(),
                ];
                for error in results {
                    let error = error.expect(envelope);
                    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:#}");
                    assert_eq!(*violation(&error), Violation::Malformed(why), "{envelope}");
                }
                client.list_tools().await.unwrap();
            })
            .await;
        }
    });
}
