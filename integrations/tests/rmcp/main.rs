//! rmcp's client, before and after.

mod kit;
mod lines;

use crate::kit::{Client, Server, With, call, connect, serve};
use futures::future::join_all;
use shared_fate_integrations::panicking;
use shared_fate_integrations::proxy::{Fault as Struck, Proxy};
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use tokio::runtime::Runtime;

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Reset,
    Finish,
    Panic,
    RuntimeGone,
    /// The server answers, and hangs up.
    AnsweredThenClosed,
    /// A line that is no message. rmcp passes it over.
    Garbage,
}

const FAULTS: [Fault; 5] =
    [Fault::Reset, Fault::Finish, Fault::Panic, Fault::RuntimeGone, Fault::AnsweredThenClosed];

/// The call in flight, and one that is made when all is over.
const CALLS: [&str; 2] = ["first", "later"];

type Calls = [Counts; 2];

#[test]
fn all() {
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let mut table = Table::new("rmcp's client", &["fault", "call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for fault in FAULTS {
        let seen = [With::Plain, With::Observer, With::Tap]
            .map(|with| (with, runtimes.block_on(runs(&runtimes, with, fault, RUNS))));
        for (n, call) in CALLS.iter().enumerate() {
            for (with, calls) in &seen {
                table.counts(&[&format!("{fault:?}"), call, &format!("{with:?}")], &calls[n]);
            }
        }
        all.push((fault, seen));
    }
    println!("{table}");
    for (fault, seen) in &all {
        for (with, after) in &seen[1..] {
            check(*fault, *with, &seen[0].1, after);
        }
    }
}

fn check(fault: Fault, with: With, before: &Calls, after: &Calls) {
    let what = format!("{fault:?}, {with:?}");
    for (before, after) in before.iter().zip(after) {
        assert!(after.of(Whose::Hang) <= before.of(Whose::Hang), "{what}: a hang");
        assert!(after.of(Whose::Answered) >= before.of(Whose::Answered), "{what}: an answer is lost");
    }
    let says = |counts: &Counts, text: &str| {
        counts.count(|seen| seen.whose == Whose::Session && seen.says.contains(text))
    };
    let [first, later] = after;
    match (fault, with) {
        (Fault::Reset, With::Tap) => {
            assert_eq!(says(first, "os error 104") + says(later, "os error 104"), 2 * RUNS, "{what}");
        }
        (Fault::Finish, With::Tap) => {
            let text = "the peer closed the connection";
            assert_eq!(says(first, text) + says(later, text), 2 * RUNS, "{what}");
        }
        // rmcp's task and what observes it are two tasks: the echo comes first now and then.
        (Fault::Panic, _) => assert_eq!(says(later, "the decoder tripped"), RUNS, "{what}"),
        (Fault::RuntimeGone, _) => assert_eq!(says(later, "was dropped"), RUNS, "{what}"),
        _ => {}
    }
}

async fn runs(runtimes: &Runtimes, with: With, fault: Fault, runs: usize) -> Calls {
    let mut server = runtimes.servers().spawn(serve()).await.unwrap();
    let mut calls = Calls::default();
    for _ in 0..runs {
        for (counts, mut seen) in calls.iter_mut().zip(run(runtimes, &mut server, with, fault).await) {
            // tokio's error has the number of the task.
            if let Some((_, says)) = seen.says.split_once(" panicked with ") {
                seen.says = format!("task … panicked with {says}");
            }
            counts.add(seen);
        }
    }
    calls
}

async fn run(runtimes: &Runtimes, server: &mut Server, with: With, fault: Fault) -> [Seen; 2] {
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let doomed = (fault == Fault::RuntimeGone).then(runtime);
    let drivers = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let client = drivers.spawn(connect(with, proxy.address())).await.unwrap();
    let Client { peer, session, driver, decoder } = client;
    let session = session.as_ref();
    let first = Seen::of(session, call(&peer));
    let happen = async {
        let arrived = server.arrivals.recv().await.unwrap();
        match fault {
            Fault::Reset => proxy.strike(Struck::Reset).await,
            Fault::Finish => proxy.strike(Struck::Finish).await,
            Fault::Garbage => return proxy.strike(Struck::Garbage(b"what?\n")).await,
            Fault::RuntimeGone => doomed.unwrap().shutdown_background(),
            Fault::AnsweredThenClosed => arrived.send(()).unwrap(),
            Fault::Panic => {
                decoder.arm();
                arrived.send(()).unwrap();
            }
        }
        _ = driver.await;
    };
    let (first, ()) = tokio::join!(first, happen);
    [first, Seen::of(session, call(&peer)).await]
}

/// Without an error, and without an end, a session has nothing to say.
#[test]
fn what_hangs_before_and_after() {
    let runtimes = Runtimes::new();
    let mut table =
        Table::new("rmcp's client: a line that is no message", &["call", "with", "runs", "leads"]);
    let rows = runtimes.block_on(join_all([With::Plain, With::Tap].map(|with| {
        let runtimes = &runtimes;
        async move { (with, runs(runtimes, with, Fault::Garbage, 1).await) }
    })));
    for (with, calls) in &rows {
        for (call, counts) in CALLS.iter().zip(calls) {
            table.counts(&[call, &format!("{with:?}")], counts);
            assert_eq!(counts.of(Whose::Hang), 1, "{with:?}, {call}");
        }
    }
    println!("{table}");
}
