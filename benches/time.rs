//! Times, as ratios: every round measures all peers one after the other, and what is reported is the
//! median over the rounds of (peer / `&session` in the same round). A loaded machine slows both.
//!
//! ```text
//! cargo bench --bench time                    all, a few minutes
//! cargo bench --bench time -- --rounds 15     more rounds than 7
//! cargo bench --bench time -- --most 100000   no more than so many waiters in W5
//! cargo bench --bench time -- --threads       only W6 on several threads
//! ```
//!
//! Each thread reads the clock of its own CPU time, where there is one: on a loaded machine the wall clock makes every
//! cell longer that lasts longer than a time slice.
//!
//! At the end it prints a summary, with what `instructions` and `memory` found last.

mod peers;
mod report;

use peers::{Clock, Executor, FLOOR, OURS, PEERS, Peer, RAW, Work};
use report::Table;
use std::time::Duration;

const CALLS: usize = 20_000;
/// W5 has at least so many waiters, in groups if need be.
const WAITERS: usize = 2000;
/// A cell lasts at least so long: what reading the clock costs is lost in it.
const SHORTEST: Duration = Duration::from_micros(100);
/// Several threads need longer until they run at the same time.
const SHORTEST_TOGETHER: Duration = Duration::from_millis(5);

fn main() {
    if !report::asked_for() {
        return;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let number = |flag: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let rounds = number("--rounds", 7);
    let most = number("--most", 1_000_000);

    println!("\nclock: {}", Clock::READS);
    if arguments.iter().any(|argument| argument == "--threads") {
        threads(rounds);
        return;
    }
    let calls = calls(rounds);
    let threads = threads(rounds);
    let ends = ends(rounds, most);
    summary(&calls, &threads, &ends);
}

/// One measurement of each peer in each round. A peer for which it makes no sense is not in here.
struct Rounds {
    /// Nanoseconds by peer and round.
    of: Vec<(&'static str, Vec<f64>)>,
}

impl Rounds {
    fn measure(rounds: usize, peers: impl Fn(&Peer) -> bool, mut one: impl FnMut(&Peer) -> f64) -> Self {
        let peers: Vec<&Peer> = PEERS.iter().filter(|peer| peers(peer)).collect();
        let mut of: Vec<_> = peers.iter().map(|peer| (peer.name, Vec::new())).collect();
        for round in 0..rounds {
            // Each round begins with another peer.
            for turn in 0..peers.len() {
                let peer = (turn + round) % peers.len();
                of[peer].1.push(one(peers[peer]));
            }
        }
        Self { of }
    }

    fn get(&self, name: &str) -> Option<&[f64]> {
        self.of.iter().find(|(peer, _)| *peer == name).map(|(_, times)| &times[..])
    }

    /// The median time and the median ratio to ours.
    fn cell(&self, name: &str) -> String {
        let (Some(times), Some(ours)) = (self.get(name), self.get(OURS)) else { return "–".to_owned() };
        let ratio = median(times.iter().zip(ours).map(|(time, ours)| time / ours).collect());
        format!("{:.1} ({ratio:.2}x)", median(times.to_vec()))
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Nanoseconds for one piece. So many are measured at a time, and more if that does not take long.
fn measure(pieces: usize, threads: usize, mut time_of: impl FnMut(usize) -> Duration) -> f64 {
    let mut times = 1;
    loop {
        let mean = time_of(times) / u32::try_from(threads).expect("a few");
        if mean >= if threads == 1 { SHORTEST } else { SHORTEST_TOGETHER } {
            return mean.as_secs_f64() * 1e9 / (times * pieces) as f64;
        }
        times *= 2;
    }
}

fn table(columns: &[(String, Rounds)]) -> Table {
    let head = ["supervised by".to_owned()].into_iter().chain(columns.iter().map(|(name, _)| name.clone()));
    let mut table = Table::new(head);
    for peer in PEERS {
        let cells = columns.iter().map(|(_, rounds)| rounds.cell(peer.name));
        table.row([peer.name.to_owned()].into_iter().chain(cells));
    }
    table
}

/// W1 to W4 and W6, one call after the other.
fn calls(rounds: usize) -> Table {
    let columns = Work::ALL.map(|work| {
        let found = Rounds::measure(
            rounds * 3,
            |peer| peer.name != FLOOR,
            |peer| {
                measure(CALLS, 1, |times| {
                    let clock = Clock::start();
                    (peer.calls)(work, (times * CALLS) as u64);
                    clock.elapsed()
                })
            },
        );
        (work.label().to_owned(), found)
    });
    println!("\nns for one request (ratio to {OURS}; raw await is not supervised)\n");
    let table = table(&columns);
    table.print();
    table
}

/// W6 on several threads.
fn threads(rounds: usize) -> Table {
    let columns = [(1, 0), (2, 0), (4, 0), (1, 100_000), (2, 100_000)].map(|(threads, others)| {
        let found = Rounds::measure(
            rounds,
            |peer| peer.name != FLOOR && peer.name != RAW,
            |peer| {
                measure(2 * CALLS, threads, |times| {
                    (peer.contended)(threads, (times * 2 * CALLS) as u64, others)
                })
            },
        );
        let others = if others == 0 { "" } else { ", 100k others" };
        (format!("{threads} thread{}{others}", if threads == 1 { "" } else { "s" }), found)
    });
    println!("\nW6, register and drop on one session: ns for one operation (ratio to {OURS})\n");
    let table = table(&columns);
    table.print();
    table
}

/// W5: a session ends.
fn ends(rounds: usize, most: usize) -> Table {
    let mut columns = Vec::new();
    for (executor, label, sizes) in [
        (Executor::FuturesUnordered, "futures", &[1, 1000, 100_000, 1_000_000][..]),
        (Executor::Smol, "smol", &[1000, 100_000]),
        (Executor::Tokio, "tokio", &[1000, 100_000]),
    ] {
        for &n in sizes.iter().filter(|&&n| n <= most) {
            let found = Rounds::measure(
                rounds,
                |peer| peer.name != RAW,
                |peer| {
                    let groups = (WAITERS / n).max(1);
                    measure(groups * n, 1, |times| (peer.fan_out)(executor, times * groups, n))
                },
            );
            columns.push((format!("{label} {n}"), found));
        }
    }
    println!("\nW5, the session ends and all have resolved: ns for one waiter (ratio to {OURS})\n");
    let table = table(&columns);
    table.print();
    table
}

/// Everything about one peer in one row.
fn summary(calls: &Table, threads: &Table, ends: &Table) {
    let found = |name: &str| {
        let found = Table::load(name);
        match &found {
            None => println!("`{name}` is not in the summary: run `cargo bench --bench {name}` first"),
            Some((_, minutes)) => println!("`{name}` was measured {minutes} min ago"),
        }
        found.map(|(table, _)| table)
    };
    println!("\nsummary: ns; instructions (locked read-modify-writes); allocations; bytes\n");
    let (instructions, memory) = (found("instructions"), found("memory"));
    println!();
    let mut table = Table::new([
        "supervised by",
        "W1 ns",
        "W2 ns",
        "W6 2 threads",
        "W5 ns",
        "W1",
        "W2",
        "W3",
        "W4",
        "W6",
        "allocations",
        "inline",
        "heap at 1M",
    ]);
    let last = ends.rows()[0].iter().position(|name| name == "futures 1000000").unwrap_or(1);
    for peer in PEERS.iter().filter(|peer| peer.name != FLOOR) {
        let cell = |table: Option<&Table>, column: usize| {
            table.and_then(|table| table.cell(peer.name, column)).unwrap_or("–").to_owned()
        };
        let (instructions, memory) = (instructions.as_ref(), memory.as_ref());
        let mut row = vec![peer.name.to_owned(), cell(Some(calls), 1), cell(Some(calls), 2)];
        row.extend([cell(Some(threads), 2), cell(Some(ends), last)]);
        row.extend((1..=5).map(|column| cell(instructions, column)));
        row.extend([5, 1, 4].map(|column| cell(memory, column)));
        table.row(row);
    }
    table.print();
}
