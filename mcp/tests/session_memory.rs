//! A session as a whole has a bound on its memory, whatever the server does, and nothing grows with what the server says. A
//! process of its own, because it counts what is allocated. It has no watchdog: on a busy machine it takes long.
#![cfg(all(any(unix, windows), feature = "stdio", feature = "http"))]

mod allocator;
mod fault;

use fault::http::{Call, Server};
use fault::lines::pair;
use fault::{answer, tool};
use futures::future::{join_all, pending, select};
use futures::io::{AsyncRead, AsyncWrite};
use serde_json::{Value, json};
use shared_fate_mcp::{Client, Mode, Stdio, Timeouts};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

const MIB: usize = 1024 * 1024;

/// The documented bound in bytes, with the default limits.
const MOST: usize = 256 * MIB;

/// Measures what `attack` costs at the peak, and prints it.
fn peak(name: &str, attack: impl FnOnce()) -> usize {
    let before = allocator::begin();
    attack();
    let peak = allocator::peak().saturating_sub(before);
    println!("{:6.1} MiB: {name}", peak as f64 / MIB as f64);
    peak
}

/// Writes its text, and then nothing more.
struct Flood {
    text: Vec<u8>,
    at: usize,
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let length = buffer.len().min(self.text.len() - self.at);
        if length == 0 {
            return Poll::Pending;
        }
        buffer[..length].copy_from_slice(&self.text[self.at..self.at + length]);
        self.at += length;
        Poll::Ready(Ok(length))
    }
}

/// Takes so many writes, those of the handshake, and nothing more.
struct Deaf {
    takes: usize,
}

impl AsyncWrite for Deaf {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes == 0 {
            return Poll::Pending;
        }
        self.takes -= 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A server behind a pipe that says all at once what keeps memory: answers that it does not read, requests whose handlers
/// are slow, requests that are queued, and a line that has no end.
fn over_a_pipe() {
    let handshake = format!("{}\n", answer(&json!({ "id": 1, "method": "initialize" })).unwrap());
    let big = "x".repeat(15 * MIB);
    let id = "i".repeat(1000);
    let mut text = handshake.into_bytes();
    // The first is served, and the second refused.
    for _ in 0..2 {
        text.extend(format!("{{\"id\":\"{id}\",\"method\":\"slow\",\"params\":[\"{big}\"]}}\n").into_bytes());
    }
    let ping = format!("{{\"id\":\"{id}\",\"method\":\"ping\"}}\n");
    for _ in 0..60_000 {
        text.extend_from_slice(ping.as_bytes());
    }
    text.extend(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":\"{big}").into_bytes());
    let polls = text.len() / (16 * 1024);
    drop(big);
    let peak = peak("a pipe: answers that nobody reads, slow handlers, half a line", || {
        pollster::block_on(async {
            let flood = Flood { text, at: 0 };
            let builder = Client::builder().mode(Mode::Legacy).on_request("slow", |_| pending());
            let connecting = builder.connect(Stdio::over(flood, Deaf { takes: 2 }));
            let (client, driver) = connecting.await.unwrap();
            // So many polls read everything.
            let mut driver = pin!(driver);
            for _ in 0..polls {
                assert!(futures::poll!(&mut driver).is_pending());
            }
            assert!(!client.session().is_ended());
        });
    });
    assert!(peak <= MOST, "{peak} bytes");
    assert!(peak >= 80 * MIB, "the attack reaches what it is for: {peak} bytes");
}

/// A server over HTTP that begins more bodies than there may be, while its own stream floods.
fn over_http() {
    const CALLS: usize = 12;
    let big = Arc::new("x".repeat(15 * MIB));
    let ping = format!("data: {{\"id\":\"{}\",\"method\":\"ping\"}}\n\n", "i".repeat(1000));
    let pings = Arc::new(ping.repeat(1000));
    let slow = Arc::new(format!("data: {{\"id\":\"q\",\"method\":\"slow\",\"params\":[\"{big}\"]}}\n\n"));
    let begun = Arc::new(AtomicUsize::new(0));
    let peak = peak("HTTP: half bodies, answers that are not taken, slow handlers", || {
        pollster::block_on(async {
            let (open, closed) = smol::channel::bounded::<()>(1);
            let counted = Arc::clone(&begun);
            let (big, pings, slow) = (Arc::clone(&big), Arc::clone(&pings), Arc::clone(&slow));
            let server = Server::start(move |call| match (call.request.tool(), &*call.request.method) {
                ("half", _) => {
                    call.head("200 OK", &["Content-Type: application/json", "Content-Length: 16000000"]);
                    call.write(big.as_bytes());
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = closed.recv_blocking();
                }
                (_, "GET") => {
                    call.events();
                    call.write(slow.as_bytes());
                    for _ in 0..30 {
                        call.write(pings.as_bytes());
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = closed.recv_blocking();
                }
                // An answer of the client's is not taken.
                _ if call.request.rpc().is_empty() && call.request.method == "POST" => {
                    let _ = closed.recv_blocking();
                }
                _ => call.normal(),
            });
            server.forget();
            // The calls last as long as the test.
            let patient = Timeouts::default().silence(None).total(None);
            let builder =
                Client::builder().mode(Mode::Legacy).timeouts(patient).on_request("slow", |_| pending());
            let (client, driver) = builder.connect(server.transport()).await.unwrap();
            driver
                .run_until(async {
                    let calls = pin!(join_all((0..CALLS).map(|_| client.call_tool("half", ()))));
                    let all = pin!(async {
                        while begun.load(Ordering::SeqCst) <= CALLS {
                            smol::future::yield_now().await;
                        }
                        // The client reads what has been written.
                        for _ in 0..100_000 {
                            smol::future::yield_now().await;
                        }
                    });
                    select(calls, all).await;
                    drop(open);
                    client.close().await;
                })
                .await;
        });
    });
    assert!(peak <= MOST, "{peak} bytes");
    assert!(peak >= 128 * MIB, "the attack reaches what it is for: {peak} bytes");
}

#[test]
fn a_session_occupies_at_most_256_mib() {
    let _alone = allocator::alone();
    over_a_pipe();
    over_http();
}

/// What a server says before each reply: nothing of it may stay. `{n}` is another number each time.
const LINES: [(&str, &str); 16] = [
    ("a reply that nobody waits for", r#"{"id":{n}00000,"result":{}}"#),
    ("a reply to a call that has got one", r#"{"id":1,"result":{}}"#),
    ("an error that names nobody", r#"{"error":{"code":1,"message":"{n}"}}"#),
    ("no JSON", "log line {n}"),
    ("half a message", r#"{"id":"{n}","result":{"#),
    ("a ping", r#"{"id":"{n}","method":"ping"}"#),
    ("an unknown request", r#"{"id":"{n}","method":"x/{n}","params":{"a":[{n}]}}"#),
    ("a request that is answered", r#"{"id":"{n}","method":"roots/list"}"#),
    (
        "progress of nobody",
        r#"{"method":"notifications/progress","params":{"progressToken":{n}00,"progress":1}}"#,
    ),
    ("a cancellation of nothing", r#"{"method":"notifications/cancelled","params":{"requestId":"{n}"}}"#),
    ("an unknown notification", r#"{"method":"x/{n}","params":{"a":[{n}]}}"#),
    ("a changed list", r#"{"method":"notifications/tools/list_changed"}"#),
    ("an updated resource", r#"{"method":"notifications/resources/updated","params":{"uri":"x:{n}"}}"#),
    (
        "a log message",
        r#"{"method":"notifications/message","params":{"level":"info","logger":"{n}","data":"{n}"}}"#,
    ),
    ("a task", r#"{"method":"notifications/tasks/status","params":{"taskId":"{n}","status":"working"}}"#),
    ("a batch", r#"[{"id":"{n}","method":"ping"},{"id":{n}00,"result":1},7]"#),
];

const WARM: u64 = 1_000;
const ROUNDS: u64 = 10_000;
/// In bytes: less than one a round. It leaves room for buffers of sockets and tables that happen to be larger.
const FLAT: usize = 8 * 1024;

/// Calls until everything is warm, and then ten times as often. After that no more is allocated than before.
async fn stays_flat(client: &Client, name: &str) {
    for _ in 0..WARM {
        client.call_tool("x", ()).await.unwrap();
    }
    let before = allocator::bytes();
    for _ in 0..ROUNDS {
        client.call_tool("x", ()).await.unwrap();
    }
    let grown = allocator::bytes().saturating_sub(before);
    assert!(grown < FLAT, "{name}: {grown} bytes more after {ROUNDS} rounds");
    client.close().await;
}

#[test]
fn nothing_grows_with_what_a_server_says_over_a_pipe() {
    let _alone = allocator::alone();
    for (name, line) in LINES {
        pollster::block_on(async {
            let mut number = 0_u64;
            let (stdio, server) = pair(move |peer, message| {
                if tool(message) == "x" {
                    number += 1;
                    peer.write(format!("{}\n", line.replace("{n}", &number.to_string())));
                }
                peer.normal(message);
            });
            server.forget();
            let builder = Client::builder().mode(Mode::Legacy).roots(Vec::new()).on_event(|_| {});
            let (client, driver) = builder.connect(stdio).await.unwrap();
            driver.run_until(stays_flat(&client, name)).await;
        });
    }
}

/// The answer to a call over HTTP, with something else around it. `{n}` is another number each time, and `{reply}` the reply.
const EVENTS: [(&str, &str); 6] = [
    ("another id of the stream each time", "id: {n}\ndata: {reply}\n\n"),
    ("another pause each time", "retry: {n}\ndata: {reply}\n\n"),
    ("an event of another kind", "event: x{n}\ndata: {n}\n\ndata: {reply}\n\n"),
    ("a reply to nobody", "data: {\"id\":{n}00000,\"result\":{}}\n\ndata: {reply}\n\n"),
    (
        "tools that change",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\ndata: {reply}\n\n",
    ),
    ("comments", ": {n}\n\ndata: {reply}\n\n"),
];

/// What a server of revision 2026-07-28 answers, with tools that have other names each time.
fn stateless(message: &Value, number: usize) -> Option<Value> {
    let result = match message["method"].as_str()? {
        "server/discover" => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": { "listChanged": true } }, "serverInfo": { "name": "s", "version": "0" },
            "ttlMs": 0, "cacheScope": "private",
        }),
        "tools/list" => json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": [{
            "name": format!("tool-{number}"),
            "inputSchema": { "type": "object", "properties": {
                format!("a{number}"): { "type": "string", "x-mcp-header": format!("H{number}") },
            } },
        }] }),
        "tools/call" => json!({ "resultType": "complete", "content": [] }),
        _ => return None,
    };
    Some(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }))
}

#[test]
fn nothing_grows_with_what_a_server_says_over_http() {
    let _alone = allocator::alone();
    for (name, text) in EVENTS {
        // Only a list that changes makes a difference between the two kinds of servers.
        let both = text.contains("list_changed");
        for mode in [Mode::Legacy, Mode::Stateless].into_iter().take(1 + usize::from(both)) {
            pollster::block_on(async {
                let number = AtomicUsize::new(1);
                let server = Server::start(move |call| {
                    let number = number.fetch_add(1, Ordering::SeqCst);
                    let reply = match mode {
                        Mode::Stateless => stateless(&call.request.body, number),
                        _ => answer(&call.request.body),
                    };
                    match (call.request.tool(), reply) {
                        ("x", Some(reply)) => {
                            let text = text.replace("{n}", &number.to_string());
                            let text = text.replace("{reply}", &reply.to_string());
                            let length = format!("Content-Length: {}", text.len());
                            call.head("200 OK", &["Content-Type: text/event-stream", &length]);
                            call.write(text);
                            call.keep();
                        }
                        (_, Some(reply)) => call.json(&[], &reply.to_string()),
                        (_, None) => Call::normal(call),
                    }
                });
                server.forget();
                let builder = Client::builder().mode(mode).on_event(|_| {});
                let (client, driver) = builder.connect(server.transport()).await.unwrap();
                driver.run_until(stays_flat(&client, name)).await;
            });
        }
    }
}
