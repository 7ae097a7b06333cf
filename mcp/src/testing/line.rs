//! [`Line`]: one connection, as its server sees it.

use super::reply;
use crate::error::Error;
use crate::inbox::handlers::HandlerResult;
use crate::sync::Mutex;
use async_channel::{Receiver, Sender, unbounded};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What the server says; the client's driver takes it, in this order.
pub(super) enum Said {
    Message(Vec<u8>),
    /// The session ends with this error.
    End(Error),
}

/// One connection. No method waits.
pub(super) struct Line {
    to_client: Sender<Said>,
    from_server: Receiver<Said>,
    asked: Mutex<Asked>,
}

/// What the server has asked and the client has not answered yet.
#[derive(Default)]
struct Asked {
    last: u64,
    is_closed: bool,
    /// With a handshake: by the ids of the server's requests.
    requests: HashMap<String, Then>,
    /// Without: by the states that come back with the answers.
    inputs: HashMap<String, reply::Then>,
}

/// What follows the client's answer.
type Then = Box<dyn FnOnce(HandlerResult) + Send>;

impl Asked {
    /// A name for something that is asked; `None` when the connection is closed.
    fn next(&mut self) -> Option<String> {
        self.last += 1;
        (!self.is_closed).then(|| format!("server-{}", self.last))
    }
}

impl Line {
    pub(super) fn new() -> Arc<Self> {
        let (to_client, from_server) = unbounded();
        Arc::new(Self { to_client, from_server, asked: Mutex::default() })
    }

    /// What the server says next; `None` when the connection is closed.
    pub(super) async fn hear(&self) -> Option<Said> {
        self.from_server.recv().await.ok()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.to_client.is_closed()
    }

    /// Ends the connection: whoever waits for an answer of the client's waits no more.
    pub(super) fn close(&self) {
        self.to_client.close();
        let waiting = {
            let mut asked = self.asked.lock();
            asked.is_closed = true;
            (std::mem::take(&mut asked.requests), std::mem::take(&mut asked.inputs))
        };
        drop(waiting);
    }

    /// Sends any text in the place of a message. Returns whether the client is there.
    pub(super) fn say(&self, text: impl Into<Vec<u8>>) -> bool {
        self.to_client.try_send(Said::Message(text.into())).is_ok()
    }

    pub(super) fn end(&self, error: Error) -> bool {
        self.to_client.try_send(Said::End(error)).is_ok()
    }

    pub(super) fn tell(&self, method: &str, params: &Value) -> bool {
        let mut message = json!({ "jsonrpc": "2.0", "method": method });
        put_params(&mut message, params);
        self.say(message.to_string())
    }

    /// Sends a request of the server's. `then` is dropped when the connection ends first.
    pub(super) fn ask(
        &self,
        method: &str,
        params: &Value,
        then: impl FnOnce(HandlerResult) + Send + 'static,
    ) {
        let id = {
            let mut asked = self.asked.lock();
            let id = asked.next();
            if let Some(id) = &id {
                asked.requests.insert(id.clone(), Box::new(then));
            }
            id
        };
        let Some(id) = id else { return };
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        put_params(&mut message, params);
        self.say(message.to_string());
    }

    /// The client has answered the request `id`.
    pub(super) fn answered(&self, id: &str, answer: HandlerResult) {
        let then = self.asked.lock().requests.remove(id);
        if let Some(then) = then {
            then(answer);
        }
    }

    /// Returns the state that comes back with the answer; `None` when the connection is closed.
    pub(super) fn expect_input(&self, then: reply::Then) -> Option<String> {
        let mut asked = self.asked.lock();
        let state = asked.next()?;
        asked.inputs.insert(state.clone(), then);
        Some(state)
    }

    pub(super) fn take_input(&self, state: &str) -> Option<reply::Then> {
        self.asked.lock().inputs.remove(state)
    }
}

fn put_params(message: &mut Value, params: &Value) {
    if !params.is_null() {
        message["params"] = params.clone();
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
