//! A server that nothing goes wrong with, and what it records.

use crate::kit::{BOTH, Polled, anything, connect, connect_with, run};
use serde::Deserialize;
use serde_json::{Value, json};
use shared_fate_mcp::testing::{Gate, MockServer, MockTransport, Received, Reply};
use shared_fate_mcp::types::{CallToolResult, Content};
use shared_fate_mcp::{CallOptions, Client, Error, ErrorKind, Event, Mode, RpcError};
use std::sync::{Arc, Mutex};

#[derive(Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

fn calculator() -> MockServer {
    let schema = json!({ "type": "object", "required": ["a", "b"] });
    MockServer::new()
        .tool("add", schema, |add: Add| json!({ "sum": add.a + add.b }))
        .tool("divide", anything(), |it: Add| match it.b {
            0 => Err(Reply::tool_error("by zero?")),
            b => Ok((it.a / b).to_string()),
        })
        .tool("nothing", anything(), |(): ()| CallToolResult::default())
        .resource("file:///motd", || "hello")
        .prompt("greet", |it: Value| format!("Greet {}.", it["name"]))
}

#[test]
fn tools_resources_and_prompts_at_both_revisions() {
    for mode in BOTH {
        run(mode, &calculator(), async |client| {
            let server = client.server();
            assert_eq!(server.server_info.as_ref().unwrap().name, "mock");
            let offered = &server.capabilities;
            assert!(offered.supports_tools() && offered.supports_resources() && offered.supports_prompts());
            client.ping().await?;

            let tools = client.list_tools().await?;
            let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
            assert_eq!(names, ["add", "divide", "nothing"]);
            let schema = json!({ "type": "object", "required": ["a", "b"] });
            assert_eq!(tools[0].input_schema, Some(schema.into()));

            let result = client.call_tool("add", json!({ "a": 1, "b": 2 })).await?;
            assert_eq!(result.structured_content, Some(json!({ "sum": 3 }).into()));
            assert_eq!(result.text(), r#"{"sum":3}"#);
            assert_eq!(client.call_tool("divide", json!({ "a": 9, "b": 2 })).await?.text(), "4");
            let failed = client.call_tool("divide", json!({ "a": 9, "b": 0 })).await?.into_result();
            assert_eq!(failed.unwrap_err().to_string(), "the tool failed: by zero?");
            assert!(client.call_tool("nothing", ()).await?.content.is_empty());

            assert_eq!(client.list_resources().await?[0].uri, "file:///motd");
            let read = client.read_resource("file:///motd").await?;
            assert_eq!(
                (&*read.contents[0].uri, read.contents[0].text.as_deref()),
                ("file:///motd", Some("hello"))
            );
            assert!(client.list_resource_templates().await?.is_empty());

            assert_eq!(client.list_prompts().await?[0].name, "greet");
            let prompt = client.get_prompt("greet", json!({ "name": "Ada" })).await?;
            assert_eq!(prompt.messages[0].content, Content::from(r#"Greet "Ada"."#));
            client.close().await;
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}

fn code(error: &Error) -> i64 {
    match error.kind() {
        ErrorKind::Rpc(error) => error.code(),
        _ => panic!("{error:#}"),
    }
}

#[test]
fn what_the_server_does_not_have_is_refused() {
    for mode in BOTH {
        run(mode, &calculator(), async |client| {
            assert_eq!(code(&client.call_tool("subtract", ()).await.unwrap_err()), -32602);
            assert_eq!(code(&client.read_resource("file:///").await.unwrap_err()), -32602);
            assert_eq!(code(&client.get_prompt("scold", ()).await.unwrap_err()), -32602);
            assert_eq!(code(&client.request("x/y", ()).await.unwrap_err()), -32601);
            let error = client.call_tool("add", json!({ "a": 1 })).await.unwrap_err();
            assert_eq!(code(&error), -32602);
            assert!(error.to_string().contains("missing field `b`"), "{error}");
        });
    }
}

#[test]
fn the_revision_is_the_one_that_the_client_asks_for() {
    for (mode, revision) in
        [(Mode::Legacy, "2025-11-25"), (Mode::Stateless, "2026-07-28"), (Mode::Auto, "2026-07-28")]
    {
        run(mode, &MockServer::new(), async |client| assert_eq!(client.revision().as_str(), revision));
    }
    // A server that is older than its client.
    let old = MockServer::new().method("server/discover", |_: Value| RpcError::new(-32601, "what?"));
    run(Mode::Auto, &old, async |client| assert_eq!(client.revision().as_str(), "2025-11-25"));
}

#[test]
fn a_method_is_answered_and_an_answer_given_once_comes_first() {
    let server = calculator()
        .method("tools/list", |_: Value| json!({ "tools": [{ "name": "mine" }] }))
        .method("x/y", |it: Value| json!({ "got": it["it"] }))
        .once("x/y", "first")
        .once("x/y", RpcError::new(-1, "second"))
        .tool("add", anything(), |_: Value| "replaced");
    run(Mode::Legacy, &server, async |client| {
        assert_eq!(client.list_tools().await.unwrap()[0].name, "mine");
        let ask = async || client.request("x/y", json!({ "it": 5 })).await;
        assert!(ask().await.unwrap().text().contains("first"));
        assert_eq!(code(&ask().await.unwrap_err()), -1);
        assert_eq!(ask().await.unwrap(), json!({ "got": 5 }).into());
        assert_eq!(client.call_tool("add", ()).await.unwrap().text(), "replaced");
    });
}

#[test]
fn a_handshake_that_is_refused() {
    let server = MockServer::new().once("initialize", RpcError::new(-32000, "closed on Sundays"));
    let connecting = Client::builder().mode(Mode::Legacy).connect(server.transport());
    let error = pollster::block_on(connecting).unwrap_err();
    assert_eq!(code(&error), -32000);
}

#[test]
fn what_was_received_is_recorded_in_order() {
    let server = calculator();
    run(Mode::Legacy, &server, async |client| {
        client.call_tool("add", json!({ "a": 1, "b": 2 })).await.unwrap();
        client.notify("notifications/x", json!({ "y": 1 })).await.unwrap();
        client.call_tool("nothing", ()).await.unwrap();
    });
    let all = server.all_received();
    let methods: Vec<_> = all.iter().map(|it| &*it.method).collect();
    let expected = ["initialize", "notifications/initialized", "tools/call", "notifications/x", "tools/call"];
    assert_eq!(methods, expected);
    assert_eq!(all[3].params, json!({ "y": 1 }));
    assert_eq!(all[3].id, None);
    let calls = server.received("tools/call");
    assert_eq!(calls[0].params["arguments"], json!({ "a": 1, "b": 2 }));
    assert!(calls[0].id < calls[1].id);
    assert!(server.received("tools/list").is_empty());
}

#[test]
fn an_arrival_is_waited_for_and_given_once() {
    let server = calculator();
    let (client, mut driver) = connect(Mode::Legacy, &server);
    let arrival = |method| Polled::new(server.arrival(method));
    let mut early = arrival("tools/call");
    early.pending();
    // A future that is given up takes no arrival with it.
    drop(arrival("tools/call"));
    let mut call = Polled::new(client.call_tool("nothing", ()));
    call.pending();
    assert_eq!(early.wakes(), 1);
    let Received { method, params, id, .. } = early.ready();
    assert_eq!((&*method, &params["name"]), ("tools/call", &json!("nothing")));
    arrival("tools/call").pending();
    // A message that has arrived before it is waited for: a call that is given up is cancelled.
    drop(call);
    driver.pending();
    assert_eq!(arrival("notifications/cancelled").ready().params["requestId"], json!(id));
}

#[test]
fn what_a_server_says_comes_before_its_reply() {
    for mode in BOTH {
        let server = MockServer::new().tool("talk", anything(), |_: Value| {
            let log = json!({ "level": "info", "data": "one" });
            Reply::text("done")
                .after_progress(1.0, 2.0)
                .after_notification("notifications/message", log)
                .after_progress(2.0, None)
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        let events = Arc::clone(&heard);
        let builder = Client::builder().mode(mode).on_event(move |event: &Event<'_>| {
            let Event::Log(log) = event else { panic!("{event:?}") };
            events.lock().unwrap().push(log.data.to_string());
        });
        let (client, mut driver) = connect_with(builder, &server);
        let progress = Arc::clone(&heard);
        let options = CallOptions::default().on_progress(move |it| {
            progress.lock().unwrap().push(format!("{} of {:?}", it.progress, it.total));
        });
        let client = client.with_options(options);
        let mut call = Polled::new(client.call_tool("talk", ()));
        call.pending();
        driver.pending();
        assert_eq!(call.ready().unwrap().text(), "done");
        assert_eq!(*heard.lock().unwrap(), ["1 of Some(2.0)", "\"one\"", "2 of None"]);
    }
    // Nobody has asked for progress.
    let server =
        MockServer::new().tool("talk", anything(), |_: Value| Reply::text("done").after_progress(1.0, None));
    run(Mode::Legacy, &server, async |client| client.call_tool("talk", ()).await.map(drop)).unwrap();
}

#[test]
fn a_notification_at_any_time() {
    let changed = Arc::new(Mutex::new(0));
    let count = Arc::clone(&changed);
    let builder = Client::builder().mode(Mode::Legacy).on_event(move |event: &Event<'_>| {
        assert!(matches!(event, Event::ToolsChanged), "{event:?}");
        *count.lock().unwrap() += 1;
    });
    let server = MockServer::new();
    assert!(!server.notify("notifications/tools/list_changed", ()), "nobody is there");
    let (client, mut driver) = connect_with(builder, &server);
    assert!(server.notify("notifications/tools/list_changed", ()));
    assert_eq!(driver.wakes(), 1);
    driver.pending();
    assert_eq!(*changed.lock().unwrap(), 1);
    drop(client);
    driver.ready();
    assert!(!server.notify("notifications/tools/list_changed", ()), "the client is gone");
}

#[test]
fn a_panic_in_a_handler_is_the_tests() {
    let server = MockServer::new().tool("bad", anything(), |_: Value| -> Reply { panic!("an assertion") });
    let (client, _driver) = connect(Mode::Legacy, &server);
    let mut call = Polled::new(client.call_tool("bad", ()));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.poll().is_ready()));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "an assertion");
}

#[test]
fn servers_gates_and_replies_can_be_sent_to_other_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<MockServer>();
    shared::<MockTransport>();
    shared::<Gate>();
    shared::<Received>();
    fn sent<T: Send>() {}
    sent::<Reply>();
}
