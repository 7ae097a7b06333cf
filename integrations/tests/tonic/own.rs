//! Over a connection of one's own: hyper's `http2::SendRequest`, as a service.

use crate::kit::{Server, Tasks, rest, serve, stream, unary};
use futures::future::{BoxFuture, FutureExt, TryFutureExt, join_all};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use shared_fate::Gate;
use shared_fate_integrations::drivers::{self, How};
use shared_fate_integrations::panicking::{self, Panicking, Trigger};
use shared_fate_integrations::proxy::{Fault as Struck, Proxy};
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{AnySession, Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use std::error::Error;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tower::Service;

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Reset,
    Garbage,
    Finish,
    Panic,
    Abort,
    RuntimeGone,
    /// The client is dropped. The answers come after that.
    Done,
}

const FAULTS: [Fault; 7] = [
    Fault::Reset,
    Fault::Garbage,
    Fault::Finish,
    Fault::Panic,
    Fault::Abort,
    Fault::RuntimeGone,
    Fault::Done,
];

/// A stream of which one message has come, a call in flight, and a call when all is over.
const CALLS: [&str; 3] = ["stream", "unary", "later"];

type Calls = [Counts; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// The plain crates.
    Plain,
    /// hyper's `Connection`, as with `monitor`, and readiness through a gate.
    Monitor,
    /// hyper's `Connection`, as with `monitor`, the tasks that hyper spawns, and readiness through a gate.
    Executor,
}

/// What people write since hyper's senders are no services.
struct Sender {
    sender: http2::SendRequest<Body>,
    gate: Option<Gate<hyper::Error, dyn Error + Send + Sync>>,
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        let gate = self.gate.as_ref().map(|gate| gate.session().gate());
        Self { sender: self.sender.clone(), gate }
    }
}

impl Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.gate {
            None => self.sender.poll_ready(cx).map_err(Into::into),
            Some(gate) => gate.poll(cx, |cx| self.sender.poll_ready(cx)).map_err(Into::into),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.sender.send_request(request).map_err(Into::into).boxed()
    }
}

struct Client {
    sender: Sender,
    session: Option<AnySession>,
    driver: JoinHandle<()>,
    decoder: Trigger,
}

/// Connects in the runtime in which it is called. The driver is spawned on `on`.
async fn connect(with: With, address: SocketAddr, on: Handle) -> Client {
    let io = TcpStream::connect(address).await.expect("a connection");
    io.set_nodelay(true).expect("a socket");
    let (io, decoder) = Panicking::new(io);
    let session = (with != With::Plain).then(AnySession::new);
    let tasks = Tasks { on: on.clone(), session: session.clone().filter(|_| with == With::Executor) };
    let (sender, connection) = http2::handshake(tasks, TokioIo::new(io)).await.expect("a handshake");
    let driver = drivers::spawn(&on, session.as_ref(), How::Failing, connection);
    let gate = session.as_ref().map(AnySession::gate);
    Client { sender: Sender { sender, gate }, session, driver, decoder }
}

/// What a caller is to hear: any of these.
fn reasons(fault: Fault) -> &'static [&'static str] {
    match fault {
        // Which of its errors h2 takes to heart is a race: it may swallow the reset, and then read the end.
        Fault::Reset => &["connection reset", "Connection reset", "because of a broken pipe"],
        Fault::Garbage => &["frame with invalid size"],
        Fault::Finish => &["because of a broken pipe", "connection closed"],
        Fault::Panic => &["the session's driver panicked: the decoder tripped"],
        Fault::Abort | Fault::RuntimeGone => &["the session's driver was dropped"],
        Fault::Done => &[],
    }
}

#[test]
fn all() {
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let heading = "tonic over one's own connection";
    let mut table = Table::new(heading, &["fault", "call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for fault in FAULTS {
        let seen = [With::Plain, With::Monitor, With::Executor]
            .map(|with| (with, runtimes.block_on(runs(&runtimes, with, fault))));
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
            for ((call, before), after) in CALLS.iter().zip(&seen[0].1).zip(after) {
                check(*fault, *with, call, before, after);
            }
        }
    }
}

fn check(fault: Fault, with: With, call: &str, before: &Counts, after: &Counts) {
    let what = format!("{fault:?}, {with:?}, {call}");
    let knows =
        |counts: &Counts| counts.count(|seen| reasons(fault).iter().any(|reason| seen.says.contains(reason)));
    // A request that is made just after hyper's task has panicked is lost now and then, by hyper. The driver is
    // another task, and does not know.
    let is_elsewhere = with != With::Executor;
    if fault != Fault::Panic || !is_elsewhere {
        assert_eq!(after.of(Whose::Hang), 0, "{what}: a hang");
    }
    assert!(knows(after) >= knows(before), "{what}: knows less");
    match fault {
        Fault::Done => assert_eq!(after.of(Whose::Answered), after.runs(), "{what}: an answer is lost"),
        Fault::Panic if is_elsewhere => {}
        // The echo comes from a task that is dropped before the driver is, now and then.
        Fault::RuntimeGone if is_elsewhere && call != "later" => {
            assert_eq!(knows(after) + after.of(Whose::Request), RUNS, "{what}");
        }
        // A named exception: the connection is another task and goes on. The session's owner has said that its
        // requests end with the driver.
        Fault::Abort if call != "later" => {
            assert_eq!(knows(after) + after.of(Whose::Answered), RUNS, "{what}");
        }
        _ if call == "later" || with == With::Executor => {
            assert!(knows(after) == RUNS || call != "later" && is_network(fault), "{what}");
        }
        _ => {}
    }
}

fn is_network(fault: Fault) -> bool {
    matches!(fault, Fault::Reset | Fault::Garbage | Fault::Finish)
}

async fn runs(runtimes: &Runtimes, with: With, fault: Fault) -> Calls {
    let mut server = runtimes.servers().spawn(serve()).await.unwrap();
    let mut calls = Calls::default();
    for _ in 0..RUNS {
        for (counts, seen) in calls.iter_mut().zip(run(runtimes, &mut server, with, fault).await) {
            if let Some(seen) = seen {
                counts.add(seen);
            }
        }
    }
    calls
}

async fn run(runtimes: &Runtimes, server: &mut Server, with: With, fault: Fault) -> [Option<Seen>; 3] {
    while server.arrivals.try_recv().is_ok() {}
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let doomed = (fault == Fault::RuntimeGone).then(runtime);
    let drivers = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let client = drivers.spawn(connect(with, proxy.address(), drivers.clone())).await;
    let Client { sender, session, driver, decoder } = client.unwrap();
    let session = session.as_ref();

    let (answers, streaming) = tokio::join!(stream(sender.clone()), async {
        let streaming = server.arrival().await;
        streaming.message(b"one");
        streaming
    });
    let mut answers = answers.expect("an answer");
    assert_eq!(answers.message().await.expect("a message").as_deref(), Some(&b"one"[..]));

    let call = Seen::of(session, unary(sender.clone()));
    let mut sender = Some(sender);
    let happen = async {
        let calling = server.arrival().await;
        match fault {
            Fault::Reset => proxy.strike(Struck::Reset).await,
            Fault::Garbage => {
                proxy.strike(Struck::Garbage(b"this is no HTTP of any version\r\n\r\n")).await;
            }
            Fault::Finish => proxy.strike(Struck::Finish).await,
            Fault::Panic => decoder.arm(),
            Fault::Abort => {
                driver.abort();
                _ = driver.await;
            }
            Fault::RuntimeGone => {
                doomed.unwrap().shutdown_background();
                _ = driver.await;
            }
            Fault::Done => {
                sender = None;
                calling.answer();
                _ = driver.await;
                return streaming.finish();
            }
        }
        streaming.finish();
        calling.answer();
    };
    let (streamed, called, ()) = tokio::join!(rest(session, answers), call, happen);
    let later = match sender {
        Some(sender) => Some(Seen::of(session, unary(sender)).await),
        None => None,
    };
    [Some(streamed), Some(called), later]
}

/// A driver that is never polled: the session has no clock, but it says that the driver was not polled.
#[test]
fn never_polled() {
    let runtimes = Runtimes::new();
    let heading = "tonic over one's own connection: the driver is never polled";
    let mut table = Table::new(heading, &["with", "leads", "the driver"]);
    let rows = runtimes.block_on(join_all([With::Plain, With::Executor].map(|with| {
        let runtimes = &runtimes;
        async move {
            let server = runtimes.servers().spawn(serve()).await.unwrap();
            let connect = connect(with, server.address, runtimes.idle().clone());
            let Client { sender, session, .. } = runtimes.drivers().spawn(connect).await.unwrap();
            let seen = Seen::of(session.as_ref(), unary(sender)).await;
            (with, seen, session.map(|session| format!("{:?}", session.driver_state())))
        }
    })));
    for (with, seen, state) in rows {
        assert_eq!(seen.whose, Whose::Hang);
        assert_eq!(state.as_deref(), (with == With::Executor).then_some("NeverPolled"));
        table.row(&[&format!("{with:?}"), &"HANG", &state.unwrap_or_default()]);
    }
    println!("{table}");
}
