//! Holds back what the server answers: RabbitMQ is too quick for a request to be in flight when something happens.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

/// Stands before a server and passes everything on. While it is closed, it passes on the requests, and no answers.
pub struct Hold {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    closed: watch::Sender<bool>,
    /// How many bytes of requests were passed on since then.
    requests: watch::Sender<usize>,
}

impl Hold {
    /// Takes one connection. Runs on the runtime in which it was made.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { closed: watch::Sender::new(false), requests: watch::Sender::new(0) });
        let hold = Self { address, state: Arc::clone(&state) };
        tokio::spawn(async move {
            let (client, _) = listener.accept().await?;
            let server = TcpStream::connect(server).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::select! {
                ended = state.requests(from_client, to_server) => ended,
                ended = state.answers(from_server, to_client) => ended,
            }
        });
        Ok(hold)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn close(&self) {
        self.state.requests.send_replace(0);
        self.state.closed.send_replace(true);
    }

    pub fn open(&self) {
        self.state.closed.send_replace(false);
    }

    /// Waits until so many bytes of requests were passed on since it was closed.
    pub async fn are_passed_on(&self, bytes: usize) {
        let mut requests = self.state.requests.subscribe();
        requests.wait_for(|passed_on| *passed_on >= bytes).await.expect("it has a sender");
    }
}

impl State {
    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut bytes = vec![0; 1 << 14];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            to.write_all(&bytes[..count]).await?;
            if *self.closed.borrow() {
                self.requests.send_modify(|passed_on| *passed_on += count);
            }
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut closed = self.closed.subscribe();
        let mut held = Vec::new();
        loop {
            if !*closed.borrow_and_update() && !held.is_empty() {
                to.write_all(&held).await?;
                held.clear();
            }
            tokio::select! {
                count = from.read_buf(&mut held) => if count? == 0 {
                    return Ok(());
                },
                changed = closed.changed() => changed.expect("it has a sender"),
            }
        }
    }
}
