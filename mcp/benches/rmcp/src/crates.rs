//! What a program takes on with each client, over stdio and https: crates, and CPU time to build them.

use crate::page::{Section, rmcp_version};
use crate::table::{Table, less};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, process};

const OURS: &str = concat!(
    r#"shared-fate-mcp = { path = ""#,
    env!("CARGO_MANIFEST_DIR"),
    r#"/../..", features = ["stdio", "tls"] }"#
);
const RMCP_FEATURES: &str =
    r#"["client", "reqwest", "transport-child-process", "transport-streamable-http-client-reqwest"]"#;

/// How many crates there are, and how long they take to build.
fn measure(dependency: &str) -> (usize, Duration) {
    let folder = Scratch::new();
    let manifest = format!(
        "[package]\nname = \"program\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{dependency}\n"
    );
    let write = |name: &str, text: &str| fs::write(folder.0.join(name), text).expect("a file");
    fs::create_dir_all(folder.0.join("src")).expect("a folder");
    write("Cargo.toml", &manifest);
    write("src/main.rs", "fn main() {}\n");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"), folder.0.join("Cargo.lock"))
        .expect("a file");
    let tree = cargo(&folder.0, &["tree", "--prefix", "none", "-e", "normal", "-f", "{p}"]);
    let mut crates: Vec<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    let before = children_cpu();
    cargo(&folder.0, &["build"]);
    (crates.len() - 1, children_cpu() - before)
}

fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A folder that is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(env::temp_dir().join(format!("rmcp-bench-{}", process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The CPU time of the child processes that have ended, and of their own.
fn children_cpu() -> Duration {
    // SAFETY: all zeros is a value of `rusage`, and `usage` is writable.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| {
            Duration::new(time.tv_sec.unsigned_abs(), 1000 * u32::try_from(time.tv_usec).unwrap_or(0))
        })
        .sum()
}

pub(crate) fn section() -> Section {
    let rmcp = format!(
        r#"rmcp = {{ version = "={}", default-features = false, features = {RMCP_FEATURES} }}"#,
        rmcp_version()
    );
    let (ours, rmcp) = (measure(OURS), measure(&rmcp));
    let mut table = Table::new(["", "ours", "rmcp", "ours / rmcp"]);
    table.row([
        "crates".to_owned(),
        ours.0.to_string(),
        rmcp.0.to_string(),
        less(ours.0 as f64, rmcp.0 as f64),
    ]);
    let seconds = |time: Duration| format!("{:.0} s", time.as_secs_f64());
    table.row([
        "CPU time of a clean `cargo build`".to_owned(),
        seconds(ours.1),
        seconds(rmcp.1),
        less(ours.1.as_secs_f64(), rmcp.1.as_secs_f64()),
    ]);
    Section {
        title: "To build it",
        before: "A program with the client, stdio and https.",
        tables: vec![("", table)],
        after: "",
    }
}
