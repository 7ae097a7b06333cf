//! No tokio: a client by hand over `async-net`, before and after.

mod kit;
mod lines;

use crate::kit::{Server, Thread, connect, serve};
use futures::future::join_all;
use shared_fate_integrations::panicking;
use shared_fate_integrations::proxy::{Fault as Struck, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Reset,
    Finish,
    /// Bytes that are no text.
    Garbage,
    /// A reply over which the reader's `unwrap` trips.
    BadReply,
    /// The reader's task is cancelled.
    Cancelled,
    ExecutorGone,
    /// The server answers, and hangs up.
    AnsweredThenClosed,
}

const FAULTS: [Fault; 7] = [
    Fault::Reset,
    Fault::Finish,
    Fault::Garbage,
    Fault::BadReply,
    Fault::Cancelled,
    Fault::ExecutorGone,
    Fault::AnsweredThenClosed,
];

/// The call in flight, and one that is made when all is over.
const CALLS: [&str; 2] = ["first", "later"];

type Calls = [Counts; 2];

/// What a caller is to hear.
fn cause(fault: Fault) -> &'static str {
    match fault {
        Fault::Reset => "Connection reset by peer (os error 104)",
        Fault::Finish | Fault::AnsweredThenClosed => "the server hung up",
        Fault::Garbage => "stream did not contain valid UTF-8",
        Fault::BadReply => "the session's driver panicked: the decoder tripped",
        Fault::Cancelled | Fault::ExecutorGone => "the session's driver was dropped",
    }
}

#[test]
fn all() {
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let heading = "lines over async-net, on async-executor";
    let mut table = Table::new(heading, &["fault", "call", "with", "runs", "leads", "says", ""]);
    // Without a session nearly all calls hang. So there is one run of each, and all runs hang at the same time.
    let before = runtimes.block_on(join_all(FAULTS.map(|fault| {
        let runtimes = &runtimes;
        async move { runs(runtimes, false, fault, 1).await }
    })));
    let mut all = Vec::new();
    for (fault, before) in FAULTS.into_iter().zip(before) {
        let after = runtimes.block_on(runs(&runtimes, true, fault, RUNS));
        for (n, call) in CALLS.iter().enumerate() {
            table.counts(&[&format!("{fault:?}"), call, "Plain"], &before[n]);
            table.counts(&[&format!("{fault:?}"), call, "Session"], &after[n]);
        }
        all.push((fault, before, after));
    }
    println!("{table}");
    for (fault, [before, _], [first, later]) in &all {
        let has_cause = |seen: &Seen| seen.whose == Whose::Session && seen.says == cause(*fault);
        if *fault == Fault::AnsweredThenClosed {
            assert_eq!(before.of(Whose::Answered), before.runs(), "{fault:?}: before");
            assert_eq!(first.of(Whose::Answered), RUNS, "{fault:?}: an answer is lost");
        } else {
            assert_eq!(before.of(Whose::Hang), before.runs(), "{fault:?}: before");
            assert_eq!(first.count(has_cause), RUNS, "{fault:?}: first");
        }
        assert_eq!(later.count(has_cause), RUNS, "{fault:?}: later");
    }
}

async fn runs(runtimes: &Runtimes, is_supervised: bool, fault: Fault, runs: usize) -> Calls {
    let mut server = runtimes.servers().spawn(serve()).await.unwrap();
    let mut calls = Calls::default();
    for _ in 0..runs {
        let seen = run(runtimes, &mut server, is_supervised, fault).await;
        for (counts, seen) in calls.iter_mut().zip(seen) {
            counts.add(seen);
        }
    }
    calls
}

async fn run(runtimes: &Runtimes, server: &mut Server, is_supervised: bool, fault: Fault) -> [Seen; 2] {
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let thread = Thread::new();
    let (client, driver) = connect(is_supervised, proxy.address(), &thread.executor).await;
    let session = client.session.as_ref();
    let (mut thread, mut driver) = (Some(thread), Some(driver));

    let first = Seen::of(session, client.call());
    let happen = async {
        let arrived = server.arrivals.recv().await.unwrap();
        match fault {
            Fault::Reset => proxy.strike(Struck::Reset).await,
            Fault::Finish => proxy.strike(Struck::Finish).await,
            Fault::Garbage => proxy.strike(Struck::Garbage(&[0xff, b'\n'])).await,
            Fault::BadReply => arrived.send(b"what?\n"),
            Fault::Cancelled => _ = driver.take().unwrap().cancel().await,
            Fault::ExecutorGone => thread.take().unwrap().end(),
            Fault::AnsweredThenClosed => {
                arrived.answer();
                return None;
            }
        }
        Some(arrived)
    };
    let (first, _arrived) = tokio::join!(first, happen);
    if let (Some(session), true) = (session, fault == Fault::AnsweredThenClosed) {
        session.ended().await;
    }
    let later = Seen::of(session, client.call()).await;
    if let Some(thread) = thread {
        thread.end();
    }
    [first, later]
}

/// A driver that is never polled: the session has no clock, but it says that the driver was not polled. A driver that
/// is run beside its user is always polled.
#[test]
fn never_polled() {
    let runtimes = Runtimes::new();
    let mut table =
        Table::new("lines over async-net: the reader is never polled", &["with", "leads", "the driver"]);
    let idle = async_executor::Executor::new();
    for is_supervised in [false, true] {
        let (seen, state) = runtimes.block_on(async {
            let server = runtimes.servers().spawn(serve()).await.unwrap();
            let (client, _driver) = connect(is_supervised, server.address, &idle).await;
            let seen = Seen::of(client.session.as_ref(), client.call()).await;
            (seen, client.session.map_or(String::new(), |session| format!("{:?}", session.driver_state())))
        });
        assert_eq!(seen.whose, Whose::Hang);
        assert_eq!(state, if is_supervised { "NeverPolled" } else { "" });
        table.row(&[&if is_supervised { "Session" } else { "Plain" }, &"HANG", &state]);
    }
    println!("{table}");
}
