//! The page that `.ci/peers` makes: a matrix of servers, transports and modes, and each error once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};

/// What was found out with one server over one transport in one mode.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) server: String,
    pub(crate) transport: String,
    pub(crate) mode: String,
    pub(crate) revision: String,
    pub(crate) done: usize,
    pub(crate) all: usize,
    /// What the server does not have.
    pub(crate) absent: String,
    /// From the kill to the error.
    pub(crate) ms: String,
    /// The error of a pending call, with its delivery.
    pub(crate) error: String,
    /// The error of a later call, with its delivery.
    pub(crate) later: String,
}

const MODES: [&str; 3] = ["Auto", "Legacy", "Stateless"];

pub(crate) fn page<'r>(rows: &'r [Row], methods: &BTreeMap<String, usize>, failures: &[String]) -> String {
    let mut page = String::from("## Passed\n\nThe agreed revision, and how many checks of how many.\n\n");
    page += &matrix(rows, |row| format!("{}: {}/{}", row.revision, row.done, row.all));
    let mut errors = Vec::<&'r str>::new();
    let mut letter = |error: &'r str| {
        let at = errors.iter().position(|it| *it == error).unwrap_or_else(|| {
            errors.push(error);
            errors.len() - 1
        });
        char::from(b'A' + u8::try_from(at).expect("there are few"))
    };
    let killed = matrix(rows, |row| match &*row.error {
        "" => "–".to_owned(),
        error => format!("{}: {}, then {}", row.ms, letter(error), letter(&row.later)),
    });
    page += "\n## Killed in mid-call\n\nAfter which time the pending calls failed, their error, and that of a later call.\n\n";
    page += &killed;
    page += "\n";
    for (at, error) in (b'A'..).zip(errors) {
        writeln!(page, "- {}: {error}", char::from(at)).unwrap();
    }
    page += "\n## What the servers do not have\n\n";
    let absent: BTreeSet<_> = rows.iter().filter(|row| !row.absent.is_empty()).map(absent_of).collect();
    page += &list(absent);
    page += "\n## What was done\n\nAnd in how many cells of the matrix:\n\n";
    let mut by_count = BTreeMap::<usize, Vec<&str>>::new();
    for (what, count) in methods {
        by_count.entry(*count).or_default().push(what);
    }
    page += &list(by_count.iter().rev().map(|(count, what)| format!("{count}: {}", what.join("; "))));
    page += "\n## What failed\n\n";
    page + &match failures {
        [] => list(["nothing"]),
        failures => list(failures),
    }
}

fn absent_of(row: &Row) -> String {
    format!("{} at {}: {}", row.server, row.revision, row.absent)
}

fn list(items: impl IntoIterator<Item: Display>) -> String {
    items.into_iter().map(|item| format!("- {item}\n")).collect()
}

/// A row for each server and transport, a column for each mode.
fn matrix<'a>(rows: &'a [Row], mut cell: impl FnMut(&'a Row) -> String) -> String {
    let mut matrix = format!("| server | transport | {} |\n|---|---|---|---|---|\n", MODES.join(" | "));
    let mut places: Vec<(&str, String)> = Vec::new();
    for row in rows {
        if !places.contains(&place(row)) {
            places.push(place(row));
        }
    }
    for at in places {
        write!(matrix, "| {} | {} |", at.0, at.1).unwrap();
        for mode in MODES {
            let row = rows.iter().find(|row| place(row) == at && row.mode.starts_with(mode));
            write!(matrix, " {} |", row.map_or_else(String::new, &mut cell)).unwrap();
        }
        matrix += "\n";
    }
    matrix
}

/// The server and the transport. Clients without resumption have a place of their own.
fn place(row: &Row) -> (&str, String) {
    let how = row.mode.split_once(',').map_or("", |(_, how)| how);
    let how = if how.is_empty() { String::new() } else { format!(",{how}") };
    (&row.server, format!("{}{how}", row.transport))
}
