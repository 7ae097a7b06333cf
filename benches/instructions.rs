//! Instructions and locked read-modify-writes for one request, counted under callgrind.
//!
//! ```text
//! cargo bench --bench instructions                one table, all peers
//! cargo bench --bench instructions -- --check     the gate: fails where ours exceed `instructions.txt`
//! cargo bench --bench instructions -- --accept    writes the counts found to `instructions.txt`
//! ```
//!
//! Each workload runs n times and 2n times; the difference is the cost of n requests, without what is
//! done once for all of them. Counts repeat exactly for the same compiler and the same libraries.

mod peers;
mod report;

use peers::{PEERS, Request, Work};
use report::Table;
use shared_fate::{Cause, Session, SupervisedExt};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, io};

const N: u64 = 200;
/// Each row is run so often. The first turn is not looked at: it pays for what a process does once, such as
/// finding the function that a symbol stands for.
const TURNS: [u64; 3] = [N, N, 2 * N];
/// Others that are there when one is counted, where their number must not matter.
const OTHERS: u64 = 1000;
const UNDER_VALGRIND: &str = "--under-valgrind";
const GATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

/// Counts for one request, or for what else a row is about.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    instructions: f64,
    locked: f64,
}

/// The part that is counted: callgrind knows it by name.
#[inline(never)]
fn counted_part(part: &mut dyn FnMut()) {
    part();
    // No tail call: this function has to be left for the count to stop.
    black_box(());
}

/// What one row counts.
struct Row {
    name: &'static str,
    /// The workload; "-" if the name says it.
    work: &'static str,
    run: Run,
}

enum Run {
    /// So many requests of a kind; all of it is counted.
    Requests(fn(Work, u64), Work),
    /// Prepares so many, and counts inside of [`counted_part`].
    Own(fn(u64)),
}

impl Row {
    fn title(&self) -> String {
        format!("{} {}", self.name, self.work.trim_matches('-')).trim_end().to_owned()
    }

    fn run(&self, n: u64) {
        match self.run {
            Run::Requests(calls, work) => counted_part(&mut || calls(work, n)),
            Run::Own(run) => run(n),
        }
    }
}

/// Ours, by the names in `peers`.
const GATED: [&str; 4] = ["&session", "session.clone()", "&session, try_supervised", "&mut lane"];

/// What is counted: every workload of every peer, and what else a session costs.
fn selected(gate: bool) -> impl Iterator<Item = Row> {
    let peers = PEERS
        .iter()
        .filter(|peer| peer.name != peers::FLOOR)
        .filter(move |peer| !gate || GATED.contains(&peer.name))
        .flat_map(|peer| {
            Work::ALL.map(|work| Row {
                name: peer.name,
                work: work.label(),
                run: Run::Requests(peer.calls, work),
            })
        });
    peers.chain(OWN.map(|(name, work, run)| Row { name, work, run: Run::Own(run) }))
}

/// Name, workload, and what prepares and counts so many.
type OwnRow = (&'static str, &'static str, fn(u64));

/// What a session costs beside its requests. All are gated.
const OWN: [OwnRow; 11] = [
    ("an idle driver's poll", "-", |n| driver_polls(n, 0)),
    ("a poll beside 1000 waiting", "-", |n| driver_polls(n, OTHERS)),
    ("a session made and dropped", "-", sessions),
    ("an end with nothing waiting", "-", |n| ends(&own_sessions(n))),
    ("a failure with nothing waiting", "-", failures),
    ("an end with one waiting", "-", ends_with_one_waiting),
    ("a request beside 1000 waiting", "W2", requests_beside_others),
    ("a child's request", "W2", requests_of_children),
    ("a child made and dropped", "-", children),
    ("a child's end", "-", ends_of_children),
    ("a family's end, for each child", "-", end_of_family),
];

type Own = Session<io::Error>;

fn own_sessions(n: u64) -> Vec<Own> {
    (0..n).map(|_| Session::new()).collect()
}

/// A parent with so many children.
fn own_children(n: u64) -> (Own, Vec<Own>) {
    let parent = Session::new();
    let children = (0..n).map(|_| parent.child()).collect();
    (parent, children)
}

/// Requests that wait, registered with a waker that does nothing.
fn waiting<'a>(sessions: impl Iterator<Item = &'a Own>) -> Vec<impl Future> {
    let waker = peers::waker();
    let register = |session: &'a Own| {
        let mut request = Request::hopeless().supervised(session);
        peers::register(Pin::new(&mut request), &waker);
        request
    };
    sessions.map(register).collect()
}

/// Polls of a driver that has nothing to do: what a session adds to each turn of its connection.
fn driver_polls(n: u64, others: u64) {
    let session = Own::new();
    let _others = waiting((0..others).map(|_| &session));
    let mut driver = pin!(session.drive(std::future::pending()));
    let waker = peers::waker();
    counted_part(&mut || {
        for _ in 0..n {
            peers::register(black_box(driver.as_mut()), &waker);
        }
    });
}

fn sessions(n: u64) {
    counted_part(&mut || (0..n).for_each(|_| drop(black_box(Own::new()))));
}

fn ends(sessions: &[Own]) {
    counted_part(&mut || {
        for session in sessions {
            assert!(session.close());
        }
    });
}

/// An end with an error, which is at hand.
fn failures(n: u64) {
    let sessions = own_sessions(n);
    let causes: Vec<Cause<io::Error>> =
        (0..n).map(|_| io::Error::from(io::ErrorKind::Other).into()).collect();
    counted_part(&mut || {
        for (session, cause) in sessions.iter().zip(&causes) {
            assert!(session.end(cause.clone()));
        }
    });
}

/// The wake is counted, which here is a reference count.
fn ends_with_one_waiting(n: u64) {
    let sessions = own_sessions(n);
    let _waiting = waiting(sessions.iter());
    ends(&sessions);
}

/// A request of each, one after the other, that pends once.
fn requests(sessions: &[Own]) {
    let waker = peers::waker();
    counted_part(&mut || {
        for session in sessions {
            let mut request = pin!(black_box(Request { left: 1 }).supervised(session));
            peers::register(request.as_mut(), &waker);
            assert!(peers::poll(black_box(request.as_mut()), &waker).is_ready());
        }
    });
}

fn requests_beside_others(n: u64) {
    let session = Own::new();
    let _others = waiting((0..OTHERS).map(|_| &session));
    let sessions: Vec<_> = (0..n).map(|_| session.clone()).collect();
    // There is a place in the table for one more.
    drop(waiting([&session].into_iter()));
    requests(&sessions);
}

fn requests_of_children(n: u64) {
    let (_parent, children) = own_children(n);
    // The tables are made when the first request waits.
    drop(waiting(children.iter()));
    requests(&children);
}

fn children(n: u64) {
    let (parent, _others) = own_children(OTHERS);
    counted_part(&mut || (0..n).for_each(|_| drop(black_box(parent.child()))));
}

fn ends_of_children(n: u64) {
    let (parent, children) = own_children(n);
    let _others: Vec<_> = (0..OTHERS).map(|_| parent.child()).collect();
    ends(&children);
}

fn end_of_family(n: u64) {
    let (parent, _children) = own_children(n);
    ends(&[parent]);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (check, accept) = (asked("--check"), asked("--accept"));
    if asked(UNDER_VALGRIND) {
        for row in selected(check) {
            TURNS.iter().for_each(|&n| row.run(n));
        }
        return ExitCode::SUCCESS;
    }
    if !report::asked_for() {
        return ExitCode::SUCCESS;
    }
    let counts = match count(check) {
        Ok(counts) => counts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("\n!!! instruction counts SKIPPED: valgrind not found !!!\n");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("instruction counts failed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let found: Vec<_> = selected(check).zip(counts).collect();
    print(&found, check);
    if accept {
        return finish(write_gate(&found));
    }
    finish(compare(&found, check))
}

fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this program again under callgrind, which writes one file for each call of the counted part.
fn count(gate: bool) -> io::Result<Vec<Count>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let counts = count_in(&folder, gate);
    fs::remove_dir_all(&folder)?;
    counts
}

fn count_in(folder: &Path, gate: bool) -> io::Result<Vec<Count>> {
    let out = folder.join("out");
    let found = |error: io::Error| io::Error::other(format!("valgrind is there, but {error}"));
    let result = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-bus=yes", "--compress-strings=yes"])
        .args(["--toggle-collect=instructions::counted_part", "--dump-after=instructions::counted_part"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe()?)
        .arg(UNDER_VALGRIND)
        .args(gate.then_some("--check"))
        .stdout(Stdio::null())
        .output()?;
    if !result.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&result.stderr).into_owned()));
    }
    let total = |number: usize| -> io::Result<Count> {
        let text = fs::read_to_string(out.with_extension(number.to_string())).map_err(found)?;
        let line = |key: &str| -> io::Result<&str> {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .ok_or_else(|| io::Error::other(format!("no {key}")))
        };
        if line("events: ")?.trim() != "Ir Ge" {
            return Err(io::Error::other("callgrind counted something else"));
        }
        let totals = line("totals: ").or_else(|_| line("summary: "))?;
        let mut totals = totals.split_whitespace().map(|count| count.parse().unwrap_or(f64::NAN));
        Ok(Count { instructions: totals.next().unwrap_or(f64::NAN), locked: totals.next().unwrap_or(0.0) })
    };
    (0..selected(gate).count())
        .map(|row| {
            let (once, twice) = (total(TURNS.len() * row + 2)?, total(TURNS.len() * row + 3)?);
            Ok(Count {
                instructions: (twice.instructions - once.instructions) / N as f64,
                locked: (twice.locked - once.locked) / N as f64,
            })
        })
        .collect()
}

fn print(found: &[(Row, Count)], gate: bool) {
    let cell = |count: &Count| format!("{:.0} ({:.0})", count.instructions, count.locked.max(0.0));
    let (peers, own) = found.split_at(found.len() - OWN.len());
    println!("\ninstructions (locked read-modify-writes) for one request\n");
    let mut table = Table::new(["supervised by"].into_iter().chain(Work::ALL.map(Work::label)));
    for found in peers.chunks(Work::ALL.len()) {
        let cells = found.iter().map(|(_, count)| cell(count));
        table.row([found[0].0.name.to_owned()].into_iter().chain(cells));
    }
    table.print();
    if !gate {
        table.save("instructions");
    }
    println!("and for what else a session costs\n");
    let mut table = Table::new(["", "instructions (locked)"]);
    for (row, count) in own {
        table
            .row([format!("{} {}", row.name, row.work.trim_matches('-')).trim_end().to_owned(), cell(count)]);
    }
    table.print();
}

/// What the file says of a row; `None` where it says nothing.
#[derive(Default)]
struct Known {
    /// What was found when it was accepted.
    accepted: Option<Count>,
    /// What the contract allows.
    instructions_at_most: Option<f64>,
    locked_at_most: Option<f64>,
}

fn known(row: &Row) -> Known {
    let text = fs::read_to_string(GATE).unwrap_or_default();
    let known = text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = line.split('|').map(str::trim);
        if fields.next() != Some(row.name) || fields.next() != Some(row.work) {
            return None;
        }
        let mut number = || -> Option<f64> { fields.next()?.parse().ok() };
        let (instructions, locked) = (number(), number());
        let accepted = instructions.zip(locked).map(|(instructions, locked)| Count { instructions, locked });
        Some(Known { accepted, instructions_at_most: number(), locked_at_most: number() })
    });
    known.unwrap_or_default()
}

/// What may be more than accepted before it is a regression: another version of the standard library or
/// of LLVM moves a few instructions. A locked operation more is always one.
fn tolerated(accepted: f64) -> f64 {
    accepted + (accepted * 0.05).max(8.0)
}

/// What is wrong with a count.
fn faults(row: &Row, count: Count) -> Vec<String> {
    let known = known(row);
    let mut faults = Vec::new();
    match known.accepted {
        None => faults.push("no accepted count; run with --accept".to_owned()),
        Some(accepted) => {
            if count.instructions > tolerated(accepted.instructions) {
                let accepted = accepted.instructions;
                faults.push(format!("{:.0} instructions, accepted {accepted:.0}", count.instructions));
            }
            if count.locked > accepted.locked + 0.5 {
                let accepted = accepted.locked;
                faults.push(format!("{:.0} locked operations, accepted {accepted:.0}", count.locked));
            }
        }
    }
    // What is printed is rounded, and so is what is compared.
    let mut contract = |count: f64, of: &str, at_most: Option<f64>| {
        if let Some(at_most) = at_most.filter(|&at_most| count.round() > at_most) {
            faults.push(format!("{count:.0} {of}, the contract allows {at_most:.0}"));
        }
    };
    contract(count.instructions, "instructions", known.instructions_at_most);
    contract(count.locked, "locked operations", known.locked_at_most);
    faults
}

fn is_gated(row: &Row) -> bool {
    matches!(row.run, Run::Own(_)) || GATED.contains(&row.name)
}

fn compare(found: &[(Row, Count)], check: bool) -> Result<(), String> {
    let mut all = String::new();
    for (row, count) in found.iter().filter(|(row, _)| is_gated(row)) {
        let at = row.title();
        for fault in faults(row, *count) {
            let _ = writeln!(all, "{at}: {fault}");
        }
        let better = known(row).accepted.filter(|accepted| count.instructions < accepted.instructions - 8.0);
        if let Some(accepted) = better {
            println!(
                "{at}: {:.0} instructions, accepted {:.0}: better; run with --accept",
                count.instructions, accepted.instructions
            );
        }
    }
    if all.is_empty() {
        println!("within the accepted counts and the contract ({GATE})");
        return Ok(());
    }
    println!("\nbeyond the accepted counts or the contract:\n{all}");
    if check { Err("instruction counts: REGRESSION".to_owned()) } else { Ok(()) }
}

/// Writes the counts, and keeps the comments and the maxima.
fn write_gate(found: &[(Row, Count)]) -> Result<(), String> {
    let old = fs::read_to_string(GATE).unwrap_or_default();
    let mut text: String =
        old.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for (row, count) in found.iter().filter(|(row, _)| is_gated(row)) {
        let known = known(row);
        let number = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:.0}"));
        let line = format!(
            "{:<30} | {:<2} | {:>4.0} | {:>2.0} | {:>4} | {:>2}",
            row.name,
            row.work,
            count.instructions,
            count.locked.abs(),
            number(known.instructions_at_most),
            number(known.locked_at_most),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    fs::write(GATE, text).map_err(|error| format!("{GATE}: {error}"))
}
