//! The clients, as their users would have them: a typed call of a tool.

use crate::server;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService, ServiceExt as _};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Map, Value};
use shared_fate_mcp::{Driver, Http, Mode, Stdio};
use std::env;
use std::sync::{Arc, LazyLock};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Ours as it comes: with the sockets and pipes of `async-io`.
    Ours,
    /// Ours with tokio's timers, sockets and pipes.
    OursOnTokio,
    /// Over HTTP rmcp has a `reqwest::Client` that keeps connections, which is not its default.
    Rmcp,
    /// Over HTTP rmcp as it comes opens a connection for each call.
    RmcpDefault,
    /// No client, but what no client can be below.
    Floor,
}

impl Who {
    pub(crate) const ALL: [Self; 5] =
        [Self::Ours, Self::OursOnTokio, Self::Rmcp, Self::RmcpDefault, Self::Floor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursOnTokio => "ours-on-tokio",
            Self::Rmcp => "rmcp",
            Self::RmcpDefault => "rmcp-default",
            Self::Floor => "floor",
        }
    }
}

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `tokio::io::duplex`, in one process.
    Memory,
    Stdio,
    /// The port of a server that runs.
    Http(u16),
}

/// The arguments of every call.
pub(crate) static ARGUMENTS: LazyLock<Map<String, Value>> =
    LazyLock::new(|| Map::from_iter([("country".to_owned(), Value::from("France"))]));

pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// Calls a tool, and returns the length of its text.
    fn call(&self, tool: &'static str) -> impl Future<Output = Result<usize, String>> + Send;
}

impl Client for shared_fate_mcp::Client {
    async fn call(&self, tool: &'static str) -> Result<usize, String> {
        let result = self.call_tool(tool, &*ARGUMENTS).await.map_err(|error| format!("{error:#}"))?;
        match &result.content[..] {
            [shared_fate_mcp::types::Content::Text(text)] => Ok(text.text.len()),
            other => Err(format!("{other:?}")),
        }
    }
}

impl Client for Arc<RunningService<RoleClient, ()>> {
    async fn call(&self, tool: &'static str) -> Result<usize, String> {
        let request = CallToolRequestParams::new(tool).with_arguments(ARGUMENTS.clone());
        let result = self.call_tool(request).await.map_err(|error| error.to_string())?;
        match &result.content[..] {
            [content] => content.as_text().map(|text| text.text.len()).ok_or_else(|| format!("{content:?}")),
            other => Err(format!("{other:?}")),
        }
    }
}

/// A client whose driver is a task of tokio's.
pub(crate) async fn ours(way: Way, on_tokio: bool) -> shared_fate_mcp::Client {
    let (client, driver) = connect(way, on_tokio).await;
    tokio::spawn(driver);
    client
}

/// A client and its driver. Without `on_tokio` they need no runtime, but for the way through memory.
pub(crate) async fn connect(way: Way, on_tokio: bool) -> (shared_fate_mcp::Client, Driver) {
    let mut builder = shared_fate_mcp::Client::builder().mode(Mode::Legacy);
    if on_tokio {
        builder = builder.on_tokio();
    }
    let connected = match way {
        Way::Memory => {
            let (reader, writer) = tokio::io::split(duplex());
            builder.connect(Stdio::over(reader.compat(), writer.compat_write())).await
        }
        Way::Stdio => builder.connect(Stdio::spawn(server_command()).expect("a server")).await,
        Way::Http(port) => builder.connect(Http::new(&url(port)).expect("a URL")).await,
    };
    connected.expect("a handshake")
}

pub(crate) async fn rmcp(way: Way, keep_alive: bool) -> Arc<RunningService<RoleClient, ()>> {
    let service = match way {
        Way::Memory => ().serve(duplex()).await,
        Way::Stdio => {
            let command = tokio::process::Command::from(server_command());
            ().serve(TokioChildProcess::new(command).expect("a server")).await
        }
        Way::Http(port) if keep_alive => {
            let config = StreamableHttpClientTransportConfig::with_uri(url(port));
            let client = reqwest::Client::new();
            ().serve(StreamableHttpClientTransport::with_client(client, config)).await
        }
        Way::Http(port) => ().serve(StreamableHttpClientTransport::from_uri(url(port))).await,
    };
    Arc::new(service.expect("a handshake"))
}

fn duplex() -> tokio::io::DuplexStream {
    let (client, server) = tokio::io::duplex(64 * 1024);
    tokio::spawn(server::uncounted(server::memory(server)));
    client
}

pub(crate) fn server_command() -> std::process::Command {
    let mut command = std::process::Command::new(env::current_exe().expect("this program"));
    command.args(["server", "stdio"]);
    command
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/mcp")
}
