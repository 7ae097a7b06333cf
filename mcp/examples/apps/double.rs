//! A server for the apps: over HTTP in a thread of this process, or over standard input and output in a child process.
#![allow(dead_code, reason = "each app uses a part of it")]

use serde_json::{Value, json};
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

const ROLE: &str = "SHARED_FATE_EXAMPLE_SERVER";

/// The program of the child process: this one. It has to call [`serve_if_asked`] first.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command.env(ROLE, "1");
    command
}

/// In the child process this function is the server, and never returns.
pub(crate) fn serve_if_asked() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let mut lines = io::stdin().lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next()?.ok()?).ok();
    while let Some(message) = next() {
        if message["params"]["name"] == "die" {
            eprintln!("no space left on device");
            std::process::exit(7);
        }
        if message["params"]["name"] == "plan" {
            let message_to_model =
                json!({ "role": "user", "content": { "type": "text", "text": "Where to?" } });
            let model = json!({ "messages": [message_to_model], "maxTokens": 9 });
            let schema =
                json!({ "type": "object", "properties": { "nights": { "type": "integer" } } });
            let form = json!({ "message": "How long?", "requestedSchema": schema });
            let mut ask = |id: &str, method: &str, params: Value| {
                println!(
                    "{}",
                    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
                );
                next().expect("an answer")["result"].clone()
            };
            let place = ask("m", "sampling/createMessage", model);
            let nights = ask("f", "elicitation/create", form);
            let text = format!(
                "{} nights in {}",
                nights["content"]["nights"], place["content"]["text"]
            );
            println!("{}", reply(&message, text_result(&text)));
        } else if let Some(reply) = answer(&message) {
            println!("{reply}");
        }
    }
    std::process::exit(0);
}

/// Starts a server over HTTP, and returns its URL.
pub(crate) fn http() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(&stream.expect("a connection")));
        }
    });
    url
}

/// One connection.
fn serve(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let mut length = 0;
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let is_post = line.starts_with("POST");
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line).ok()?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let message = serde_json::from_slice(&body).unwrap_or_default();
        let respond = |status: &str, kind: &str, body: &str| {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            );
            (&*stream).write_all((head + body).as_bytes()).ok()
        };
        match (is_post, answer(&message)) {
            (false, _) => respond("405 Method Not Allowed", "text/plain", "")?,
            (true, None) => respond("202 Accepted", "text/plain", "")?,
            (true, Some(reply)) => {
                let token = &message["params"]["_meta"]["progressToken"];
                let mut events = String::new();
                for step in (1..=2).filter(|_| !token.is_null()) {
                    let params = json!({ "progressToken": token, "progress": step, "total": 2 });
                    let method = "notifications/progress";
                    let event = json!({ "jsonrpc": "2.0", "method": method, "params": params });
                    events += &format!("data: {event}\n\n");
                }
                respond(
                    "200 OK",
                    "text/event-stream",
                    &format!("{events}data: {reply}\n\n"),
                )?;
            }
        }
    }
}

fn text_result(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn reply(message: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })
}

/// What the server answers; `None` to a notification.
fn answer(message: &Value) -> Option<Value> {
    message.get("id")?;
    let arguments = &message["params"]["arguments"];
    let result = match (
        message["method"].as_str()?,
        message["params"]["name"].as_str(),
    ) {
        ("initialize", _) => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "double", "version": "1" },
        }),
        ("tools/list", _) => {
            json!({ "tools": [{ "name": "add", "inputSchema": { "type": "object" } }] })
        }
        ("tools/call", Some("add")) => {
            let sum = arguments["a"].as_i64().unwrap_or(0) + arguments["b"].as_i64().unwrap_or(0);
            let mut result = text_result(&sum.to_string());
            result["structuredContent"] = json!({ "sum": sum });
            result
        }
        ("tools/call", Some("never")) => {
            thread::park();
            return None;
        }
        ("tools/call", _) => text_result("fine"),
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            return Some(json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }));
        }
    };
    Some(reply(message, result))
}
