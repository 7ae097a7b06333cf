//! Calls that fail, and how they are made to.

use crate::fault::http::{Call, Server};
use crate::fault::lines::{self, Peer};
use crate::fault::tool;
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::{Builder, CallOptions, Client, Error, Http, Limits, Memory, Mode};

pub(crate) fn legacy() -> Builder {
    Client::builder().mode(Mode::Legacy)
}

pub(crate) fn small() -> Builder {
    let mut limits = Limits::default();
    limits.body = 1024;
    limits.event = 1024;
    limits.line = 1024;
    legacy().limits(limits)
}

/// The error of a call over HTTP to which the server does `fault`.
pub(crate) async fn over_http(fault: impl Fn(&mut Call) + Send + Sync + 'static) -> Error {
    call_over_http(small(), CallOptions::default(), fault).await
}

pub(crate) async fn call_over_http(
    builder: Builder,
    options: CallOptions,
    fault: impl Fn(&mut Call) + Send + Sync + 'static,
) -> Error {
    let server = Server::start(move |call| match call.request.tool() {
        "broken" => fault(call),
        _ => call.normal(),
    });
    let (client, driver) = builder.connect(Http::new(&server.url()).unwrap()).await.unwrap();
    let client = client.with_options(options);
    driver.run_until(client.call_tool("broken", ())).await.unwrap_err()
}

/// The error of connecting over HTTP, where the server does `fault` to `method`.
pub(crate) async fn handshake(
    method: &'static str,
    fault: impl Fn(&mut Call) + Send + Sync + 'static,
) -> Error {
    let server = Server::start(move |call| match call.request.rpc() {
        rpc if rpc == method => fault(call),
        _ => call.normal(),
    });
    legacy().connect(Http::new(&server.url()).unwrap()).await.map(drop).unwrap_err()
}

pub(crate) async fn connect_to(url: &str) -> Error {
    legacy().connect(Http::new(url).unwrap()).await.map(drop).unwrap_err()
}

/// The error of a call over a pipe to which the server does `fault`.
pub(crate) async fn over_a_pipe(fault: fn(&Peer, &Value)) -> Error {
    call_over_a_pipe(small(), CallOptions::default(), fault).await
}

pub(crate) async fn call_over_a_pipe(
    builder: Builder,
    options: CallOptions,
    fault: fn(&Peer, &Value),
) -> Error {
    let (stdio, _server) = lines::pair(move |peer, message| match tool(message) {
        "broken" => fault(peer, message),
        _ => peer.normal(message),
    });
    let (client, driver) = builder.connect(stdio).await.unwrap();
    let client = client.with_options(options);
    driver.run_until(client.call_tool("broken", ())).await.unwrap_err()
}

/// The error of a call to which the server's process does `fault`, and that of the next call.
pub(crate) async fn in_a_process(fault: fn(&Peer)) -> (Error, Error) {
    let (stdio, _server) = lines::process(move |peer, message| match tool(message) {
        "broken" => fault(peer),
        _ => peer.normal(message),
    });
    let (client, driver) = legacy().connect(stdio).await.unwrap();
    driver
        .run_until(async {
            let error = client.call_tool("broken", ()).await.unwrap_err();
            (error, client.ping().await.unwrap_err())
        })
        .await
}

pub(crate) fn reply(message: &Value, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string()
}

/// A server in memory that answers as `answer` says.
pub(crate) async fn in_memory<T>(
    builder: Builder,
    answer: impl Fn(&Value) -> Option<Value>,
    app: impl AsyncFn(Client) -> T,
) -> Result<T, Error> {
    let (transport, server) = Memory::pair();
    let serve = async {
        while let Some(message) = server.receive().await {
            if let Some(answer) = answer(&serde_json::from_slice(&message).unwrap()) {
                let _ = server.send(answer.to_string()).await;
            }
        }
    };
    let call = async {
        let (client, driver) = builder.connect(transport).await?;
        let output = driver
            .run_until(async {
                let output = app(client.clone()).await;
                client.close().await;
                output
            })
            .await;
        Ok(output)
    };
    join(serve, call).await.1
}
