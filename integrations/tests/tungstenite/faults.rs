//! The connection breaks, or a half of the client ends, with a call in flight. The client does not clear its map of
//! pending calls then: a step that is easily forgotten.

use crate::kit::{Client, REASON, Server, Then, With, connect, reason, serve};
use futures::future::join_all;
use shared_fate_integrations::panicking;
use shared_fate_integrations::proxy::{Fault as Struck, Proxy};
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Reset,
    Finish,
    /// A frame with an opcode that does not exist.
    BadFrame,
    /// A reply over which the reader's `unwrap` trips.
    BadReply,
    /// A close frame with a reason.
    Close,
    ReaderAborted,
    /// The writer is aborted while the call is still in its queue.
    WriterAborted,
    RuntimeGone,
    /// The answer, and after it the close frame: the reader is done before the caller is polled again.
    AnsweredThenClosed,
}

const FAULTS: [Fault; 9] = [
    Fault::Reset,
    Fault::Finish,
    Fault::BadFrame,
    Fault::BadReply,
    Fault::Close,
    Fault::ReaderAborted,
    Fault::WriterAborted,
    Fault::RuntimeGone,
    Fault::AnsweredThenClosed,
];

/// The call in flight, and one that is made when all is over.
const CALLS: [&str; 2] = ["first", "later"];

type Calls = [Counts; 2];

/// What a caller is to hear.
fn cause(fault: Fault) -> &'static str {
    match fault {
        Fault::Reset => "Connection reset by peer (os error 104)",
        Fault::Finish => "Connection reset without closing handshake",
        Fault::BadFrame => "Encountered invalid opcode: 3",
        Fault::BadReply => "the session's driver panicked: the decoder tripped",
        Fault::Close | Fault::AnsweredThenClosed => REASON,
        Fault::ReaderAborted | Fault::WriterAborted | Fault::RuntimeGone => {
            "the session's driver was dropped"
        }
    }
}

#[test]
fn all() {
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let mut table = Table::new(
        "tungstenite by hand: reader, writer, map",
        &["fault", "call", "with", "runs", "leads", "says", ""],
    );
    // Without a session nearly all calls hang. So there is one run of each, and all runs hang at the same time.
    let before = runtimes.block_on(join_all(FAULTS.map(|fault| {
        let runtimes = &runtimes;
        async move { runs(runtimes, With::Plain, fault, 1).await }
    })));
    let mut all = Vec::new();
    for (fault, before) in FAULTS.into_iter().zip(before) {
        let mut seen = vec![(With::Plain, before)];
        for with in [With::Reader, With::ReaderAndWriter] {
            let count = if hangs(fault, with) { 1 } else { RUNS };
            seen.push((with, runtimes.block_on(runs(&runtimes, with, fault, count))));
        }
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

fn check(fault: Fault, with: With, [before, _]: &Calls, [first, later]: &Calls) {
    let what = format!("{fault:?}, {with:?}");
    if hangs(fault, with) {
        assert_eq!(before.of(Whose::Hang), before.runs(), "{what}: before");
        return assert_eq!(later.of(Whose::Hang), 0, "{what}: later");
    }
    assert_eq!(first.of(Whose::Hang) + later.of(Whose::Hang), 0, "{what}: a hang");
    let has_cause = |seen: &Seen| seen.whose == Whose::Session && seen.says == cause(fault);
    if fault == Fault::AnsweredThenClosed {
        assert_eq!(before.of(Whose::Answered), before.runs(), "{what}: before");
        assert_eq!(first.of(Whose::Answered), RUNS, "{what}: an answer is lost");
    } else {
        assert_eq!(before.of(Whose::Hang), before.runs(), "{what}: before");
        assert_eq!(first.count(has_cause), RUNS, "{what}: first");
    }
    assert_eq!(later.count(has_cause), RUNS, "{what}: later");
}

/// Whether the call hangs under a session, too. It does if the writer ends and the reader alone is driven: the session
/// does not know of the writer.
fn hangs(fault: Fault, with: With) -> bool {
    fault == Fault::WriterAborted && with == With::Reader
}

async fn runs(runtimes: &Runtimes, with: With, fault: Fault, runs: usize) -> Calls {
    let mut server = runtimes.servers().spawn(serve()).await.unwrap();
    let mut calls = Calls::default();
    for _ in 0..runs {
        let seen = run(runtimes, &mut server, with, fault).await;
        for (counts, seen) in calls.iter_mut().zip(seen) {
            counts.add(seen);
        }
    }
    calls
}

async fn run(runtimes: &Runtimes, server: &mut Server, with: With, fault: Fault) -> [Seen; 2] {
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let doomed = (fault == Fault::RuntimeGone).then(runtime);
    let drivers = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let connect = connect(with, Then::Nothing, proxy.address(), drivers.clone());
    let client = drivers.spawn(connect).await.unwrap();
    let Client { session, reader, writer, .. } = &client;

    let first = Seen::of(session.as_ref(), client.call("first"));
    if fault == Fault::WriterAborted {
        let busy = Busy::make(drivers).await;
        let happen = async {
            writer.abort();
            drop(busy);
        };
        let (first, ()) = tokio::join!(first, happen);
        return [first, Seen::of(session.as_ref(), client.call("later")).await];
    }
    let happen = async {
        let arrived = server.arrival("first").await;
        match fault {
            Fault::Reset => proxy.strike(Struck::Reset).await,
            Fault::Finish => proxy.strike(Struck::Finish).await,
            Fault::BadFrame => proxy.strike(Struck::Garbage(&[0x83, 0])).await,
            Fault::BadReply => arrived.send(Message::text("no-id")),
            Fault::Close => arrived.send(Message::Close(Some(reason()))),
            Fault::ReaderAborted => reader.abort(),
            Fault::WriterAborted => unreachable!("see above"),
            Fault::RuntimeGone => doomed.unwrap().shutdown_background(),
            Fault::AnsweredThenClosed => {
                arrived.answer();
                arrived.send(Message::Close(Some(reason())));
            }
        }
    };
    let (first, ()) = tokio::join!(first, happen);
    if let (Some(session), true) = (session, fault == Fault::AnsweredThenClosed) {
        session.ended().await;
    }
    let later = Seen::of(session.as_ref(), client.call("later")).await;
    [first, later]
}

/// Keeps the only thread of a runtime busy until it is dropped.
struct Busy(#[expect(dead_code, reason = "it is dropped")] std::sync::mpsc::Sender<()>);

impl Busy {
    async fn make(runtime: &Handle) -> Self {
        let (done, is_done) = std::sync::mpsc::channel();
        let (busy, is_busy) = oneshot::channel();
        runtime.spawn(async move {
            _ = busy.send(());
            _ = is_done.recv();
        });
        is_busy.await.expect("the runtime lives");
        Self(done)
    }
}
