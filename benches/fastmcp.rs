//! FastMCP's session monitoring and ours, on the same machine in the same minute.
//!
//! The reference wraps every call in a task and races it against the session's task; the wrap, reduced to
//! asyncio, is `fastmcp_wrap.py`. Ours is `supervised(&session)` in a task of a single-threaded tokio. An
//! interpreter is slower anyway, so read each side against its own direct call, and how it grows with n.

mod report;

use report::Table;
use shared_fate::{Session, SupervisedExt};
use std::collections::BTreeMap;
use std::io;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::yield_now;

const ROUNDS: usize = 3;
const SEQUENTIAL: usize = 5000;
const TOGETHER: [usize; 3] = [1, 1000, 16_000];

/// What, how, how many: nanoseconds for one call, by round.
type Found = BTreeMap<(String, String, usize), Vec<f64>>;

fn main() -> ExitCode {
    if !report::asked_for() {
        return ExitCode::SUCCESS;
    }
    let theirs = match theirs() {
        Ok(theirs) => theirs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("\n!!! comparison with FastMCP SKIPPED: python3 not found !!!\n");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("fastmcp_wrap.py failed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ours = ours();
    println!("\nns for one call; what it costs beyond the direct call of the same language\n");
    let mut table = Table::new([
        "",
        "Python direct",
        "FastMCP's wrap",
        "beyond",
        "Rust direct",
        "supervised",
        "beyond",
        "lane",
    ]);
    let mut row = |label: String, what: &str, n: usize| {
        let direct = (median(&theirs, what, "direct", n), median(&ours, what, "direct", n));
        let wrapped = (median(&theirs, what, "monitored", n), median(&ours, what, "supervised", n));
        let cell = |ns: Option<f64>| ns.map_or_else(|| "–".to_owned(), |ns| format!("{ns:.0}"));
        let beyond = |direct: Option<f64>, wrapped: Option<f64>| Some(wrapped? - direct?);
        table.row([
            label,
            cell(direct.0),
            cell(wrapped.0),
            cell(beyond(direct.0, wrapped.0)),
            cell(direct.1),
            cell(wrapped.1),
            cell(beyond(direct.1, wrapped.1)),
            cell(median(&ours, what, "lane", n)),
        ]);
    };
    row("one after another".to_owned(), "sequential", SEQUENTIAL);
    for n in TOGETHER {
        row(format!("{n} at once, all answered"), "together", n);
    }
    for n in TOGETHER {
        row(format!("{n} at once, the session ends"), "ends", n);
    }
    table.print();
    ExitCode::SUCCESS
}

fn median(found: &Found, what: &str, how: &str, n: usize) -> Option<f64> {
    let mut times = found.get(&(what.to_owned(), how.to_owned(), n))?.clone();
    times.sort_by(f64::total_cmp);
    Some(times[times.len() / 2])
}

fn theirs() -> io::Result<Found> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fastmcp_wrap.py");
    let most = TOGETHER[TOGETHER.len() - 1];
    let output = Command::new("python3").arg(script).args([ROUNDS, most].map(|n| n.to_string())).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let mut found = Found::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [what, how, n, seconds] = fields[..] else { return Err(io::Error::other(line.to_owned())) };
        let (Ok(n), Ok(seconds)) = (n.parse::<usize>(), seconds.parse::<f64>()) else {
            return Err(io::Error::other(line.to_owned()));
        };
        found.entry((what.to_owned(), how.to_owned(), n)).or_default().push(seconds * 1e9 / n as f64);
    }
    Ok(found)
}

fn ours() -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut found = Found::new();
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            let mut add = |what: &str, how: &str, n: usize, time: Duration| {
                let ns = time.as_secs_f64() * 1e9 / n as f64;
                found.entry((what.to_owned(), how.to_owned(), n)).or_default().push(ns);
            };
            let session = Session::<io::Error>::new();
            let mut lane = session.lane();
            let clock = Instant::now();
            for _ in 0..SEQUENTIAL {
                yield_now().await;
            }
            add("sequential", "direct", SEQUENTIAL, clock.elapsed());
            let clock = Instant::now();
            for _ in 0..SEQUENTIAL {
                yield_now().supervised(&session).await.expect("the session lives");
            }
            add("sequential", "supervised", SEQUENTIAL, clock.elapsed());
            let clock = Instant::now();
            for _ in 0..SEQUENTIAL {
                yield_now().supervised(&mut lane).await.expect("the session lives");
            }
            add("sequential", "lane", SEQUENTIAL, clock.elapsed());
            for n in TOGETHER {
                // A few calls are done in no time: repeat them.
                for _ in 0..(200 / n).max(1) {
                    add("together", "direct", n, together(n, None, false).await);
                    let session = Session::new();
                    add("together", "supervised", n, together(n, Some(session.clone()), false).await);
                    add("ends", "supervised", n, together(n, Some(session), true).await);
                }
            }
        }
    });
    found
}

/// n calls in flight; the replies all come at once, or the session ends. From then until all are done.
async fn together(n: usize, session: Option<Session<io::Error>>, end_session: bool) -> Duration {
    let (replies, calls): (Vec<_>, Vec<_>) = (0..n)
        .map(|_| {
            let (reply, call) = oneshot::channel::<u32>();
            let session = session.clone();
            let task = tokio::spawn(async move {
                match session {
                    None => call.await.is_ok(),
                    Some(session) => call.supervised(session).await.is_ok_and(|reply| reply.is_ok()),
                }
            });
            (reply, task)
        })
        .unzip();
    // Until everybody waits: a turn of the runtime starts some dozens of tasks.
    for _ in 0..=n / 16 {
        yield_now().await;
    }
    let clock = Instant::now();
    let mut kept = Vec::new();
    if end_session {
        kept = replies;
        assert!(session.is_some_and(|session| session.fail(io::ErrorKind::ConnectionReset.into())));
    } else {
        replies.into_iter().for_each(|reply| reply.send(7).expect("somebody waits"));
    }
    for call in calls {
        assert_eq!(call.await.expect("no panic"), !end_session);
    }
    let time = clock.elapsed();
    drop(kept);
    time
}
