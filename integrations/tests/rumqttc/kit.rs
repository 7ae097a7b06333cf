//! What a user of rumqttc writes anyhow: a loop around `poll`, and a map of those who wait for an acknowledgement.

use rumqttc::{
    AsyncClient, ClientError, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS,
};
use shared_fate_integrations::panicking;
use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

pub const TOPIC: &str = "topic";

pub fn options(server: SocketAddr) -> MqttOptions {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let id = format!("client-{}", COUNT.fetch_add(1, Relaxed));
    MqttOptions::new(id, server.ip().to_string(), server.port())
}

/// The driver: the loop that every user of rumqttc writes.
pub async fn run(mut events: EventLoop, acks: Acks) -> Result<(), ConnectionError> {
    loop {
        acks.handle(&events.poll().await?);
    }
}

/// Who waits for an acknowledgement. The client has it, and the driver.
#[derive(Clone, Default)]
pub struct Acks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    /// How many were written.
    written: watch::Sender<usize>,
    /// How many acknowledgements the driver has read.
    acknowledged: AtomicUsize,
    trips: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    /// In the order in which they are written.
    queued: VecDeque<oneshot::Sender<()>>,
    /// Written, by the identifier of the packet.
    written: HashMap<u16, oneshot::Sender<()>>,
}

impl Acks {
    /// Publishes, and waits for the acknowledgement.
    pub async fn publish(&self, client: &AsyncClient, text: &str) -> Result<(), NotPublished> {
        let acknowledged = {
            let mut waiting = self.0.waiting.lock().expect("nothing panics under it");
            client.try_publish(TOPIC, QoS::AtLeastOnce, false, text)?;
            let (sender, receiver) = oneshot::channel();
            waiting.queued.push_back(sender);
            receiver
        };
        acknowledged.await.map_err(|_| NotPublished::Forgotten)
    }

    /// Takes notice of an event.
    pub fn handle(&self, event: &Event) {
        if self.0.trips.load(SeqCst) {
            panic_any(panicking::TEXT);
        }
        let mut waiting = self.0.waiting.lock().expect("nothing panics under it");
        match event {
            Event::Outgoing(Outgoing::Publish(id)) => {
                let sender = waiting.queued.pop_front().expect("it was queued");
                waiting.written.insert(*id, sender);
                self.0.written.send_modify(|written| *written += 1);
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let sender = waiting.written.remove(&ack.pkid).expect("it was written");
                self.0.acknowledged.fetch_add(1, SeqCst);
                _ = sender.send(());
            }
            _ => {}
        }
    }

    /// Waits until so many were written.
    pub async fn are_written(&self, count: usize) {
        let mut written = self.0.written.subscribe();
        written.wait_for(|written| *written >= count).await.expect("it has a sender");
    }

    /// How many acknowledgements the driver has read.
    pub fn acknowledged(&self) -> usize {
        self.0.acknowledged.load(SeqCst)
    }

    /// Lets the driver panic when it handles the next event.
    pub fn trip(&self) {
        self.0.trips.store(true, SeqCst);
    }
}

#[derive(Debug)]
pub enum NotPublished {
    Client(ClientError),
    /// The map was dropped.
    Forgotten,
}

impl fmt::Display for NotPublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Forgotten => f.write_str("nobody waits for the acknowledgement any more"),
        }
    }
}

impl Error for NotPublished {}

impl From<ClientError> for NotPublished {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}
