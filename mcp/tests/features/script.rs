//! A server that is a shell script, which can be started again. It notes what it reads.

use crate::fault::lines::spawn;
use serde_json::Value;
use shared_fate_mcp::Stdio;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The file in which the processes note their starts and what they read. It is removed when this is dropped.
pub(crate) struct Notes(PathBuf);

impl Notes {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("mcp-features-{}-{number}", process::id()));
        fs::write(&path, "").unwrap();
        Self(path)
    }

    /// The messages that each process has read.
    pub(crate) fn processes(&self) -> Vec<Vec<Value>> {
        let mut processes = Vec::new();
        for line in fs::read_to_string(&self.0).unwrap().lines() {
            match line {
                "start" => processes.push(Vec::new()),
                line => processes.last_mut().unwrap().push(serde_json::from_str(line).unwrap()),
            }
        }
        processes
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.0
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A server that does for a line what the `branches` of a `case` say, and answers other lines as servers with a handshake
/// do. The branches find the request's id in `$id`, and the number of processes so far in `$starts`.
pub(crate) fn script(branches: &str) -> (Stdio, Notes) {
    let notes = Notes::new();
    let script = format!(
        r#"
        echo start >> "$NOTES"
        starts=$(grep -c '^start$' "$NOTES")
        say() {{ printf '{{"jsonrpc":"2.0","id":%s,%s}}\n' "$id" "$1"; }}
        while read -r line; do
            printf '%s\n' "$line" >> "$NOTES"
            id=${{line#*\"id\":}}; id=${{id%%,*}}
            case "$line" in
                {branches}
                *'"initialize"'*) say '"result":{{"protocolVersion":"2025-11-25","capabilities":{{}}}}' ;;
                *'"ping"'*) say '"result":{{}}' ;;
                *'"server/discover"'*) say '"error":{{"code":-32601,"message":"what?"}}' ;;
            esac
        done
        "#
    );
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).env("NOTES", notes.path());
    (spawn(command), notes)
}
