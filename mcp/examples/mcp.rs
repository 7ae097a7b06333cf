//! A small command-line client for any MCP server.
//!
//! ```text
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> list
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> call <tool> [<json>]
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> ping
//! ```
//!
//! Exit codes: 0 done; 1 the tool reported an error; 2 wrong usage; 3 no connection; 4 the call failed.

use shared_fate_mcp::types::Content;
use shared_fate_mcp::{Client, Delivery, Driver, Error, Http, Stdio};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: mcp <URL | command…> list
       mcp <URL | command…> call <tool> [<json object>]
       mcp <URL | command…> ping";

enum Action {
    List,
    Call { tool: String, arguments: serde_json::Value },
    Ping,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (server, action) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(why) => {
            eprintln!("mcp: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Any executor will do; this one looks after timers, sockets and pipes itself, in this thread.
    async_io::block_on(async {
        match connect(server).await {
            Err(error) => fail("cannot connect", &error, 3),
            Ok((client, driver)) => {
                let run = async {
                    let result = act(&client, action).await;
                    client.close().await;
                    result
                };
                driver.run_until(run).await.unwrap_or_else(|error| fail("the call failed", &error, 4))
            }
        }
    })
}

/// The action is at the end: a server's command may have any words.
fn parse(arguments: &[String]) -> Result<(&[String], Action), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (server, action) = match *words {
        [ref server @ .., "list"] => (server.len(), Action::List),
        [ref server @ .., "ping"] => (server.len(), Action::Ping),
        [ref server @ .., "call", tool, json] => {
            let arguments =
                serde_json::from_str(json).map_err(|error| format!("not JSON: {json:?}: {error}"))?;
            (server.len(), Action::Call { tool: tool.to_owned(), arguments })
        }
        [ref server @ .., "call", tool] => {
            (server.len(), Action::Call { tool: tool.to_owned(), arguments: serde_json::json!({}) })
        }
        _ => return Err("what shall I do?".to_owned()),
    };
    match server {
        0 => Err("which server?".to_owned()),
        _ => Ok((&arguments[..server], action)),
    }
}

async fn connect(server: &[String]) -> Result<(Client, Driver), Error> {
    let client = Client::builder().identity("shared-fate-example", env!("CARGO_PKG_VERSION"));
    match server {
        [url] if url.contains("://") => client.connect(Http::new(url)?).await,
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            client.connect(Stdio::spawn(command)?).await
        }
        [] => unreachable!("there is at least one word"),
    }
}

async fn act(client: &Client, action: Action) -> Result<ExitCode, Error> {
    match action {
        Action::Ping => {
            client.ping().await?;
            let server = client.server().server_info.as_ref();
            let name = server.map_or("a server without a name", |server| &server.name);
            println!("{name} is alive (protocol {})", client.revision());
        }
        Action::List => {
            for tool in client.list_tools().await? {
                let description = tool.description.unwrap_or_default();
                println!("{}\t{}", tool.name, description.lines().next().unwrap_or_default());
            }
        }
        Action::Call { tool, arguments } => {
            let result = client.call_tool(&tool, arguments).await?;
            for content in &result.content {
                match content {
                    Content::Text(text) => println!("{}", text.text),
                    other => println!("{}", serde_json::to_string(other).expect("it came as JSON")),
                }
            }
            if result.is_error {
                return Ok(ExitCode::from(1));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fail(what: &str, error: &Error, code: u8) -> ExitCode {
    eprintln!("mcp: {what}: {error:#}");
    if error.delivery() == Delivery::MaybeSent {
        eprintln!("mcp: the server may have acted on it all the same");
    }
    if let Some(after) = error.http().and_then(|http| http.retry_after()) {
        eprintln!("mcp: the server asks to wait for {after:?}");
    }
    ExitCode::from(code)
}
