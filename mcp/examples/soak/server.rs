//! A server that goes wrong in every tenth reply or so. What it does with a call depends on the call's number alone.

use serde_json::{Value, json};
use shared_fate_mcp::MemoryServer;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{io, thread};

/// The argument that makes this program a server on its standard input and output.
pub(crate) const CHILD: &str = "--serve";
/// The exit status of a server that got a request twice.
const TWICE: i32 = 70;

#[derive(Clone, Copy)]
enum Act {
    Reply,
    /// The reply comes with the next message's.
    Late,
    Never,
    Error,
    Malformed,
    Double,
    Noise,
    StringId,
    /// The session ends.
    Die,
}

fn act(number: u64) -> Act {
    match number % 1000 {
        999 => Act::Die,
        part => match part % 60 {
            7 => Act::Never,
            13 => Act::Error,
            21 => Act::Malformed,
            29 => Act::Double,
            37 => Act::Noise,
            43 => Act::StringId,
            51 | 52 => Act::Late,
            _ => Act::Reply,
        },
    }
}

pub(crate) fn number(message: &Value) -> Option<u64> {
    message["params"]["arguments"]["n"].as_u64()
}

fn reply(message: &Value) -> Value {
    let id = &message["id"];
    let result = match message["method"].as_str() {
        Some("initialize") => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} } }),
        Some("tools/call") => {
            let text = number(message).map_or(String::new(), |number| number.to_string());
            json!({ "content": [{ "type": "text", "text": text }] })
        }
        Some("ping") => json!({}),
        _ => return json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "?" } }),
    };
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// What is said in place of the reply; `None` if nothing is.
fn spoilt(message: &Value, act: Act) -> Option<String> {
    let good = reply(message);
    let id = &message["id"];
    Some(match act {
        Act::Reply | Act::Late => good.to_string(),
        Act::Never | Act::Die => return None,
        Act::Error => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": 7, "message": "no" } }).to_string()
        }
        Act::Malformed => json!({ "jsonrpc": "2.0", "id": id }).to_string(),
        Act::Double => format!("{good}\n{good}"),
        Act::Noise => format!("GET / HTTP/1.1\n\n{{\"method\":\"x\"}}\n[{good}]"),
        Act::StringId => {
            let mut good = good;
            good["id"] = json!(id.to_string());
            good.to_string()
        }
    })
}

/// One session over lines.
#[derive(Default)]
struct Lines {
    seen: HashSet<u64>,
    late: Vec<String>,
}

impl Lines {
    /// What is written in answer to a message. `Err`: the session ends, with this status.
    fn answer(&mut self, message: &[u8]) -> Result<Vec<String>, i32> {
        let mut out = std::mem::take(&mut self.late);
        let Ok(message) = serde_json::from_slice::<Value>(message) else { return Err(TWICE) };
        let Some(id) = message["id"].as_u64() else { return Ok(out) };
        if !self.seen.insert(id) {
            return Err(TWICE);
        }
        let act = number(&message).map_or(Act::Reply, act);
        match (act, spoilt(&message, act)) {
            (Act::Die, _) => return Err(0),
            (Act::Late, reply) => self.late.extend(reply),
            (_, reply) => out.extend(reply),
        }
        Ok(out)
    }
}

/// A server on standard input and output, until the end of its input.
pub(crate) fn serve_stdio() -> ! {
    let mut lines = Lines::default();
    for line in io::stdin().lock().split(b'\n') {
        let Ok(line) = line else { break };
        match lines.answer(&line) {
            Err(status) => std::process::exit(status),
            Ok(out) => {
                for text in out {
                    let mut stdout = io::stdout().lock();
                    if writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err() {
                        std::process::exit(0);
                    }
                }
            }
        }
    }
    std::process::exit(0)
}

/// A server in a thread. The thread's value is whether a request came twice.
pub(crate) fn serve_memory(server: MemoryServer) -> thread::JoinHandle<bool> {
    thread::spawn(move || {
        pollster::block_on(async {
            let mut lines = Lines::default();
            while let Some(message) = server.receive().await {
                match lines.answer(&message) {
                    Err(status) => return status == TWICE,
                    Ok(out) => {
                        for text in out.iter().flat_map(|text| text.split('\n')) {
                            if server.send(text).await.is_err() {
                                return false;
                            }
                        }
                    }
                }
            }
            false
        })
    })
}

/// A server over HTTP, with a thread for each connection.
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    open: AtomicU64,
    twice: AtomicBool,
    sessions: AtomicU64,
    seen: Mutex<HashSet<(String, u64)>>,
    dead: Mutex<HashSet<String>>,
}

impl HttpServer {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                shared.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _ = serve_connection(&stream, &shared);
                    drop(stream);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { address, shared })
    }

    pub(crate) fn got_one_twice(&self) -> bool {
        self.shared.twice.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

struct Request {
    method: String,
    session: Option<String>,
    message: Value,
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let (mut length, mut session) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match &*name.to_ascii_lowercase() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "mcp-session-id" => session = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let message = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(Request { method, session, message }))
}

fn serve_connection(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(Request { method, session, message }) = read_request(&mut reader)? {
        let write = |text: String| (&*stream).write_all(text.as_bytes());
        let empty = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let Some(id) = message["id"].as_u64() else {
            write(empty(if method == "GET" { "405 No" } else { "202 Accepted" }))?;
            continue;
        };
        if message["method"] == "initialize" {
            let session = shared.sessions.fetch_add(1, Ordering::SeqCst);
            // One client comes after the other: what is noted of the last one is needed no more.
            *shared.seen.lock().unwrap() = HashSet::new();
            *shared.dead.lock().unwrap() = HashSet::new();
            write(json_body(&format!("Mcp-Session-Id: s{session}\r\n"), &reply(&message).to_string()))?;
            continue;
        }
        let session = session.unwrap_or_default();
        if shared.dead.lock().unwrap().contains(&session) {
            write(empty("404 Gone"))?;
            continue;
        }
        if !shared.seen.lock().unwrap().insert((session.clone(), id)) {
            shared.twice.store(true, Ordering::SeqCst);
        }
        let act = number(&message).map_or(Act::Reply, act);
        let body = spoilt(&message, act);
        let event = |text: &str| format!("data: {}\n\n", text.replace('\n', "\n\ndata: "));
        let stream_head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        match (act, body) {
            (Act::Die, _) => {
                shared.dead.lock().unwrap().insert(session);
                write(empty("404 Gone"))?;
            }
            // The answer never comes: this waits until the client gives up.
            (Act::Never, _) => {
                return reader.read_exact(&mut [0]);
            }
            (Act::Late, Some(body)) => {
                // Half a body, and then nothing.
                let half = &body[..body.len() / 2];
                return write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{half}",
                    body.len()
                ));
            }
            (Act::Double | Act::Noise, Some(body)) => return write(format!("{stream_head}{}", event(&body))),
            (Act::Error, Some(body)) => {
                write(format!(
                    "HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ))?;
            }
            (_, body) => write(json_body("", &body.unwrap_or_default()))?,
        }
    }
    Ok(())
}

fn json_body(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
