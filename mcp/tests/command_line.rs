//! The example `mcp` as a process: what it prints, and how it stops its server when it is interrupted.
//!
//! This binary starts itself as the client ([`client`]). The client starts it as the server (`fault::child`), which does what
//! the test says. The end of the server's socket is the proof that the server is gone.
#![cfg(all(unix, feature = "stdio", feature = "http"))]

mod fault;
#[path = "../examples/mcp/main.rs"]
#[allow(dead_code, reason = "`main` is not called")]
mod mcp;

use fault::child::{self, receive};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::env;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

/// The client's arguments, as JSON. A process that has them is the client.
const ARGUMENTS: &str = "COMMAND_LINE_ARGUMENTS";

#[test]
fn client() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = serde_json::from_str(&arguments).unwrap();
    std::process::exit(mcp::run(&arguments).into());
}

/// This binary as the client.
fn start(arguments: &[&str], control: &TcpListener, stubborn: bool) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "client", "--nocapture", "--test-threads=2"]);
    command.env(ARGUMENTS, serde_json::to_string(arguments).unwrap());
    // The tokens of whoever runs the tests are not used.
    command.env("MCP_TOKENS", env::temp_dir().join("mcp-example-without-tokens"));
    command.env(child::CONTROL, control.local_addr().unwrap().to_string());
    if stubborn {
        command.env(child::STUBBORN, "1");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A client that runs, and its server.
struct Run {
    client: Child,
    server: TcpStream,
}

/// How the client ended.
struct End {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Starts a client and its server: one that ends when its standard input does, or, if it is `stubborn`, neither then nor at
/// a SIGTERM.
fn run(action: &[&str], stubborn: bool) -> Run {
    let server = child::command();
    let mut words = vec![server.get_program().to_str().unwrap()];
    words.extend(server.get_args().map(|word| word.to_str().unwrap()));
    if stubborn {
        words.splice(0..0, ["sh", "-c", r#"trap "" TERM; exec "$0" "$@""#]);
    }
    words.extend(action);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = start(&words, &listener, stubborn);
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(fault::run::PATIENCE)).unwrap();
    assert!(matches!(receive(&mut server), Some((child::HELLO, _))));
    Run { client, server }
}

impl Run {
    fn say(&self, message: &Value) {
        child::send(&self.server, child::WRITE, format!("{message}\n").as_bytes()).unwrap();
    }

    /// Answers until a request comes that [`answer`] leaves to the test, and returns that.
    fn serve(&mut self) -> Value {
        loop {
            let message = self.next().expect("the server goes on");
            match answer(&message) {
                Some(answer) => self.say(&answer),
                None if message.get("id").is_some() => return message,
                None => {}
            }
        }
    }

    /// The next message; `None` when the server is gone.
    fn next(&mut self) -> Option<Value> {
        loop {
            match receive(&mut self.server)? {
                (child::LINE, line) => return Some(serde_json::from_slice(&line).unwrap()),
                (child::INPUT_ENDED, _) => {}
                (other, _) => panic!("unknown report {other}"),
            }
        }
    }

    fn interrupt(&self) {
        let id = Pid::from_child(&self.client);
        kill_process(id, Signal::INT).unwrap();
    }

    /// Waits until the server says that its standard input has ended.
    fn input_ended(&mut self) {
        while receive(&mut self.server).expect("the server goes on").0 != child::INPUT_ENDED {}
    }

    /// Waits until the client and the server are gone.
    fn end(mut self) -> End {
        while self.next().is_some() {}
        let (ended, end) = mpsc::channel();
        let client = self.client;
        let id = Pid::from_child(&client);
        thread::spawn(move || ended.send(client.wait_with_output().unwrap()));
        let Ok(Output { status, stdout, stderr }) = end.recv_timeout(fault::run::PATIENCE) else {
            let _ = kill_process(id, Signal::KILL);
            panic!("the client does not end");
        };
        let text = |bytes| String::from_utf8(bytes).unwrap();
        End { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}

/// What a server with one of each kind answers. Calls of its tool are left to the test.
fn answer(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let result = match message["method"].as_str()? {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {}, "resources": {}, "prompts": {} },
        }),
        "tools/call" => return None,
        "tools/list" => json!({ "tools": [{ "name": "slow", "description": "Takes\nits time" }] }),
        "resources/list" => json!({ "resources": [{ "uri": "file:///motd", "name": "motd" }] }),
        "resources/templates/list" => json!({ "resourceTemplates": [{ "uriTemplate": "file:///{name}" }] }),
        "resources/read" => json!({ "contents": [{ "uri": message["params"]["uri"], "text": "hello" }] }),
        "prompts/list" => json!({ "prompts": [{ "name": "greet" }] }),
        "prompts/get" => {
            let text = format!("Greet {}.", message["params"]["arguments"]["name"]);
            json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] })
        }
        _ => return fault::answer(message),
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// What the client prints for an action that needs nothing of the test.
fn answered(action: &[&str]) -> String {
    let mut run = run(action, false);
    while let Some(message) = run.next() {
        if let Some(answer) = answer(&message) {
            run.say(&answer);
        }
    }
    let End { code, stdout, stderr } = run.end();
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

#[test]
fn lists_and_reads_what_the_server_has() {
    let list = answered(&["list"]);
    for line in ["tool\tslow\tTakes\n", "resource\tfile:///motd\tmotd\n", "template\tfile:///{name}\t\n"] {
        assert!(list.contains(line), "{list}");
    }
    assert!(list.contains("prompt\tgreet\t\n"), "{list}");
    assert!(answered(&["read", "file:///motd"]).ends_with("hello\n"));
    let prompt = answered(&["prompt", "greet", r#"{"name":"Ada"}"#]);
    assert!(prompt.ends_with("user: Greet \"Ada\".\n"), "{prompt}");
    assert!(answered(&["ping"]).ends_with("a server without a name is alive (protocol 2025-11-25)\n"));
}

#[test]
fn shows_progress_and_the_log_beside_the_result() {
    let mut run = run(&["call", "slow", "{}"], false);
    let call = run.serve();
    let token = &call["params"]["_meta"]["progressToken"];
    let progress = json!({ "progressToken": token, "progress": 1, "total": 2, "message": "half\u{1b}[2J" });
    run.say(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": progress }));
    let log = json!({ "level": "info", "data": "warm" });
    run.say(&json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": log }));
    let result = json!({ "content": [{ "type": "text", "text": "done" }], "isError": true });
    run.say(&json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }));
    let End { code, stdout, stderr } = run.end();
    assert_eq!(code, Some(1), "the tool has failed");
    assert!(stdout.ends_with("done\n"), "{stdout}");
    assert!(stderr.contains("mcp: 1 of 2: half [2J\n"), "without the escape: {stderr}");
    assert!(stderr.contains("mcp: \"warm\"\n"), "{stderr}");
}

#[test]
fn an_interrupt_stops_the_server_in_an_orderly_way() {
    let mut run = run(&["call", "slow"], false);
    run.serve();
    run.interrupt();
    run.input_ended();
    let End { code, stderr, .. } = run.end();
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("mcp: interrupted\n"), "{stderr}");
}

#[test]
fn an_interrupt_leaves_no_stubborn_server_behind() {
    let mut run = run(&["call", "slow"], true);
    run.serve();
    run.interrupt();
    run.input_ended();
    assert_eq!(run.end().code, Some(130));
}

#[test]
fn a_second_interrupt_waits_for_nothing() {
    let mut run = run(&["call", "slow"], true);
    run.serve();
    run.interrupt();
    run.input_ended();
    run.interrupt();
    let End { code, stderr, .. } = run.end();
    assert_eq!(code, Some(130));
    assert_eq!(stderr.matches("mcp: interrupted\n").count(), 2, "{stderr}");
}

#[test]
fn an_interrupt_stops_a_client_that_still_connects() {
    let mut run = run(&["ping"], true);
    assert!(run.next().is_some(), "the handshake has begun");
    run.interrupt();
    let End { code, stderr, .. } = run.end();
    assert_eq!(code, Some(130), "{stderr}");
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for wrong in [&[][..], &["list"], &["server", "dance"], &["server", "call", "tool", "{"]] {
        assert_eq!(mcp::run(&words(wrong)), 2, "{wrong:?}");
    }
    assert_eq!(mcp::run(&words(&["/no/such/server", "list"])), 3);
}
