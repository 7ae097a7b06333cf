//! Messages, streams and logs that the tests of this binary share.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use serde_json::{Value, json};
use shared_fate_mcp::{Builder, Client, Driver, Event, Http};
use smol::channel::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) async fn connect(server: &Server, clock: &Clock) -> (Client, Driver) {
    on(clock).connect(http(server)).await.unwrap()
}

pub(crate) fn http(server: &Server) -> Http {
    server.transport()
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A reply to the request `id`.
pub(crate) fn reply(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

pub(crate) fn refusal(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// A request from the server.
pub(crate) fn ask(id: &str, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub(crate) fn tell(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

pub(crate) fn is_answer(message: &Value, id: &str) -> bool {
    message["id"] == id && message.get("method").is_none()
}

/// What a test writes onto streams that the server holds open. Each text goes to one stream.
#[derive(Clone)]
pub(crate) struct Feed {
    text: Sender<String>,
    taken: Receiver<String>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let (text, taken) = channel::unbounded();
        Self { text, taken }
    }

    pub(crate) fn write(&self, text: impl Into<String>) {
        self.text.try_send(text.into()).unwrap();
    }

    /// One message as an event.
    pub(crate) fn say(&self, message: &Value) {
        self.write(format!("data: {message}\n\n"));
    }

    /// Ends the streams.
    pub(crate) fn end(&self) {
        self.text.close();
    }

    /// Waits for the next text.
    pub(crate) fn wait(&self) {
        let _ = self.taken.recv_blocking();
    }

    /// Answers with an event stream that lasts until the end, or until an empty text.
    pub(crate) fn serve(&self, call: &mut Call) {
        call.events();
        while let Ok(text) = self.taken.recv_blocking() {
            if text.is_empty() {
                break;
            }
            call.write(text);
        }
    }
}

/// Lines that say what happened.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(what)).count()
    }

    /// Makes a client write its events here.
    pub(crate) fn events(&self, builder: Builder) -> Builder {
        let log = self.clone();
        builder.on_event(move |event: &Event<'_>| log.push(format!("{event:?}")))
    }
}

/// Tells its [`Dropped`] when it is dropped.
pub(crate) struct Flag {
    _open: Sender<()>,
}

impl Flag {
    pub(crate) fn new() -> (Self, Dropped) {
        let (open, dropped) = channel::bounded(1);
        (Self { _open: open }, Dropped(dropped))
    }
}

pub(crate) struct Dropped(Receiver<()>);

impl Dropped {
    pub(crate) async fn wait(&self) {
        self.0.recv().await.unwrap_err();
    }
}
