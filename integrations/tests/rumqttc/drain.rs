//! The orderly end: the application has queued its messages, and returns.

use crate::VARIABLE;
use crate::kit::options;
use rumqttc::{AsyncClient, ClientError, ConnectionError, Event, EventLoop, Outgoing, Packet, QoS};
use shared_fate::{Cause, Session};
use shared_fate_integrations::broker::{self, Broker};
use shared_fate_integrations::runtimes::{LIMIT, Runtimes};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

const MESSAGES: usize = 100;
const RUNS: usize = 50;

/// How long the test waits for messages that are lost.
const GRACE: Duration = Duration::from_millis(100);

/// How the application and the loop around `poll` are run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// The loop in a task of its own, which goes on when the application has returned.
    Spawned,
    /// Both in one task, with `select!`.
    Select,
    /// Both in one task, with `run_until` alone.
    RunUntil,
    /// With `drain_until` and a timer. The loop is done when it has written the last packet.
    DrainWritten,
    /// With `drain_until` and a bound that says that all is acknowledged. The loop is never done.
    DrainAcknowledged,
}

impl How {
    fn qos(self) -> QoS {
        if self == Self::DrainAcknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce }
    }

    /// How many messages arrive, and what is the cause after that.
    fn expected(self) -> (usize, &'static str) {
        match self {
            Self::Spawned => (MESSAGES, ""),
            Self::Select => (0, ""),
            Self::RunUntil => (0, "the session was closed"),
            Self::DrainWritten => (MESSAGES, "the session's driver finished"),
            Self::DrainAcknowledged => (MESSAGES, "the session was closed"),
        }
    }
}

#[test]
fn the_application_returns() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let broker = Broker::start(&program, broker::mosquitto);
    let columns = ["application and driver", "runs", "fewest arrive", "most", "the cause then"];
    let mut table = Table::new("rumqttc: 100 messages are published, and the application returns", &columns);
    for how in [How::Spawned, How::Select, How::RunUntil, How::DrainWritten, How::DrainAcknowledged] {
        let (mut fewest, mut most) = (MESSAGES, 0);
        let (expected, expected_cause) = how.expected();
        for _ in 0..RUNS {
            let (arrived, cause) = runtimes.block_on(arrivals(&runtimes, broker.address(), how));
            (fewest, most) = (fewest.min(arrived), most.max(arrived));
            assert_eq!(cause.map_or(String::new(), |cause| cause.to_string()), expected_cause, "{how:?}");
        }
        table.row(&[&format!("{how:?}"), &RUNS, &fewest, &most, &expected_cause]);
        assert_eq!((fewest, most), (expected, expected), "{how:?}\n{table}");
    }
    println!("{table}");
}

type Ended = Option<Cause<ConnectionError>>;

/// How many messages a subscriber gets.
async fn arrivals(runtimes: &Runtimes, server: SocketAddr, how: How) -> (usize, Ended) {
    let (subscribed, is_subscribed) = oneshot::channel();
    let arrived = watch::Sender::new(0);
    let mut count = arrived.subscribe();
    let subscriber = runtimes.servers().spawn(subscribe(server, subscribed, arrived));
    is_subscribed.await.unwrap();
    let cause = timeout(LIMIT, publish(runtimes, server, how)).await.expect("no hang").unwrap();
    let wait = if how.expected().0 == MESSAGES { LIMIT } else { GRACE };
    _ = timeout(wait, count.wait_for(|count| *count == MESSAGES)).await;
    subscriber.abort();
    let count = *count.borrow();
    (count, cause)
}

async fn subscribe(
    server: SocketAddr,
    subscribed: oneshot::Sender<()>,
    arrived: watch::Sender<usize>,
) -> Result<(), ConnectionError> {
    let (client, mut events) = AsyncClient::new(options(server), 10);
    client.subscribe(TOPIC, QoS::AtLeastOnce).await.expect("it is queued");
    let mut subscribed = Some(subscribed);
    loop {
        match events.poll().await? {
            Event::Incoming(Packet::SubAck(_)) => _ = subscribed.take().expect("once").send(()),
            Event::Incoming(Packet::Publish(_)) => arrived.send_modify(|count| *count += 1),
            _ => {}
        }
    }
}

const TOPIC: &str = "drain";

async fn publish(runtimes: &Runtimes, server: SocketAddr, how: How) -> Result<Ended, ClientError> {
    let (client, events) = AsyncClient::new(options(server), MESSAGES + 1);
    let acknowledged = watch::Sender::new(0);
    let mut count = acknowledged.subscribe();
    let app = async move {
        for n in 0..MESSAGES {
            client.publish(TOPIC, how.qos(), false, n.to_string()).await?;
        }
        if how != How::DrainAcknowledged {
            client.disconnect().await?;
        }
        Ok::<(), ClientError>(())
    };
    let session = Session::new();
    match how {
        How::Spawned => {
            runtimes.drivers().spawn(until_disconnected(events));
            app.await?;
            return Ok(None);
        }
        How::Select => {
            let (mut app, mut driver) = (pin!(app), pin!(until_disconnected(events)));
            tokio::select! {
                biased;
                published = &mut app => published?,
                _ = &mut driver => {}
            }
            return Ok(None);
        }
        How::RunUntil => session.drive(until_disconnected(events)).run_until(app).await?,
        How::DrainWritten => {
            let driver = session.drive(until_disconnected(events));
            let (published, _) = driver.run_until(app).drain_until(|| sleep(LIMIT)).await;
            published?;
        }
        How::DrainAcknowledged => {
            let mut events = events;
            let driver = session.drive(async move {
                loop {
                    if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
                        acknowledged.send_modify(|count| *count += 1);
                    }
                }
            });
            let all = async move {
                if count.wait_for(|count| *count == MESSAGES).await.is_err() {
                    pending().await
                }
            };
            let (published, _) = driver.run_until(app).drain_until(|| all).await;
            published?;
        }
    }
    Ok(session.cause())
}

/// The loop around `poll`. It is done when the last packet is written.
async fn until_disconnected(mut events: EventLoop) -> Result<(), ConnectionError> {
    loop {
        if let Event::Outgoing(Outgoing::Disconnect) = events.poll().await? {
            return Ok(());
        }
    }
}
