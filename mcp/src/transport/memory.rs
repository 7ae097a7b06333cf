//! In-memory: a pair of bounded channels, message by message. It is also how to test.

use super::{Sending, Sent, Tracking, Transport};
use crate::error::{Delivery, Error, IoStage};
use crate::inbox::Inbox;
use crate::protocol::outgoing::Outgoing;
use crate::runtime::timer::BoxFuture;
use crate::sync::yield_now;
use async_channel::{Receiver, Sender, TrySendError, bounded};
use std::fmt;
use std::io;

/// The client's end of a pair of channels within one process.
///
/// The other end, [`MemoryServer`], is a server: it receives JSON-RPC messages as text and sends some.
/// Everything is as over a pipe: the same messages, the same order, the same errors; the session ends
/// when the server's end is dropped. For a server that answers by itself, see [`MockServer`](crate::testing::MockServer).
///
/// If a server leaves unknown requests unanswered, the client takes it for an older one only after
/// [`Timeouts::probe`](crate::Timeouts::probe), 10 s. So answer unknown requests with an error (-32601), or connect with
/// [`Mode::Legacy`](crate::Mode::Legacy), as here:
///
/// ```
/// use shared_fate_mcp::{Client, Memory, Mode};
///
/// let (transport, server) = Memory::pair();
/// let serve = async {
///     while let Some(request) = server.receive().await {
///         let request: serde_json::Value = serde_json::from_slice(&request).unwrap();
///         if let Some(id) = request.get("id") {
///             let result = match request["method"].as_str() {
///                 Some("initialize") => r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#,
///                 Some("ping") => "{}",
///                 _ => continue,
///             };
///             let reply = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
///             server.send(reply).await.unwrap();
///         }
///     }
/// };
/// let call = async {
///     let (client, driver) = Client::builder().mode(Mode::Legacy).connect(transport).await?;
///     driver.run_until(client.ping()).await
/// };
/// let (_, answer) = async_io::block_on(futures::future::join(serve, call));
/// answer.unwrap();
/// ```
pub struct Memory {
    outgoing: Sender<Vec<u8>>,
    incoming: Receiver<Vec<u8>>,
}

/// The server's end of a [`Memory`] pair.
///
/// **Drop:** ends the session of the client at the other end.
pub struct MemoryServer {
    outgoing: Sender<Vec<u8>>,
    incoming: Receiver<Vec<u8>>,
}

/// How many messages each direction of a pair holds.
const CAPACITY: usize = 64;

impl Memory {
    /// A pair of connected ends. Each direction holds 64 messages; then its sender waits.
    pub fn pair() -> (Self, MemoryServer) {
        let (client_out, server_in) = bounded(CAPACITY);
        let (server_out, client_in) = bounded(CAPACITY);
        let client = Self { outgoing: client_out, incoming: client_in };
        (client, MemoryServer { outgoing: server_out, incoming: server_in })
    }
}

impl MemoryServer {
    /// The client's next message, as JSON text; `None` when the client is gone.
    ///
    /// **Cancel safety:** no message is lost.
    pub async fn receive(&self) -> Option<Vec<u8>> {
        self.incoming.recv().await.ok()
    }

    /// Sends a message, as JSON text. Waits while the client has not taken the ones before.
    ///
    /// # Errors
    ///
    /// Gives the message back when the client is gone.
    ///
    /// **Cancel safety:** dropped, it has sent the message or not.
    pub async fn send(&self, message: impl Into<Vec<u8>>) -> Result<(), Vec<u8>> {
        self.outgoing.send(message.into()).await.map_err(|error| error.0)
    }
}

impl Transport for Memory {
    fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        // The session ends here: whoever tries again and again may leave the driver no turn to find it out.
        let gone = || {
            // What the server has said by then comes first.
            while let Ok(message) = self.incoming.try_recv() {
                inbox.deliver(&message);
            }
            inbox.session().fail(closed());
            let error = io::Error::from(io::ErrorKind::BrokenPipe);
            Err(Error::io(IoStage::Write, error, Delivery::NotSent))
        };
        let body = match self.outgoing.try_send(message.body) {
            Ok(()) => return Sending::accepted(),
            Err(TrySendError::Closed(_)) => return Sending::now(gone()),
            Err(TrySendError::Full(body)) => body,
        };
        // It waits for room.
        tracking.waiting();
        Sending::later(async move {
            let sent = self.outgoing.send(body).await;
            if sent.is_ok() {
                tracking.begun();
            }
            sent.map_or_else(|_| gone(), |()| Ok(Sent::accepted()))
        })
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        /// How many messages are taken in one go, before others get their turn.
        const TURN: usize = 64;
        Box::pin(async move {
            loop {
                for _ in 0..TURN {
                    match self.incoming.recv().await {
                        Ok(message) => inbox.deliver(&message),
                        Err(_) => return Err(closed()),
                    }
                }
                yield_now().await;
            }
        })
    }

    fn close<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.abort() })
    }

    fn abort(&self) {
        self.outgoing.close();
        self.incoming.close();
    }
}

/// The server's end is gone.
fn closed() -> Error {
    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
    Error::io(IoStage::Read, error, Delivery::MaybeSent)
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("closed", &self.incoming.is_closed()).finish()
    }
}

impl fmt::Debug for MemoryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryServer").field("closed", &self.incoming.is_closed()).finish()
    }
}
