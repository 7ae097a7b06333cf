//! The client under test for the official MCP conformance suite: one scenario, then exit 0.
//!
//! The suite's mock server is the last argument, the scenario is in `MCP_CONFORMANCE_SCENARIO`. See
//! `.ci/conformance`.

use shared_fate::mcp::types::Json;
use shared_fate::mcp::{CallOptions, Client, Elicited, Error, Http};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let url = std::env::args().next_back().unwrap_or_default();
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    match pollster::block_on(run(&url, &scenario)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{scenario}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, scenario: &str) -> Result<(), Error> {
    let (client, driver) = Client::builder()
        .identity("shared-fate-conformance", env!("CARGO_PKG_VERSION"))
        // An empty form: the defaults of the form's schema are the client's to fill in.
        .on_elicit_form(|_| async { Elicited::Accept(Json::new(&serde_json::json!({})).expect("JSON")) })
        .connect(Http::new(url)?)
        .await?;
    // A mock that never answers must not hold the suite up.
    let client = client.with_options(CallOptions::timeout(Duration::from_secs(20)));
    driver
        .with(async {
            let result = act(&client, scenario).await;
            client.close().await;
            result
        })
        .await
}

async fn act(client: &Client, scenario: &str) -> Result<(), Error> {
    match scenario {
        "tools_call" => {
            client.list_tools().await?;
            client.call_tool("add_numbers", serde_json::json!({"a": 5, "b": 3})).await?;
        }
        "elicitation-sep1034-client-defaults" => {
            client.list_tools().await?;
            client.call_tool("test_client_elicitation_defaults", serde_json::json!({})).await?;
        }
        "sse-retry" => {
            client.list_tools().await?;
            client.call_tool("test_reconnection", serde_json::json!({})).await?;
        }
        "json-schema-2020-12-preservation" => {
            let tools = client.list_tools().await?;
            for tool in &tools {
                if tool.name != "json_schema_echo" {
                    let arguments = serde_json::json!({"schema": tool.input_schema});
                    client.call_tool("json_schema_echo", arguments).await?;
                }
            }
        }
        // The handshake, and something after it.
        _ => {
            client.list_tools().await?;
        }
    }
    Ok(())
}
