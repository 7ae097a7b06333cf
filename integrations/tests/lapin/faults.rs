//! The connection breaks with requests in flight.

use crate::VARIABLE;
use crate::kit::{Client, DECLARE, connect, declare};
use shared_fate::SupervisedExt;
use shared_fate_integrations::proxy::Fault;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{AnySession, Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use shared_fate_integrations::waits::{Resolved, Waits};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const RUNS: usize = 300;

/// The calls of a run: two in flight, one as soon as these have failed, and one when the session has ended.
pub const CALLS: [&str; 4] = ["first", "second", "next", "later"];

pub type Calls = [Counts; 4];

/// What lapin says to those who come later. It has forgotten why.
const ECHO: &str = "invalid channel state: Error (queue.declare)";

const FAULTS: [(Fault, &str); 3] = [
    (Fault::Reset, "Connection reset by peer (os error 104)"),
    (Fault::Finish, "connection aborted"),
    (
        Fault::Garbage(b"this is no frame of AMQP, and long enough"),
        "Parsing Error: ParserErrors { error: Nom(MapOpt), errors: None }",
    ),
];

#[test]
fn the_connection_breaks() {
    let Some(server) = servers::address(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let mut table =
        Table::new("lapin: the connection breaks", &["fault", "call", "with", "runs", "leads", "says", ""]);
    let mut waits = Table::new("lapin: how long the first waits", &["fault", "Plain", "Observer"]);
    let mut all = Vec::new();
    for (fault, cause) in FAULTS {
        let (before, wait_before) = runtimes.block_on(runs(&runtimes, server, false, fault));
        let (after, wait_after) = runtimes.block_on(runs(&runtimes, server, true, fault));
        waits.row(&[&fault, &wait_before.text(), &wait_after.text()]);
        wait_after.are_no_longer_than(&wait_before, &fault.to_string());
        for (n, call) in CALLS.iter().enumerate() {
            table.counts(&[&fault.to_string(), call, "Plain"], &before[n]);
            table.counts(&[&fault.to_string(), call, "Observer"], &after[n]);
        }
        all.push((fault, cause, before, after));
    }
    println!("{table}{waits}");
    for (fault, cause, before, after) in all {
        check(&fault.to_string(), cause, before, after);
    }
}

pub fn check(what: &str, cause: &str, before: Calls, after: Calls) {
    let knows = |seen: &Seen| seen.says == cause;
    for ((call, before), after) in CALLS.iter().zip(before).zip(after) {
        let what = format!("{what}, {call}");
        assert_eq!(after.of(Whose::Hang), 0, "{what}: a hang");
        assert_eq!(after.count(|seen| seen.beside == cause && !knows(seen)), 0, "{what}: who leads");
        if *call == "next" {
            // lapin tells its requests before it tells its events: the next request may come in between.
            let has_echo = after.count(|seen| seen.says == ECHO && seen.beside.is_empty());
            assert_eq!(after.count(knows) + has_echo, after.runs(), "{what}");
        } else {
            assert!(after.count(knows) >= before.count(knows), "{what}: knows less");
            assert_eq!(after.count(knows), after.runs(), "{what}: does not hear the cause");
        }
    }
}

async fn runs(runtimes: &Runtimes, server: SocketAddr, with_session: bool, fault: Fault) -> (Calls, Waits) {
    let (mut calls, mut waits) = (Calls::default(), Waits::default());
    for _ in 0..RUNS {
        let (seen, wait) = run(runtimes, server, with_session, fault).await;
        waits.add(wait);
        for (counts, seen) in calls.iter_mut().zip(seen) {
            counts.add(seen);
        }
    }
    (calls, waits)
}

async fn run(
    runtimes: &Runtimes,
    server: SocketAddr,
    with_session: bool,
    fault: Fault,
) -> ([Seen; 4], Duration) {
    let session = with_session.then(AnySession::new);
    let client = connect(runtimes, server, session, runtimes.drivers(), runtimes.drivers()).await;
    let happen = async {
        client.hold.are_passed_on(2 * DECLARE).await;
        let start = Instant::now();
        client.proxy.strike(fault).await;
        start
    };
    let resolved = Resolved::default();
    let (seen, start) = tokio::join!(calls(&client, &resolved), happen);
    (seen, resolved.after(start))
}

/// Two calls in flight, and what comes after that.
pub async fn calls(client: &Client, resolved: &Resolved) -> [Seen; 4] {
    let (session, [one, two]) = (client.session.as_ref(), &client.channels);
    let first = async {
        match session {
            None => Seen::plain(resolved.of(declare(one))).await,
            Some(session) => Seen::result(resolved.of(declare(one).try_supervised(session))).await,
        }
    };
    let (first, second) = tokio::join!(first, Seen::of(session, declare(two)));
    let next = Seen::of(session, declare(one)).await;
    match session {
        Some(session) => _ = session.ended().await,
        None => sleep(Duration::from_millis(1)).await,
    }
    let later = Seen::of(session, declare(one)).await;
    [first, second, next, later]
}
