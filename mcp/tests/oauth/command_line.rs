//! `login`, `status` and `logout` of the example `mcp`, as processes, with a person's browser.

use crate::fault::run::once;
use crate::kit::{Both, agree};
use crate::store::new_folder;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[path = "../../examples/mcp/main.rs"]
#[allow(dead_code, reason = "`main` is not called")]
mod mcp;

/// The client's arguments, separated by spaces. Also says that this process is the client.
const ARGUMENTS: &str = "SHARED_FATE_OAUTH_ARGUMENTS";

#[test]
fn client() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    std::process::exit(mcp::run(&arguments).into());
}

fn command(arguments: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "command_line::client", "--nocapture", "--test-threads=2"])
        .env(ARGUMENTS, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(folder: &Path, arguments: &str) -> Child {
    command(arguments).env("MCP_TOKENS", folder).spawn().unwrap()
}

/// The exit code, and what was printed.
fn run(folder: &Path, arguments: &str) -> (Option<i32>, String) {
    let output = start(folder, arguments).wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The answer that a browser gets at this URL.
fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn the_example_signs_in_and_out() {
    once(async |_| {
        let (folder, both) = (new_folder(), Both::start());
        let url = both.server.url();
        assert_eq!(run(&folder, &format!("{url} status")).0, Some(0));
        let (code, text) = run(&folder, &format!("{url} ping"));
        assert!(code == Some(3) && text.contains("login"), "{code:?}: {text}");

        let mut login = start(&folder, &format!("{url} login"));
        let mut lines = BufReader::new(login.stderr.take().unwrap()).lines();
        let visit = lines.find_map(|line| Some(line.unwrap().split_once("please visit ")?.1.to_owned()));
        let back = agree(&visit.unwrap(), &both.books);
        assert!(get(&back).starts_with("HTTP/1.1 200"));
        let output = login.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("signed in with http://"), "{text}");

        let (code, text) = run(&folder, &format!("{url} ping"));
        assert!(code == Some(0) && text.contains("is alive"), "{code:?}: {text}");
        let (code, text) = run(&folder, &format!("{url} logout"));
        assert!(code == Some(0) && text.contains("not signed in"), "{code:?}: {text}");
        assert_eq!(both.books().revocations, 1);
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

/// It would be no help to visit a page, and to lose the tokens.
#[test]
fn without_a_place_for_tokens_the_example_does_not_sign_in() {
    for action in ["login", "status", "logout"] {
        let mut command = command(&format!("http://127.0.0.1:9/mcp {action}"));
        let output = command.env_remove("HOME").env_remove("MCP_TOKENS").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("no place for tokens: set MCP_TOKENS"), "{text}");
        assert_eq!(output.status.code(), Some(4), "{text}");
    }
}
