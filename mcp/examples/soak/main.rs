//! A soak: many calls over every transport, to servers that go wrong, with deadlines and with calls that are given up, on
//! two executors. Every call is accounted for, and in the end nothing is left behind.
//!
//! ```text
//! cargo run --release -p shared-fate-mcp --example soak --features stdio,http,tokio -- 100000 60
//! ```
//!
//! The arguments are how many calls are made over each transport on each executor, and for how many seconds at most.
//! The exit status is 0 only if all was as it should be.

mod server;

use futures::FutureExt;
use futures::future::join_all;
use serde_json::json;
use server::{CHILD, HttpServer, serve_memory, serve_stdio};
use shared_fate_mcp::{CallOptions, Client, Driver, Error, Http, Memory, Mode, Stdio, Timeouts};
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const WORKERS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Executor {
    Tokio,
    Smol,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Memory,
    Stdio,
    Http,
}

/// What became of the calls.
#[derive(Debug, Default)]
struct Account {
    made: AtomicU64,
    fine: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    /// Replies to another call, and calls that took far longer than they may.
    wrong: AtomicU64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CHILD) {
        serve_stdio();
    }
    let number = |at: usize, default| arguments.get(at).map_or(Some(default), |text| text.parse().ok());
    let (Some(calls), Some(seconds)) = (number(0, 20_000), number(1, 60)) else {
        eprintln!("usage: soak [calls] [seconds]");
        return ExitCode::from(2);
    };
    let Ok(http) = HttpServer::start() else {
        eprintln!("no port on this machine");
        return ExitCode::from(2);
    };
    // The first round makes what is made once and stays: threads, the reactor.
    for executor in [Executor::Tokio, Executor::Smol] {
        for way in [Way::Memory, Way::Stdio, Way::Http] {
            soak(executor, way, &http, calls.min(2000), Duration::from_secs(10));
        }
    }
    let before = settled(&http, None);
    println!("before: {before:?}");
    let mut good = true;
    for executor in [Executor::Tokio, Executor::Smol] {
        for way in [Way::Memory, Way::Stdio, Way::Http] {
            good &= soak(executor, way, &http, calls, Duration::from_secs(seconds));
        }
    }
    let after = settled(&http, Some(&before));
    println!("after:  {after:?}");
    let flat = after.files <= before.files
        && after.threads <= before.threads
        && after.children == 0
        && after.resident_kib <= before.resident_kib + 8 * 1024;
    match good && flat && !http.got_one_twice() {
        true => ExitCode::SUCCESS,
        false => {
            println!("NOT as it should be");
            ExitCode::FAILURE
        }
    }
}

/// Makes so many calls, over as many sessions as that takes, and returns whether all was well.
fn soak(executor: Executor, way: Way, http: &HttpServer, calls: u64, limit: Duration) -> bool {
    let begun = Instant::now();
    let account = Arc::new(Account::default());
    let mut sessions = 0;
    let mut good = true;
    while account.made.load(Ordering::Relaxed) < calls && begun.elapsed() < limit {
        let (transport, server) = Memory::pair();
        let serving = (way == Way::Memory).then(|| serve_memory(server));
        let run = session(executor, way, http, transport, Arc::clone(&account), calls, begun + limit);
        let ended = match executor {
            Executor::Smol => smol::block_on(run),
            Executor::Tokio => {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                runtime.expect("threads").block_on(run)
            }
        };
        if let Err(why) = ended {
            println!("{executor:?}, {way:?}: {why}");
            good = false;
            break;
        }
        sessions += 1;
        if serving.is_some_and(|serving| serving.join().unwrap_or(true)) {
            println!("{executor:?}, {way:?}: a request came twice");
            good = false;
        }
    }
    let [made, fine, failed, given_up, wrong] =
        [&account.made, &account.fine, &account.failed, &account.given_up, &account.wrong]
            .map(|count| count.load(Ordering::Relaxed));
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{executor:?}, {way:?}: {made} calls, {fine} fine, {failed} failed, {given_up} given up, {wrong} wrong; \
         {sessions} sessions, {seconds:.1} s"
    );
    good && wrong == 0 && made == fine + failed + given_up
}

/// One session, for as long as it lasts.
async fn session(
    executor: Executor,
    way: Way,
    http: &HttpServer,
    memory: Memory,
    account: Arc<Account>,
    calls: u64,
    until: Instant,
) -> Result<(), String> {
    let mut timeouts = Timeouts::default();
    timeouts.silence = Some(Duration::from_millis(100));
    let mut builder = Client::builder().mode(Mode::Legacy).timeouts(timeouts);
    if executor == Executor::Tokio {
        builder = builder.on_tokio();
    }
    let told = |error: Error| format!("no session: {error:#}");
    let (client, driver) = match way {
        Way::Memory => builder.connect(memory).await.map_err(told)?,
        Way::Stdio => {
            let mut command = Command::new(env::current_exe().map_err(|error| error.to_string())?);
            command.arg(CHILD);
            builder.connect(Stdio::spawn(command).map_err(told)?).await.map_err(told)?
        }
        Way::Http => {
            let http = Http::new(&format!("http://{}/mcp", http.address)).map_err(told)?;
            builder.connect(http).await.map_err(told)?
        }
    };
    let workers = join_all((0..WORKERS).map(|_| work(&client, &account, calls, until)));
    drive(executor, driver, workers).await;
    let story = client.session().cause().and_then(|cause| cause.error().map(|error| format!("{error:#}")));
    client.close().await;
    match (client.pending_calls(), story) {
        (0, Some(story)) if story.contains("exit status 70") => Err("a request came twice".to_owned()),
        (0, _) => Ok(()),
        (left, _) => Err(format!("{left} calls are left")),
    }
}

/// On tokio the driver is a task of its own, on smol it is polled beside the calls.
async fn drive(executor: Executor, driver: Driver, workers: impl Future) {
    match executor {
        Executor::Smol => drop(driver.run_until(workers).await),
        Executor::Tokio => {
            let task = tokio::spawn(driver);
            workers.await;
            task.abort();
        }
    }
}

/// Makes calls until there are enough, or the session ends.
async fn work(client: &Client, account: &Account, calls: u64, until: Instant) {
    while !client.session().is_ended() && Instant::now() < until {
        let number = account.made.fetch_add(1, Ordering::Relaxed);
        if number >= calls {
            account.made.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let begun = Instant::now();
        let hasty = client.with_options(CallOptions::timeout(Duration::from_millis(5)));
        let client = if number % 20 == 3 { &hasty } else { client };
        let mut call = Box::pin(client.call_tool("echo", json!({ "n": number })));
        let at_once = if number % 31 == 5 { (&mut call).now_or_never() } else { None };
        if number % 31 == 5 && at_once.is_none() {
            drop(call);
            account.given_up.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let result = match at_once {
            Some(result) => result,
            None => call.await,
        };
        let (count, good) = match result {
            Ok(result) => (&account.fine, result.text() == number.to_string()),
            Err(error) => (&account.failed, !error.to_string().is_empty()),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if !good || begun.elapsed() > Duration::from_secs(20) {
            account.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What this process has.
#[derive(Debug)]
struct Process {
    files: usize,
    threads: usize,
    children: usize,
    resident_kib: u64,
}

fn process() -> Process {
    let count = |path: &str| fs::read_dir(path).map_or(0, |entries| entries.flatten().count());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let fields: BTreeMap<_, _> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let resident = fields.get("VmRSS").and_then(|text| text.split_whitespace().next()?.parse().ok());
    let parent = format!("PPid:\t{}", std::process::id());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes.filter(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line == parent)
    });
    Process {
        files: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        children: children.count(),
        resident_kib: resident.unwrap_or_default(),
    }
}

/// What this process has when everything under way has ended, or after ten seconds.
fn settled(http: &HttpServer, goal: Option<&Process>) -> Process {
    for _ in 0..100 {
        let now = process();
        let calm = http.open() == 0 && now.children == 0;
        if calm && goal.is_none_or(|goal| now.files <= goal.files && now.threads <= goal.threads) {
            break;
        }
        // Idle threads of a pool end after half a second.
        thread::sleep(Duration::from_millis(100));
    }
    process()
}
