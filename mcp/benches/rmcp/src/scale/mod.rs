//! What grows with the number of sessions and calls. Counts, not times.
//!
//! ```text
//! scale idle <transport> <n>      bytes of heap for each of n idle sessions
//! scale pending <n>               bytes of heap for each of n pending calls without I/O
//! scale timeouts <n> <ms>         n calls that expire one after the other, by a clock under control
//! scale wakes <n>                 n calls in flight that are answered one by one
//! ```

mod clock;
mod idle;
mod tasks;
mod timeouts;
mod wakes;

use crate::again;
use crate::client::ARGUMENTS;
use crate::count::total;
use crate::fed::Fed;
use crate::page::Section;
use crate::server::Process;
use crate::table::{Table, counted, less, thousands};
use crate::{counting, number};

/// What one of the programs prints.
pub(crate) fn run(what: &str, arguments: &[&str]) -> String {
    match (what, arguments) {
        ("idle", [transport, n]) => idle::run(transport, number(n)).to_string(),
        ("pending", [n]) => pending(number(n)).to_string(),
        ("timeouts", [n, apart]) => timeouts::run(number(n), number(apart)),
        ("wakes", [n]) => wakes::run(number(n)),
        _ => panic!("no such program: {what} {arguments:?}"),
    }
}

fn tell(arguments: &[&str]) -> Vec<String> {
    ["scale"].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect()
}

/// The numbers that a program prints.
fn numbers(arguments: &[&str]) -> Vec<f64> {
    again(&tell(arguments)).split(' ').map(|number| number.parse().expect("a number")).collect()
}

/// Bytes for each of `n` pending calls, their futures in boxes and no more.
fn pending(n: usize) -> i64 {
    let (client, _driver) = pollster::block_on(Fed::builder().connect(Fed::silent())).expect("a handshake");
    let mut calls = tasks::Tasks::with_capacity(n);
    counting::start();
    for _ in 0..n {
        let client = client.clone();
        calls.push(async move { drop(client.call_tool("held", &*ARGUMENTS).await) });
    }
    calls.run();
    counting::bytes() / i64::try_from(n).expect("a small number")
}

pub(crate) fn section() -> Section {
    Section {
        title: "Scale",
        before: "Counts, with a clock under control where time matters.",
        tables: vec![
            (
                "Bytes of heap for each idle session, its driver's task included, after one call:",
                idle_sessions(),
            ),
            (
                "Bytes of heap for each pending call when there is no I/O: its future, and what the client keeps:",
                pending_calls(),
            ),
            (
                "Calls in flight that are answered one by one, by the driver: how often each is polled and woken. A \
                 reply wakes its own\ncall and nobody else, so the limits are 2 and 1:",
                wakes_per_call(),
            ),
            (
                "Calls that expire one after the other, so many milliseconds apart. At the limit each is polled \
                 twice and woken once.\n*Above 1 000* is what a call takes beside what it takes with 1 000 of them; \
                 more than 1.2 is bold:",
                expiring_calls(),
            ),
        ],
        after: "",
    }
}

fn idle_sessions() -> Table {
    let server = Process::http();
    let mut table = Table::new(["200 idle sessions", "ours", "rmcp", "ours / rmcp"]);
    for (name, transport, rmcp) in [
        ("no I/O", "none", ""),
        ("in memory, `Memory`", "memory", ""),
        ("`Stdio::over` sockets", "sockets", "rmcp-sockets"),
        ("HTTP, one idle connection each", &server.port, &format!("rmcp-{}", server.port)),
    ] {
        let bytes = |transport| numbers(&["idle", transport, "200"])[0];
        let ours = bytes(transport);
        let theirs = if rmcp.is_empty() { None } else { Some(bytes(rmcp)) };
        table.row([
            name.to_owned(),
            thousands(ours),
            theirs.map_or_else(|| "–".to_owned(), thousands),
            theirs.map_or_else(String::new, |theirs| less(ours, theirs)),
        ]);
    }
    table
}

fn pending_calls() -> Table {
    let mut table = Table::new(["pending", "bytes each"]);
    for n in ["1000", "60000"] {
        let bytes = numbers(&["pending", n])[0];
        table.row([thousands(number(n) as f64), thousands(bytes)]);
    }
    table
}

fn wakes_per_call() -> Table {
    let mut table =
        Table::new(["in flight", "polls of a call", "wakes of a call", "polls of the driver, each call"]);
    for n in ["1", "64", "1000"] {
        let counts = numbers(&["wakes", n]);
        let [polls, wakes, driver] = [counts[0], counts[1], counts[2]];
        let show = |count: f64, limit: f64| match count > limit + 0.005 {
            true => format!("**{count:.2}**"),
            false => format!("{count:.2}"),
        };
        table.row([thousands(number(n) as f64), show(polls, 2.0), show(wakes, 1.0), format!("{driver:.2}")]);
    }
    table
}

fn expiring_calls() -> Table {
    let mut table = Table::new([
        "calls, apart",
        "polls of a call",
        "wakes of a call",
        "timers, each call",
        "instructions, each call",
        "above 1 000: polls",
        "above 1 000: instructions",
    ]);
    for apart in ["0", "1", "10"] {
        let mut first: Option<(f64, Option<f64>)> = None;
        for n in ["1000", "8000"] {
            let counts = numbers(&["timeouts", n, apart]);
            let [polls, wakes, timers] = [counts[0], counts[1], counts[2]];
            let calls = number(n) as f64;
            let few = total(&tell(&["timeouts", "1", apart]));
            let count =
                total(&tell(&["timeouts", n, apart])).zip(few).map(|(all, few)| (all - few) / (calls - 1.0));
            let growth = |now: f64, first: f64| match now > 1.2 * first {
                true => format!("**{:.2}**", now / first),
                false => format!("{:.2}", now / first),
            };
            let grown = first.map(|(polled, counted)| {
                (
                    growth(polls, polled),
                    count.zip(counted).map_or_else(String::new, |(now, then)| growth(now, then)),
                )
            });
            let (polls_grown, count_grown) = grown.unwrap_or_default();
            table.row([
                format!("{}, {apart} ms", thousands(calls)),
                format!("{polls:.2}"),
                format!("{wakes:.2}"),
                format!("{timers:.2}"),
                counted(count),
                polls_grown,
                count_grown,
            ]);
            first.get_or_insert((polls, count));
        }
    }
    table
}
