//! A server that says when a call has arrived, and a client as people write it: a reader, a writer, and a map of the
//! calls that wait.

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, TryStreamExt};
use shared_fate::Cause;
use shared_fate_integrations::drivers::{self, How};
use shared_fate_integrations::panicking;
use shared_fate_integrations::seen::AnySession;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, protocol::CloseFrame};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

pub type Socket = WebSocketStream<TcpStream>;

/// Why the server closes.
pub const REASON: &str = "the quota is used up";

pub fn reason() -> CloseFrame {
    CloseFrame { code: CloseCode::Policy, reason: REASON.into() }
}

/// A call that the server has. It is answered when something is sent.
pub struct Arrived {
    pub text: Utf8Bytes,
    to: mpsc::UnboundedSender<Message>,
}

impl Arrived {
    pub fn answer(&self) {
        self.send(Message::Text(self.text.clone()));
    }

    pub fn send(&self, message: Message) {
        self.to.send(message).expect("the server lives");
    }
}

/// A server that says when a call has arrived.
pub struct Server {
    pub address: SocketAddr,
    pub arrivals: mpsc::UnboundedReceiver<Arrived>,
}

impl Server {
    /// The next call with this text. Calls of earlier runs are skipped.
    pub async fn arrival(&mut self, text: &str) -> Arrived {
        loop {
            let arrived = self.arrivals.recv().await.expect("the server lives");
            if arrived.text.ends_with(text) {
                return arrived;
            }
        }
    }
}

/// Listens until its runtime is gone.
pub async fn serve() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (arrived, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(answer(io, arrived.clone()));
        }
    });
    Server { address, arrivals }
}

/// After a close frame the server hangs up: what the client says then is answered with a reset.
async fn answer(io: TcpStream, arrived: mpsc::UnboundedSender<Arrived>) -> Result<(), Error> {
    io.set_nodelay(true)?;
    let mut socket = accept_async(io).await?;
    let (to, mut messages) = mpsc::unbounded_channel::<Message>();
    loop {
        tokio::select! {
            call = socket.next() => match call.transpose()? {
                Some(Message::Text(text)) => _ = arrived.send(Arrived { text, to: to.clone() }),
                Some(_) => {}
                None => return Ok(()),
            },
            Some(message) = messages.recv() => {
                let is_last = message.is_close();
                socket.send(message).await?;
                if is_last {
                    return Ok(());
                }
            }
        }
    }
}

/// What of a client is under its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Nothing: the plain crate.
    Plain,
    /// The reader, as with `drive`.
    Reader,
    /// The reader, as with `drive`; and the writer's panic or drop, but not its errors.
    ReaderAndWriter,
    /// Reader and writer, as with `drive`.
    Both,
}

/// What the reader does when it ends, besides telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// It fails the calls that wait.
    ClearsTheMap,
}

type Calls = Arc<Mutex<HashMap<usize, oneshot::Sender<String>>>>;

pub struct Client {
    pub session: Option<AnySession>,
    pub reader: JoinHandle<()>,
    pub writer: JoinHandle<()>,
    calls: Calls,
    outbox: mpsc::UnboundedSender<Message>,
    last: AtomicUsize,
}

pub async fn open(address: SocketAddr) -> Socket {
    let io = TcpStream::connect(address).await.expect("a connection");
    io.set_nodelay(true).expect("a socket");
    client_async("ws://localhost/", io).await.expect("a handshake").0
}

/// Connects in the runtime in which it is called. Reader and writer are spawned on `on`.
pub async fn connect(with: With, then: Then, address: SocketAddr, on: Handle) -> Client {
    let (sink, stream) = open(address).await.split();
    let (outbox, queue) = mpsc::unbounded_channel();
    let session = (with != With::Plain).then(AnySession::new);
    let calls = Calls::default();
    let reader = drivers::spawn(&on, session.as_ref(), How::Ending, read(stream, Arc::clone(&calls), then));
    let write = write(sink, queue);
    let writer = match (&session, with) {
        (Some(session), With::ReaderAndWriter) => {
            let writer = session.drive_map(write, |_| None::<Cause<_>>);
            on.spawn(async { _ = writer.await })
        }
        (Some(session), With::Both) => drivers::spawn(&on, Some(session), How::Ending, write),
        _ => drivers::spawn(&on, None, How::Ending, write),
    };
    Client { session, reader, writer, calls, outbox, last: AtomicUsize::new(0) }
}

async fn read(mut stream: SplitStream<Socket>, calls: Calls, then: Then) -> Result<(), Error> {
    let result = read_all(&mut stream, &calls).await;
    if then == Then::ClearsTheMap {
        calls.lock().expect("nothing panics under it").clear();
    }
    result
}

async fn read_all(stream: &mut SplitStream<Socket>, calls: &Calls) -> Result<(), Error> {
    while let Some(message) = stream.try_next().await? {
        match message {
            Message::Text(text) => {
                let (id, reply) = text.split_once(' ').expect(panicking::TEXT);
                let id = id.parse().expect(panicking::TEXT);
                let call = calls.lock().expect("nothing panics under it").remove(&id);
                if let Some(call) = call {
                    _ = call.send(reply.to_owned());
                }
            }
            Message::Close(Some(frame)) => return Err(io::Error::other(frame.reason.to_string()).into()),
            _ => {}
        }
    }
    Ok(())
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::UnboundedReceiver<Message>,
) -> Result<(), Error> {
    while let Some(message) = queue.recv().await {
        sink.send(message).await?;
    }
    Ok(())
}

impl Client {
    /// A call without a session.
    pub async fn call(&self, text: &str) -> io::Result<String> {
        let id = self.last.fetch_add(1, Relaxed);
        let (call, reply) = oneshot::channel();
        self.calls.lock().expect("nothing panics under it").insert(id, call);
        self.outbox.send(Message::text(format!("{id} {text}"))).map_err(io::Error::other)?;
        reply.await.map_err(io::Error::other)
    }

    /// Sends a message to which there is no reply.
    pub fn notify(&self, text: &str) -> bool {
        self.outbox.send(Message::text(text)).is_ok()
    }
}
