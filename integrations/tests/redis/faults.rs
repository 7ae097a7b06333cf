//! The connection breaks with three commands in flight.

use crate::kit::{Admin, Client, SERVER, WITH, With, connect, echo, wait};
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
    /// The server ends the connection: `CLIENT KILL`.
    Killed,
    Breaks(proxy::Fault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed => f.pad("CLIENT KILL"),
            Self::Breaks(fault) => fault.fmt(f),
        }
    }
}

const GARBAGE: proxy::Fault = proxy::Fault::Garbage(b"this is no answer of redis\r\n");

const FAULTS: [Fault; 4] = [
    Fault::Killed,
    Fault::Breaks(proxy::Fault::Reset),
    Fault::Breaks(proxy::Fault::Finish),
    Fault::Breaks(GARBAGE),
];

/// The calls of a run.
const CALLS: [&str; 4] = ["first", "second", "third", "later"];

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
    let mut table = Table::new("redis: the connection breaks, three commands in flight", &columns);
    let mut waits = Table::new("redis: how long the first caller waits", &["fault", "with", "median"]);
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

/// No caller waits longer or hears less. What a tap sees, all hear.
fn check(fault: Fault, with: With, before: &Calls, after: &Calls) {
    after.waits.are_no_longer_than(&before.waits, &format!("{fault}, {with:?}"));
    let reason = match fault {
        Fault::Breaks(proxy::Fault::Reset) => "(os error 104)",
        Fault::Breaks(proxy::Fault::Garbage(_)) => "parse",
        Fault::Killed | Fault::Breaks(_) => "the peer closed the connection",
    };
    let is_tapped = with == With::Tap && fault != Fault::Breaks(GARBAGE);
    for ((call, before), after) in CALLS.iter().zip(&before.seen).zip(&after.seen) {
        let what = format!("{fault}, {with:?}, {call}");
        assert_eq!((before.runs(), after.runs()), (RUNS, RUNS), "{what}");
        assert_eq!(after.of(Whose::Hang), 0, "{what}: a hang");
        let knows = |seen: &Seen| seen.says.contains(reason);
        assert!(after.count(knows) >= before.count(knows), "{what}: knows less");
        if fault == Fault::Breaks(GARBAGE) && *call != "later" {
            // What the driver does not tell leads where it is told: with the request.
            assert_eq!(after.of(Whose::Request), RUNS, "{what}");
        }
        if is_tapped {
            let is_led = |seen: &Seen| seen.whose == Whose::Session && knows(seen);
            assert_eq!(after.count(is_led), RUNS, "{what}: does not hear what the tap sees");
        }
    }
}

async fn runs(runtimes: &Runtimes, server: SocketAddr, with: With, fault: Fault) -> Calls {
    let admin = Admin::new(runtimes, server).await;
    let mut calls = Calls::default();
    for _ in 0..RUNS {
        run(runtimes, &admin, server, with, fault, &mut calls).await;
    }
    calls
}

async fn run(
    runtimes: &Runtimes,
    admin: &Admin,
    server: SocketAddr,
    with: With,
    fault: Fault,
    calls: &mut Calls,
) {
    let proxy = match fault {
        Fault::Killed => None,
        Fault::Breaks(_) => Some(runtimes.servers().spawn(Proxy::before(server)).await.unwrap().unwrap()),
    };
    let address = proxy.as_ref().map_or(server, Proxy::address);
    let drivers = runtimes.drivers();
    let client: Client = drivers.spawn(connect(with, address, drivers.clone())).await.unwrap();
    let (wait, second, third) = (wait(), echo("second"), echo("third"));
    let queued = second.get_packed_command().len() + third.get_packed_command().len();
    let happen = async {
        admin.sees_waiting(&client, queued).await;
        let start = Instant::now();
        match (fault, &proxy) {
            (Fault::Breaks(fault), Some(proxy)) => proxy.strike(fault).await,
            _ => admin.kill(client.id).await,
        }
        start
    };
    let (first, second, third, start) =
        tokio::join!(client.call(&wait), client.call(&second), client.call(&third), happen);
    calls.waits.add(client.resolved.after(start));
    let later = client.call(&echo("later")).await;
    for (counts, seen) in calls.seen.iter_mut().zip([first, second, third, later]) {
        counts.add(seen);
    }
    admin.kill(client.id).await;
}
