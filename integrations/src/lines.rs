//! How many lines a user adds.
//!
//! The code of a user is a region of a test's source: whole functions between `// user: name` and `// end`. It is
//! formatted as rustfmt does it by default, so that the count does not depend on this package's style.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// The lines of `after` that are not in `before`: what a user adds or changes. Imports, comments and empty lines
/// do not count.
pub fn added(source: &str, before: &str, after: &str) -> Vec<String> {
    let mut before_lines = HashMap::<String, usize>::new();
    for line in region(source, before) {
        *before_lines.entry(line).or_default() += 1;
    }
    let mut added = region(source, after);
    added.retain(|line| match before_lines.get_mut(line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    added
}

fn region(source: &str, name: &str) -> Vec<String> {
    let start = format!("// user: {name}\n");
    let (_, rest) = source.split_once(&start).unwrap_or_else(|| panic!("there is no region {name}"));
    let (region, _) = rest.split_once("// end\n").unwrap_or_else(|| panic!("the region {name} has no end"));
    let is_counted = |line: &&str| !line.is_empty() && !["use ", "//"].iter().any(|no| line.starts_with(no));
    format(region).lines().map(str::trim).filter(is_counted).map(str::to_owned).collect()
}

fn format(source: &str) -> String {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config", "max_width=100,use_small_heuristics=Default"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt runs");
    let mut stdin = rustfmt.stdin.take().expect("it is piped");
    stdin.write_all(source.as_bytes()).expect("rustfmt reads");
    drop(stdin);
    let output = rustfmt.wait_with_output().expect("rustfmt ends");
    assert!(output.status.success(), "rustfmt refuses the region");
    String::from_utf8(output.stdout).expect("it is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
// user: before
fn call() { one(); two(); }
// end
// user: after
fn call() {
    // not counted
    use std::io;
    one();
    supervised(two());
    one();
}
// end
";

    #[test]
    fn what_is_new_or_changed_counts() {
        assert_eq!(added(SOURCE, "before", "after"), ["supervised(two());", "one();"]);
    }
}
