//! Real MCP servers, every typed method, and a kill in the middle of a call. Run by `.ci/peers`.
//!
//! ```text
//! peers <list> <markdown>
//! ```
//!
//! Each line of the list is a server: `name|version|stdio, http or sse|modes|path|command…`, the words of
//! the command separated by tabs, `{port}` for a port that is free. A mode with a `!` is without resumption
//! (`Limits::resumptions` is 0). The exit status is 0 only if all servers came up and no claim failed.

mod exercise;
mod page;

use exercise::exercise;
use futures::future::join;
use page::{Row, page};
use serde_json::json;
use shared_fate_mcp::types::{CreateMessageResult, Json};
use shared_fate_mcp::types::{Elicited, Root};
use shared_fate_mcp::{
    Builder, Client, Driver, Error, ErrorKind, Event, Http, Limits, Mode, Sse, Stdio, Timeouts,
};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::TcpListener;
use std::process::{self, Child, Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Servers on a busy machine take their time to start.
const STARTING: Duration = Duration::from_secs(60);
/// From the kill to the error. The claim is "at once"; a busy machine takes longer.
const AT_ONCE: Duration = Duration::from_secs(1);
const SLOW: &str = "trigger-long-running-operation";

struct Peer {
    name: String,
    version: String,
    transport: String,
    modes: Vec<(Mode, bool)>,
    path: String,
    command: Vec<String>,
}

/// How often each handler of the client was called, and how many notifications arrived.
#[derive(Default)]
struct Seen {
    sampling: AtomicUsize,
    forms: AtomicUsize,
    urls: AtomicUsize,
    updates: AtomicUsize,
}

/// What was tried on a server.
#[derive(Default)]
struct Report {
    done: Vec<&'static str>,
    absent: Vec<&'static str>,
    failed: Vec<String>,
}

impl Report {
    fn note<T>(&mut self, what: &'static str, result: Result<T, impl Display>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done.push(what);
                Some(value)
            }
            Err(error) => {
                eprintln!("    {what}: FAILED: {error:#}");
                self.failed.push(format!("{what}: {error:#}"));
                None
            }
        }
    }

    fn claim(&mut self, what: &'static str, holds: bool, otherwise: impl Display) {
        self.note(what, if holds { Ok(()) } else { Err(otherwise.to_string()) });
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [list, markdown] = &arguments[..] else {
        eprintln!("usage: peers <list> <markdown>");
        return ExitCode::from(2);
    };
    let list = fs::read_to_string(list).expect("the list of servers");
    let (mut rows, mut failures, mut methods) = (Vec::new(), Vec::new(), BTreeMap::new());
    for line in list.lines() {
        let peer = parse(line);
        for (mode, resume) in &peer.modes {
            let shown = format!("{mode:?}{}", if *resume { "" } else { ", no resumption" });
            let title = format!("{} {} over {}, {shown}", peer.name, peer.version, peer.transport);
            eprintln!("  {title}");
            let mut report = Report::default();
            let row = pollster::block_on(run(&peer, *mode, *resume, &mut report));
            for what in &report.done {
                *methods.entry((*what).to_owned()).or_default() += 1;
            }
            if report.failed.is_empty() && row.is_none() {
                report.failed.push("nothing was reported".to_owned());
            }
            let failed = report.failed.iter().map(|failed| format!("{title}: {}", failed.replace('\n', " ")));
            failures.extend(failed);
            rows.push(Row {
                server: format!("{} {}", peer.name, peer.version),
                transport: peer.transport.clone(),
                mode: shown,
                done: report.done.len(),
                all: report.done.len() + report.failed.len(),
                absent: report.absent.join(", "),
                ..row.unwrap_or_default()
            });
        }
    }
    let page = page(&rows, &methods, &failures);
    println!("{page}");
    fs::write(markdown, page).expect("the page");
    ExitCode::from(u8::from(!failures.is_empty()))
}

fn parse(line: &str) -> Peer {
    let fields: Vec<&str> = line.split('|').collect();
    let [name, version, transport, modes, path, command] = fields[..] else { panic!("six fields: {line}") };
    let mode = |name: &str| match name.trim_end_matches('!') {
        "auto" => Mode::Auto,
        "legacy" => Mode::Legacy,
        "modern" => Mode::Stateless,
        other => panic!("no mode: {other}"),
    };
    Peer {
        name: name.to_owned(),
        version: version.to_owned(),
        transport: transport.to_owned(),
        modes: modes.split(',').map(|name| (mode(name), !name.ends_with('!'))).collect(),
        path: path.to_owned(),
        command: command.split('\t').map(str::to_owned).collect(),
    }
}

async fn run(peer: &Peer, mode: Mode, resume: bool, report: &mut Report) -> Option<Row> {
    let seen = Arc::new(Seen::default());
    let (server, client, driver) = match start(peer, &|| builder(mode, resume, &seen)).await {
        Ok(connected) => connected,
        Err(error) => {
            report.note::<()>("connect", Err(error));
            return None;
        }
    };
    let revision = client.revision().to_string();
    eprintln!("    agreed on {revision}");
    let row = driver
        .run_until(async {
            exercise(&client, &seen, report).await;
            kill(&client, &server, peer, report).await
        })
        .await;
    Some(Row { revision, ..row? })
}

/// A server's process.
enum Server {
    /// A child of the client.
    Ours,
    Theirs(Mutex<Child>),
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Theirs(child) = self {
            let child = child.get_mut().unwrap();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    fn kill(&self) {
        match self {
            Self::Theirs(child) => child.lock().unwrap().kill().expect("a server to kill"),
            Self::Ours => {
                let id = only_child().to_string();
                let status = Command::new("kill").args(["-9", &id]).status();
                assert!(status.expect("kill").success());
            }
        }
    }
}

/// The server that the client has started: the one child of this process (Linux).
fn only_child() -> u32 {
    let parent_of = |id: u32| -> Option<(u32, bool)> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut words = stat.rsplit_once(')')?.1.split_whitespace();
        let zombie = words.next()? == "Z";
        Some((words.next()?.parse().ok()?, zombie))
    };
    let ids = fs::read_dir("/proc").expect("Linux").flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children: Vec<u32> = ids.filter(|id| parent_of(*id) == Some((process::id(), false))).collect();
    assert_eq!(children.len(), 1, "children of this process: {children:?}");
    children[0]
}

async fn start(peer: &Peer, builder: &dyn Fn() -> Builder) -> Result<(Server, Client, Driver), Error> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let words: Vec<String> =
        peer.command.iter().map(|word| word.replace("{port}", &port.to_string())).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("PORT", port.to_string());
    if peer.transport == "stdio" {
        let (client, driver) = builder().connect(Stdio::spawn(command)?).await?;
        return Ok((Server::Ours, client, driver));
    }
    command.stdin(process::Stdio::null()).stdout(process::Stdio::null()).stderr(process::Stdio::null());
    let server = Server::Theirs(Mutex::new(command.spawn().expect("the server")));
    let url = format!("http://127.0.0.1:{port}{}", peer.path);
    let start = Instant::now();
    loop {
        let connected = match peer.transport.as_str() {
            "sse" => builder().connect(Sse::new(&url)?).await,
            _ => builder().connect(Http::new(&url)?).await,
        };
        match connected {
            Ok((client, driver)) => return Ok((server, client, driver)),
            Err(error) if error.io_kind().is_some() && start.elapsed() < STARTING => {
                thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(error),
        }
    }
}

fn builder(mode: Mode, resume: bool, seen: &Arc<Seen>) -> Builder {
    let mut limits = Limits::default();
    if !resume {
        limits.resumptions = 0;
    }
    let mut timeouts = Timeouts::default();
    timeouts.probe = Some(STARTING);
    let (sampling, forms, urls, events) =
        (Arc::clone(seen), Arc::clone(seen), Arc::clone(seen), Arc::clone(seen));
    Client::builder()
        .identity("shared-fate-peers", env!("CARGO_PKG_VERSION"))
        .mode(mode)
        .timeouts(timeouts)
        .limits(limits)
        .roots([Root { name: Some("project".to_owned()), ..Root::new("file:///srv/project") }])
        .on_sampling(move |_| {
            sampling.sampling.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(CreateMessageResult::new("none", "forty-two")))
        })
        .on_elicit_form(move |_| {
            forms.forms.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Elicited::Accept(Json::new(&json!({ "name": "Ada" })).expect("JSON")))
        })
        .on_elicit_url(move |_| {
            urls.urls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Elicited::Decline)
        })
        .on_event(move |event| {
            if let Event::ResourceUpdated { .. } = event {
                events.updates.fetch_add(1, Ordering::SeqCst);
            }
        })
}

/// Kills the server while two calls are pending.
async fn kill(client: &Client, server: &Server, peer: &Peer, report: &mut Report) -> Option<Row> {
    let slow = || client.call_tool(SLOW, json!({ "duration": 30, "steps": 3 }));
    let killing = async {
        smol::Timer::after(Duration::from_millis(500)).await;
        let pending = client.pending_calls();
        let start = Instant::now();
        server.kill();
        (start, pending)
    };
    let timed = async {
        let (one, other) = join(slow(), slow()).await;
        (one, other, Instant::now())
    };
    let ((start, pending), (one, other, end)) = join(killing, timed).await;
    report.claim("two calls were pending", pending == 2, format!("{pending} calls"));
    let elapsed = end.saturating_duration_since(start);
    report.claim("the pending calls fail at once", elapsed < AT_ONCE, format!("after {elapsed:?}"));
    let (Err(error), Err(sibling)) = (one, other) else {
        report.claim("the pending calls fail", false, "one succeeded");
        return None;
    };
    report.claim("both with the cause", shows(&error, peer) && shows(&sibling, peer), {
        format!("{error:#}; {sibling:#}")
    });
    let start = Instant::now();
    let later = client.ping().await;
    let at_once = start.elapsed() < AT_ONCE;
    let later = match later {
        Ok(()) => "succeeded".to_owned(),
        Err(error) => told(&error),
    };
    report.claim("a later call fails at once", at_once && later != "succeeded", &later);
    client.close().await;
    report.claim("nothing is pending", client.pending_calls() == 0, client.pending_calls());
    Some(Row {
        ms: format!("{:.1} ms", elapsed.as_secs_f64() * 1000.0),
        error: told(&error),
        later,
        ..Row::default()
    })
}

/// An error with its delivery, and without the port, which is another one each time.
fn told(error: &Error) -> String {
    let text = format!("{error:#} ({:?})", error.delivery());
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| {
        told + "127.0.0.1:…" + part.trim_start_matches(|it: char| it.is_ascii_digit())
    })
}

/// Whether an error tells of the kill: over stdio the signal and the last words, else the I/O error.
fn shows(error: &Error, peer: &Peer) -> bool {
    match peer.transport.as_str() {
        "stdio" => match error.session_cause().and_then(|cause| cause.error()).map(Error::kind) {
            Some(ErrorKind::ServerExited(exited)) => {
                exited.status().is_some_and(|status| status.signal() == Some(9))
                    && !exited.stderr().is_empty()
            }
            _ => false,
        },
        _ => error.io_kind().is_some(),
    }
}
