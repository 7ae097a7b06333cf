//! A table for people: what is asserted, printed.

use crate::seen::{Counts, Whose};
use std::fmt;

/// Rows of text under one heading. A cell that is as the one above it, with all to its left, stays empty.
pub struct Table {
    heading: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heading: &'static str, columns: &[&str]) -> Self {
        Self { heading, rows: vec![columns.iter().map(ToString::to_string).collect()] }
    }

    pub fn row(&mut self, cells: &[&dyn fmt::Display]) {
        self.rows.push(cells.iter().map(|cell| on_one_line(&cell.to_string())).collect());
    }

    /// A row for each outcome: how often, whose error leads, what it says, and what is beside it.
    pub fn counts(&mut self, leading: &[&str], counts: &Counts) {
        for (seen, runs) in counts.iter() {
            let whose = match seen.whose {
                Whose::Answered => "answered",
                Whose::Request => "request",
                Whose::Session => "session",
                Whose::Hang => "HANG",
            };
            let mut row: Vec<String> = leading.iter().map(ToString::to_string).collect();
            row.extend([runs.to_string(), whose.to_owned(), on_one_line(&seen.says)]);
            if !seen.beside.is_empty() {
                row.push(format!("beside it: {}", on_one_line(&seen.beside)));
            }
            self.rows.push(row);
        }
    }
}

fn on_one_line(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join(" / ")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        writeln!(f, "\n{}\n", self.heading)?;
        let mut above: &[String] = &[];
        for row in &self.rows {
            let mut line = String::new();
            let mut is_same = true;
            for (column, cell) in row.iter().enumerate() {
                is_same &= above.get(column) == Some(cell) && !cell.chars().all(|c| c.is_ascii_digit());
                let cell = if is_same { "" } else { cell };
                line += &format!("{cell:<width$}  ", width = width(column).unwrap_or(0));
            }
            writeln!(f, "  {}", line.trim_end())?;
            above = row;
        }
        Ok(())
    }
}
