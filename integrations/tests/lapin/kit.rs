//! A client with two channels, and the observer of its events.

use crate::hold::Hold;
use futures::{StreamExt, TryStreamExt, future};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Event, Queue};
use shared_fate_integrations::drivers::{self, How};
use shared_fate_integrations::proxy::Proxy;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::AnySession;
use std::net::SocketAddr;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How many bytes [`declare`] sends.
pub const DECLARE: usize = 20;

/// Declares a queue with a name that the server chooses.
pub async fn declare(channel: &Channel) -> lapin::Result<Queue> {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare("".into(), options, FieldTable::default()).await
}

pub fn uri(server: SocketAddr) -> String {
    format!("amqp://{server}/%2f")
}

pub struct Client {
    pub channels: [Channel; 2],
    pub session: Option<AnySession>,
    /// Without a session no task reads the events.
    pub observer: Option<JoinHandle<()>>,
    pub proxy: Proxy,
    pub hold: Hold,
    pub connection: Connection,
}

/// Connects through a proxy. lapin's runtime is `drivers`, and the observer is spawned on `observers`.
pub async fn connect(
    runtimes: &Runtimes,
    server: SocketAddr,
    session: Option<AnySession>,
    drivers: &Handle,
    observers: &Handle,
) -> Client {
    let hold = runtimes.servers().spawn(Hold::before(server)).await.unwrap().unwrap();
    let proxy = runtimes.servers().spawn(Proxy::before(hold.address())).await.unwrap().unwrap();
    let uri = uri(proxy.address());
    let open = async move {
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channels = [connection.create_channel().await?, connection.create_channel().await?];
        lapin::Result::Ok((connection, channels))
    };
    let (connection, channels) = drivers.spawn(open).await.unwrap().unwrap();
    let observer = match &session {
        None => None,
        Some(session) => {
            // It resolves to the first error that the connection reports.
            let events = connection.events_listener().map(|event| match event {
                Event::Error(error) => Err(error),
                _ => Ok(()),
            });
            let observer = events.try_for_each(future::ok);
            Some(drivers::spawn(observers, Some(session), How::Failing, observer))
        }
    };
    hold.close();
    Client { channels, session, observer, proxy, hold, connection }
}
