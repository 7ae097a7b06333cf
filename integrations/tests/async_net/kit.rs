//! A protocol of lines over `async-net`, on `async-executor`: the client knows nothing of tokio. The server, what
//! breaks the connection, and the clock of the tests are tokio's.

use async_executor::{Executor, Task};
use async_net::TcpStream;
use futures::channel::oneshot;
use futures::{FutureExt, TryStreamExt};
use futures_lite::future::block_on;
use futures_lite::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use shared_fate::Cause;
use shared_fate_integrations::panicking;
use shared_fate_integrations::seen::AnySession;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

/// A call that the server has. Its connection is closed when this is dropped.
pub struct Arrived(mpsc::UnboundedSender<&'static [u8]>);

impl Arrived {
    pub fn answer(&self) {
        self.send(b"ok answer\n");
    }

    pub fn send(&self, bytes: &'static [u8]) {
        // The connection may be gone.
        _ = self.0.send(bytes);
    }
}

/// A server that says when a call has arrived.
pub struct Server {
    pub address: SocketAddr,
    pub arrivals: mpsc::UnboundedReceiver<Arrived>,
}

/// Listens until its runtime is gone. It reads one line of each connection.
pub async fn serve() -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (arrived, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let arrived = arrived.clone();
            tokio::spawn(async move {
                let (reader, mut writer) = io.split();
                tokio::io::BufReader::new(reader).read_line(&mut String::new()).await?;
                let (answers, mut queue) = mpsc::unbounded_channel();
                _ = arrived.send(Arrived(answers));
                while let Some(answer) = queue.recv().await {
                    writer.write_all(answer).await?;
                }
                writer.shutdown().await
            });
        }
    });
    Server { address, arrivals }
}

/// An executor with a thread of its own.
pub struct Thread {
    pub executor: Arc<Executor<'static>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Thread {
    pub fn new() -> Self {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = oneshot::channel::<()>();
        let runs = Arc::clone(&executor);
        let thread = thread::spawn(move || {
            block_on(runs.run(async {
                _ = stopped.await;
            }));
        });
        Self { executor, stop, thread }
    }

    /// The executor is gone, and its tasks with it.
    pub fn end(self) {
        _ = self.stop.send(());
        self.thread.join().expect("nothing panics there");
        drop(self.executor);
    }
}

type Calls = Arc<Mutex<VecDeque<oneshot::Sender<String>>>>;

pub struct Client {
    pub session: Option<AnySession>,
    stream: TcpStream,
    calls: Calls,
}

/// Connects. The reader is spawned on `on`.
pub async fn connect(is_supervised: bool, address: SocketAddr, on: &Executor<'static>) -> (Client, Task<()>) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let session = is_supervised.then(AnySession::new);
    let calls = Calls::default();
    let reader = read(stream.clone(), Arc::clone(&calls));
    let driver = match &session {
        None => on.spawn(async {
            // What a task panics with is its executor's: here it would take the thread down.
            _ = std::panic::AssertUnwindSafe(reader).catch_unwind().await;
        }),
        Some(session) => {
            let driver = session.drive_map(reader, |output| output.err().map(Cause::any));
            on.spawn(async { _ = driver.await })
        }
    };
    (Client { session, stream, calls }, driver)
}

async fn read(stream: TcpStream, calls: Calls) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.try_next().await? {
        let reply = line.strip_prefix("ok ").expect(panicking::TEXT);
        let call = calls.lock().expect("nothing panics under it").pop_front();
        _ = call.map(|call| call.send(reply.to_owned()));
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"))
}

impl Client {
    /// A call, plain.
    pub async fn call(&self) -> io::Result<String> {
        let (call, reply) = oneshot::channel();
        self.calls.lock().expect("nothing panics under it").push_back(call);
        self.stream.clone().write_all(b"call\n").await?;
        reply.await.map_err(io::Error::other)
    }
}
