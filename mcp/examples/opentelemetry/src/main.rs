//! A span of OpenTelemetry's for each request, and its context in the request: in `_meta` and, over HTTP, as a header
//! (W3C Trace Context). The spans are kept in memory and printed here; a program gives the provider another exporter.
//!
//! ```text
//! cargo run --manifest-path mcp/examples/opentelemetry/Cargo.toml
//! ```

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use serde_json::{Value, json};
use shared_fate_mcp::testing::MockServer;
use shared_fate_mcp::{CallEnd, CallStart, Client, Error};
use std::collections::HashMap;

fn main() -> Result<(), Error> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let tracer = provider.tracer("mcp");

    let builder = Client::builder().on_call(move |call: &mut CallStart<'_>| {
        let span = tracer
            .span_builder(call.method().to_owned())
            .with_kind(SpanKind::Client)
            .with_attributes([KeyValue::new("rpc.system", "mcp"), KeyValue::new("rpc.request.id", call.id() as i64)])
            .start(&tracer);
        let context = Context::new().with_span(span);
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&context, &mut carrier);
        for (name, value) in carrier {
            call.meta(&name, &value).expect("a string is JSON");
            call.header(name, value);
        }
        move |end: &CallEnd<'_>| {
            let span = context.span();
            if let Some(error) = end.error() {
                span.set_status(Status::error(format!("{error:#}")));
            }
            span.end();
        }
    });

    let server = MockServer::new().tool("echo", json!({ "type": "object" }), |_: Value| "here");
    async_io::block_on(builder.run(server.transport(), async |client| {
        client.call_tool("unknown", ()).await.unwrap_err();
        println!("{}", client.call_tool("echo", ()).await?.text());
        Ok::<_, Error>(())
    }))?;

    let spans = exporter.get_finished_spans().expect("the exporter is there");
    for span in &spans {
        println!("{} {} {:?}", span.span_context.span_id(), span.name, span.status);
    }
    // Every request has a span, and its context was sent.
    let requests = server.all_received();
    let sent = |id: &str| requests.iter().any(|request| format!("{request:?}").contains(id));
    assert!(spans.len() >= 2 && spans.iter().all(|span| sent(&span.span_context.span_id().to_string())));
    assert_eq!(spans.iter().filter(|span| matches!(span.status, Status::Error { .. })).count(), 1);
    Ok(())
}
