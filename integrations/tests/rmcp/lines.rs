//! The lines that a user adds.

use crate::kit::serve;
use anyhow::Result;
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use shared_fate::io::Tap;
use shared_fate::{Cause, Session, SupervisedExt};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use tokio::net::TcpStream;

/// Before.
mod plain {
    use super::*;

    // user: plain
    pub async fn call(io: TcpStream, call: CallToolRequestParams) -> Result<CallToolResult> {
        let service = ().serve(io).await?;
        let peer = service.peer().clone();
        Ok(peer.call_tool(call).await?)
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: session
    pub async fn call(io: TcpStream, call: CallToolRequestParams) -> Result<CallToolResult> {
        let session = Session::new();
        let io = Tap::with(io, session.clone(), Cause::any).report_eof();
        let service = ().serve(io).await?;
        let peer = service.peer().clone();
        tokio::spawn(session.drive_map(service.waiting(), |end| end.err().map(Cause::any)));
        Ok(peer.call_tool(call).try_supervised(&session).await?)
    }
    // end
}

#[test]
fn a_user_adds_four() {
    let added = lines::added(include_str!("lines.rs"), "plain", "session");
    let mut table = Table::new("rmcp's client: the lines that a user adds or changes", &["lines", ""]);
    for line in &added {
        table.row(&[&added.len(), &line]);
    }
    println!("{table}");
    assert!(added.len() <= 4, "{added:#?}");
}

#[test]
fn they_work() {
    let runtimes = Runtimes::new();
    runtimes.block_on(async {
        let mut server = runtimes.servers().spawn(serve()).await.unwrap();
        let address = server.address;
        runtimes.servers().spawn(async move {
            while let Some(arrived) = server.arrivals.recv().await {
                _ = arrived.send(());
            }
        });
        let io = || async { TcpStream::connect(address).await.unwrap() };
        let tool = || CallToolRequestParams::new("tool");
        assert!(plain::call(io().await, tool()).await.unwrap().content.is_empty());
        assert!(session::call(io().await, tool()).await.unwrap().content.is_empty());
    });
}
