//! The clients, as their users would have them: a typed call of a tool.

use crate::server;
use futures_util::FutureExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService, ServiceExt as _};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Map, Value};
use shared_fate_mcp::{ByteStream, ConnectError, Connecting, Http, Mode, Net, Stdio, Transport};
use std::env;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// As it comes: sockets and pipes of `async-io`.
    Ours,
    /// With tokio's sockets and pipes, through the crate's public seams.
    OursOnTokio,
    /// Over HTTP with a `reqwest::Client` that keeps connections, which is not its default.
    Rmcp,
    /// As it comes: over HTTP it opens a connection for each call.
    RmcpDefault,
}

impl Who {
    pub(crate) const ALL: [Self; 4] = [Self::Ours, Self::OursOnTokio, Self::Rmcp, Self::RmcpDefault];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursOnTokio => "ours-on-tokio",
            Self::Rmcp => "rmcp",
            Self::RmcpDefault => "rmcp-default",
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ours => "**ours**",
            Self::OursOnTokio => "ours, tokio's I/O",
            Self::Rmcp => "rmcp",
            Self::RmcpDefault => "rmcp's default, no keep-alive",
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
static ARGUMENTS: LazyLock<Map<String, Value>> =
    LazyLock::new(|| Map::from_iter([("country".to_owned(), Value::from("France"))]));

pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// Calls a tool; the length of the text that it returned.
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

pub(crate) async fn ours(way: Way, on_tokio: bool) -> shared_fate_mcp::Client {
    match way {
        Way::Memory => {
            let (reader, writer) = tokio::io::split(duplex());
            shake_hands(Stdio::over(reader.compat(), writer.compat_write())).await
        }
        Way::Stdio if on_tokio => {
            let mut child = tokio::process::Command::from(server_command());
            let pipe = std::process::Stdio::piped;
            let child = child.stdin(pipe()).stdout(pipe()).kill_on_drop(true);
            let mut child = child.spawn().expect("a server");
            let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
            tokio::spawn(async move { child.wait().await });
            let (stdin, stdout) = (stdin.expect("piped"), stdout.expect("piped"));
            shake_hands(Stdio::over(stdout.compat(), stdin.compat_write())).await
        }
        Way::Stdio => shake_hands(Stdio::spawn(server_command()).expect("a server")).await,
        Way::Http(port) => {
            let http = Http::new(&url(port)).expect("a URL");
            shake_hands(if on_tokio { http.net(TokioNet) } else { http }).await
        }
    }
}

async fn shake_hands(transport: impl Transport) -> shared_fate_mcp::Client {
    let builder = shared_fate_mcp::Client::builder().mode(Mode::Legacy);
    let (client, driver) = builder.connect(transport).await.expect("a handshake");
    tokio::spawn(driver);
    client
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

fn server_command() -> std::process::Command {
    let mut command = std::process::Command::new(env::current_exe().expect("this program"));
    command.args(["server", "stdio"]);
    command
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/mcp")
}

/// Tokio's sockets and timers.
struct TokioNet;

impl Net for TokioNet {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        let connect = async move {
            let socket = tokio::net::TcpStream::connect((host, port)).await.map_err(ConnectError::Connect)?;
            let _ = socket.set_nodelay(true);
            Ok(Box::new(socket.compat()) as Box<dyn ByteStream>)
        };
        connect.boxed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        tokio::time::sleep(duration).boxed()
    }
}
