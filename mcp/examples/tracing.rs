//! A span for each request, and the trace's context in the request: in `_meta` and, over HTTP, as a header (W3C Trace Context).
//!
//! ```text
//! cargo run -p shared-fate-mcp --example tracing
//! ```
//!
//! With OpenTelemetry the ids come from its span context in place of [`Trace`]: see `examples/opentelemetry`. The crate needs
//! neither.

use serde_json::{Value, json};
use shared_fate_mcp::{CallEnd, CallStart, Client, Error, Memory, MemoryServer, Mode};
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{info, info_span, warn};

/// The trace that the requests belong to, as an OpenTelemetry context would name it.
struct Trace {
    id: u128,
    spans: AtomicU64,
}

impl Trace {
    /// The context of a new span: version, trace, span, and that it is sampled.
    fn traceparent(&self) -> String {
        let span = self.spans.fetch_add(1, Ordering::Relaxed);
        format!("00-{:032x}-{span:016x}-01", self.id)
    }
}

fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().without_time().init();
    let trace = Trace { id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, spans: AtomicU64::new(1) };

    let builder = Client::builder().mode(Mode::Legacy).on_call(move |call: &mut CallStart<'_>| {
        let traceparent = trace.traceparent();
        let span = info_span!("mcp", method = call.method(), id = call.id(), traceparent);
        call.meta("traceparent", &traceparent).expect("a string is JSON");
        call.header("traceparent", traceparent);
        move |end: &CallEnd<'_>| {
            let _in_span = span.entered();
            let (elapsed, delivery) = (end.elapsed(), end.delivery());
            match end.error() {
                Some(error) => warn!(?elapsed, ?delivery, error = format!("{error:#}"), "failed"),
                None if end.is_dropped() => info!(?elapsed, ?delivery, "dropped"),
                None => info!(?elapsed, "done"),
            }
        }
    });

    let (memory, server) = Memory::pair();
    let app = builder.run(memory, async |client| {
        client.call_tool("echo", ()).await?;
        client.call_tool("unknown", ()).await.unwrap_err();
        Ok(())
    });
    let (parents, result) = async_io::block_on(futures::future::join(serve(&server), app));
    assert_eq!(parents.len(), 3, "every request has a context: {parents:?}");
    assert!(parents.iter().all(|parent| parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-")));
    result
}

/// A server that knows one tool. Returns the contexts that came with the requests.
async fn serve(server: &MemoryServer) -> Vec<String> {
    let mut parents = Vec::new();
    while let Some(message) = server.receive().await {
        let message: Value = serde_json::from_slice(&message).expect("JSON");
        let Some(id) = message.get("id") else { continue };
        let parent = message["params"]["_meta"]["traceparent"].as_str();
        parents.extend(parent.map(str::to_owned));
        let mut reply = json!({ "jsonrpc": "2.0", "id": id });
        match (message["method"].as_str(), message["params"]["name"].as_str()) {
            (Some("initialize"), _) => {
                reply["result"] = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
            }
            (_, Some("echo")) => reply["result"] = json!({ "content": [] }),
            _ => reply["error"] = json!({ "code": -32602, "message": "no such tool" }),
        }
        if server.send(reply.to_string()).await.is_err() {
            break;
        }
    }
    parents
}
