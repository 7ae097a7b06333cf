//! Clients of a server, and one that sees what the server does with them.

use shared_fate::SupervisedExt;
use shared_fate_integrations::drivers::{self, How};
use shared_fate_integrations::panicking::{Panicking, Trigger};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{AnySession, Seen};
use shared_fate_integrations::waits::Resolved;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::{Config, Error, NoTls};

/// Where the server is.
pub const SERVER: &str = "INTEGRATIONS_POSTGRES";

/// Where its programs are.
pub const PROGRAMS: &str = "INTEGRATIONS_POSTGRES_BIN";

/// A query that is in flight until something happens.
pub const SLEEP: &str = "SELECT pg_sleep(60)";

/// What of a client is under its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Nothing: the plain crate.
    Plain,
    /// The connection, as with `monitor`. Of a call's errors "connection closed" alone may be an echo.
    Monitor,
    /// The connection, as with `monitor`. Every error of a call may be an echo.
    EveryError,
    /// The connection, as with `drive`.
    Drive,
}

pub struct Client {
    pub handle: tokio_postgres::Client,
    pub with: With,
    pub session: Option<AnySession>,
    pub driver: JoinHandle<()>,
    pub decoder: Trigger,
    /// The name by which the server knows the client.
    pub name: String,
    /// When its calls resolved.
    pub resolved: Resolved,
}

/// Connects in the runtime in which it is called. The driver is spawned on `on`.
pub async fn connect(with: With, address: SocketAddr, on: Handle) -> Client {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("client-{}", COUNT.fetch_add(1, Relaxed));
    let io = TcpStream::connect(address).await.expect("a connection");
    io.set_nodelay(true).expect("a socket");
    let (io, decoder) = Panicking::new(io);
    let mut config = Config::new();
    config.user("postgres").dbname("postgres").application_name(&name);
    let (handle, connection) = config.connect_raw(io, NoTls).await.expect("a handshake");
    let session = (with != With::Plain).then(AnySession::new);
    let how = if with == With::Drive { How::Ending } else { How::Failing };
    let driver = drivers::spawn(&on, session.as_ref(), how, connection);
    Client { handle, with, session, driver, decoder, name, resolved: Resolved::default() }
}

impl Client {
    pub async fn call(&self, sql: &str) -> Seen {
        let request = self.handle.batch_execute(sql);
        match (&self.session, self.with) {
            (Some(session), With::Monitor | With::Drive) => {
                let request = request.try_supervised_if(session, Error::is_closed);
                Seen::result(self.resolved.of(request)).await
            }
            (Some(session), _) => Seen::result(self.resolved.of(request.try_supervised(session))).await,
            (None, _) => Seen::plain(self.resolved.of(request)).await,
        }
    }
}

/// A plain client, through which a test sees what the server does.
pub struct Admin(Client);

impl Admin {
    pub async fn new(runtimes: &Runtimes, server: SocketAddr) -> Self {
        let servers = runtimes.servers();
        Self(servers.spawn(connect(With::Plain, server, servers.clone())).await.expect("a connection"))
    }

    /// Waits until the server is at a client's [`SLEEP`].
    pub async fn sees_asleep(&self, name: &str) {
        let asleep = format!("application_name = '{name}' AND wait_event = 'PgSleep'");
        while self.count(&asleep).await == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends a client's backend. The server says why.
    pub async fn terminate(&self, name: &str) {
        self.with_backend("pg_terminate_backend", name).await;
    }

    /// Ends a client's query. The server says why.
    pub async fn cancel(&self, name: &str) {
        self.with_backend("pg_cancel_backend", name).await;
    }

    /// Ends the backends of what tests have left behind: a sleeping one does not see that its client is gone.
    pub async fn clean(&self, name: &str) {
        self.terminate(name).await;
        let there = format!("application_name = '{name}'");
        while self.count(&there).await != 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn with_backend(&self, function: &str, name: &str) {
        let sql = format!("SELECT {function}(pid) FROM pg_stat_activity WHERE application_name = '{name}'");
        self.0.handle.batch_execute(&sql).await.expect("the server does it");
    }

    async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE {condition}");
        self.0.handle.query_one(&sql, &[]).await.expect("an answer").get(0)
    }
}
