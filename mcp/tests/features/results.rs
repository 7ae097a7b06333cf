//! What a server gets wrong in one place of a result spoils nothing else: the rest is returned, and the oddity is told.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, normal, pair};
use crate::fault::run::everywhere;
use crate::kit::{Log, reply};
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::types::Content;
use shared_fate_mcp::{Builder, Client, Driver, Limits};

/// A client of a server that answers `method` with these results, one after the other.
async fn connect(builder: Builder, method: &'static str, mut results: Vec<Value>) -> (Client, Driver) {
    let (stdio, _) = pair(move |peer: &Peer, message: &Value| match message["method"] == method {
        true => peer.say(&reply(&message["id"], results.remove(0))),
        false => normal(peer, message),
    });
    builder.connect(stdio).await.unwrap()
}

#[test]
fn one_odd_tool_of_two_hundred_is_kept_as_far_as_it_goes_and_told() {
    everywhere(async |run| {
        let log = Log::default();
        let mut tools: Vec<_> = (0..200).map(|number| json!({ "name": format!("tool{number}") })).collect();
        tools[70]["description"] = json!(7);
        tools[71] = json!({ "title": "nameless" });
        let results = vec![json!({ "tools": tools })];
        let (client, driver) = connect(log.events(on(&Clock::new())), "tools/list", results).await;
        run.drive(driver, async {
            let tools = client.list_tools().await.unwrap();
            assert_eq!(tools.len(), 199);
            assert_eq!(tools[70].extra.get("description").unwrap().text(), "7");
            let lines = log.lines();
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines[0].contains("OddResult") && lines[0].contains("tools/list"), "{lines:?}");
            assert!(lines[0].contains("Tool.description") && lines[1].contains("nameless"), "{lines:?}");
            client.close().await;
        })
        .await;
    });
}

#[test]
fn one_odd_block_of_five_is_kept_as_json() {
    everywhere(async |run| {
        let log = Log::default();
        let block = |text: &str| json!({ "type": "text", "text": text });
        let content = json!([block("a"), block("b"), { "type": "image", "data": 7 }, block("c"), block("d")]);
        let results = vec![json!({ "content": content, "structuredContent": null, "isError": null })];
        let (client, driver) = connect(log.events(on(&Clock::new())), "tools/call", results).await;
        run.drive(driver, async {
            let result = client.call_tool("x", ()).await.unwrap();
            assert_eq!(result.text(), "a\nb\nc\nd");
            assert!(matches!(&result.content[2], Content::Other(json) if json.text().contains("image")));
            assert_eq!(result.structured_content.as_ref().unwrap().text(), "null");
            assert!(!log.lines().is_empty());
            client.close().await;
        })
        .await;
    });
}

#[test]
fn null_is_absence() {
    everywhere(async |run| {
        let results =
            vec![json!({ "tools": null }), json!({ "tools": null, "nextCursor": null, "_meta": null })];
        let (client, driver) = connect(on(&Clock::new()), "tools/list", results).await;
        run.drive(driver, async {
            assert!(client.list_tools().await.unwrap().is_empty());
            assert!(client.list_tools_page(None).await.unwrap().tools.is_empty());
            client.close().await;
        })
        .await;
    });
}

#[test]
fn what_has_come_and_cannot_be_read_is_handed_out() {
    everywhere(async |run| {
        let results = vec![json!(["done", 1]), json!({ "content": [] })];
        let (client, driver) = connect(on(&Clock::new()), "tools/call", results).await;
        run.drive(driver, async {
            let error = client.call_tool("x", ()).await.unwrap_err();
            assert_eq!(*crate::check::violation(&error), Violation::Result);
            assert_eq!(error.result_text(), Some(r#"["done",1]"#));
            client.call_tool("x", ()).await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn the_pages_of_a_list_are_bounded_together() {
    everywhere(async |run| {
        let page = |next: Option<&str>| {
            let tools: Vec<_> = (0..100).map(|number| json!({ "name": format!("tool{number}") })).collect();
            match next {
                Some(next) => json!({ "tools": tools, "nextCursor": next }),
                None => json!({ "tools": tools }),
            }
        };
        let pages = || vec![page(Some("2")), page(Some("3")), page(None)];
        let with = |decoded: usize| {
            let mut limits = Limits::default();
            limits.decoded = decoded;
            on(&Clock::new()).limits(limits)
        };
        // The three pages take more than 60 KiB and less than 160 KiB.
        let (client, driver) = connect(with(160 * 1024), "tools/list", pages()).await;
        run.drive(driver, async {
            assert_eq!(client.list_tools().await.unwrap().len(), 300);
            client.close().await;
        })
        .await;
        let (client, driver) = connect(with(60 * 1024), "tools/list", pages()).await;
        run.drive(driver, async {
            let error = client.list_tools().await.unwrap_err();
            assert_eq!(crate::check::limit(&error), ("the memory of a result", 60 * 1024));
            assert!(error.result_text().unwrap().contains("tool99"));
            client.close().await;
        })
        .await;
    });
}
