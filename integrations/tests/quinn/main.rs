//! quinn, its runtime and its socket hooked, before and after.

mod hooks;
mod kit;

use crate::kit::{Arrived, Client, Server, call, client, serve};
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use std::sync::atomic::Ordering::SeqCst;
use tokio::runtime::Runtime;

const RUNS: usize = 300;

const REASON: &str = "the quota is used up";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The endpoint's runtime is shut down. The caller runs on another one.
    RuntimeGone,
    SocketFails,
    /// The server closes the connection, with a reason.
    Closed,
    /// Another connection of the endpoint is closed before, and its task is done.
    AnotherDone,
}

const FAULTS: [Fault; 4] = [Fault::RuntimeGone, Fault::SocketFails, Fault::Closed, Fault::AnotherDone];

/// The call in flight, and one that is made when all is over.
const CALLS: [&str; 2] = ["first", "later"];

type Calls = [Counts; 2];

#[test]
fn all() {
    let runtimes = Runtimes::new();
    let mut table = Table::new("quinn, hooked", &["fault", "call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for fault in FAULTS {
        // Before, a call may hang where the runtime is gone.
        let count = if fault == Fault::RuntimeGone { 5 } else { RUNS };
        let before = runtimes.block_on(runs(&runtimes, false, fault, count));
        let after = runtimes.block_on(runs(&runtimes, true, fault, RUNS));
        for (n, call) in CALLS.iter().enumerate() {
            table.counts(&[&format!("{fault:?}"), call, "Plain"], &before[n]);
            table.counts(&[&format!("{fault:?}"), call, "Hooked"], &after[n]);
        }
        all.push((fault, after));
    }
    println!("{table}");
    for (fault, calls) in &all {
        for (call, counts) in CALLS.iter().zip(calls) {
            let what = format!("{fault:?}, {call}");
            let is_led =
                |whose, text: &str| counts.count(|seen| seen.whose == whose && seen.says.contains(text));
            let good = match fault {
                Fault::RuntimeGone => is_led(Whose::Session, "the session's driver was dropped"),
                Fault::SocketFails => is_led(Whose::Session, "the network is down"),
                Fault::Closed => is_led(Whose::Request, REASON),
                Fault::AnotherDone => counts.of(Whose::Answered),
            };
            assert_eq!(good, RUNS, "{what}");
        }
    }
}

async fn runs(runtimes: &Runtimes, is_hooked: bool, fault: Fault, runs: usize) -> Calls {
    let mut server = runtimes.servers().spawn(serve()).await.unwrap();
    let mut calls = Calls::default();
    for _ in 0..runs {
        for (counts, seen) in calls.iter_mut().zip(run(runtimes, &mut server, is_hooked, fault).await) {
            counts.add(seen);
        }
    }
    calls
}

async fn run(runtimes: &Runtimes, server: &mut Server, is_hooked: bool, fault: Fault) -> [Seen; 2] {
    while server.arrivals.try_recv().is_ok() {}
    let doomed = (fault == Fault::RuntimeGone).then(runtime);
    let on = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let certificate = server.certificate.clone();
    let client = on.spawn(async move { client(is_hooked, certificate) }).await.unwrap();
    let Client { endpoint, session, armed } = client;
    let session = session.as_ref();
    let connect = || async { endpoint.connect(server.address, "localhost").unwrap().await.unwrap() };
    let connection = connect().await;
    if fault == Fault::AnotherDone {
        let another = connect().await;
        another.close(0_u32.into(), b"");
        another.closed().await;
    }
    let first = Seen::of(session, call(&connection));
    let happen = async {
        let arrived = server.arrivals.recv().await.unwrap();
        match fault {
            Fault::RuntimeGone => doomed.unwrap().shutdown_background(),
            Fault::SocketFails => {
                armed.store(true, SeqCst);
                answer(arrived).await;
                return None;
            }
            Fault::Closed => arrived.connection.close(0_u32.into(), REASON.as_bytes()),
            Fault::AnotherDone => {
                answer(arrived).await;
                return None;
            }
        }
        // An answer that is dropped is finished, and would be an empty one.
        Some(arrived)
    };
    let (first, _arrived) = tokio::join!(first, happen);
    let later = async {
        if fault == Fault::AnotherDone {
            answer(server.arrivals.recv().await.unwrap()).await;
        }
    };
    let (later, ()) = tokio::join!(Seen::of(session, call(&connection)), later);
    [first, later]
}

async fn answer(mut arrived: Arrived) {
    arrived.answer.write_all(b"answer").await.unwrap();
    arrived.answer.finish().unwrap();
}
