//! The driver ends, or does not run, while the connection is fine.

use crate::kit::{Admin, Client, SERVER, SLEEP, With, connect};
use shared_fate_integrations::panicking;
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::net::SocketAddr;
use tokio::runtime::Runtime;

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Panic,
    Abort,
    RuntimeGone,
}

const ENDS: [End; 3] = [End::Panic, End::Abort, End::RuntimeGone];

const CALLS: [&str; 3] = ["first", "second", "later"];

#[test]
fn all() {
    let Some(server) = servers::address(SERVER) else { return };
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let columns = ["end", "call", "with", "runs", "leads", "says", ""];
    let mut table = Table::new("tokio-postgres: the driver ends", &columns);
    let mut all = Vec::new();
    for end in ENDS {
        let seen = [With::Plain, With::Monitor]
            .map(|with| (with, runtimes.block_on(runs(&runtimes, server, with, end))));
        for (n, call) in CALLS.iter().enumerate() {
            for (with, calls) in &seen {
                table.counts(&[&format!("{end:?}"), call, &format!("{with:?}")], &calls[n]);
            }
        }
        let [_, (_, after)] = seen;
        all.push((end, after));
    }
    println!("{table}");
    for (end, after) in &all {
        let says = match end {
            End::Panic => "the session's driver panicked: the decoder tripped",
            End::Abort | End::RuntimeGone => "the session's driver was dropped",
        };
        for (call, counts) in CALLS.iter().zip(after) {
            let is_led = |seen: &Seen| seen.whose == Whose::Session && seen.says == says;
            assert_eq!(counts.count(is_led), RUNS, "{end:?}, {call}");
        }
    }
}

async fn runs(runtimes: &Runtimes, server: SocketAddr, with: With, end: End) -> [Counts; CALLS.len()] {
    let admin = Admin::new(runtimes, server).await;
    let mut counts = [Counts::default(), Counts::default(), Counts::default()];
    for _ in 0..RUNS {
        let seen = run(runtimes, &admin, server, with, end).await;
        for (counts, seen) in counts.iter_mut().zip(seen) {
            counts.add(seen);
        }
    }
    counts
}

async fn run(
    runtimes: &Runtimes,
    admin: &Admin,
    server: SocketAddr,
    with: With,
    end: End,
) -> [Seen; CALLS.len()] {
    let doomed = (end == End::RuntimeGone).then(runtime);
    let drivers = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let mut client = drivers.spawn(connect(with, server, drivers.clone())).await.unwrap();
    let mut driver = std::mem::replace(&mut client.driver, drivers.spawn(async {}));
    let Client { decoder, name, .. } = &client;
    let happen = async {
        admin.sees_asleep(name).await;
        match end {
            End::Panic => {
                decoder.arm();
                admin.cancel(name).await;
            }
            End::Abort => driver.abort(),
            End::RuntimeGone => doomed.unwrap().shutdown_background(),
        }
        _ = (&mut driver).await;
    };
    let (first, second, ()) = tokio::join!(client.call(SLEEP), client.call("SELECT 2"), happen);
    let later = client.call("SELECT 3").await;
    admin.clean(name).await;
    [first, second, later]
}

/// A session has no clock, so it does not end when its driver is never polled. `driver_state` says that this is so.
#[test]
fn never_polled() {
    let Some(server) = servers::address(SERVER) else { return };
    let runtimes = Runtimes::new();
    let mut table =
        Table::new("tokio-postgres: nobody polls the driver", &["with", "runs", "leads", "the driver"]);
    for with in [With::Plain, With::Monitor] {
        let (seen, state) = runtimes.block_on(async {
            let connecting = connect(with, server, runtimes.idle().clone());
            let client = runtimes.drivers().spawn(connecting).await.unwrap();
            let state = |session: &shared_fate::Session<_>| format!("{:?}", session.driver_state());
            (client.call("SELECT 1").await, client.session.as_ref().map_or(String::new(), state))
        });
        table.row(&[&format!("{with:?}"), &1, &"HANG", &state]);
        assert_eq!(seen.whose, Whose::Hang);
        assert_eq!(state, if with == With::Plain { "" } else { "NeverPolled" });
    }
    println!("{table}");
}
