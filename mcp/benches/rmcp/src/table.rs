//! Tables in Markdown, with columns lined up. What is worse than the peer's is bold.

#[derive(Debug)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self(vec![head.map(str::to_owned).to_vec()])
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.0[0].len(), "as many cells as columns");
        self.0.push(cells.to_vec());
    }

    /// The cells in bold, as `row, column: cell`.
    pub(crate) fn losses(&self) -> Vec<String> {
        let head = &self.0[0];
        let cells = self.0[1..].iter().flat_map(|row| {
            let lost = move |(_, cell): &(&String, &String)| cell.contains("**");
            head.iter()
                .zip(row)
                .filter(lost)
                .map(move |(column, cell)| format!("{}, {column}: {cell}", row[0]))
        });
        cells.collect()
    }

    pub(crate) fn print(&self) {
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.0[0].len()).map(width).collect();
        let print = |row: &[String]| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        };
        print(&self.0[0]);
        print(&widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>());
        self.0[1..].iter().for_each(|row| print(row));
        println!();
    }
}

/// `12 345`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group).into_owned()).collect::<Vec<_>>().join(" ")
}

/// A count, if there is valgrind.
pub(crate) fn counted(count: Option<f64>) -> String {
    count.map_or_else(|| "no valgrind".to_owned(), thousands)
}

/// Of two figures the smaller is better.
pub(crate) fn less(ours: f64, theirs: f64) -> String {
    ratio(ours, theirs, ours > 1.005 * theirs)
}

/// Of two figures the greater is better.
pub(crate) fn more(ours: f64, theirs: f64) -> String {
    ratio(ours, theirs, ours < 0.995 * theirs)
}

/// Of two counts the smaller is better.
pub(crate) fn less_counted(ours: Option<f64>, theirs: Option<f64>) -> String {
    ours.zip(theirs).map_or_else(String::new, |(ours, theirs)| less(ours, theirs))
}

/// How far above what no client can be below: never a loss.
pub(crate) fn above(ours: Option<f64>, floor: Option<f64>) -> String {
    ours.zip(floor).map_or_else(String::new, |(ours, floor)| ratio(ours, floor, false))
}

fn ratio(ours: f64, theirs: f64, lost: bool) -> String {
    let bold = if lost { "**" } else { "" };
    format!("{bold}{:.2}{bold}", ours / theirs)
}
