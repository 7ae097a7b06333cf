//! Clients of a server, and one that sees what the server does with them.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, cmd};
use shared_fate::io::Tap;
use shared_fate::{Cause, SupervisedExt};
use shared_fate_integrations::panicking::{Panicking, Trigger};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{AnySession, Seen};
use shared_fate_integrations::waits::Resolved;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Where the server is.
pub const SERVER: &str = "INTEGRATIONS_REDIS";

/// Its program.
pub const PROGRAM: &str = "INTEGRATIONS_REDIS_BIN";

/// What of a client is under its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Nothing: the plain crate.
    Plain,
    /// The driver. It resolves to `()`, and may be done.
    Driver,
    /// A tap on the bytes and their end, and the driver. When the driver is done, the session ends.
    Tap,
}

pub const WITH: [With; 3] = [With::Plain, With::Driver, With::Tap];

pub struct Client {
    pub connection: MultiplexedConnection,
    pub session: Option<AnySession>,
    pub driver: JoinHandle<()>,
    pub decoder: Trigger,
    /// The id by which the server knows the connection.
    pub id: i64,
    /// When its calls resolved.
    pub resolved: Resolved,
}

/// Connects in the runtime in which it is called. The driver is spawned on `on`.
pub async fn connect(with: With, address: SocketAddr, on: Handle) -> Client {
    let io = TcpStream::connect(address).await.expect("a connection");
    io.set_nodelay(true).expect("a socket");
    // The handshake is a conversation of its own, so the id can be asked for before the driver runs.
    let (io, id) = id_of(io).await;
    let (io, decoder) = Panicking::new(io);
    let session = (with != With::Plain).then(AnySession::new);
    // Without the library's own timeout, so that a call that hangs is seen to hang.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let info = RedisConnectionInfo::default();
    let (connection, driver) = match (with, &session) {
        (With::Tap, Some(session)) => {
            let io = Tap::with(io, session.clone(), Cause::any).report_eof();
            let opened = MultiplexedConnection::new_with_config(&info, io, config).await;
            let (connection, driver) = opened.expect("a handshake");
            // If the tap has seen nothing, the library has stopped for a reason that it has told a request.
            (connection, spawn(&on, session.drive_map(driver, |()| Some(Cause::Finished))))
        }
        (_, session) => {
            let opened = MultiplexedConnection::new_with_config(&info, io, config).await;
            let (connection, driver) = opened.expect("a handshake");
            let driver = match session {
                Some(session) => spawn(&on, session.drive_map(driver, |()| None)),
                None => spawn(&on, driver),
            };
            (connection, driver)
        }
    };
    Client { connection, session, driver, decoder, id, resolved: Resolved::default() }
}

fn spawn<T>(on: &Handle, driver: impl Future<Output = T> + Send + 'static) -> JoinHandle<()> {
    on.spawn(async { _ = driver.await })
}

/// Asks the server for the connection's id, by hand.
async fn id_of(io: TcpStream) -> (TcpStream, i64) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
    let mut io = BufStream::new(io);
    io.write_all(b"CLIENT ID\r\n").await.expect("a connection");
    io.flush().await.expect("a connection");
    let mut line = String::new();
    io.read_line(&mut line).await.expect("an answer");
    let id = line.trim().trim_start_matches(':').parse().expect("an id");
    (io.into_inner(), id)
}

impl Client {
    pub async fn call(&self, command: &Cmd) -> Seen {
        let mut connection = self.connection.clone();
        let request = connection.req_packed_command(command);
        match &self.session {
            Some(session) => Seen::result(self.resolved.of(request.try_supervised(session))).await,
            None => Seen::plain(self.resolved.of(request)).await,
        }
    }
}

/// A command that is in flight until something happens.
pub fn wait() -> Cmd {
    let mut command = cmd("BLPOP");
    command.arg("nothing is there").arg(0);
    command
}

pub fn echo(text: &str) -> Cmd {
    let mut command = cmd("ECHO");
    command.arg(text);
    command
}

/// A plain client, through which a test sees what the server does.
pub struct Admin(Client);

impl Admin {
    pub async fn new(runtimes: &Runtimes, server: SocketAddr) -> Self {
        let servers = runtimes.servers();
        Self(servers.spawn(connect(With::Plain, server, servers.clone())).await.expect("a connection"))
    }

    /// Waits until the server is at a client's [`wait`], and has so many bytes of commands that come after it.
    pub async fn sees_waiting(&self, client: &Client, bytes: usize) {
        loop {
            let line = self.line(client.id).await;
            let value = |name: &str| line.split(' ').find_map(|part| part.strip_prefix(name));
            let queued: usize = value("qbuf=").and_then(|value| value.parse().ok()).unwrap_or(0);
            if value("flags=").is_some_and(|flags| flags.contains('b')) && queued >= bytes {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The server ends a client's connection, if it is there. It does not say why.
    pub async fn kill(&self, id: i64) {
        let mut command = cmd("CLIENT");
        command.arg("KILL").arg("ID").arg(id);
        self.ask(&command).await;
    }

    /// The server answers to a client's [`wait`].
    pub async fn unblock(&self, id: i64) {
        let mut command = cmd("CLIENT");
        command.arg("UNBLOCK").arg(id);
        self.ask(&command).await;
    }

    async fn line(&self, id: i64) -> String {
        let mut command = cmd("CLIENT");
        command.arg("LIST").arg("ID").arg(id);
        match self.ask(&command).await {
            redis::Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            redis::Value::VerbatimString { text, .. } => text,
            other => panic!("no list: {other:?}"),
        }
    }

    async fn ask(&self, command: &Cmd) -> redis::Value {
        self.0.connection.clone().req_packed_command(command).await.expect("an answer")
    }
}
