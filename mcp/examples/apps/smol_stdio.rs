//! On smol: a server as a child process.

mod double;

use serde_json::json;
use shared_fate_mcp::{Client, Error, Stdio};

fn main() -> Result<(), Error> {
    double::serve_if_asked();
    let server = Stdio::spawn(double::command())?;
    smol::block_on(Client::run(server, async |client| {
        for tool in client.list_tools().await? {
            println!("{}", tool.name);
        }
        println!(
            "{}",
            client
                .call_tool("add", json!({ "a": 1, "b": 2 }))
                .await?
                .text()
        );
        Ok(())
    }))
}
