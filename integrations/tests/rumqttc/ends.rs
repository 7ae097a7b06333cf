//! The connection breaks, or its driver ends, while a caller waits for an acknowledgement.

use crate::VARIABLE;
use crate::kit::{Acks, options, run as drive};
use futures::future::join_all;
use rumqttc::AsyncClient;
use shared_fate::DriverState;
use shared_fate_integrations::broker::{self, Broker};
use shared_fate_integrations::drivers::{self, How};
use shared_fate_integrations::panicking;
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{AnySession, Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::path::Path;
use tokio::runtime::Runtime;

/// How many runs there are under a session.
const RUNS: usize = 300;

/// How many runs there are of the plain crate. Each of them hangs.
const HANGS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Killed,
    Struck(Fault),
    Panic,
    Abort,
    RuntimeGone,
}

const ENDS: [(&str, End, &[&str]); 7] = [
    // Its process is gone with bytes that it has not read: that is a reset.
    ("server killed", End::Killed, &["Connection reset by peer (os error 104)", CLOSED]),
    ("RST", End::Struck(Fault::Reset), &["Connection reset by peer (os error 104)"]),
    ("FIN", End::Struck(Fault::Finish), &[CLOSED]),
    ("garbage", End::Struck(Fault::Garbage(&[0xf0, 0, 0, 0])), &["Invalid packet type: 15"]),
    ("panic", End::Panic, &["the session's driver panicked: the decoder tripped"]),
    ("abort", End::Abort, &[DROPPED]),
    ("runtime gone", End::RuntimeGone, &[DROPPED]),
];

const CLOSED: &str = "Connection closed by peer abruptly";
const DROPPED: &str = "the session's driver was dropped";

#[test]
fn the_connection_or_its_driver_ends() {
    let Some(program) = servers::path(VARIABLE) else { return };
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let columns = ["end", "call", "with", "runs", "leads", "says", ""];
    let mut table = Table::new("rumqttc: the connection, or its driver, ends", &columns);
    let mut all = Vec::new();
    for (name, end, causes) in ENDS {
        let (before, after) = runtimes.block_on(async {
            (plain(&runtimes, &program, end).await, supervised(&runtimes, &program, end).await)
        });
        for (n, call) in ["waiting", "later"].iter().enumerate() {
            table.counts(&[name, call, "Plain"], &before[n]);
            table.counts(&[name, call, "Drive"], &after[n]);
        }
        all.push((name, causes, before, after));
    }
    println!("{table}");
    for (name, causes, before, after) in all {
        // The map is not cleared when the driver is gone.
        assert_eq!(before[0].of(Whose::Hang), HANGS, "{name}");
        for (call, after) in ["waiting", "later"].iter().zip(after) {
            let is_led = |seen: &Seen| seen.whose == Whose::Session && causes.contains(&&*seen.says);
            assert_eq!(after.count(is_led), RUNS, "{name}, {call}");
        }
    }
}

/// All at once, for they hang. Each has a broker of its own.
async fn plain(runtimes: &Runtimes, program: &Path, end: End) -> [Counts; 2] {
    let runs = (0..HANGS).map(|_| async {
        let mut broker = Broker::start(program, broker::mosquitto);
        run(runtimes, &mut broker, false, end).await
    });
    counted(join_all(runs).await)
}

async fn supervised(runtimes: &Runtimes, program: &Path, end: End) -> [Counts; 2] {
    let mut broker = Broker::start(program, broker::mosquitto);
    let mut all = Vec::new();
    for _ in 0..RUNS {
        all.push(run(runtimes, &mut broker, true, end).await);
        if end == End::Killed {
            broker = Broker::start(program, broker::mosquitto);
        }
    }
    counted(all)
}

fn counted(all: Vec<[Seen; 2]>) -> [Counts; 2] {
    let mut counts = [Counts::default(), Counts::default()];
    for [first, later] in all {
        counts[0].add(first);
        counts[1].add(later);
    }
    counts
}

/// A caller that waits when it happens, and one that comes later.
async fn run(runtimes: &Runtimes, broker: &mut Broker, with_session: bool, end: End) -> [Seen; 2] {
    let proxy = runtimes.servers().spawn(Proxy::before(broker.address())).await.unwrap().unwrap();
    let address = if end == End::Killed { broker.address() } else { proxy.address() };
    let doomed = (end == End::RuntimeGone).then(runtime);
    let drivers = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let (client, events) = AsyncClient::new(options(address), 10);
    let (acks, session) = (Acks::default(), with_session.then(AnySession::new));
    let driver = drivers::spawn(drivers, session.as_ref(), How::Ending, drive(events, acks.clone()));
    acks.publish(&client, "connected").await.unwrap();

    broker.stop();
    let happen = async {
        acks.are_written(2).await;
        match end {
            End::Killed => broker.kill(),
            End::Struck(fault) => proxy.strike(fault).await,
            End::Panic => {
                acks.trip();
                broker.go_on();
            }
            End::Abort => driver.abort(),
            End::RuntimeGone => doomed.unwrap().shutdown_background(),
        }
    };
    let (first, ()) = tokio::join!(Seen::of(session.as_ref(), acks.publish(&client, "waiting")), happen);
    let later = Seen::of(session.as_ref(), acks.publish(&client, "later")).await;
    if end != End::Killed {
        broker.go_on();
    }
    [first, later]
}

/// The acknowledgement and a reset are on their way. What the driver has read, the caller gets.
#[test]
fn the_acknowledgement_races_with_the_end() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let broker = Broker::start(&program, broker::mosquitto);
    let run = async || {
        let proxy = runtimes.servers().spawn(Proxy::before(broker.address())).await.unwrap().unwrap();
        let (client, events) = AsyncClient::new(options(proxy.address()), 10);
        let (acks, session) = (Acks::default(), AnySession::new());
        let driver = drive(events, acks.clone());
        drivers::spawn(runtimes.drivers(), Some(&session), How::Ending, driver);
        acks.publish(&client, "connected").await.unwrap();
        let happen = async {
            acks.are_written(2).await;
            proxy.strike(Fault::Reset).await;
        };
        let call = Seen::of(Some(&session), acks.publish(&client, "waiting"));
        let (seen, ()) = tokio::join!(call, happen);
        session.ended().await;
        (seen, acks.acknowledged() == 2)
    };
    let mut table =
        Table::new("rumqttc: the acknowledgement races with a reset", &["read", "runs", "leads", "says"]);
    let [mut read, mut unread] = [Counts::default(), Counts::default()];
    for _ in 0..RUNS {
        let (seen, is_read) = runtimes.block_on(run());
        if is_read { &mut read } else { &mut unread }.add(seen);
    }
    table.counts(&["by the driver"], &read);
    table.counts(&["by nobody"], &unread);
    println!("{table}");
    assert_eq!(read.of(Whose::Answered), read.runs());
    assert_eq!(unread.of(Whose::Session), unread.runs());
}

/// A session has no clock. It can tell that its driver was not polled.
#[test]
fn a_driver_that_is_never_polled() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let broker = Broker::start(&program, broker::mosquitto);
    let run = async |session: Option<AnySession>| {
        let (client, events) = AsyncClient::new(options(broker.address()), 10);
        let acks = Acks::default();
        let driver = drive(events, acks.clone());
        let _driver = drivers::spawn(runtimes.idle(), session.as_ref(), How::Ending, driver);
        let seen = Seen::of(session.as_ref(), acks.publish(&client, "waiting")).await;
        (seen, session.map(|session| session.driver_state()))
    };
    let ((before, _), (after, state)) =
        runtimes.block_on(async { tokio::join!(run(None), run(Some(AnySession::new()))) });
    let mut table = Table::new("rumqttc: the driver is never polled", &["with", "leads", "the driver"]);
    table.row(&[&"Plain", &"HANG", &""]);
    table.row(&[&"Drive", &"HANG", &format!("{state:?}")]);
    println!("{table}");
    assert_eq!((before.whose, after.whose), (Whose::Hang, Whose::Hang));
    assert_eq!(state, Some(DriverState::NeverPolled));
}
