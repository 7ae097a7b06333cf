//! Instructions and locked read-modify-writes for one request, counted under callgrind.
//!
//! ```text
//! cargo bench --bench instructions                one table, all peers
//! cargo bench --bench instructions -- --check     the gate: fails where ours exceed `instructions.txt`
//! cargo bench --bench instructions -- --accept    writes the counts found to `instructions.txt`
//! ```
//!
//! Each workload runs n times and 2n times; the difference is the cost of n requests, without what is
//! done once. Counts repeat exactly for the same compiler and the same libraries.

mod peers;
mod report;

use peers::{PEERS, Work};
use report::Table;
use shared_fate::Session;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, io};

const N: u64 = 200;
const UNDER_VALGRIND: &str = "--under-valgrind";
const GATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

/// Counts of one workload for one request.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    instructions: f64,
    locked: f64,
}

/// The part that is counted: callgrind knows it by name.
#[inline(never)]
fn counted_part(calls: Calls, work: Work, n: u64) {
    calls(work, n);
    // No tail call: this function has to be left for the count to stop.
    black_box(());
}

/// One poll of a driver that has nothing to do: what a session adds to each turn of its connection.
fn driver_polls(_: Work, n: u64) {
    let session = Session::<io::Error>::new();
    let mut driver = pin!(session.drive(std::future::pending::<()>()));
    let waker = peers::waker();
    for _ in 0..n {
        peers::register(black_box(driver.as_mut()), &waker);
    }
}

const DRIVER: &str = "an idle driver's poll";

/// What is counted: every workload of every peer, and the driver.
fn selected(gate: bool) -> impl Iterator<Item = (&'static str, Calls, Work)> {
    peers_selected(gate).map(|(peer, work)| (peer.name, peer.calls, work)).chain([(
        DRIVER,
        driver_polls as Calls,
        Work::Ready,
    )])
}

type Calls = fn(Work, u64);

fn peers_selected(gate: bool) -> impl Iterator<Item = (&'static peers::Peer, Work)> {
    PEERS
        .iter()
        .filter(|peer| peer.name != peers::FLOOR)
        .filter(move |peer| !gate || GATED.contains(&peer.name))
        .flat_map(|peer| Work::ALL.map(|work| (peer, work)))
}

/// Ours, by the names in `peers`.
const GATED: [&str; 5] = ["&session", "session.clone()", "&session, try_supervised", "&mut lane", DRIVER];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (check, accept) = (asked("--check"), asked("--accept"));
    if asked(UNDER_VALGRIND) {
        for (_, calls, work) in selected(check) {
            counted_part(calls, work, N);
            counted_part(calls, work, 2 * N);
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
    let rows: Vec<_> =
        selected(check).zip(counts).map(|((name, _, work), count)| (name, work, count)).collect();
    print(&rows, check);
    if accept {
        return finish(write_gate(&rows));
    }
    finish(compare(&rows, check))
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
        .map(|pair| {
            let (once, twice) = (total(2 * pair + 1)?, total(2 * pair + 2)?);
            Ok(Count {
                instructions: (twice.instructions - once.instructions) / N as f64,
                locked: (twice.locked - once.locked) / N as f64,
            })
        })
        .collect()
}

fn print(rows: &[(&'static str, Work, Count)], gate: bool) {
    println!("\ninstructions (locked read-modify-writes) for one request\n");
    let mut table = Table::new(["supervised by"].into_iter().chain(Work::ALL.map(Work::label)));
    let (driver, rows) = rows.split_last().expect("it is always counted");
    for row in rows.chunks(Work::ALL.len()) {
        let cells = row
            .iter()
            .map(|(_, _, count)| format!("{:.0} ({:.0})", count.instructions, count.locked.max(0.0)));
        table.row([row[0].0.to_owned()].into_iter().chain(cells));
    }
    table.print();
    println!("\n{DRIVER}: {:.0} ({:.0})", driver.2.instructions, driver.2.locked.max(0.0));
    if !gate {
        table.save("instructions");
    }
}

struct Accepted {
    instructions: f64,
    locked: f64,
    /// What the contract allows, where it says something.
    at_most: Option<f64>,
}

fn accepted(name: &str, work: Work) -> Option<Accepted> {
    let text = fs::read_to_string(GATE).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = line.split('|').map(str::trim);
        if fields.next() != Some(name) || fields.next() != Some(work.label()) {
            return None;
        }
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        Some(Accepted { instructions: number()?, locked: number()?, at_most: number() })
    })
}

/// What may be more than accepted before it is a regression: another version of the standard library or
/// of LLVM moves a few instructions. A locked operation more is always one.
fn tolerated(accepted: f64) -> f64 {
    accepted + (accepted * 0.05).max(8.0)
}

fn compare(rows: &[(&'static str, Work, Count)], check: bool) -> Result<(), String> {
    let mut faults = String::new();
    for (name, work, count) in rows.iter().filter(|(name, ..)| GATED.contains(name)) {
        let at = format!("{name} {}", work.label());
        let Some(accepted) = accepted(name, *work) else {
            let _ = writeln!(faults, "{at}: no accepted count; run with --accept");
            continue;
        };
        if count.instructions > tolerated(accepted.instructions) {
            let _ = writeln!(
                faults,
                "{at}: {:.0} instructions, accepted {:.0}",
                count.instructions, accepted.instructions
            );
        }
        if count.locked > accepted.locked + 0.5 {
            let _ = writeln!(
                faults,
                "{at}: {:.0} locked operations, accepted {:.0}",
                count.locked, accepted.locked
            );
        }
        if let Some(at_most) = accepted.at_most {
            if count.instructions > at_most {
                let _ = writeln!(
                    faults,
                    "{at}: {:.0} instructions, the contract says {at_most:.0}",
                    count.instructions
                );
            }
        }
        if count.instructions < accepted.instructions - 8.0 {
            println!(
                "{at}: {:.0} instructions, accepted {:.0}: better; run with --accept",
                count.instructions, accepted.instructions
            );
        }
    }
    if faults.is_empty() {
        println!("within the accepted counts and the contract ({GATE})");
        return Ok(());
    }
    println!("\nbeyond the accepted counts or the contract:\n{faults}");
    if check { Err("instruction counts: REGRESSION".to_owned()) } else { Ok(()) }
}

fn write_gate(rows: &[(&'static str, Work, Count)]) -> Result<(), String> {
    let old = fs::read_to_string(GATE).unwrap_or_default();
    let mut text: String =
        old.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for (name, work, count) in rows.iter().filter(|(name, ..)| GATED.contains(name)) {
        let at_most = accepted(name, *work).and_then(|accepted| accepted.at_most);
        let at_most = at_most.map_or_else(String::new, |at_most| format!("{at_most:.0}"));
        let _ = writeln!(
            text,
            "{name:<24} | {} | {:>4.0} | {:>2.0} | {at_most}",
            work.label(),
            count.instructions,
            count.locked
        );
    }
    fs::write(GATE, text).map_err(|error| format!("{GATE}: {error}"))
}
