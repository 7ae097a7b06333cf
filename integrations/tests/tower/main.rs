//! tower's `Buffer`, before and after. Its worker resolves to `()`, whatever has happened.

mod kit;
mod lines;

use crate::kit::{Client, Fate, With, connect};
use futures::future::join_all;
use shared_fate_integrations::panicking;
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use tokio::runtime::Runtime;

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The service panics.
    Panics,
    /// The service says that it will never be ready again.
    Fails,
    Abort,
    RuntimeGone,
    /// The last handle is dropped. The worker has passed all requests on, and is done. The answers come after that.
    Done,
}

const ENDS: [End; 5] = [End::Panics, End::Fails, End::Abort, End::RuntimeGone, End::Done];

/// The calls of a run. The first two are in the queue when the fault happens.
const CALLS: [&str; 3] = ["first", "second", "later"];

type Calls = [Counts; 3];

#[test]
fn the_worker_ends() {
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let mut table =
        Table::new("tower, Buffer: the worker ends", &["end", "call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for end in ENDS {
        let seen = [With::Plain, With::Done, With::Finished]
            .map(|with| (with, runtimes.block_on(runs(&runtimes, with, end))));
        for (n, call) in CALLS.iter().enumerate() {
            for (with, calls) in &seen {
                table.counts(&[&format!("{end:?}"), call, &format!("{with:?}")], &calls[n]);
            }
        }
        all.push((end, seen));
    }
    println!("{table}");
    for (end, seen) in &all {
        for (with, calls) in &seen[1..] {
            for (call, counts) in CALLS.iter().zip(calls) {
                check(*end, *with, call, counts);
            }
        }
    }
}

fn check(end: End, with: With, call: &str, counts: &Counts) {
    let what = format!("{end:?}, {with:?}, {call}");
    assert_eq!(counts.of(Whose::Hang), 0, "{what}: a hang");
    let runs = counts.runs();
    let is_led = |whose, says| counts.count(|seen| seen.whose == whose && seen.says == says);
    match (end, with) {
        (End::Panics, _) => assert_eq!(
            is_led(Whose::Session, "the session's driver panicked: the decoder tripped"),
            runs,
            "{what}"
        ),
        (End::Abort | End::RuntimeGone, _) => {
            assert_eq!(is_led(Whose::Session, "the session's driver was dropped"), runs, "{what}");
        }
        // The worker tells its reason to each call, also to one that is made later.
        (End::Fails, With::Done) => assert_eq!(is_led(Whose::Request, "connection reset"), runs, "{what}"),
        (End::Done, With::Done) => assert_eq!(counts.of(Whose::Answered), runs, "{what}"),
        // This recipe loses: it takes `()` for the session's end while answers and reasons are still on their way.
        (End::Fails | End::Done, _) => {}
    }
}

async fn runs(runtimes: &Runtimes, with: With, end: End) -> Calls {
    let mut calls = Calls::default();
    for _ in 0..RUNS {
        for (counts, seen) in calls.iter_mut().zip(run(runtimes, with, end).await) {
            if let Some(seen) = seen {
                counts.add(seen);
            }
        }
    }
    calls
}

async fn run(runtimes: &Runtimes, with: With, end: End) -> [Option<Seen>; 3] {
    let doomed = (end == End::RuntimeGone).then(runtime);
    let on = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let Client { buffer, session, driver, fate, answer } = connect(with, on);
    let session = session.as_ref();
    let call = || Seen::of(session, kit::call(buffer.clone()));
    let (first, second) = (call(), call());
    let mut buffer = Some(buffer);
    let happen = async {
        match end {
            End::Panics => fate.send(Fate::Panic).unwrap(),
            End::Fails => fate.send(Fate::Fail).unwrap(),
            End::Abort => driver.abort(),
            End::RuntimeGone => doomed.unwrap().shutdown_background(),
            End::Done => {
                buffer = None;
                fate.send(Fate::Ready).unwrap();
            }
        }
        _ = driver.await;
        answer.send_replace(true);
    };
    let (first, second, ()) = tokio::join!(first, second, happen);
    let later = match buffer {
        Some(buffer) => Some(Seen::of(session, kit::call(buffer)).await),
        None => None,
    };
    [Some(first), Some(second), later]
}

/// The worker is never polled. The session has no clock, so the call hangs; but the session can tell why.
#[test]
fn never_polled() {
    let runtimes = Runtimes::new();
    let mut table = Table::new("tower, Buffer: the worker is never polled", &["with", "leads", "the driver"]);
    let rows = runtimes.block_on(join_all([With::Plain, With::Done].map(|with| {
        let client = connect(with, runtimes.idle());
        async move {
            let seen = Seen::of(client.session.as_ref(), kit::call(client.buffer)).await;
            (with, seen, client.session.map(|session| format!("{:?}", session.driver_state())))
        }
    })));
    for (with, seen, state) in rows {
        assert_eq!(seen.whose, Whose::Hang);
        assert_eq!(state.as_deref(), (with == With::Done).then_some("NeverPolled"));
        table.row(&[&format!("{with:?}"), &"HANG", &state.unwrap_or_default()]);
    }
    println!("{table}");
}
