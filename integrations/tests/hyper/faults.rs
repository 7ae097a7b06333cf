//! The connection breaks with requests in flight.

use crate::kit::{Client, Server, Version, With, connect, serve};
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::table::Table;

const RUNS: usize = 300;

const GARBAGE: Fault = Fault::Garbage(b"this is no HTTP of any version\r\n\r\n");

/// The calls of a run. The second waits in `ready` over HTTP/1 and is in flight, too, over HTTP/2.
const CALLS: [&str; 3] = ["first", "second", "later"];

type Calls = [Counts; 3];

const FAULTS: [Fault; 3] = [Fault::Reset, GARBAGE, Fault::Finish];

/// What a caller is to hear, of a fault or, where nothing but the end of the bytes is known, of that.
fn reasons(version: Version, fault: Fault) -> &'static [&'static str] {
    match (version, fault) {
        (Version::H1, Fault::Reset) => &["Connection reset"],
        // Which of its errors h2 takes to heart is a race: it may swallow the reset, and then read the end.
        (Version::H2, Fault::Reset) => &["connection reset", "Connection reset", "because of a broken pipe"],
        (Version::H1, Fault::Garbage(_)) => &["invalid HTTP version parsed"],
        (Version::H2, Fault::Garbage(_)) => &["frame with invalid size"],
        (Version::H1, _) => &["connection closed before message completed", "the peer closed the connection"],
        (Version::H2, _) => &["because of a broken pipe", "the peer closed the connection"],
    }
}

#[test]
fn http1() {
    let with = [With::Plain, With::Monitor, With::Explained, With::Drive, With::Tap, With::TapEof];
    all(Version::H1, &with, "hyper, HTTP/1: the connection breaks");
}

#[test]
fn http2() {
    let with =
        [With::Plain, With::Monitor, With::Explained, With::Drive, With::Tap, With::TapEof, With::Executor];
    all(Version::H2, &with, "hyper, HTTP/2: the connection breaks");
}

fn all(version: Version, with: &[With], heading: &'static str) {
    let runtimes = Runtimes::new();
    let mut table = Table::new(heading, &["fault", "call", "with", "runs", "leads", "says", ""]);
    let mut all = Vec::new();
    for fault in FAULTS {
        let seen: Vec<_> = with
            .iter()
            .map(|&with| (with, runtimes.block_on(runs(&runtimes, version, with, fault))))
            .collect();
        for (n, call) in CALLS.iter().enumerate() {
            for (with, calls) in &seen {
                table.counts(&[&fault.to_string(), call, &format!("{with:?}")], &calls[n]);
            }
        }
        all.push((fault, seen));
    }
    println!("{table}");
    for (fault, seen) in &all {
        let (_, before) = &seen[0];
        for (with, after) in &seen[1..] {
            check(version, *fault, *with, before, after);
        }
    }
}

/// No caller waits longer or hears less. What a tap sees, all hear.
fn check(version: Version, fault: Fault, with: With, before: &Calls, after: &Calls) {
    let names = |text: &str| reasons(version, fault).iter().any(|reason| text.contains(reason));
    let knows = |counts: &Counts| counts.count(|seen| names(&seen.says));
    for ((call, before), after) in CALLS.iter().zip(before).zip(after) {
        let what = format!("{version:?}, {fault}, {with:?}, {call}");
        assert_eq!(after.of(Whose::Hang), 0, "{what}: a hang");
        assert!(knows(after) >= knows(before), "{what}: knows less");
        assert_eq!(
            after.count(|seen| names(&seen.beside) && !names(&seen.says)),
            0,
            "{what}: the wrong side leads"
        );
        let tapped = match (with, fault) {
            (With::Tap | With::TapEof, Fault::Reset) => "Connection reset by peer (os error 104)",
            (With::TapEof, Fault::Finish) => "the peer closed the connection",
            _ => continue,
        };
        let is_led = |seen: &Seen| seen.whose == Whose::Session && seen.says == tapped;
        // `ready()` may be answered before the connection breaks.
        let heard = after.count(is_led) + after.of(Whose::Answered);
        assert_eq!(heard, RUNS, "{what}: does not hear what the tap sees");
    }
    // The driver of HTTP/2 tells its error, so who comes later gets it.
    if version == Version::H2 {
        assert_eq!(knows(&after[2]), RUNS, "{fault}, {with:?}: who comes later hears nothing");
    }
}

async fn runs(runtimes: &Runtimes, version: Version, with: With, fault: Fault) -> Calls {
    let mut server = runtimes.servers().spawn(serve(version)).await.unwrap();
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    let mut calls = Calls::default();
    for _ in 0..RUNS {
        let seen = run(runtimes, &mut server, &proxy, version, with, fault).await;
        for (counts, seen) in calls.iter_mut().zip(seen) {
            counts.add(seen);
        }
    }
    calls
}

async fn run(
    runtimes: &Runtimes,
    server: &mut Server,
    proxy: &Proxy,
    version: Version,
    with: With,
    fault: Fault,
) -> [Seen; 3] {
    let drivers = runtimes.drivers();
    let client = drivers.spawn(connect(version, with, proxy.address(), drivers.clone())).await;
    let Client { mut sender, session, .. } = client.unwrap();
    let session = session.as_ref();
    let first = with.see(session, sender.send("/"));
    let rest = async {
        server.arrivals.recv().await;
        let second = with.see(session, sender.second());
        let strike = async {
            if version == Version::H2 {
                server.arrivals.recv().await;
            }
            proxy.strike(fault).await;
        };
        tokio::join!(second, strike).0
    };
    let (first, second) = tokio::join!(first, rest);
    let later = with.see(session, sender.send("/")).await;
    [first, second, later]
}
