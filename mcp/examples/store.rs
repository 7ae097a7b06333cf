//! A host that keeps what servers say: it stores results in a document database, which knows JSON values, reads them back,
//! and holds tools beside other things in a type of its own.
//!
//! ```text
//! cargo run -p shared-fate-mcp --example store
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_fate_mcp::testing::MockServer;
use shared_fate_mcp::types::{CallToolResult, Content, Tool};
use shared_fate_mcp::{Client, Error};
use std::collections::BTreeMap;

/// What the host holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Record {
    /// A tool, and which server has it.
    Tool {
        server: String,
        #[serde(flatten)]
        tool: Tool,
    },
    /// What a call has brought.
    Call { result: CallToolResult },
}

/// What the tool takes.
#[derive(Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

/// What the tool returns for programs.
#[derive(Debug, PartialEq, Deserialize)]
struct Sum {
    sum: i64,
}

fn main() -> Result<(), Error> {
    let server = calculator();
    let records = async_io::block_on(Client::run(server.transport(), async |client| ask(&client).await))?;
    keep(records)
}

async fn ask(client: &Client) -> Result<Vec<Record>, Error> {
    let server = client.server().server_info.as_ref().map_or("?", |server| &server.name).to_owned();
    let tools = client.list_tools().await?;
    let mut records: Vec<_> =
        tools.into_iter().map(|tool| Record::Tool { server: server.clone(), tool }).collect();
    let result = client.call_tool("add", json!({ "a": 1, "b": 2 })).await?;
    records.push(Record::Call { result });
    Ok(records)
}

/// Stores the records, reads them back, and uses them.
fn keep(records: Vec<Record>) -> Result<(), Error> {
    let mut database: BTreeMap<usize, Value> = BTreeMap::new();
    for (id, record) in records.iter().enumerate() {
        database.insert(id, serde_json::to_value(record).expect("records are JSON"));
    }
    for (id, stored) in database {
        let record: Record = serde_json::from_value(stored).expect("they were records");
        assert_eq!(record, records[id], "as it was");
        match record {
            Record::Tool { server, tool } => println!("{server} has {}: {}", tool.display_name(), tool.name),
            Record::Call { result } => {
                let Sum { sum } = result.structured()?;
                println!("the sum is {sum}, or {:?}", result.content.first().and_then(Content::as_text));
            }
        }
    }
    Ok(())
}

/// A server that says more of its tool than this crate knows.
fn calculator() -> MockServer {
    MockServer::new()
        .tool("add", json!({ "type": "object" }), |add: Add| json!({ "sum": add.a + add.b }))
        .method("tools/list", |_: Value| {
            json!({ "tools": [{
                "name": "add",
                "title": "Add numbers",
                "inputSchema": { "type": "object" },
                "annotations": { "readOnlyHint": true },
                "x-of-a-later-revision": [1, null],
            }] })
        })
}
