//! Tables, on the terminal and kept for the summary.

#![allow(dead_code, reason = "every benchmark uses a part of this")]

use std::path::PathBuf;
use std::{env, fs};

/// Whether this is `cargo bench`: `cargo test --all-targets` runs benchmarks too, and needs no figures.
pub(crate) fn asked_for() -> bool {
    env::args().any(|argument| argument == "--bench")
}

/// Rows of cells; the first row is the head, the first column the name.
#[derive(Debug)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(vec![head.into_iter().map(Into::into).collect()])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.0.push(cells.into_iter().map(Into::into).collect());
    }

    pub(crate) fn rows(&self) -> &[Vec<String>] {
        &self.0
    }

    /// Markdown, with columns lined up.
    pub(crate) fn print(&self) {
        let width = |column: usize| {
            let cell = |row: &Vec<String>| row.get(column).map_or(0, |cell| cell.chars().count());
            self.0.iter().map(cell).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.0[0].len()).map(width).collect();
        let print = |row: &[String]| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        };
        print(&self.0[0]);
        print(&widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>());
        self.0[1..].iter().for_each(|row| print(row));
        println!();
    }

    fn file(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("shared-fate-{name}.txt"))
    }

    /// Keeps the table for the summary, which another program prints.
    pub(crate) fn save(&self, name: &str) {
        let text: Vec<String> = self.0.iter().map(|row| row.join("\t")).collect();
        if let Err(error) = fs::write(Self::file(name), text.join("\n")) {
            eprintln!("{name} is not in the summary: {error}");
        }
    }

    /// A table that was kept, and how many minutes ago.
    pub(crate) fn load(name: &str) -> Option<(Self, u64)> {
        let file = Self::file(name);
        let age = fs::metadata(&file).ok()?.modified().ok()?.elapsed().ok()?;
        let text = fs::read_to_string(file).ok()?;
        let rows = text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        Some((Self(rows), age.as_secs() / 60))
    }

    /// The cell in the row of that name.
    pub(crate) fn cell(&self, name: &str, column: usize) -> Option<&str> {
        self.0.iter().find(|row| row[0] == name)?.get(column).map(String::as_str)
    }
}
