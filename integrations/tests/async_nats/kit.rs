//! A responder that says when a request has arrived, and clients of it.

use async_nats::{Client, ConnectOptions, Event, Message, RequestError};
use futures::StreamExt;
use shared_fate::Cause;
use shared_fate_integrations::seen::AnySession;
use std::future::{pending, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const SUBJECT: &str = "subject";

/// Answers when it is told to.
pub struct Responder {
    client: Client,
    pub arrivals: mpsc::UnboundedReceiver<Message>,
}

impl Responder {
    pub async fn connect(server: SocketAddr) -> Self {
        let client = async_nats::connect(server.to_string()).await.expect("a connection");
        let mut messages = client.subscribe(SUBJECT).await.expect("a subscription");
        client.flush().await.expect("it is written");
        let (arrived, arrivals) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                _ = arrived.send(message);
            }
        });
        Self { client, arrivals }
    }

    pub async fn answer(&self, message: Message) {
        let to = message.reply.expect("it is a request");
        self.client.publish(to, "answer".into()).await.expect("it is queued");
    }

    /// Answers all, for ever.
    pub async fn answer_all(&mut self) {
        while let Some(message) = self.arrivals.recv().await {
            self.answer(message).await;
        }
        pending().await
    }
}

pub async fn ask(client: &Client) -> Result<Message, RequestError> {
    client.request(SUBJECT, "question".into()).await
}

/// What a client is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    Plain,
    /// One session with a canary: a driver that does nothing, in the runtime of the client.
    Canary,
    /// One session, whose driver does nothing, and is in a callback that the client keeps. It is dropped with the
    /// client's own task.
    Callback,
    /// A session as with `Callback`, and below it a session for each connection, which the client's events end.
    Cell,
}

/// The session of the present connection. When that is lost, the session of the next one takes its place.
#[derive(Clone)]
pub struct Cell(Arc<Mutex<AnySession>>);

impl Cell {
    fn new(session: AnySession) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    pub fn session(&self) -> AnySession {
        self.0.lock().expect("nothing panics under it").clone()
    }

    fn replace(&self, next: AnySession) -> AnySession {
        std::mem::replace(&mut *self.0.lock().expect("nothing panics under it"), next)
    }
}

pub struct Connected {
    pub client: Client,
    pub cell: Option<Cell>,
    pub canary: Option<JoinHandle<()>>,
    /// How often it has connected.
    pub count: watch::Receiver<usize>,
}

/// Connects in the runtime in which it is called.
pub async fn connect(server: SocketAddr, with: With, canaries: Handle) -> Connected {
    let (sender, count) = watch::channel(0);
    let session = AnySession::new();
    let cell = match with {
        With::Plain => None,
        With::Canary | With::Callback => Some(Cell::new(session.clone())),
        With::Cell => Some(Cell::new(session.child())),
    };
    let mut options = ConnectOptions::new();
    let driver = session.drive_map(pending::<()>(), |()| None);
    let mut canary = None;
    match with {
        With::Plain => {}
        With::Canary => canary = Some(canaries.spawn(async { _ = driver.await })),
        With::Callback | With::Cell => {
            options = options.reconnect_to_server_callback(move |_, _| {
                _ = &driver;
                ready(None) // the choice is the client's
            });
        }
    }
    let for_events = cell.clone().filter(|_| with == With::Cell);
    let options = options.event_callback(move |event| {
        match (&event, &for_events) {
            (Event::Connected, _) => sender.send_modify(|count| *count += 1),
            (Event::Disconnected | Event::ClientError(_), Some(cell)) => {
                cell.replace(session.child()).end(Cause::any(event.to_string()));
            }
            _ => {}
        }
        ready(())
    });
    let client = options.connect(server.to_string()).await.expect("a connection");
    Connected { client, cell, canary, count }
}
