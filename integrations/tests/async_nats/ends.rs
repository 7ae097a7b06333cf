//! The connection is lost, or the runtime is gone, with a request in flight.

use crate::VARIABLE;
use crate::kit::{Connected, Responder, With, ask, connect};
use futures::future::join_all;
use shared_fate::DriverState;
use shared_fate_integrations::broker::{self, Broker};
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::path::Path;

/// How many runs there are where nothing hangs.
const RUNS: usize = 300;

/// How many runs there are where everything hangs.
const HANGS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Killed,
    Struck(Fault),
    /// A reset. The client connects again, and only then the answer comes.
    AnsweredAfterReset,
    RuntimeGone,
    CanaryAborted,
}

const ENDS: [(&str, End); 7] = [
    ("server killed", End::Killed),
    ("RST", End::Struck(Fault::Reset)),
    ("FIN", End::Struck(Fault::Finish)),
    ("garbage", End::Struck(Fault::Garbage(b"this is not of the protocol\r\n"))),
    ("RST, then the answer", End::AnsweredAfterReset),
    ("runtime gone", End::RuntimeGone),
    ("canary aborted", End::CanaryAborted),
];

const WITH: [With; 4] = [With::Plain, With::Canary, With::Callback, With::Cell];

const DROPPED: &str = "the session's driver was dropped";

#[test]
fn the_connection_or_the_runtime_ends() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let columns = ["end", "call", "with", "runs", "leads", "says", ""];
    let mut table = Table::new("async-nats: the connection, or the runtime, ends", &columns);
    let mut all = Vec::new();
    for (name, end) in ENDS {
        let seen = runtimes.block_on(join_all(WITH.map(|with| runs(&runtimes, &program, with, end))));
        for (n, call) in ["waiting", "later"].iter().enumerate() {
            for (with, calls) in WITH.iter().zip(&seen) {
                table.counts(&[name, call, &format!("{with:?}")], &calls[n]);
            }
        }
        all.push((name, end, seen));
    }
    println!("{table}");
    for (name, end, seen) in all {
        for (with, calls) in WITH.into_iter().zip(seen) {
            check(name, end, with, calls);
        }
    }
}

fn hangs(with: With, end: End) -> bool {
    with != With::Cell && matches!(end, End::Killed | End::Struck(_))
}

fn check(name: &str, end: End, with: With, [waiting, later]: [Counts; 2]) {
    let what = format!("{name}, {with:?}");
    let is_led = |by: fn(&str) -> bool| move |seen: &Seen| seen.whose == Whose::Session && by(&seen.says);
    let is_dropped = is_led(|says| says == DROPPED);
    let is_lost = is_led(|says| says == "disconnected");
    let (runs, answered) = (waiting.runs(), |counts: &Counts| counts.of(Whose::Answered));
    match (end, with) {
        // The client waits for its next connection.
        (End::Killed | End::Struck(_), With::Plain | With::Canary | With::Callback) => {
            assert_eq!(waiting.of(Whose::Hang), runs, "{what}");
        }
        (End::Killed | End::Struck(_), With::Cell) => assert_eq!(waiting.count(is_lost), runs, "{what}"),
        // An exception: the caller asked to be told of the lost connection, and so does not wait for what the next
        // one brings.
        (End::AnsweredAfterReset, With::Cell) => assert_eq!(waiting.count(is_lost), runs, "{what}"),
        (End::AnsweredAfterReset, _) => assert_eq!(answered(&waiting), runs, "{what}"),
        (End::RuntimeGone, With::Plain) => assert_eq!(waiting.of(Whose::Request), runs, "{what}"),
        // The canary and the client's task are dropped in some order. The echo is what there was before.
        (End::RuntimeGone, With::Canary) => {
            assert_eq!(waiting.count(is_dropped) + waiting.of(Whose::Request), runs, "{what}");
            assert_eq!(later.count(is_dropped), runs, "{what}, later");
        }
        // Here they are one task, and the callback is dropped before the requests' channels.
        (End::RuntimeGone, With::Callback | With::Cell) => {
            assert_eq!(waiting.count(is_dropped), runs, "{what}");
            assert_eq!(later.count(is_dropped), runs, "{what}, later");
        }
        // An exception: nothing but the session was ended.
        (End::CanaryAborted, With::Canary) => {
            assert_eq!(waiting.count(is_dropped) + answered(&waiting), runs, "{what}");
        }
        (End::CanaryAborted, _) => assert_eq!(answered(&waiting), runs, "{what}"),
    }
    match (end, with) {
        // The reason why the connection could not be made again.
        (End::Killed, With::Cell) => {
            let is_told = later.count(is_led(|says| says.starts_with("client error: nats: ")));
            assert_eq!(is_told, runs, "{what}, later");
        }
        (End::Killed, _) => assert_eq!(later.of(Whose::Hang), runs, "{what}, later"),
        (End::Struck(_) | End::AnsweredAfterReset, _) => assert_eq!(answered(&later), runs, "{what}, later"),
        _ => assert_eq!(later.of(Whose::Hang), 0, "{what}, later"),
    }
}

async fn runs(runtimes: &Runtimes, program: &Path, with: With, end: End) -> [Counts; 2] {
    let mut all = Vec::new();
    if hangs(with, end) {
        // All at once. Each has a broker of its own.
        let runs = (0..HANGS).map(|_| async {
            let mut server = Server::start(runtimes, program).await;
            run(runtimes, &mut server, with, end).await
        });
        all = join_all(runs).await;
    } else {
        let mut server = Server::start(runtimes, program).await;
        for _ in 0..RUNS {
            all.push(run(runtimes, &mut server, with, end).await);
            if end == End::Killed {
                server = Server::start(runtimes, program).await;
            }
        }
    }
    let mut counts = [Counts::default(), Counts::default()];
    for [waiting, later] in all {
        counts[0].add(waiting);
        counts[1].add(later);
    }
    counts
}

struct Server {
    broker: Broker,
    responder: Responder,
}

impl Server {
    async fn start(runtimes: &Runtimes, program: &Path) -> Self {
        let broker = Broker::start(program, broker::nats);
        let responder = runtimes.servers().spawn(Responder::connect(broker.address())).await.unwrap();
        Self { broker, responder }
    }
}

/// A request that waits when it happens, and one that is made later: when the session has ended, if it does.
async fn run(runtimes: &Runtimes, server: &mut Server, with: With, end: End) -> [Seen; 2] {
    let Server { broker, responder } = server;
    let proxy = runtimes.servers().spawn(Proxy::before(broker.address())).await.unwrap().unwrap();
    let address = if end == End::Killed { broker.address() } else { proxy.address() };
    // Of its own: a client goes on to connect after its last handle is gone.
    let drivers = runtime();
    let connected = drivers.spawn(connect(address, with, drivers.handle().clone())).await.unwrap();
    let Connected { client, cell, canary, mut count } = connected;
    count.wait_for(|count| *count == 1).await.unwrap();

    let mut drivers = Some(drivers);
    let happen = async {
        let question = responder.arrivals.recv().await.unwrap();
        match end {
            End::Killed => broker.kill(),
            End::Struck(fault) => proxy.strike(fault).await,
            End::AnsweredAfterReset => {
                proxy.strike(Fault::Reset).await;
                count.wait_for(|count| *count == 2).await.unwrap();
                // When the server has answered this, it knows the client's subscriptions again.
                client.request("nobody", "".into()).await.unwrap_err();
                responder.answer(question).await;
            }
            End::RuntimeGone => drivers.take().unwrap().shutdown_background(),
            End::CanaryAborted => {
                if let Some(canary) = canary {
                    canary.abort();
                    _ = canary.await;
                }
                responder.answer(question).await;
            }
        }
    };
    let session = cell.as_ref().map(|cell| cell.session());
    let (waiting, ()) = tokio::join!(Seen::of(session.as_ref(), ask(&client)), happen);
    if let (End::RuntimeGone, Some(session)) = (end, &session) {
        session.ended().await;
    }
    let session = cell.as_ref().map(|cell| cell.session());
    let later = tokio::select! {
        later = Seen::of(session.as_ref(), ask(&client)) => later,
        () = responder.answer_all() => unreachable!("it goes on"),
    };
    if let Some(drivers) = drivers {
        drivers.shutdown_background();
    }
    [waiting, later]
}

/// A canary that is never polled does no harm, and the session can tell that it was not polled.
#[test]
fn a_canary_that_is_never_polled() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let mut table = Table::new("async-nats: the canary is never polled", &["with", "leads", "the driver"]);
    for with in [With::Plain, With::Canary] {
        let (seen, state) = runtimes.block_on(async {
            let Server { broker, mut responder } = Server::start(&runtimes, &program).await;
            let canaries = runtimes.idle().clone();
            let connect = runtimes.drivers().spawn(connect(broker.address(), with, canaries));
            let Connected { client, cell, .. } = connect.await.unwrap();
            let session = cell.map(|cell| cell.session());
            let seen = tokio::select! {
                seen = Seen::of(session.as_ref(), ask(&client)) => seen,
                () = responder.answer_all() => unreachable!("it goes on"),
            };
            (seen, session.map(|session| session.driver_state()))
        });
        table.row(&[&format!("{with:?}"), &"answered", &format!("{state:?}")]);
        assert_eq!(seen.whose, Whose::Answered);
        assert_eq!(state, (with == With::Canary).then_some(DriverState::NeverPolled));
    }
    println!("{table}");
}
