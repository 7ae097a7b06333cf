//! Who is first: the cause or its echo, the reader with the reason or the writer with the broken pipe.

use crate::kit::{Client, REASON, Server, Then, With, connect, reason, serve};
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;
use tokio::task::yield_now;
use tokio_tungstenite::tungstenite::Message;

const RUNS: usize = 300;

/// The reader clears the map, so that the calls that wait fail: "channel closed", a hair before the reader tells why.
#[test]
fn the_cause_beats_its_echo() {
    let runtimes = Runtimes::new();
    let heading = "tungstenite by hand: the reader clears the map, and the connection is reset";
    let mut table = Table::new(heading, &["call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for with in [With::Plain, With::Reader] {
        let mut calls = [Counts::default(), Counts::default()];
        runtimes.block_on(async {
            let mut server = runtimes.servers().spawn(serve()).await.unwrap();
            for _ in 0..RUNS {
                for (counts, seen) in calls.iter_mut().zip(reset(&runtimes, &mut server, with).await) {
                    counts.add(seen);
                }
            }
        });
        for (n, counts) in calls.iter().enumerate() {
            table.counts(&[["first", "second"][n], &format!("{with:?}")], counts);
        }
        all.push((with, calls));
    }
    println!("{table}");
    for (with, calls) in &all {
        for counts in calls {
            assert_eq!(counts.of(Whose::Hang), 0, "{with:?}: a hang");
            let has_cause = |seen: &Seen| seen.whose == Whose::Session && seen.says.contains("os error 104");
            let at_least = if *with == With::Plain { 0 } else { RUNS };
            assert_eq!(counts.count(has_cause), at_least, "{with:?}: the cause");
        }
    }
}

async fn reset(runtimes: &Runtimes, server: &mut Server, with: With) -> [Seen; 2] {
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let drivers = runtimes.drivers();
    let client = connect(with, Then::ClearsTheMap, proxy.address(), drivers.clone());
    let client = drivers.spawn(client).await.unwrap();
    let session = client.session.as_ref();
    let call = || Seen::of(session, client.call("call"));
    let (first, second, _) = tokio::join!(call(), call(), async {
        let arrived = [server.arrivals.recv().await, server.arrivals.recv().await];
        proxy.strike(Fault::Reset).await;
        arrived
    });
    [first, second]
}

/// The server says why it closes, and hangs up. Whoever writes then finds a broken pipe, often before the reader has
/// come to the reason.
#[test]
fn the_servers_reason_beats_a_broken_pipe() {
    let runtimes = Runtimes::new();
    let heading = "tungstenite by hand: the server says why it closes, while we write";
    let mut table = Table::new(heading, &["with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for with in [With::Plain, With::Reader, With::ReaderAndWriter, With::Both] {
        let mut counts = Counts::default();
        runtimes.block_on(async {
            let mut server = runtimes.servers().spawn(serve()).await.unwrap();
            for _ in 0..RUNS {
                counts.add(close(&runtimes, &mut server, with).await);
            }
        });
        table.counts(&[&format!("{with:?}")], &counts);
        all.push((with, counts));
    }
    println!("{table}");
    for (with, counts) in &all {
        assert_eq!(counts.of(Whose::Hang), 0, "{with:?}: a hang");
        let reasons = counts.count(|seen| seen.says == REASON);
        match with {
            With::Plain => assert_eq!(reasons, 0, "nobody tells it"),
            With::Reader | With::ReaderAndWriter => assert_eq!(reasons, RUNS, "{with:?}: the reason is lost"),
            // The recipe that loses: it is here to show that.
            With::Both => {}
        }
    }
}

async fn close(runtimes: &Runtimes, server: &mut Server, with: With) -> Seen {
    let drivers = runtimes.drivers();
    let client = connect(with, Then::ClearsTheMap, server.address, drivers.clone());
    let client = drivers.spawn(client).await.unwrap();
    let Client { session, reader, .. } = &client;
    let first = Seen::of(session.as_ref(), client.call("first"));
    let happen = async {
        let arrived = server.arrival("first").await;
        arrived.send(Message::Close(Some(reason())));
        while !reader.is_finished() && client.notify("more") {
            yield_now().await;
        }
    };
    let (first, ()) = tokio::join!(first, happen);
    while server.arrivals.try_recv().is_ok() {}
    first
}
