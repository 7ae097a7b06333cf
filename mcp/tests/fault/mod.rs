//! Servers that go wrong on command, a clock that a test turns by hand, and executors.
//!
//! - [`http`]: an HTTP server on raw sockets: every byte, FIN and RST is the test's;
//! - [`lines`]: a server that speaks one message a line, over a socket pair or as a child process;
//! - [`child`]: what runs in that process;
//! - [`clock`]: the injected timer; [`run`]: one body, all executors.
//!
//! Nothing here sleeps. Tests wait for events, and a watchdog fails those that would wait for ever.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod http;
pub(crate) mod lines;
pub(crate) mod run;

use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex};

/// What a well-behaved server answers; `None` to a notification.
pub(crate) fn answer(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let result = match message["method"].as_str()? {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "fault-server", "version": "0" },
        }),
        "ping" => json!({}),
        "tools/list" => json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] }),
        "tools/call" => text_result("fine"),
        method => {
            let error = json!({ "code": -32601, "message": format!("no method {method}") });
            return Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        }
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// The result of a tool that says `text`.
pub(crate) fn text_result(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

/// The name of the tool that a `tools/call` is for; empty for other messages.
pub(crate) fn tool(message: &Value) -> &str {
    match message["method"].as_str() {
        Some("tools/call") => message["params"]["name"].as_str().unwrap_or_default(),
        _ => "",
    }
}

/// Holds threads back until it is opened. Clones are the same gate.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        let (open, _) = self.0.1.wait_timeout_while(open, run::PATIENCE, |open| !*open).unwrap();
        assert!(*open, "nobody opened the gate");
    }
}
