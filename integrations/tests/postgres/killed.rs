//! The server is killed: `kill -9`.

use crate::kit::{Admin, Client, PROGRAMS, SLEEP, With, connect};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::servers::{self, Server};
use shared_fate_integrations::table::Table;

const RUNS: usize = 20;

const CALLS: [&str; 5] = ["first", "second", "third", "later", "idle, later"];

#[test]
fn all() {
    let Some(programs) = servers::path(PROGRAMS) else { return };
    let runtimes = Runtimes::new();
    let mut server = Server::postgres(&programs);
    let mut table =
        Table::new("tokio-postgres: the server is killed", &["call", "with", "runs", "leads", "says", ""]);
    let seen = [With::Plain, With::Monitor].map(|with| {
        let mut counts: [Counts; CALLS.len()] = Default::default();
        for _ in 0..RUNS {
            let seen = runtimes.block_on(run(&runtimes, &mut server, with));
            for (counts, seen) in counts.iter_mut().zip(seen) {
                counts.add(seen);
            }
            server.start();
        }
        counts
    });
    let [before, after] = &seen;
    for ((call, before), after) in CALLS.iter().zip(before).zip(after) {
        table.counts(&[call, "Plain"], before);
        table.counts(&[call, "Monitor"], after);
    }
    println!("{table}");
    for ((call, before), after) in CALLS.iter().zip(before).zip(after) {
        assert_eq!(after.of(Whose::Hang), 0, "{call}: a hang");
        let knows = |counts: &Counts| counts.count(|seen| seen.says != "connection closed");
        assert!(knows(after) >= knows(before), "{call}: knows less");
    }
    let [.., idle] = after;
    let says = "FATAL: terminating connection due to unexpected postmaster exit";
    assert_eq!(idle.count(|seen| seen.whose == Whose::Session && seen.says == says), RUNS);
}

async fn run(runtimes: &Runtimes, server: &mut Server, with: With) -> [Seen; CALLS.len()] {
    let admin = Admin::new(runtimes, server.address).await;
    let drivers = runtimes.drivers();
    let connect = || drivers.spawn(connect(with, server.address, drivers.clone()));
    let (busy, mut idle): (Client, Client) = (connect().await.unwrap(), connect().await.unwrap());
    assert_eq!(idle.call("SELECT 1").await.whose, Whose::Answered);
    let happen = async {
        admin.sees_asleep(&busy.name).await;
        server.kill();
    };
    let (first, second, third, ()) =
        tokio::join!(busy.call(SLEEP), busy.call("SELECT 2"), busy.call("SELECT 3"), happen);
    let later = busy.call("SELECT 4").await;
    _ = (&mut idle.driver).await;
    [first, second, third, later, idle.call("SELECT 2").await]
}
