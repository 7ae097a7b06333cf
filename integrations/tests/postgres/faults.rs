//! The connection breaks: idle, and with three queries in flight.

use crate::kit::{Admin, Client, SERVER, SLEEP, With, connect};
use shared_fate_integrations::proxy::{self, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use shared_fate_integrations::waits::Waits;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The server ends the backend, and says so.
    Terminated,
    Breaks(proxy::Fault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminated => f.pad("terminated"),
            Self::Breaks(fault) => fault.fmt(f),
        }
    }
}

/// A message of a length that cannot be.
const GARBAGE: proxy::Fault = proxy::Fault::Garbage(&[0; 16]);

const FAULTS: [Fault; 4] = [
    Fault::Terminated,
    Fault::Breaks(proxy::Fault::Reset),
    Fault::Breaks(proxy::Fault::Finish),
    Fault::Breaks(GARBAGE),
];

const WITH: [With; 3] = [With::Plain, With::Monitor, With::EveryError];

/// What the server says to the query that it is at.
const TERMINATED: &str = "FATAL: terminating connection due to administrator command";

/// The calls of a run.
const CALLS: [&str; 5] = ["first", "second", "third", "later", "idle, later"];

/// What became of them, and how long the first caller waited after the fault.
#[derive(Default)]
struct Calls {
    seen: [Counts; CALLS.len()],
    waits: Waits,
}

#[test]
fn all() {
    let Some(server) = servers::address(SERVER) else { return };
    let runtimes = Runtimes::new();
    let columns = ["fault", "call", "with", "runs", "leads", "says", ""];
    let mut table =
        Table::new("tokio-postgres: the connection breaks, three queries in flight, or idle", &columns);
    let mut waits =
        Table::new("tokio-postgres: how long the first caller waits", &["fault", "with", "median"]);
    let mut all = Vec::new();
    for fault in FAULTS {
        let seen = WITH.map(|with| (with, runtimes.block_on(runs(&runtimes, server, with, fault))));
        for (n, call) in CALLS.iter().enumerate() {
            for (with, calls) in &seen {
                table.counts(&[&fault.to_string(), call, &format!("{with:?}")], &calls.seen[n]);
            }
        }
        for (with, calls) in &seen {
            waits.row(&[&fault, &format!("{with:?}"), &calls.waits.text()]);
        }
        all.push((fault, seen));
    }
    println!("{table}{waits}");
    for (fault, [(_, before), after @ ..]) in &all {
        for (with, after) in after {
            check(*fault, *with, before, after);
        }
    }
}

/// No caller waits longer or hears less.
fn check(fault: Fault, with: With, before: &Calls, after: &Calls) {
    after.waits.are_no_longer_than(&before.waits, &format!("{fault}, {with:?}"));
    for ((call, before), after) in CALLS.iter().zip(&before.seen).zip(&after.seen) {
        let what = format!("{fault}, {with:?}, {call}");
        assert_eq!((before.runs(), after.runs()), (RUNS, RUNS), "{what}");
        assert_eq!(after.of(Whose::Hang), 0, "{what}: a hang");
        let is_led =
            |whose, says: &'static str| move |seen: &Seen| seen.whose == whose && seen.says.contains(says);
        match (fault, *call) {
            // What the server says to a query is that query's own.
            (Fault::Terminated, "first") => {
                let knows = |counts: &Counts| counts.count(|seen| seen.says == TERMINATED);
                let is_beside = after.count(|seen| seen.beside == TERMINATED);
                assert_eq!(knows(before), RUNS, "{what}");
                if with == With::Monitor {
                    assert_eq!(after.count(is_led(Whose::Request, TERMINATED)), RUNS, "{what}");
                } else {
                    assert_eq!(knows(after) + is_beside, RUNS, "{what}: knows less");
                }
            }
            // It says it once: the driver has no part in it, and the other callers neither.
            (Fault::Terminated, "idle, later") => {
                assert_eq!(after.count(is_led(Whose::Session, TERMINATED)), RUNS, "{what}");
            }
            (Fault::Terminated, _) | (Fault::Breaks(proxy::Fault::Finish), _) => {
                assert_eq!(after.of(Whose::Session), RUNS, "{what}");
            }
            (Fault::Breaks(proxy::Fault::Reset), _) => {
                assert_eq!(after.count(is_led(Whose::Session, "(os error 104)")), RUNS, "{what}");
            }
            (Fault::Breaks(_), _) => {
                assert_eq!(after.count(is_led(Whose::Session, "invalid message length")), RUNS, "{what}");
            }
        }
        // What the plain crate says to everybody.
        let is_empty = |seen: &Seen| seen.says == "connection closed";
        assert!(
            after.count(is_empty) <= before.count(is_empty) || with == With::EveryError,
            "{what}: knows less"
        );
    }
}

async fn runs(runtimes: &Runtimes, server: SocketAddr, with: With, fault: Fault) -> Calls {
    let admin = Admin::new(runtimes, server).await;
    let mut calls = Calls::default();
    for _ in 0..RUNS {
        in_flight(runtimes, &admin, server, with, fault, &mut calls).await;
        let seen = idle(runtimes, &admin, server, with, fault).await;
        calls.seen[4].add(seen);
    }
    calls
}

struct Run {
    client: Client,
    proxy: Option<Proxy>,
}

impl Run {
    async fn new(runtimes: &Runtimes, server: SocketAddr, with: With, fault: Fault) -> Self {
        let proxy = match fault {
            Fault::Terminated => None,
            Fault::Breaks(_) => Some(runtimes.servers().spawn(Proxy::before(server)).await.unwrap().unwrap()),
        };
        let address = proxy.as_ref().map_or(server, Proxy::address);
        let drivers = runtimes.drivers();
        let client = drivers.spawn(connect(with, address, drivers.clone())).await.unwrap();
        Self { client, proxy }
    }

    async fn strike(&self, admin: &Admin, fault: Fault) {
        match (fault, &self.proxy) {
            (Fault::Breaks(fault), Some(proxy)) => proxy.strike(fault).await,
            _ => admin.terminate(&self.client.name).await,
        }
    }
}

async fn in_flight(
    runtimes: &Runtimes,
    admin: &Admin,
    server: SocketAddr,
    with: With,
    fault: Fault,
    calls: &mut Calls,
) {
    let run = Run::new(runtimes, server, with, fault).await;
    let client = &run.client;
    let happen = async {
        admin.sees_asleep(&client.name).await;
        let start = Instant::now();
        run.strike(admin, fault).await;
        start
    };
    let (first, second, third, start) =
        tokio::join!(client.call(SLEEP), client.call("SELECT 2"), client.call("SELECT 3"), happen);
    calls.waits.add(client.resolved.after(start));
    let later = client.call("SELECT 4").await;
    for (counts, seen) in calls.seen.iter_mut().zip([first, second, third, later]) {
        counts.add(seen);
    }
    admin.clean(&client.name).await;
}

async fn idle(runtimes: &Runtimes, admin: &Admin, server: SocketAddr, with: With, fault: Fault) -> Seen {
    let mut run = Run::new(runtimes, server, with, fault).await;
    assert_eq!(run.client.call("SELECT 1").await.whose, Whose::Answered);
    run.strike(admin, fault).await;
    _ = (&mut run.client.driver).await;
    let later = run.client.call("SELECT 2").await;
    admin.clean(&run.client.name).await;
    later
}
