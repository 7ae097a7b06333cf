//! A loop that goes on after an error, which connects again: a session for each connection, in a cell.

use crate::VARIABLE;
use crate::kit::{Acks, options};
use futures::future::join_all;
use rumqttc::{AsyncClient, ConnectionError, EventLoop};
use shared_fate::Cause;
use shared_fate_integrations::broker::{self, Broker};
use shared_fate_integrations::drivers::{self, How};
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{AnySession, Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::mem::replace;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// How many runs there are under a session.
const RUNS: usize = 300;

/// How many runs there are of the plain crate. Each of them hangs.
const HANGS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Killed,
    Reset,
    Abort,
}

#[test]
fn the_loop_goes_on() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let columns = ["end", "call", "with", "runs", "leads", "says", ""];
    let mut table = Table::new("rumqttc: the loop goes on after an error", &columns);
    for end in [End::Killed, End::Reset, End::Abort] {
        let (before, after) = runtimes.block_on(async {
            (plain(&runtimes, &program, end).await, with_cell(&runtimes, &program, end).await)
        });
        for (n, call) in ["waiting", "later"].iter().enumerate() {
            table.counts(&[&format!("{end:?}"), call, "Plain"], &before[n]);
            table.counts(&[&format!("{end:?}"), call, "Cell"], &after[n]);
        }
        assert_eq!(before[0].of(Whose::Hang), HANGS, "{end:?}\n{table}");
        let is_led = |seen: &Seen| {
            let causes: &[_] = match end {
                End::Killed => &["Connection reset by peer (os error 104)", CLOSED],
                End::Reset => &["Connection reset by peer (os error 104)"],
                End::Abort => &["the session's driver was dropped"],
            };
            seen.whose == Whose::Session && causes.contains(&&*seen.says)
        };
        assert_eq!(after[0].count(is_led), RUNS, "{end:?}\n{table}");
        let later = match end {
            End::Killed => after[1].count(|seen| seen.says == "Connection refused (os error 111)"),
            // Over the next connection, as before.
            End::Reset => after[1].of(Whose::Answered),
            End::Abort => after[1].count(is_led),
        };
        assert_eq!(later, RUNS, "{end:?}, later\n{table}");
    }
    println!("{table}");
}

const CLOSED: &str = "Connection closed by peer abruptly";

/// The session of the loop, and below it the session of the present connection.
#[derive(Clone)]
struct Cell {
    whole: AnySession,
    now: Arc<Mutex<AnySession>>,
}

impl Cell {
    fn new() -> Self {
        let whole = AnySession::new();
        Self { now: Arc::new(Mutex::new(whole.child())), whole }
    }

    fn session(&self) -> AnySession {
        self.now.lock().unwrap().clone()
    }

    fn fail(&self, error: ConnectionError) {
        let failed = replace(&mut *self.now.lock().unwrap(), self.whole.child());
        failed.end(Cause::any(error));
    }
}

/// The loop of the crate's own examples.
async fn drive(mut events: EventLoop, acks: Acks, cell: Option<Cell>) -> Result<(), ConnectionError> {
    loop {
        match (events.poll().await, &cell) {
            (Ok(event), _) => acks.handle(&event),
            (Err(error), Some(cell)) => {
                cell.fail(error);
                sleep(Duration::from_millis(1)).await;
            }
            (Err(_), None) => sleep(Duration::from_millis(1)).await,
        }
    }
}

/// All at once, for they hang. Each has a broker of its own.
async fn plain(runtimes: &Runtimes, program: &Path, end: End) -> [Counts; 2] {
    let runs = (0..HANGS).map(|_| async {
        let mut broker = Broker::start(program, broker::mosquitto);
        run(runtimes, &mut broker, None, end).await
    });
    counted(join_all(runs).await)
}

async fn with_cell(runtimes: &Runtimes, program: &Path, end: End) -> [Counts; 2] {
    let mut broker = Broker::start(program, broker::mosquitto);
    let mut all = Vec::new();
    for _ in 0..RUNS {
        all.push(run(runtimes, &mut broker, Some(Cell::new()), end).await);
        if end == End::Killed {
            broker = Broker::start(program, broker::mosquitto);
        }
    }
    counted(all)
}

fn counted(all: Vec<[Seen; 2]>) -> [Counts; 2] {
    let mut counts = [Counts::default(), Counts::default()];
    for [waiting, later] in all {
        counts[0].add(waiting);
        counts[1].add(later);
    }
    counts
}

/// A caller that waits when it happens, and one that comes later.
async fn run(runtimes: &Runtimes, broker: &mut Broker, cell: Option<Cell>, end: End) -> [Seen; 2] {
    let proxy = runtimes.servers().spawn(Proxy::before(broker.address())).await.unwrap().unwrap();
    let address = if end == End::Killed { broker.address() } else { proxy.address() };
    let (client, events) = AsyncClient::new(options(address), 10);
    let acks = Acks::default();
    let whole = cell.as_ref().map(|cell| &cell.whole);
    let driver = drive(events, acks.clone(), cell.clone());
    let driver = drivers::spawn(runtimes.drivers(), whole, How::Ending, driver);
    acks.publish(&client, "connected").await.unwrap();

    broker.stop();
    let happen = async {
        acks.are_written(2).await;
        match end {
            End::Killed => return broker.kill(),
            End::Reset => proxy.strike(Fault::Reset).await,
            End::Abort => driver.abort(),
        }
        broker.go_on();
    };
    let session = cell.as_ref().map(Cell::session);
    let (waiting, ()) = tokio::join!(Seen::of(session.as_ref(), acks.publish(&client, "waiting")), happen);
    let session = cell.as_ref().map(Cell::session);
    let later = Seen::of(session.as_ref(), acks.publish(&client, "later")).await;
    driver.abort();
    [waiting, later]
}
