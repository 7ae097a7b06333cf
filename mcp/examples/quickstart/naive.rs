//! An MCP client as clients are often built, with the bug that goes with it.
//!
//! A handle puts each request in a table of pending calls, hands it to a driver, and waits on a reply
//! channel. The driver owns the connection and settles pending calls. It is a fine design, until the
//! driver fails: its `?` ends it, its error is lost with the result of the background task, and the
//! reply channels stay in the table, open, for ever.

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, StreamExt, io::BufReader};
use serde_json::{Value, json};
use smol::net::TcpStream;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, io};

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// Why a driver failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Http { status: u16, body: String },
    Exited { status: Option<i32>, last_words: String },
    Io(io::Error),
}

/// Sends requests.
pub(crate) struct Handle {
    outgoing: mpsc::UnboundedSender<Value>,
    pending: Pending,
    next_id: AtomicU64,
}

impl Handle {
    fn new() -> (Self, mpsc::UnboundedReceiver<Value>, Pending) {
        let (outgoing, requests) = mpsc::unbounded();
        let pending = Pending::default();
        (Self { outgoing, pending: pending.clone(), next_id: AtomicU64::new(1) }, requests, pending)
    }

    pub(crate) async fn handshake(&self) {
        let client = json!({ "name": "naive", "version": "1.0.0" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        self.call("initialize", params).await;
        let done = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let _ = self.outgoing.unbounded_send(done);
    }

    pub(crate) async fn call_tool(&self, name: &str) -> Value {
        self.call("tools/call", json!({ "name": name, "arguments": {} })).await
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (reply, replied) = oneshot::channel();
        self.pending.lock().unwrap().insert(id, reply);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let _ = self.outgoing.unbounded_send(request);
        // If the driver fails now, this waits for ever.
        replied.await.expect("the sender is in the table of pending calls")
    }
}

fn settle(pending: &Pending, message: &Value) {
    let call = message["id"].as_u64().and_then(|id| pending.lock().unwrap().remove(&id));
    if let Some(call) = call {
        let _ = call.send(message["result"].clone());
    }
}

/// A client over HTTP: the driver POSTs one request after the other.
pub(crate) fn http(
    server: SocketAddr,
) -> (Handle, impl Future<Output = Result<(), Failure>> + Send + 'static) {
    let (handle, mut requests, pending) = Handle::new();
    let driver = async move {
        while let Some(request) = requests.next().await {
            if let Some(message) = post(server, &request).await? {
                settle(&pending, &message);
            }
        }
        Ok(())
    };
    (handle, driver)
}

async fn post(server: SocketAddr, message: &Value) -> Result<Option<Value>, Failure> {
    let body = message.to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = BufReader::new(TcpStream::connect(server).await?);
    connection.get_mut().write_all((head + &body).as_bytes()).await?;

    let (mut status, mut length, mut line) = (0, 0, String::new());
    while connection.read_line(&mut line).await? > 0 && !line.trim_end().is_empty() {
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or(0);
        } else if let Some(rest) = line.strip_prefix("Content-Length: ") {
            length = rest.trim_end().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    match status {
        200 => Ok(serde_json::from_slice(&body).ok()),
        202 => Ok(None),
        _ => Err(Failure::Http { status, body: String::from_utf8_lossy(&body).into_owned() }),
    }
}

/// A client of a child process: the driver writes requests to its input and reads its output.
pub(crate) fn stdio(
    mut command: Command,
) -> io::Result<(Handle, impl Future<Output = Result<(), Failure>> + Send + 'static)> {
    let (handle, mut requests, pending) = Handle::new();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = smol::Unblock::new(child.stdin.take().expect("piped"));
    let mut lines = BufReader::new(smol::Unblock::new(child.stdout.take().expect("piped"))).lines();
    let mut stderr = smol::Unblock::new(child.stderr.take().expect("piped"));
    let driver = async move {
        loop {
            match select(requests.next(), lines.next()).await {
                Either::Left((Some(request), _)) => {
                    stdin.write_all(format!("{request}\n").as_bytes()).await?;
                    stdin.flush().await?;
                }
                Either::Right((Some(line), _)) => {
                    settle(&pending, &serde_json::from_str(&line?).unwrap_or_default());
                }
                Either::Left((None, _)) => return Ok(()),
                Either::Right((None, _)) => break,
            }
        }
        let mut words = String::new();
        stderr.read_to_string(&mut words).await?;
        let status = smol::unblock(move || child.wait()).await?.code();
        let last_words = words.lines().last().unwrap_or_default().to_owned();
        Err(Failure::Exited { status, last_words })
    };
    Ok((handle, driver))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { status, body } => write!(f, "HTTP status {status}: {body:?}"),
            Self::Exited { status: Some(code), last_words } => {
                write!(f, "exit status {code}: {last_words:?}")
            }
            Self::Exited { status: None, last_words } => write!(f, "killed: {last_words:?}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
