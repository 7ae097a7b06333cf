//! Instructions, counted by callgrind. This program is run again, once with n and once with 2n of a thing: the
//! difference is the cost of n, without what is done once.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, io, process};

/// Instructions for one of n, over all threads; `None` without valgrind. `arguments` gets how many.
pub(crate) fn instructions(n: usize, arguments: impl Fn(usize) -> Vec<String>) -> Option<f64> {
    let once = total(&arguments(n))?;
    let twice = total(&arguments(2 * n))?;
    Some((twice - once) / n as f64)
}

/// Instructions of this program with `arguments`, over all threads; `None` without valgrind.
pub(crate) fn total(arguments: &[String]) -> Option<f64> {
    let out: PathBuf = env::temp_dir().join(format!("rmcp-bench-{}.callgrind", process::id()));
    let result = Command::new("valgrind")
        // Where the server is in the same process, it is left out.
        .args(["--tool=callgrind", "--toggle-collect=rmcp_bench::server::server_part"])
        .arg("--toggle-collect=rmcp_bench::server::left_out")
        // This option comes last, as those before it switch it off.
        .arg("--collect-atstart=yes")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().expect("this program"))
        .args(arguments)
        .stdout(Stdio::null())
        .output();
    let result = match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        result => result.expect("valgrind runs"),
    };
    assert!(result.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&result.stderr));
    let text = fs::read_to_string(&out).expect("callgrind's file");
    let _ = fs::remove_file(&out);
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Some(totals.and_then(|total| total.trim().parse().ok()).expect("a total"))
}
