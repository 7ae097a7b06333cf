//! A server that says when a request has arrived, and clients of it.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use http_body_util::Empty;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use shared_fate::io::Tap;
use shared_fate::{Cause, SupervisedExt};
use shared_fate_integrations::drivers::{self, How};
use shared_fate_integrations::panicking::{Panicking, Trigger};
use shared_fate_integrations::seen::{AnySession, Seen};
use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// The body of a request.
pub type Nothing = Empty<Bytes>;

/// The body of an answer.
pub type Answer = BoxBody<Bytes, Infallible>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    H1,
    H2,
}

/// Listens until its runtime is gone.
pub async fn listen<S>(version: Version, service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            io.set_nodelay(true).expect("a socket");
            let (io, service) = (TokioIo::new(io), service.clone());
            match version {
                Version::H1 => {
                    tokio::spawn(server::conn::http1::Builder::new().serve_connection(io, service));
                }
                Version::H2 => {
                    let builder = server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(builder.serve_connection(io, service));
                }
            }
        }
    });
    address
}

/// A request that the server has. It is answered when something is sent; dropped, it never is.
pub type Arrived = oneshot::Sender<()>;

/// A server that says when a request has arrived.
pub struct Server {
    pub address: SocketAddr,
    pub arrivals: mpsc::UnboundedReceiver<Arrived>,
}

pub async fn serve(version: Version) -> Server {
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let service = service_fn(move |_| {
        let (answer, asked_to) = oneshot::channel();
        _ = arrived.send(answer);
        async {
            match asked_to.await {
                Ok(()) => Ok(Response::new(Answer::default())),
                Err(_) => pending().await,
            }
        }
    });
    Server { address: listen(version, service).await, arrivals }
}

/// What of a client is under its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Nothing: the plain crate.
    Plain,
    /// hyper's `Connection`, as with `monitor`.
    Monitor,
    /// hyper's `Connection`, as with `monitor`. The calls are explained, and not supervised.
    Explained,
    /// hyper's `Connection`, as with `drive`.
    Drive,
    /// hyper's `Connection`, as with `monitor`, and a tap on its bytes.
    Tap,
    /// hyper's `Connection`, as with `monitor`, and a tap that reports the end of the bytes, too.
    TapEof,
    /// hyper's `Connection`, as with `monitor`, and the tasks that hyper spawns for HTTP/2.
    Executor,
}

impl With {
    /// Makes a call.
    pub async fn see<T>(
        self,
        session: Option<&AnySession>,
        call: impl Future<Output = hyper::Result<T>>,
    ) -> Seen {
        match session {
            Some(session) if self == Self::Explained => Seen::result(call.explained_by(session)).await,
            _ => Seen::of(session, call).await,
        }
    }
}

pub struct Client {
    pub sender: Sender,
    pub session: Option<AnySession>,
    pub driver: JoinHandle<()>,
    pub decoder: Trigger,
}

/// Connects in the runtime in which it is called. The driver is spawned on `on`.
pub async fn connect(version: Version, with: With, address: SocketAddr, on: Handle) -> Client {
    let (io, decoder) = Panicking::new(tcp(address).await);
    let session = (with != With::Plain).then(AnySession::new);
    let tap = |io, session| Tap::with(io, session, Cause::any);
    let (sender, connection) = match (with, session.clone()) {
        (With::Tap, Some(session)) => open(version, tap(io, session), None).await,
        (With::TapEof, Some(session)) => open(version, tap(io, session).report_eof(), None).await,
        (With::Executor, session) => open(version, io, session).await,
        (_, _) => open(version, io, None).await,
    };
    let how = if with == With::Drive { How::Ending } else { How::Failing };
    let driver = drivers::spawn(&on, session.as_ref(), how, connection);
    Client { sender, session, driver, decoder }
}

pub async fn tcp(address: SocketAddr) -> TcpStream {
    let io = TcpStream::connect(address).await.expect("a connection");
    io.set_nodelay(true).expect("a socket");
    // It leaves no port behind that waits for a minute: there are thousands of runs.
    io.set_zero_linger().expect("a socket");
    io
}

/// hyper's handle and its `Connection`. The session is for what hyper spawns itself.
pub async fn open<I>(
    version: Version,
    io: I,
    session: Option<AnySession>,
) -> (Sender, BoxFuture<'static, hyper::Result<()>>)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(io);
    match version {
        Version::H1 => {
            let (sender, connection) = http1::handshake(io).await.expect("a handshake");
            (Sender::H1(sender), connection.boxed())
        }
        Version::H2 => {
            let (sender, connection) = http2::handshake(Tasks(session), io).await.expect("a handshake");
            (Sender::H2(sender), connection.boxed())
        }
    }
}

/// Spawns hyper's tasks: for HTTP/2 these are the connection proper, and what each request needs. Under a session
/// they are drivers that may be done.
#[derive(Clone)]
struct Tasks(Option<AnySession>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        match &self.0 {
            None => drop(tokio::spawn(task)),
            Some(session) => drop(tokio::spawn(session.drive_map(task, |()| None))),
        }
    }
}

pub enum Sender {
    H1(http1::SendRequest<Nothing>),
    H2(http2::SendRequest<Nothing>),
}

impl Sender {
    pub fn send(&mut self, path: &str) -> BoxFuture<'static, hyper::Result<Response<Incoming>>> {
        let request = Request::get(path).header("host", "localhost").body(Empty::new());
        let request = request.expect("a request");
        match self {
            Self::H1(sender) => sender.send_request(request).boxed(),
            Self::H2(sender) => sender.send_request(request).boxed(),
        }
    }

    /// What a second call does while the first is in flight: over HTTP/1 it waits for its turn.
    pub fn second(&mut self) -> BoxFuture<'_, hyper::Result<()>> {
        match self {
            Self::H1(sender) => sender.ready().boxed(),
            Self::H2(_) => self.send("/").map_ok(drop).boxed(),
        }
    }
}
