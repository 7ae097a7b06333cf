//! The client under test for the official MCP conformance suite: one scenario, then exit 0.
//!
//! The suite's mock server is the last argument, the scenario is in `MCP_CONFORMANCE_SCENARIO`. See
//! `.ci/conformance`.

use serde_json::json;
use shared_fate_mcp::types::Elicited;
use shared_fate_mcp::types::Json;
use shared_fate_mcp::{CallOptions, Client, Error, Http};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let url = std::env::args().next_back().unwrap_or_default();
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    match async_io::block_on(run(&url, &scenario)) {
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
        .on_elicit_form(|_| async { Elicited::Accept(Json::new(&json!({})).expect("JSON")) })
        .connect(Http::new(url)?)
        .await?;
    // A mock that never answers must not hold the suite up.
    let client = client.with_options(CallOptions::timeout(Duration::from_secs(20)));
    driver
        .run_until(async {
            let result = act(&client, scenario).await;
            client.close().await;
            result
        })
        .await
}

async fn act(client: &Client, scenario: &str) -> Result<(), Error> {
    let tools = client.list_tools().await?;
    match scenario {
        "tools_call" => {
            client.call_tool("add_numbers", json!({"a": 5, "b": 3})).await?;
        }
        "elicitation-sep1034-client-defaults" => {
            client.call_tool("test_client_elicitation_defaults", json!({})).await?;
        }
        "sse-retry" => {
            client.call_tool("test_reconnection", json!({})).await?;
        }
        "json-schema-2020-12-preservation" => {
            for tool in tools.iter().filter(|tool| tool.name != "json_schema_echo") {
                client.call_tool("json_schema_echo", json!({"schema": tool.input_schema})).await?;
            }
        }
        "http-standard-headers" => {
            if let Some(tool) = tools.first() {
                client.call_tool(&tool.name, json!({})).await?;
            }
            if let Some(resource) = client.list_resources().await?.first() {
                client.read_resource(&resource.uri).await?;
            }
            if let Some(prompt) = client.list_prompts().await?.first() {
                client.get_prompt(&prompt.name, json!({})).await?;
            }
        }
        "http-custom-headers" => {
            for call in context()["toolCalls"].as_array().into_iter().flatten() {
                client.call_tool(call["name"].as_str().unwrap_or_default(), &call["arguments"]).await?;
            }
        }
        "http-invalid-tool-headers" => {
            for tool in &tools {
                client.call_tool(&tool.name, json!({"region": "us-west1"})).await?;
            }
        }
        "sep-2322-client-request-state" => {
            for tool in [
                "test_mrtr_echo_state",
                "test_mrtr_unrelated",
                "test_mrtr_no_state",
                "test_mrtr_no_result_type",
            ] {
                client.call_tool(tool, json!({})).await?;
            }
        }
        // Something after the handshake, and one thing more.
        _ => {
            client.ping().await?;
        }
    }
    Ok(())
}

/// What the suite has to say to a scenario, as JSON.
fn context() -> serde_json::Value {
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    serde_json::from_str(&context).unwrap_or_default()
}
