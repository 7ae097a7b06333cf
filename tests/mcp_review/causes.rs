//! Causes that are lost on the way, and secrets that are not.

use crate::check::{limit, on};
use crate::fault::clock::Clock;
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use crate::fault::{answer, tool};
use crate::kit::seconds;
use futures::future::join;
use serde_json::json;
use shared_fate::mcp::Limits;
use std::pin::pin;

#[test]
#[ignore = "fails: the id is beyond the 4 KiB that are looked at; the call ends at its deadline, without a cause"]
fn io_05_rmcp_1_3_5_a_reply_that_is_too_long_fails_its_call_wherever_its_id_is() {
    once(async |_| {
        let clock = Clock::new();
        let mut limits = Limits::default();
        limits.line = 10_000;
        let (stdio, server) = pair(|peer, message| match tool(message) {
            "long" => {
                // As the TypeScript SDK writes it: the id is the last member.
                let (text, id) = ("x".repeat(20_000), &message["id"]);
                let result = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
                peer.write(format!("{{\"result\":{result},\"jsonrpc\":\"2.0\",\"id\":{id}}}\n"));
            }
            _ => normal(peer, message),
        });
        let (client, driver) = on(&clock).limits(limits).connect(stdio).await.unwrap();
        driver
            .with(async {
                let waiting = async {
                    server.arrival(|message| tool(message) == "long").await;
                    client.ping().await.unwrap();
                    clock.advance(seconds(61));
                };
                let (result, ()) = join(client.call_tool("long", ()), waiting).await;
                let error = result.unwrap_err();
                assert!(!error.is_timeout(), "{error:#}");
                assert_eq!(limit(&error).1, 10_000);
            })
            .await;
    });
}

#[test]
#[ignore = "fails: of a batch no more than 1000 members are read; Limits does not say so"]
fn m_11_a_reply_anywhere_in_a_batch_settles_its_call() {
    once(async |_| {
        let (stdio, server) = pair(|peer, message| match tool(message) {
            "batch" => {
                let mut batch = vec![json!({ "method": "x" }); 1000];
                batch.extend(answer(message));
                peer.say(&json!(batch));
            }
            _ => normal(peer, message),
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver
            .with(async {
                let mut call = pin!(client.call_tool("batch", ()));
                assert!(futures::poll!(&mut call).is_pending());
                server.arrival(|message| tool(message) == "batch").await;
                client.ping().await.unwrap();
                assert!(futures::poll!(&mut call).is_ready());
            })
            .await;
    });
}
