//! The client under test for the official MCP conformance suite: one scenario, then exit 0.
//!
//! The suite's mock server is the last argument, the scenario is in `MCP_CONFORMANCE_SCENARIO`. See
//! `.ci/conformance`.

use serde_json::json;
use shared_fate_mcp::oauth::{
    ClientId, Grant, IdentityProvider, OAuth, OAuthBuilder, Prompt, ProofOfPossession, SigningKey, consent_fn,
};
use shared_fate_mcp::types::{Elicited, Json};
use shared_fate_mcp::{CallOptions, Client, Error, Http};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// What the suite expects a client to have published.
const METADATA_URL: &str = "https://conformance-test.local/client-metadata.json";
/// Nobody listens there: the answer is read from the redirect itself.
const REDIRECT_URI: &str = "http://localhost:3000/callback";

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
        .connect(Http::new(url)?.oauth(&oauth(scenario)?))
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
        scenario if scenario.starts_with("auth/") => {
            for tool in &tools {
                client.call_tool(&tool.name, json!({})).await?;
            }
        }
        // In any other scenario one more request does.
        _ => {
            client.ping().await?;
        }
    }
    Ok(())
}

/// How the client signs in, if the scenario wants it to.
fn oauth(scenario: &str) -> Result<OAuth, Error> {
    let context = context();
    let text = |name: &str| context[name].as_str().map(str::to_owned);
    let builder = OAuth::builder()
        .client_name("shared-fate-conformance")
        .client_metadata_url(METADATA_URL)?
        .consent(consent_fn(REDIRECT_URI, |url| async move { Ok(agree(&url).await?) }))
        .prompt(Prompt::OnCall);
    let builder = match text("client_id").map(ClientId::new) {
        Some(mut client) => {
            if let Some(secret) = text("client_secret") {
                client = client.secret(secret);
            }
            if let Some(pem) = text("private_key_pem") {
                client = client.key(SigningKey::from_pem(&pem)?);
            }
            builder.client(client)
        }
        None => builder,
    };
    let subject = |builder: OAuthBuilder, name: &str| {
        let token = text(name).unwrap_or_default();
        builder.subject(move |_| {
            let token = token.clone();
            async move { Ok(token) }
        })
    };
    let builder = match scenario {
        "auth/client-credentials-basic" | "auth/client-credentials-jwt" => {
            builder.grant(Grant::ClientCredentials)
        }
        "auth/enterprise-managed-authorization" => {
            let [endpoint, client] =
                ["idp_token_endpoint", "idp_client_id"].map(|name| text(name).unwrap_or_default());
            let provider = IdentityProvider::new(endpoint, client);
            subject(builder.grant(Grant::IdentityAssertion(provider)), "idp_id_token")
        }
        "auth/wif-jwt-bearer" => subject(builder.grant(Grant::JwtBearer), "valid_jwt"),
        "auth/dpop" | "auth/dpop-nonce" => builder.proof_of_possession(ProofOfPossession::IfOffered),
        "auth/2025-03-26-oauth-endpoint-fallback" => builder.guess_endpoints(),
        _ => builder,
    };
    Ok(builder.build())
}

/// Plays the person: visits the page, which agrees at once, and takes the redirect that would lead back.
async fn agree(url: &str) -> io::Result<String> {
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let rest = url.strip_prefix("http://").ok_or_else(odd)?;
    let (authority, target) = rest.split_at(rest.find(['/', '?']).ok_or_else(odd)?);
    let mut socket = smol::net::TcpStream::connect(authority).await?;
    let request = format!("GET {target} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let fields = answer.lines().filter_map(|line| line.split_once(':'));
    let mut locations = fields.filter(|(name, _)| name.eq_ignore_ascii_case("location"));
    Ok(locations.next().ok_or_else(odd)?.1.trim().to_owned())
}

/// What the suite tells the client about the scenario, as JSON.
fn context() -> serde_json::Value {
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    serde_json::from_str(&context).unwrap_or_default()
}
