//! Sessions that have nothing to do.

use crate::client::{Way, connect, rmcp};
use crate::counting;
use crate::fed::Fed;
use crate::load::runtime;
use crate::server::answer_lines;
use crate::wire::RESULT;
use async_io::Async;
use rmcp::service::ServiceExt as _;
use shared_fate_mcp::{Client, Driver, Memory, MemoryServer, Stdio, Transport};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// The server's end of a session.
enum End {
    Memory(MemoryServer),
    Socket(UnixStream),
}

/// Serves one session after the other up to its first call, and keeps what it has served.
fn serve(ends: &Receiver<End>, n: usize) {
    let (mut kept, mut input, mut output) = (Vec::with_capacity(n + 1), Vec::new(), Vec::new());
    let mut chunk = vec![0; 64 * 1024];
    for mut end in ends {
        loop {
            match &mut end {
                End::Memory(server) => input.extend(pollster::block_on(server.receive()).expect("a client")),
                End::Socket(stream) => {
                    let read = stream.read(&mut chunk).expect("a socket");
                    input.extend_from_slice(&chunk[..read]);
                }
            }
            let is_last = input.windows(10).any(|window| window == b"tools/call");
            if let End::Memory(_) = end {
                input.push(b'\n');
            }
            answer_lines(&mut input, &mut output).expect("a server that lives");
            match &mut end {
                End::Memory(server) => {
                    for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        pollster::block_on(server.send(line.to_vec())).expect("a client");
                    }
                }
                End::Socket(stream) => stream.write_all(&output).expect("a socket"),
            }
            output.clear();
            if is_last {
                break;
            }
        }
        kept.push(end);
    }
}

/// Bytes of heap for each of `n` idle sessions.
pub(super) fn run(transport: &str, n: usize) -> i64 {
    let (ends, served) = channel();
    thread::spawn(move || serve(&served, n));
    runtime(1).block_on(async {
        let mut kept = Vec::with_capacity(n);
        // The first one opens what all of them share.
        kept.push(open(transport, &ends).await);
        counting::start();
        for _ in 1..n {
            kept.push(open(transport, &ends).await);
        }
        let mut bytes = None;
        while bytes.replace(counting::bytes()) != Some(counting::bytes()) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        counting::bytes() / i64::try_from(n - 1).expect("a small number")
    })
}

/// What keeps a session open until the process ends.
type Kept = Box<dyn std::any::Any>;

async fn open(transport: &str, ends: &Sender<End>) -> Kept {
    let (client, driver) = match transport {
        "none" => made(Fed::answering(RESULT)).await,
        "memory" => {
            let (transport, server) = Memory::pair();
            ends.send(End::Memory(server)).expect("the server");
            made(transport).await
        }
        "sockets" => {
            let reader = Async::new(socket(ends)).expect("a socket");
            let writer = Async::new(reader.get_ref().try_clone().expect("a socket")).expect("a socket");
            made(Stdio::over(reader, writer)).await
        }
        "rmcp-sockets" => {
            let stream = socket(ends);
            stream.set_nonblocking(true).expect("a socket");
            let stream = tokio::net::UnixStream::from_std(stream).expect("a socket");
            return called(Arc::new(().serve(stream).await.expect("a handshake"))).await;
        }
        port => match port.strip_prefix("rmcp-") {
            Some(port) => {
                let way = Way::Http(port.parse().expect("a port"));
                return called(rmcp(way, true).await).await;
            }
            None => connect(Way::Http(port.parse().expect("a port")), false).await,
        },
    };
    tokio::spawn(driver);
    called(client).await
}

fn socket(ends: &Sender<End>) -> UnixStream {
    let (stream, server) = UnixStream::pair().expect("sockets");
    ends.send(End::Socket(server)).expect("the server");
    stream
}

async fn made(transport: impl Transport) -> (Client, Driver) {
    Fed::builder().connect(transport).await.expect("a handshake")
}

async fn called(client: impl crate::client::Client) -> Kept {
    client.call("echo").await.expect("a reply");
    Box::new(client)
}
