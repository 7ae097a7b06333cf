//! Odd results and odd lists, which are the same over every transport.

use crate::client;
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use serde_json::{Value, json};
use shared_fate_mcp::Error;
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::Tool;
use shared_fate_mcp::{Memory, Mode};

/// The tools of a server whose result of `tools/list` is what `page` makes of the cursor.
fn listed(page: fn(Option<&str>) -> Value) -> Result<Vec<Tool>, Error> {
    let (sender, receiver) = std::sync::mpsc::channel();
    once(async move |_| {
        let (stdio, _server) = pair(move |peer, message| match message["method"].as_str() {
            Some("tools/list") => {
                let result = page(message["params"]["cursor"].as_str());
                peer.say(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
            }
            _ => normal(peer, message),
        });
        let (client, driver) = client().connect(stdio).await.unwrap();
        sender.send(driver.run_until(client.list_tools()).await).unwrap();
    });
    receiver.recv().unwrap()
}

fn names(page: fn(Option<&str>) -> Value) -> Vec<String> {
    listed(page).unwrap().into_iter().map(|tool| tool.name).collect()
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

#[test]
fn an_empty_cursor_of_a_server_without_pages_ends_the_list() {
    // java-sdk 628, csharp-sdk 1072
    assert_eq!(names(|_| json!({ "tools": [tool("a"), tool("b")], "nextCursor": "" })), ["a", "b"]);
    assert_eq!(names(|_| json!({ "tools": [], "nextCursor": "" })), [""; 0]);
}

#[test]
fn an_empty_cursor_that_leads_on_leads_on() {
    // FastMCP 5025
    let found = names(|cursor| match cursor {
        None => json!({ "tools": [tool("a")], "nextCursor": "" }),
        Some("") => json!({ "tools": [tool("b")], "nextCursor": "next" }),
        Some(_) => json!({ "tools": [tool("c")] }),
    });
    assert_eq!(found, ["a", "b", "c"]);
    let found = names(|cursor| match cursor {
        None => json!({ "tools": [tool("a")], "nextCursor": "next" }),
        Some("next") => json!({ "tools": [tool("b")], "nextCursor": "" }),
        Some(_) => json!({ "tools": [tool("c")], "nextCursor": "" }),
    });
    assert_eq!(found, ["a", "b", "c"]);
}

#[test]
fn another_cursor_that_comes_again_is_a_loop() {
    let error = listed(|_| json!({ "tools": [tool("a")], "nextCursor": "again" })).unwrap_err();
    assert!(format!("{error:#}").contains(&Violation::CursorLoop.to_string()));
    let looping = listed(|cursor| match cursor {
        None => json!({ "tools": [tool("a")], "nextCursor": "" }),
        Some("") => json!({ "tools": [tool("b")], "nextCursor": "1" }),
        Some(_) => json!({ "tools": [tool("c")], "nextCursor": "" }),
    });
    assert!(format!("{:#}", looping.unwrap_err()).contains(&Violation::CursorLoop.to_string()));
}

/// What cannot be said again as it came is not the end: there are more tools.
#[test]
fn a_cursor_that_is_no_string_is_no_end_of_the_list() {
    let error = listed(|_| json!({ "tools": [tool("a")], "nextCursor": 1 })).unwrap_err();
    assert!(format!("{error:#}").contains("`nextCursor` is not a string"), "{error:#}");
    assert_eq!(names(|_| json!({ "tools": [tool("a")], "nextCursor": null })), ["a"]);
    assert_eq!(names(|_| json!({ "tools": [tool("a")], "nextCursor": false })), ["a"]);
}

/// A caller that tries again as long as the error is retryable comes to an end, though the driver is never polled.
#[test]
fn a_server_in_memory_that_is_gone_is_not_asked_for_ever() {
    once(async |_| {
        let (memory, server) = Memory::pair();
        let serve = async {
            let request: Value = serde_json::from_slice(&server.receive().await.unwrap()).unwrap();
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
            server.send(json!({ "id": request["id"], "result": result }).to_string()).await.unwrap();
            server.receive().await.unwrap();
        };
        let connecting = client().mode(Mode::Legacy).connect(memory);
        let ((), connected) = futures::future::join(serve, connecting).await;
        let (client, _driver) = connected.unwrap();
        drop(server);
        for _ in 0..3 {
            let error = client.call_tool("x", ()).await.unwrap_err();
            if !error.is_retryable() {
                return;
            }
        }
        panic!("the error stays retryable");
    });
}
