//! Limits, deadlines, handshakes, and the end.

use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::{answer, lines, text_result, tool};
use crate::kit::{
    call_over_a_pipe, call_over_http, handshake, in_a_process, in_memory, legacy, over_a_pipe, over_http,
    reply,
};
use crate::page::Page;
use futures::future::join;
use futures::task::AtomicWaker;
use serde_json::{Value, json};
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::transport::{Inbox, Outgoing, Sending, Tracking};
use shared_fate_mcp::{CallOptions, Error, Limits, Memory, Sse, Stdio, Timeouts, Transport};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) async fn limits(page: &mut Page) {
    page.section("Limits (of 1024 bytes here)");
    fn long(message: &Value) -> String {
        reply(message, &text_result(&"x".repeat(2000)))
    }
    page.add(
        "A body that is too long",
        &over_http(|call| {
            let body = long(&call.request.body);
            call.json(&[], &body);
        })
        .await,
    );
    page.add(
        "An event that is too long",
        &over_http(|call| {
            let body = long(&call.request.body);
            call.events();
            call.event(&body);
        })
        .await,
    );
    page.add("A line that is too long", &over_a_pipe(|peer, message| peer.write(long(message) + "\n")).await);
    let mut limits = Limits::default();
    limits.pending_calls = 1;
    let (stdio, server) = lines::pair(lines::normal);
    let (client, driver) = legacy().limits(limits).connect(stdio).await.unwrap();
    let second = async {
        server.arrival(|message| tool(message) == "held").await;
        let error = client.ping().await.unwrap_err();
        client.close().await;
        error
    };
    let (_, error) = driver.run_until(join(client.call_tool("held", ()), second)).await;
    page.add("More pending calls than allowed (1 here)", &error);
    let mut limits = Limits::default();
    limits.stray = 3;
    let error = call_over_a_pipe(legacy().limits(limits), CallOptions::default(), |peer, _| {
        peer.write("Loading...\n".repeat(10));
    });
    page.add("A flood of messages that belong to nobody: the session ends", &error.await);
}

pub(crate) async fn deadlines(page: &mut Page) {
    page.section("Deadlines");
    let clock = Clock::new();
    let limit = Duration::from_millis(50);
    let (silence, total) = (CallOptions::default().silence(limit).total(None), CallOptions::timeout(limit));
    let call = call_over_a_pipe(legacy().timer(clock.clone()), silence.clone(), |_, _| ());
    page.add("Silence", &join(call, clock.pass(limit)).await.0);
    let call = call_over_a_pipe(legacy().timer(clock.clone()), total.clone(), |_, _| ());
    page.add("The call as a whole", &join(call, clock.pass(limit)).await.0);
    let (tell, told) = smol::channel::unbounded();
    let call = call_over_http(legacy().timer(clock.clone()), silence, move |call| {
        tell.try_send(()).unwrap();
        call.hold();
    });
    let arrived = async {
        told.recv().await.unwrap();
        clock.pass(limit).await;
    };
    page.add("Silence over HTTP", &join(call, arrived).await.0);
    let lost = call_over_http(legacy().timer(clock.clone()), total, |call| {
        call.events();
        call.write("id: 1\nretry: 86400000\ndata: \n\n");
    });
    let waiting = async {
        clock.asleep(Duration::from_secs(86_400)).await;
        clock.pass(limit).await;
    };
    let (lost, ()) = join(lost, waiting).await;
    page.add("While its event stream is to be resumed", &lost);
    let mut timeouts = Timeouts::default();
    timeouts.keep_alive = Some(Duration::from_millis(50));
    let (stdio, _server) = lines::pair(|peer, message| match message["method"].as_str() {
        Some("ping") => {}
        _ => lines::normal(peer, message),
    });
    let (client, driver) = legacy().timeouts(timeouts).connect(stdio).await.unwrap();
    let error = driver.run_until(client.call_tool("held", ())).await.unwrap_err();
    page.add("A ping that is not answered, where a server is pinged: the session ends", &error);
}

pub(crate) async fn handshakes(page: &mut Page) {
    page.section("The handshake");
    page.add("Refused", &handshake("initialize", |call| {
        let error = json!({ "code": -32602, "message": "Unsupported protocol version", "data": { "supported": ["1999"] } });
        let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": error });
        call.json(&[], &body.to_string());
    }).await);
    page.add(
        "A revision that this client does not speak",
        &handshake("initialize", |call| {
            let body =
                reply(&call.request.body, &json!({ "protocolVersion": "1999-12-31", "capabilities": {} }));
            call.json(&[], &body);
        })
        .await,
    );
    page.add(
        "A session id with characters that are not allowed",
        &handshake("initialize", |call| {
            let answer = call.answer();
            call.json(&["Mcp-Session-Id: a b"], &answer);
        })
        .await,
    );
    page.add(
        "`initialized` refused",
        &handshake("notifications/initialized", |call| {
            call.respond("503 X", &[], "warming up");
        })
        .await,
    );
    page.add(
        "No endpoint: neither Streamable HTTP nor HTTP+SSE",
        &handshake("initialize", |call| {
            call.respond("404 Not Found", &[], "no such page");
        })
        .await,
    );
    let sse = |endpoint: &'static str| {
        Server::start(move |call| {
            call.events();
            call.write(format!("event: endpoint\ndata: {endpoint}\n\n"));
            call.hold();
        })
    };
    let connect = async |server: Server| {
        legacy().connect(Sse::new(&server.url()).unwrap()).await.map(drop).unwrap_err()
    };
    page.add("HTTP+SSE: the endpoint is elsewhere", &connect(sse("http://elsewhere.invalid/post")).await);
    let server = Server::start(|call| {
        call.events();
        call.hold();
    });
    let mut timeouts = Timeouts::default();
    timeouts.endpoint = Some(Duration::from_millis(50));
    let error =
        legacy().timeouts(timeouts).connect(Sse::new(&server.url()).unwrap()).await.map(drop).unwrap_err();
    page.add("HTTP+SSE: the endpoint is not named within `Timeouts::endpoint` (50 ms here)", &error);
    let server = Server::start(|call| call.respond("503 X", &[], "warming up"));
    page.add("HTTP+SSE: the event stream is refused", &connect(server).await);
    let server = Server::start(|call| call.respond("200 OK", &["Content-Type: text/html"], "<html>"));
    page.add("HTTP+SSE: what comes is no event stream", &connect(server).await);
    let server = Server::start(|call| call.events());
    page.add("HTTP+SSE: the event stream ends", &connect(server).await);
    let mut command = Command::new("sh");
    command.args(["-c", "read line; echo 'no config file' >&2; exit 3"]);
    let error = legacy().connect(Stdio::spawn(command).unwrap()).await.map(drop).unwrap_err();
    page.add("The process exits during the handshake", &error);
}

pub(crate) async fn ends(page: &mut Page) {
    page.section("The end of the session");
    let (error, later) = in_a_process(|peer| {
        peer.write_error("starting\nfatal: disk full\n");
        peer.exit(7);
    })
    .await;
    page.add("The process exits", &error);
    page.add("A call after that: nothing is sent to a server that is gone", &later);

    let (stdio, server) = lines::process(lines::normal);
    let (client, driver) = legacy().connect(stdio).await.unwrap();
    let process = server.process().await;
    let killing = async {
        server.arrival(|message| tool(message) == "held").await;
        process.kill();
    };
    let (result, ()) = driver.run_until(join(client.call_tool("held", ()), killing)).await;
    page.add("The process is killed", &result.unwrap_err());

    page.add("The other end of a pipe is closed", &over_a_pipe(|peer, _| peer.hang_up()).await);

    let (transport, server) = Memory::pair();
    let serve = async {
        while let Some(message) = server.receive().await {
            let message = serde_json::from_slice(&message).unwrap();
            if tool(&message) == "broken" {
                break;
            }
            if let Some(answer) = answer(&message) {
                server.send(answer.to_string()).await.unwrap();
            }
        }
        drop(server);
    };
    let call = async {
        let (client, driver) = legacy().connect(transport).await.unwrap();
        driver.run_until(client.call_tool("broken", ())).await.unwrap_err()
    };
    page.add("The server in memory is dropped", &join(serve, call).await.1);

    let (stdio, server) = lines::pair(lines::normal);
    let (client, driver) = legacy().connect(stdio).await.unwrap();
    let (alone, abort) = futures::future::abortable(driver);
    let aborting = async {
        server.arrival(|message| tool(message) == "held").await;
        abort.abort();
    };
    let driving = async {
        let _ = alone.await;
    };
    let (result, (), ()) = futures::future::join3(client.call_tool("held", ()), aborting, driving).await;
    page.add("The driver is dropped", &result.unwrap_err());

    let (client, driver) = legacy().connect(Cursed::default()).await.unwrap();
    let error = driver.run_until(client.call_tool("held", ())).await.unwrap_err();
    page.add("The driver panics", &error);

    let closed = in_memory(legacy(), answer, async |client| {
        client.close().await;
        client.ping().await.unwrap_err()
    });
    page.add("The client is closed", &closed.await.unwrap());
}

/// A transport whose bug is a tool call.
#[derive(Default)]
struct Cursed {
    called: AtomicBool,
    driver: AtomicWaker,
}

impl Transport for Cursed {
    fn send<'a>(&'a self, message: Outgoing<'a>, _: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        let message = serde_json::from_slice(message.body()).unwrap();
        if tool(&message) == "held" {
            self.called.store(true, Ordering::SeqCst);
            self.driver.wake();
        } else if let Some(answer) = answer(&message) {
            inbox.deliver(answer.to_string().as_bytes());
        }
        Sending::accepted()
    }

    fn run<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::poll_fn(|cx| {
            self.driver.register(cx.waker());
            assert!(!self.called.load(Ordering::SeqCst), "no luck today");
            std::task::Poll::Pending
        }))
    }

    fn close<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn abort(&self) {}
}
