//! A server that asks the client something.

use crate::kit::{BOTH, Polled, anything, connect, connect_with, run};
use serde_json::{Value, json};
use shared_fate_mcp::testing::{MockServer, Reply};
use shared_fate_mcp::types::{CreateMessageParams, CreateMessageResult, ElicitForm, Elicited, Json, Root};
use shared_fate_mcp::{Builder, Client, ErrorKind, Mode, RpcError};

fn form(message: &str) -> Value {
    json!({ "message": message, "requestedSchema": { "type": "object", "properties": {} } })
}

fn asking() -> MockServer {
    let refused = |error: RpcError| Reply::tool_error(error.message());
    MockServer::new()
        .tool("form", anything(), move |_: Value| {
            Reply::ask("elicitation/create", form("Your name?"), move |answer| {
                answer.map_or_else(refused, |answer| Reply::text(answer.text()))
            })
        })
        .tool("twice", anything(), move |_: Value| {
            Reply::ask("roots/list", (), move |roots| {
                let roots = roots.unwrap().to_value().unwrap();
                let first = roots["roots"][0]["uri"].to_string();
                Reply::ask("elicitation/create", form(&first), move |answer| {
                    answer.map_or_else(refused, |answer| Reply::text(answer.text()))
                })
            })
        })
        .tool("sample", anything(), move |_: Value| {
            let params = json!({ "messages": [], "maxTokens": 5 });
            Reply::ask("sampling/createMessage", params, move |sample| {
                sample.map_or_else(refused, |sample| Reply::text(sample.text()))
            })
        })
}

fn answering(mode: Mode) -> Builder {
    Client::builder()
        .mode(mode)
        .roots([Root::new("file:///home")])
        .on_elicit_form(async |form: ElicitForm| {
            Elicited::Accept(Json::from(json!({ "asked": form.message })))
        })
        .on_sampling(async |params: CreateMessageParams| {
            assert_eq!(params.max_tokens, Some(5));
            Ok(CreateMessageResult { model: "small".into(), ..Default::default() })
        })
}

#[test]
fn a_reply_may_ask_first_at_both_revisions() {
    for mode in BOTH {
        let server = asking();
        let (client, driver) = pollster::block_on(answering(mode).connect(server.transport())).unwrap();
        let app = async {
            let name = client.call_tool("form", ()).await.unwrap();
            assert!(name.text().contains(r#""asked":"Your name?""#), "{name:?}");
            let twice = client.call_tool("twice", ()).await.unwrap();
            assert!(twice.text().contains("file:///home"), "{twice:?}");
            let sample = client.call_tool("sample", ()).await.unwrap();
            assert!(sample.text().contains(r#""model":"small""#), "{sample:?}");
        };
        pollster::block_on(driver.run_until(app));
    }
}

#[test]
fn a_client_that_cannot_answer_refuses_or_fails_its_call() {
    // A client with a handshake refuses, and the server goes on.
    let refused = run(Mode::Legacy, &asking(), async |client| client.call_tool("form", ()).await.unwrap());
    assert!(refused.is_error, "{refused:?}");
    // Without a handshake the client's call fails.
    let error =
        run(Mode::Stateless, &asking(), async |client| client.call_tool("form", ()).await.unwrap_err());
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:#}");
}

#[test]
fn a_server_may_ask_at_any_time() {
    let server = MockServer::new();
    let (client, mut driver) = connect_with(answering(Mode::Legacy), &server);
    let mut ping = Polled::new(server.request("ping", ()));
    let mut roots = Polled::new(server.request("roots/list", json!({})));
    let mut unknown = Polled::new(server.request("x/y", ()));
    ping.pending();
    roots.pending();
    unknown.pending();
    assert_eq!(driver.wakes(), 1, "of three messages the first wakes");
    // The answers are made and sent by the driver.
    while unknown.wakes() == 0 {
        driver.pending();
    }
    assert_eq!(ping.ready(), Some(Ok(json!({}).into())));
    assert_eq!(roots.ready(), Some(Ok(json!({ "roots": [{ "uri": "file:///home" }] }).into())));
    assert_eq!(unknown.ready().unwrap().unwrap_err().code(), -32601);
    drop(client);
}

#[test]
fn a_request_of_the_server_ends_when_the_client_goes() {
    let server = MockServer::new();
    assert!(Polled::new(server.request("ping", ())).ready().is_none(), "nobody is there");
    let (client, driver) = connect(Mode::Legacy, &server);
    let mut ping = Polled::new(server.request("ping", ()));
    ping.pending();
    drop(driver);
    assert_eq!(ping.wakes(), 1);
    assert_eq!(ping.ready(), None);
    assert!(Polled::new(server.request("ping", ())).ready().is_none(), "the client is gone");
    drop(client);
}
