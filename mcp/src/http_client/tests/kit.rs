//! Servers on raw sockets, streams that follow a script, and ways to wait.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncWrite};
use http::{Request, Response};

use super::super::body::Body;
use super::super::engine::{Engine, EngineConfig};
use super::super::failure::Failure;
use super::super::net::{ByteStream, Connecting, Net};

/// After this time a test has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(if cfg!(windows) { 300 } else { 30 });

/// Runs a future on the executor with the fewest features there is.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(patiently(future))
}

pub(super) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    match select(pin!(future), async_io::Timer::after(PATIENCE)).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("nothing happened for {PATIENCE:?}"),
    }
}

/// An event from one thread to another.
pub(super) struct Event(Sender<()>);

pub(super) struct Happened(Receiver<()>);

pub(super) fn event() -> (Event, Happened) {
    let (sender, receiver) = mpsc::channel();
    (Event(sender), Happened(receiver))
}

impl Event {
    pub(super) fn set(&self) {
        let _ = self.0.send(());
    }
}

impl Happened {
    pub(super) fn wait(&self) {
        self.0.recv_timeout(PATIENCE).expect("the event did not happen");
    }
}

/// A server that counts its connections and runs a script on each, in a thread of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(super) fn start(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub(super) fn listen(listener: TcpListener, script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let peer = Peer { nth: count.fetch_add(1, Ordering::SeqCst), stream };
                let script = script.clone();
                thread::spawn(move || script(peer));
            }
        });
        Self { address, connections }
    }

    /// Answers every request on every connection with its own body.
    pub(super) fn echo() -> Self {
        Self::start(|mut peer| peer.echo())
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The server's end of a connection.
pub(super) struct Peer<S = TcpStream> {
    /// Counted from 0.
    pub(super) nth: usize,
    pub(super) stream: S,
}

pub(super) struct Received {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl<S: Read + Write> Peer<S> {
    /// The next request, or `None` if the client has closed the connection.
    pub(super) fn request(&mut self) -> Option<Received> {
        self.request_or_error().unwrap()
    }

    pub(super) fn request_or_error(&mut self) -> io::Result<Option<Received>> {
        let Some(head) = self.head_or_error()? else {
            return Ok(None);
        };
        let mut body = vec![0; content_length(&head)];
        self.stream.read_exact(&mut body)?;
        Ok(Some(Received { head, body }))
    }

    /// The head of the next request; its body stays in the socket.
    pub(super) fn head(&mut self) -> Option<String> {
        self.head_or_error().unwrap()
    }

    fn head_or_error(&mut self) -> io::Result<Option<String>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) => return Ok(None),
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(String::from_utf8(head).unwrap()))
    }

    pub(super) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    pub(super) fn respond(&mut self, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.write([head.as_bytes(), body].concat());
    }

    pub(super) fn echo(&mut self) {
        while let Some(request) = self.request() {
            self.respond(request.body);
        }
    }

    /// Waits until the client closes the connection.
    pub(super) fn wait_until_closed(&mut self) {
        let mut rest = [0; 1024];
        loop {
            match self.stream.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_gone(&error) => return,
                Err(error) => panic!("still open: {error}"),
            }
        }
    }
}

impl Peer {
    /// Closes the connection with a reset, which the system sends if the client's bytes are unread.
    pub(super) fn reset(self) {
        assert_ne!(self.stream.peek(&mut [0]).unwrap(), 0, "nothing unread");
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
}

fn content_length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().map_or(0, |(_, length)| length.trim().parse().unwrap())
}

pub(super) fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

pub(super) fn engine_on(net: impl Net) -> Engine {
    Engine::new(EngineConfig { net: Arc::new(net), ..EngineConfig::default() }).unwrap()
}

pub(super) fn post(url: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::post(url).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

/// Sends a request and reads the whole response.
pub(super) async fn call(engine: &Engine, request: Request<Bytes>) -> Result<Vec<u8>, Failure> {
    read(engine.send(request).await?).await
}

pub(super) async fn read(response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let mut body = response.into_body();
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

/// A net without a network: the nth connection is what the function makes of n.
pub(super) struct Scripted<F> {
    connections: AtomicUsize,
    script: F,
}

impl<F> Scripted<F> {
    pub(super) fn new(script: F) -> Self {
        Self { connections: AtomicUsize::new(0), script }
    }
}

impl<F> Net for Scripted<F>
where
    F: Fn(usize) -> Box<dyn ByteStream> + Send + Sync + 'static,
{
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        let stream = (self.script)(self.connections.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move { Ok(stream) })
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// A stream made of a state and two functions. `None` is pending, with a wake-up so that the next step
/// is taken.
pub(super) struct Fake<S> {
    pub(super) state: S,
    pub(super) read: fn(&mut S, &mut [u8]) -> Step,
    pub(super) write: fn(&mut S, &[u8]) -> Step,
}

pub(super) type Step = Option<io::Result<usize>>;

fn poll_step(step: Step, cx: &Context<'_>) -> Poll<io::Result<usize>> {
    step.map_or_else(
        || {
            cx.waker().wake_by_ref();
            Poll::Pending
        },
        Poll::Ready,
    )
}

pub(super) fn give(buffer: &mut [u8], bytes: impl AsRef<[u8]>) -> Step {
    let bytes = bytes.as_ref();
    buffer[..bytes.len()].copy_from_slice(bytes);
    Some(Ok(bytes.len()))
}

impl<S: Unpin> AsyncRead for Fake<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.read;
        poll_step(read(&mut self.state, buffer), cx)
    }
}

impl<S: Unpin> AsyncWrite for Fake<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = self.write;
        poll_step(write(&mut self.state, bytes), cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the reads of a stream return, in order; then the peer has closed the connection.
pub(super) type Script = Vec<Option<io::Result<&'static str>>>;

pub(super) fn scripted(script: Script, written: Sender<String>) -> Box<dyn ByteStream> {
    Box::new(Fake {
        state: (script.into_iter(), written),
        read: |(script, _), buffer| match script.next() {
            None => Some(Ok(0)),
            Some(None) => None,
            Some(Some(Ok(bytes))) => give(buffer, bytes),
            Some(Some(Err(error))) => Some(Err(error)),
        },
        write: |(_, written), bytes| {
            let _ = written.send(String::from_utf8(bytes.to_vec()).unwrap());
            Some(Ok(bytes.len()))
        },
    })
}

/// An address at which nobody listens, now or as long as this lives: a connection has it.
pub(super) struct Vacant {
    pub(super) address: SocketAddr,
    _connection: [TcpStream; 2],
}

impl Vacant {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        Self { address, _connection: [client, listener.accept().unwrap().0] }
    }
}
