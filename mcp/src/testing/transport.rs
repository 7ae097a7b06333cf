//! [`MockTransport`]: the client's end of a connection to a mock server. It runs the server, too.

use super::line::{Line, Said};
use super::reply::{End, Reply, Step};
use super::script::Answer;
use super::{MockServer, Received};
use crate::error::{Delivery, Error, IoStage};
use crate::inbox::Inbox;
use crate::protocol::message::RpcError;
use crate::protocol::outgoing::Outgoing;
use crate::protocol::stateless::PROTOCOL_VERSION;
use crate::runtime::timer::BoxFuture;
use crate::transport::{Sending, Sent, Tracking, Transport};
use async_channel::{Sender, bounded};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;

/// A connection to a [`MockServer`], made by [`MockServer::transport`].
#[derive(Debug)]
pub struct MockTransport {
    server: MockServer,
    line: Arc<Line>,
}

impl MockTransport {
    pub(super) fn new(server: MockServer, line: Arc<Line>) -> Self {
        Self { server, line }
    }

    /// Takes a message of the client's. Where it is a request, returns the error that the call is to have.
    fn take(&self, body: &[u8]) -> Option<async_channel::Receiver<Error>> {
        let mut message: Value = serde_json::from_slice(body).expect("the client writes JSON");
        let Some(method) = message["method"].as_str() else {
            self.take_answer(&mut message);
            return None;
        };
        let method = method.to_owned();
        let received = Received { id: message["id"].as_u64(), method, params: message["params"].take() };
        let arrived = self.server.shared.script.lock().note(&received);
        let mut failure = None;
        if let Some(id) = received.id {
            let (failed, fails) = bounded(1);
            failure = Some(fails);
            let meta = &received.params["_meta"];
            let call = Call {
                line: Arc::clone(&self.line),
                id,
                method: received.method.clone(),
                uri: received.params["uri"].clone(),
                token: meta.get("progressToken").cloned(),
                is_stateless: meta.get(PROTOCOL_VERSION).is_some(),
                failed,
            };
            self.answer(call, &received);
        }
        // Whoever hears of its arrival finds everything done that is to be done at once.
        let _ = arrived.try_send(received);
        failure
    }

    fn answer(&self, call: Call, request: &Received) {
        let state = request.params["requestState"].as_str();
        if let Some(then) = state.and_then(|key| self.line.take_input(key)) {
            let answer = request.params["inputResponses"][INPUT].clone();
            return call.perform(then(Ok(answer.into())));
        }
        let answer = self.server.shared.script.lock().decide(request);
        call.perform(match answer {
            Answer::Reply(reply) => reply,
            Answer::Handler(handler, arguments) => handler(arguments),
        });
    }

    /// An answer to a request of the server's.
    fn take_answer(&self, message: &mut Value) {
        let answer = match message.get_mut("result").map(Value::take) {
            Some(result) => Ok(result.into()),
            None => {
                let error = &message["error"];
                let text = error["message"].as_str().unwrap_or_default();
                Err(RpcError::new(error["code"].as_i64().unwrap_or_default(), text))
            }
        };
        self.line.answered(message["id"].as_str().unwrap_or_default(), answer);
    }
}

/// The one thing that a server without a handshake asks for at a time.
const INPUT: &str = "input";

/// A request that is being answered.
struct Call {
    line: Arc<Line>,
    id: u64,
    method: String,
    /// The resource that it is about.
    uri: Value,
    token: Option<Value>,
    is_stateless: bool,
    /// Dropped with the call: then it has not failed.
    failed: Sender<Error>,
}

impl Call {
    /// Goes through the reply's steps up to a gate that is closed; what is left goes on when that opens.
    fn perform(self, reply: Reply) {
        let Reply { before, end, is_cut_short } = reply;
        let mut steps = before.into_iter();
        while let Some(step) = steps.next() {
            match step {
                Step::Tell(method, params) => {
                    self.line.tell(&method, &params);
                }
                Step::Progress(progress, total) => self.report(progress, total),
                Step::Wait(gate) => {
                    let rest = Reply { before: steps.collect(), end, is_cut_short };
                    return gate.pass(move || self.perform(rest));
                }
            }
        }
        self.finish(end, is_cut_short);
    }

    fn report(&self, progress: f64, total: Option<f64>) {
        let Some(token) = &self.token else { return };
        let mut params = json!({ "progressToken": token, "progress": progress });
        if let Some(total) = total {
            params["total"] = json!(total);
        }
        self.line.tell("notifications/progress", &params);
    }

    fn finish(self, end: End, is_cut_short: bool) {
        let (member, value) = match end {
            End::Text(text) => ("result", self.result_of_text(&text)),
            End::Value(value) if self.method == "tools/call" => {
                let content = json!([{ "type": "text", "text": value.to_string() }]);
                ("result", json!({ "content": content, "structuredContent": value }))
            }
            End::Value(value) | End::Result(value) => ("result", value),
            End::Error(error) => {
                let mut value = json!({ "code": error.code(), "message": error.message() });
                if let Some(data) = error.data().and_then(|data| serde_json::from_str(data).ok()) {
                    value["data"] = data;
                }
                ("error", value)
            }
            End::Ask { method, params, then } if self.is_stateless => {
                let Some(state) = self.line.expect_input(then) else { return };
                let mut request = json!({ "method": method });
                if !params.is_null() {
                    request["params"] = params;
                }
                let requests = json!({ INPUT: request });
                let result = json!({
                    "resultType": "input_required", "inputRequests": requests, "requestState": state,
                });
                ("result", result)
            }
            End::Ask { method, params, then } => {
                let line = Arc::clone(&self.line);
                return line.ask(&method, &params, move |answer| self.perform(then(answer)));
            }
            End::Raw(text) => {
                self.line.say(text.replace("$id", &self.id.to_string()));
                return;
            }
            End::Failure(error) => return drop(self.failed.try_send(error)),
            End::Death(error) => {
                self.line.end(error);
                return;
            }
            End::Never => return,
        };
        self.say(member, value, is_cut_short);
    }

    fn say(&self, member: &str, mut value: Value, is_cut_short: bool) {
        if let (true, "result", Value::Object(result)) = (self.is_stateless, member, &mut value) {
            result.entry("resultType").or_insert_with(|| json!("complete"));
        }
        let Self { id, .. } = self;
        let mut text = format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{value}}}"#).into_bytes();
        if is_cut_short {
            // In the middle of the value.
            text.truncate(text.len() - 1 - value.to_string().len().div_ceil(2));
        }
        self.line.say(text);
    }

    fn result_of_text(&self, text: &str) -> Value {
        let block = json!({ "type": "text", "text": text });
        match &*self.method {
            "prompts/get" => json!({ "messages": [{ "role": "user", "content": block }] }),
            "resources/read" => json!({ "contents": [{ "uri": self.uri, "text": text }] }),
            _ => json!({ "content": [block] }),
        }
    }
}

impl Transport for MockTransport {
    fn send<'a>(&'a self, message: Outgoing<'a>, _: &'a Tracking, _: &'a Inbox) -> Sending<'a> {
        if self.line.is_closed() {
            let error = io::Error::from(io::ErrorKind::BrokenPipe);
            return Sending::now(Err(Error::io(IoStage::Write, error, Delivery::NotSent)));
        }
        match self.take(message.body()) {
            // The reply is on its way, or the call has failed, or either comes later.
            Some(failure) => Sending::later(async move {
                match failure.recv().await {
                    Ok(error) => Err(error),
                    Err(_) => Ok(Sent::accepted()),
                }
            }),
            None => Sending::accepted(),
        }
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            while let Some(said) = self.line.hear().await {
                match said {
                    Said::Message(text) => inbox.deliver(&text),
                    Said::End(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    fn close<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.abort() })
    }

    fn renew(&self) -> Option<Result<Box<dyn Transport>, Error>> {
        Some(Ok(Box::new(self.server.transport())))
    }

    fn abort(&self) {
        self.line.close();
    }
}

impl Drop for MockTransport {
    fn drop(&mut self) {
        self.line.close();
    }
}
