//! The driver ends, or does not run, while the connection is fine.

use crate::kit::{Client, Server, Version, With, connect, serve};
use futures::future::join_all;
use shared_fate::DriverState;
use shared_fate_integrations::panicking;
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::{LIMIT, Runtimes, runtime};
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use tokio::runtime::Runtime;
use tokio::time::sleep;

const RUNS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Panic,
    Abort,
    RuntimeGone,
    /// The last sender is dropped, and the answer comes then.
    Done,
}

const ENDS: [End; 4] = [End::Panic, End::Abort, End::RuntimeGone, End::Done];

#[test]
fn http1() {
    let with = [With::Plain, With::Monitor, With::Explained, With::Drive];
    all(Version::H1, &with, "hyper, HTTP/1: the driver ends");
}

#[test]
fn http2() {
    let with = [With::Plain, With::Monitor, With::Explained, With::Drive, With::Executor];
    all(Version::H2, &with, "hyper, HTTP/2: the driver ends");
}

fn all(version: Version, with: &[With], heading: &'static str) {
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let mut table = Table::new(heading, &["end", "call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for end in ENDS {
        let seen: Vec<_> =
            with.iter().map(|&with| (with, runtimes.block_on(runs(&runtimes, version, with, end)))).collect();
        for (n, call) in ["first", "later"].iter().enumerate() {
            for (with, calls) in &seen {
                table.counts(&[&format!("{end:?}"), call, &format!("{with:?}")], &calls[n]);
            }
        }
        all.extend(seen.into_iter().map(|(with, calls)| (end, with, calls)));
    }
    println!("{table}");
    for (end, with, calls) in &all {
        check(version, *end, *with, calls);
    }
}

fn check(version: Version, end: End, with: With, [first, later]: &[Counts; 2]) {
    let what = format!("{version:?}, {end:?}, {with:?}");
    // hyper's HTTP/2 connection is another task than the driver. If that one ends, the driver does not know why.
    let is_elsewhere = version == Version::H2 && with != With::Executor;
    // A request that is made just after that task has panicked is lost now and then, by hyper.
    if end != End::Panic || !is_elsewhere {
        assert_eq!(first.of(Whose::Hang) + later.of(Whose::Hang), 0, "{what}: a hang");
    }
    let cause = match end {
        _ if with == With::Plain => return,
        End::Panic if is_elsewhere => return,
        End::Panic => "the session's driver panicked: the decoder tripped",
        End::Abort => "the session's driver was dropped",
        End::RuntimeGone => "the session's driver was dropped",
        // Over HTTP/2 the driver is done before the answer comes, and `drive` says that none will.
        End::Done if version == Version::H2 && with == With::Drive => return,
        End::Done => return assert_eq!(first.of(Whose::Answered), RUNS, "{what}"),
    };
    let is_led = |seen: &Seen| seen.whose == Whose::Session && seen.says == cause;
    let others = match end {
        // The server answers then, over a connection that is another task's: that may be in time.
        End::Abort if is_elsewhere => first.of(Whose::Answered),
        // The echo, from a task that is dropped before the driver is.
        End::RuntimeGone if is_elsewhere => first.of(Whose::Request),
        _ => 0,
    };
    assert_eq!(first.count(is_led) + others, RUNS, "{what}, first");
    assert_eq!(later.count(is_led), RUNS, "{what}, later");
}

async fn runs(runtimes: &Runtimes, version: Version, with: With, end: End) -> [Counts; 2] {
    let mut server = runtimes.servers().spawn(serve(version)).await.unwrap();
    let mut counts = [Counts::default(), Counts::default()];
    for _ in 0..RUNS {
        let (first, later) = run(runtimes, &mut server, version, with, end).await;
        counts[0].add(first);
        if let Some(later) = later {
            counts[1].add(later);
        }
    }
    counts
}

/// One call in flight, and one later, unless there is no handle any more.
async fn run(
    runtimes: &Runtimes,
    server: &mut Server,
    version: Version,
    with: With,
    end: End,
) -> (Seen, Option<Seen>) {
    let doomed = (end == End::RuntimeGone).then(runtime);
    let drivers = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let client = drivers.spawn(connect(version, with, server.address, drivers.clone())).await;
    let Client { mut sender, session, driver, decoder } = client.unwrap();

    let first = with.see(session.as_ref(), sender.send("/"));
    let mut sender = Some(sender);
    let happen = async {
        let arrived = server.arrivals.recv().await.unwrap();
        match end {
            End::Panic => decoder.arm(),
            End::Abort => {
                driver.abort();
                _ = driver.await;
            }
            End::RuntimeGone => {
                doomed.unwrap().shutdown_background();
                _ = driver.await;
            }
            End::Done => {
                sender = None;
                // Over HTTP/1 it is the answer that makes the driver done.
                if version == Version::H2 {
                    _ = driver.await;
                }
            }
        }
        _ = arrived.send(());
    };
    let (first, ()) = tokio::join!(first, happen);
    let later = match &mut sender {
        Some(sender) => Some(with.see(session.as_ref(), sender.send("/")).await),
        None => None,
    };
    (first, later)
}

/// A driver that is never polled, and a peer that says nothing more. A session has no clock, so it ends with neither.
/// `driver_state` says whether the driver was polled.
#[test]
fn what_hangs_before_and_after() {
    let runtimes = Runtimes::new();
    let mut table =
        Table::new("hyper: nothing happens", &["version", "why", "with", "runs", "leads", "the driver"]);
    let rows = runtimes.block_on(async {
        let runs = [Version::H1, Version::H2].into_iter().flat_map(|version| {
            let runtimes = &runtimes;
            [(With::Plain, true), (With::Monitor, true), (With::Plain, false), (With::Monitor, false)]
                .map(move |(with, is_polled)| hang(runtimes, version, with, is_polled))
        });
        join_all(runs).await
    });
    for (version, with, is_polled, seen, state) in rows {
        let why = if is_polled { "the peer stalls" } else { "never polled" };
        assert_eq!(seen.whose, Whose::Hang);
        let state = state.map_or(String::new(), |state| format!("{state:?}"));
        table.row(&[&format!("{version:?}"), &why, &format!("{with:?}"), &1, &"HANG", &state]);
        if with != With::Plain {
            assert_eq!(state, if is_polled { "Running" } else { "NeverPolled" });
        }
    }
    println!("{table}");
}

async fn hang(
    runtimes: &Runtimes,
    version: Version,
    with: With,
    is_polled: bool,
) -> (Version, With, bool, Seen, Option<DriverState>) {
    let mut server = runtimes.servers().spawn(serve(version)).await.unwrap();
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let on = if is_polled { runtimes.drivers() } else { runtimes.idle() };
    let client = runtimes.drivers().spawn(connect(version, with, proxy.address(), on.clone())).await;
    let Client { mut sender, session, .. } = client.unwrap();
    let state = async {
        if is_polled {
            let arrived = server.arrivals.recv().await.unwrap();
            proxy.strike(Fault::Stall).await;
            _ = arrived.send(());
        }
        sleep(LIMIT / 2).await;
        session.as_ref().map(|session| session.driver_state())
    };
    let (seen, state) = tokio::join!(Seen::of(session.as_ref(), sender.send("/")), state);
    (version, with, is_polled, seen, state)
}
