//! An MCP server of lines that says when a tool is called, and rmcp's client.

use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{Peer, RoleClient, RunningService, ServiceError, ServiceExt};
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate::io::Tap;
use shared_fate_integrations::panicking::{Panicking, Trigger};
use shared_fate_integrations::seen::AnySession;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A call that the server has. It is answered when something is sent; then the server hangs up.
pub type Arrived = oneshot::Sender<()>;

/// A server that says when a tool is called.
pub struct Server {
    pub address: SocketAddr,
    pub arrivals: mpsc::UnboundedReceiver<Arrived>,
}

/// Listens until its runtime is gone.
pub async fn serve() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (arrived, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(answer(io, arrived.clone()));
        }
    });
    Server { address, arrivals }
}

async fn answer(mut io: TcpStream, arrived: mpsc::UnboundedSender<Arrived>) -> anyhow::Result<()> {
    io.set_nodelay(true)?;
    let (reader, mut writer) = io.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let message: Value = serde_json::from_str(&line)?;
        let is_call = message["method"] == "tools/call";
        let result = match message["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "test", "version": "1" },
            }),
            Some("tools/call") => {
                let (answer, asked_to) = oneshot::channel();
                _ = arrived.send(answer);
                // Unasked, the server says nothing more.
                if asked_to.await.is_err() {
                    std::future::pending::<()>().await;
                }
                json!({ "content": [] })
            }
            _ => continue,
        };
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
        if is_call {
            return Ok(writer.shutdown().await?);
        }
    }
    Ok(())
}

/// What of a client is under its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// There is no session.
    Plain,
    /// An observer: rmcp's task is its own, and can be waited for.
    Observer,
    /// An observer, and a tap on the bytes and their end.
    Tap,
}

pub struct Client {
    pub peer: Peer<RoleClient>,
    pub session: Option<AnySession>,
    pub driver: JoinHandle<()>,
    pub decoder: Trigger,
}

/// Connects in the runtime in which it is called. rmcp's task and its observer run there.
pub async fn connect(with: With, address: SocketAddr) -> Client {
    let io = TcpStream::connect(address).await.expect("a connection");
    io.set_nodelay(true).expect("a socket");
    let (io, decoder) = Panicking::new(io);
    let session = (with != With::Plain).then(AnySession::new);
    let service: RunningService<RoleClient, ()> = match (&session, with) {
        (Some(session), With::Tap) => ().serve(Tap::with(io, session.clone(), Cause::any).report_eof()).await,
        _ => ().serve(io).await,
    }
    .expect("a handshake");
    let peer = service.peer().clone();
    let waiting = service.waiting();
    let driver = match &session {
        None => tokio::spawn(async { _ = waiting.await }),
        Some(session) => {
            let driver = session.drive_map(waiting, |ended| ended.err().map(Cause::any));
            tokio::spawn(async { _ = driver.await })
        }
    };
    Client { peer, session, driver, decoder }
}

pub async fn call(peer: &Peer<RoleClient>) -> Result<CallToolResult, ServiceError> {
    peer.call_tool(CallToolRequestParams::new("tool")).await
}
