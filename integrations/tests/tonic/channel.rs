//! Over tonic's own `Channel`, whose tasks come through `Endpoint::executor`. It connects anew by itself, and its
//! tasks say nothing: a session learns that they panic, or are dropped with their runtime.

use crate::kit::{Server, Tasks, rest, serve, stream, unary};
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{AnySession, Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use std::net::SocketAddr;
use tokio::runtime::{Handle, Runtime};
use tokio::task::spawn_blocking;
use tonic::transport::{Channel, Endpoint};

const RUNS: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The channel's runtime is shut down. The caller runs on another one.
    RuntimeGone,
    /// The connection is reset.
    Reset,
    /// The client is dropped. The answers come after that.
    Done,
}

const ENDS: [End; 3] = [End::RuntimeGone, End::Reset, End::Done];

/// A stream of which one message has come, a call in flight, and a call when all is over.
const CALLS: [&str; 3] = ["stream", "unary", "later"];

type Calls = [Counts; 3];

async fn connect(address: SocketAddr, session: Option<AnySession>, on: Handle) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let endpoint = endpoint.executor(Tasks { on: on.clone(), session });
    on.spawn(async move { endpoint.connect().await }).await.expect("the runtime lives").expect("a connection")
}

#[test]
fn all() {
    let runtimes = Runtimes::new();
    let heading = "tonic's Channel, its tasks hooked";
    let mut table = Table::new(heading, &["end", "call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for end in ENDS {
        let seen = [false, true].map(|is_hooked| runtimes.block_on(runs(&runtimes, is_hooked, end)));
        for (n, call) in CALLS.iter().enumerate() {
            for (with, calls) in ["Plain", "Executor"].iter().zip(&seen) {
                table.counts(&[&format!("{end:?}"), call, with], &calls[n]);
            }
        }
        all.push((end, seen));
    }
    println!("{table}");
    for (end, [before, after]) in &all {
        for ((call, before), after) in CALLS.iter().zip(before).zip(after) {
            let what = format!("{end:?}, {call}");
            // Plain, a call that is made while the runtime goes hangs now and then.
            assert_eq!(after.of(Whose::Hang), 0, "{what}: a hang");
            match end {
                End::RuntimeGone => {
                    let dropped = "the session's driver was dropped";
                    let is_led = |seen: &Seen| seen.whose == Whose::Session && seen.says == dropped;
                    assert_eq!(after.count(is_led), RUNS, "{what}");
                }
                // The session lives: the channel has another connection.
                End::Reset if *call != "later" => {
                    assert_eq!(after.of(Whose::Request), RUNS, "{what}");
                    let knows = |counts: &Counts| {
                        counts.count(|seen| seen.says.contains("reset") || seen.says.contains("broken pipe"))
                    };
                    assert_eq!((knows(before), knows(after)), (RUNS, RUNS), "{what}: knows less");
                }
                End::Reset => assert_eq!(after.of(Whose::Session), 0, "{what}: the session has ended"),
                End::Done => assert_eq!(after.of(Whose::Answered), after.runs(), "{what}: an answer is lost"),
            }
        }
    }
}

async fn runs(runtimes: &Runtimes, is_hooked: bool, end: End) -> Calls {
    let mut server = runtimes.servers().spawn(serve()).await.unwrap();
    let mut calls = Calls::default();
    for _ in 0..RUNS {
        for (counts, seen) in calls.iter_mut().zip(run(runtimes, &mut server, is_hooked, end).await) {
            if let Some(seen) = seen {
                counts.add(seen);
            }
        }
    }
    calls
}

async fn run(runtimes: &Runtimes, server: &mut Server, is_hooked: bool, end: End) -> [Option<Seen>; 3] {
    while server.arrivals.try_recv().is_ok() {}
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let doomed = (end == End::RuntimeGone).then(runtime);
    let on = doomed.as_ref().map_or(runtimes.drivers(), Runtime::handle);
    let session = is_hooked.then(AnySession::new);
    let channel = connect(proxy.address(), session.clone(), on.clone()).await;
    let session = session.as_ref();

    let (answers, streaming) = tokio::join!(stream(channel.clone()), async {
        let streaming = server.arrival().await;
        streaming.message(b"one");
        streaming
    });
    let mut answers = answers.expect("an answer");
    assert_eq!(answers.message().await.expect("a message").as_deref(), Some(&b"one"[..]));

    let call = Seen::of(session, unary(channel.clone()));
    let mut channel = Some(channel);
    let happen = async {
        let calling = server.arrival().await;
        match end {
            End::RuntimeGone => {
                let doomed = doomed.unwrap();
                // Until all its tasks are dropped, the call might be answered.
                spawn_blocking(|| drop(doomed)).await.unwrap();
            }
            End::Reset => proxy.strike(Fault::Reset).await,
            End::Done => {
                channel = None;
                calling.answer();
                return streaming;
            }
        }
        calling.answer();
        streaming
    };
    let streamed = async {
        let (called, streaming) = tokio::join!(call, happen);
        // The client is gone, and its call is answered.
        streaming.finish();
        called
    };
    let (streamed, called) = tokio::join!(rest(session, answers), streamed);
    let later = match channel {
        Some(channel) => {
            let call = Seen::of(session, unary(channel));
            let answer = async {
                if end == End::Reset {
                    // There is no arrival if the call has failed.
                    if let Ok(calling) = server.arrivals.recv().await {
                        calling.answer();
                    }
                }
                std::future::pending().await
            };
            Some(tokio::select! { seen = call => seen, () = answer => unreachable!() })
        }
        None => None,
    };
    [Some(streamed), Some(called), later]
}

/// Each task is a driver of its own, and is done when its request is: nothing piles up.
#[test]
fn no_task_is_left() {
    const CALLS: usize = 200;
    let runtimes = Runtimes::new();
    let mut table =
        Table::new("tonic's Channel, its tasks hooked: tasks", &["with", "before", "after 200 calls"]);
    for is_hooked in [false, true] {
        let drivers = runtime();
        let tasks = || drivers.metrics().num_alive_tasks();
        let session = is_hooked.then(AnySession::new);
        let (before, after) = runtimes.block_on(async {
            let mut server = runtimes.servers().spawn(serve()).await.unwrap();
            let channel = connect(server.address, session.clone(), drivers.handle().clone()).await;
            let mut before = 0;
            for n in 0..=CALLS {
                let call = Seen::of(session.as_ref(), unary(channel.clone()));
                let (seen, ()) = tokio::join!(call, async { server.arrival().await.answer() });
                assert_eq!(seen.whose, Whose::Answered);
                if n == 0 {
                    before = tasks();
                }
            }
            (before, tasks())
        });
        table.row(&[&if is_hooked { "Executor" } else { "Plain" }, &before, &after]);
        assert!(after <= before + 2, "{before} tasks before, {after} after");
        assert!(session.is_none_or(|session| !session.is_ended()), "a task that is done is no end");
    }
    println!("{table}");
}
