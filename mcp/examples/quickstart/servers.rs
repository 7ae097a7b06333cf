//! Two MCP servers that fail on purpose: one over HTTP, one over standard input and output.
//!
//! They are blocking and simple. A client sees no difference to real ones.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// The argument that makes this program the server of [`serve_stdio`].
pub(crate) const STDIO_SERVER: &str = "--serve-stdio";

/// What the client should find out when the HTTP server fails: its status and its body.
pub(crate) const HTTP_STATUS: u16 = 500;
pub(crate) const HTTP_BODY: &str = "the database is locked";

/// What the client should find out when the child dies: its exit status and its last words.
pub(crate) const EXIT_STATUS: i32 = 7;
pub(crate) const LAST_WORDS: &str = "no space left on device";

/// What both servers answer to whatever they do not fail at.
fn reply(message: &Value) -> Value {
    let id = &message["id"];
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "quickstart", "version": "1.0.0" },
        }),
        Some("tools/call") => json!({
            "content": [{ "type": "text", "text": format!("{} is done", tool(message)) }],
        }),
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            return json!({ "jsonrpc": "2.0", "id": id, "error": error });
        }
    };
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn tool(message: &Value) -> &str {
    message["params"]["name"].as_str().unwrap_or_default()
}

/// Over standard input and output, one message a line. Tool `slow` takes for ever; tool `die` ends the
/// process.
pub(crate) fn serve_stdio() -> ! {
    eprintln!("a server: ready");
    for line in std::io::stdin().lines() {
        let message: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        match tool(&message) {
            "slow" => {}
            "die" => {
                eprintln!("{LAST_WORDS}");
                std::process::exit(EXIT_STATUS);
            }
            // A message without an id is a notification: nobody waits for an answer.
            _ if message["id"].is_null() => {}
            _ => println!("{}", reply(&message)),
        }
    }
    std::process::exit(0)
}

/// Streamable HTTP on a port of its own. Tool `fail` is answered with status 500; tool `slow` is
/// answered when [`release_slow`](Self::release_slow) says so.
pub(crate) struct HttpServer {
    address: SocketAddr,
    slow: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl HttpServer {
    /// One thread listens, one more serves each connection. They end with the program.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let slow = Arc::<Gate>::default();
        let gate = Arc::clone(&slow);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let gate = Arc::clone(&gate);
                // A connection that breaks off ends its thread, and nothing else.
                thread::spawn(move || drop(serve_connection(&connection, &gate)));
            }
        });
        Self { address, slow }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub(crate) fn release_slow(&self) {
        *self.slow.open.lock().unwrap() = true;
        self.slow.opened.notify_all();
    }
}

/// Answers requests until the client has no more.
fn serve_connection(mut connection: &TcpStream, slow: &Gate) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    while let Some((is_post, body)) = read_request(&mut reader)? {
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, content_type, body) = match tool(&message) {
            // No event stream to GET, nothing to DELETE at the end: both are optional.
            _ if !is_post => (405, "text/plain", String::new()),
            "fail" => (HTTP_STATUS, "text/plain", HTTP_BODY.to_owned()),
            // A notification.
            _ if message["id"].is_null() => (202, "text/plain", String::new()),
            name => {
                if name == "slow" {
                    let open = slow.open.lock().unwrap();
                    drop(slow.opened.wait_while(open, |open| !*open).unwrap());
                }
                (200, "application/json", reply(&message).to_string())
            }
        };
        let length = body.len();
        let response = format!(
            "HTTP/1.1 {status} \r\nMcp-Session-Id: quickstart\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(response.as_bytes())?;
    }
    Ok(())
}

/// One request: whether it is a POST, and its body. `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<(bool, Vec<u8>)>> {
    let (mut is_post, mut length) = (false, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        is_post |= line.starts_with("POST ");
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or(0);
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((is_post, body)))
}
