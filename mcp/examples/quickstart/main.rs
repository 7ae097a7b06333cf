//! What a caller sees when a session fails in the middle of a call: without this crate, with its core,
//! and with its MCP client.
//!
//! ```text
//! cargo run -p shared-fate-mcp --example quickstart --features stdio,http
//! ```
//!
//! Everything is real: sockets, a child process, clocks. It checks itself, and exits with status 0 only
//! if all was as it says.

mod naive;
mod servers;

use futures::FutureExt;
use futures::future::{Either, join, join3, select};
use naive::{Failure, Handle};
use serde_json::Value;
use servers::{EXIT_STATUS, HTTP_BODY, HTTP_STATUS, HttpServer, LAST_WORDS, STDIO_SERVER};
use shared_fate::{Cause, Session, SessionEnded, SupervisedExt};
use shared_fate_mcp::types::CallToolResult;
use shared_fate_mcp::{Client, Delivery, Error, ErrorKind, Http, Stdio};
use std::fmt::Display;
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long a call without supervision is given.
const PATIENCE: Duration = Duration::from_secs(2);
/// What counts as "at once", on a slow machine too.
const AT_ONCE: Duration = Duration::from_millis(500);
/// The limit for everything, should something hang that must not.
const GIVE_UP: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some(STDIO_SERVER) => servers::serve_stdio(),
        Some(_) => {
            eprintln!("usage: quickstart");
            return ExitCode::from(2);
        }
    }
    let mut report = Report { wrong: 0 };
    // Any executor will do; this one looks after timers, sockets and pipes itself, in this thread.
    let outcome = async_io::block_on(async {
        let show = pin!(show(&mut report));
        match select(show, smol::Timer::after(GIVE_UP)).await {
            Either::Left((outcome, _)) => outcome.map_err(|error| error.to_string()),
            Either::Right(_) => Err(format!("not done after {GIVE_UP:?}")),
        }
    });
    match (outcome, report.wrong) {
        (Ok(()), 0) => {
            println!("\nAll as claimed.");
            return ExitCode::SUCCESS;
        }
        (Ok(()), wrong) => println!("\n{wrong} lines are NOT as claimed."),
        (Err(why), _) => println!("\nNot finished: {why}"),
    }
    ExitCode::FAILURE
}

async fn show(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    println!("Two MCP servers fail in the middle of a call. What does the caller see?");
    let server = HttpServer::start();
    // Both run at once, to save time.
    let (http, stdio) = join(
        unsupervised(naive::http(server.address()), "fail"),
        unsupervised(naive::stdio(stdio_server())?, "die"),
    )
    .await;

    println!("\nHTTP: one POST is answered with status {HTTP_STATUS}");
    println!("  a plain handle and driver");
    report.hang("fail", &http);
    println!("  the same, with .supervised(&session)");
    let (reply, took) = supervised(naive::http(server.address()), "fail").await;
    report.cause(
        "fail",
        &reply,
        took,
        |failure| matches!(failure, Failure::Http { status: HTTP_STATUS, body } if body == HTTP_BODY),
    );
    println!("  shared_fate_mcp::Client");
    mcp_over_http(report).await?;

    println!("\nstdio: the server process dies");
    println!("  a plain handle and driver");
    report.hang("die", &stdio);
    println!("  the same, with .supervised(&session)");
    let (reply, took) = supervised(naive::stdio(stdio_server())?, "die").await;
    report.cause("die", &reply, took, |failure| {
        matches!(failure, Failure::Exited { status: Some(EXIT_STATUS), last_words } if last_words == LAST_WORDS)
    });
    println!("  shared_fate_mcp::Client, three calls in flight, one more afterwards");
    mcp_over_stdio(report).await?;
    Ok(())
}

/// This program again, as a server.
fn stdio_server() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg(STDIO_SERVER);
    command
}

/// What became of a call without supervision.
struct Unsupervised {
    pending: bool,
    waited: Duration,
    /// What its driver knew all the time, and since when.
    driver: Option<(Result<(), Failure>, Duration)>,
}

async fn unsupervised<D>((handle, driver): (Handle, D), tool: &str) -> Unsupervised
where
    D: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let driver = smol::spawn(async { (driver.await, Instant::now()) });
    handle.handshake().await;

    let start = Instant::now();
    let call = pin!(handle.call_tool(tool));
    let pending = matches!(select(call, smol::Timer::after(PATIENCE)).await, Either::Right(_));
    let waited = start.elapsed();
    let driver = driver.now_or_never().map(|(result, at)| (result, at - start));
    Unsupervised { pending, waited, driver }
}

/// The same handle, the same driver, the same call, with supervision.
async fn supervised<D>((handle, driver): (Handle, D), tool: &str) -> (Reply, Duration)
where
    D: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let session = Session::new();
    smol::spawn(session.drive(driver)).detach();
    if let Err(ended) = handle.handshake().supervised(&session).await {
        return (Err(ended), Duration::ZERO);
    }
    timed(handle.call_tool(tool).supervised(&session)).await
}

type Reply = Result<Value, SessionEnded<Cause<Failure>>>;

/// An HTTP error concerns one call: others go on, and so does the session.
async fn mcp_over_http(report: &mut Report) -> Result<(), Error> {
    let server = HttpServer::start();
    let (client, driver) = Client::connect(Http::new(&server.url())?).await?;
    let app = async {
        let failing = async {
            let outcome = timed(client.call_tool("fail", ())).await;
            let in_flight = client.pending_calls();
            server.release_slow();
            (outcome, in_flight)
        };
        let (slow, (fail, in_flight)) = join(timed(client.call_tool("slow", ())), failing).await;
        let hello = timed(client.call_tool("hello", ())).await;
        client.close().await;

        report.http_error("fail", &fail);
        report.reply("slow", &slow, "in flight when the other one failed", in_flight == 1);
        report.reply("hello", &hello, "sent afterwards: the session goes on", true);
    };
    // Spawning the driver would do as well.
    driver.run_until(app).await;
    Ok(())
}

/// The end of the child is the end of the session: all calls get the cause, later ones too.
async fn mcp_over_stdio(report: &mut Report) -> Result<(), Error> {
    let (client, driver) = Client::connect(Stdio::spawn(stdio_server())?).await?;
    let app = async {
        let call = |tool| timed(client.call_tool(tool, ()));
        let (first, second, die) = join3(call("slow"), call("slow"), call("die")).await;
        let later = call("hello").await;

        report.server_exited("slow", &first, Delivery::MaybeSent);
        report.server_exited("slow", &second, Delivery::MaybeSent);
        report.server_exited("die", &die, Delivery::MaybeSent);
        report.server_exited("hello", &later, Delivery::NotSent);
    };
    driver.run_until(app).await;
    Ok(())
}

async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let start = Instant::now();
    let output = future.await;
    (output, start.elapsed())
}

type Timed = (Result<CallToolResult, Error>, Duration);

/// Prints one line a call, and counts those that are not as claimed.
struct Report {
    wrong: u32,
}

impl Report {
    fn line(&mut self, call: &str, took: Duration, what: impl Display, as_claimed: bool) {
        let mark = if as_claimed { "" } else { "   <-- NOT AS CLAIMED" };
        self.wrong += u32::from(!as_claimed);
        println!("    {call:<5} {:>7.1} ms  {what}{mark}", took.as_secs_f64() * 1e3);
    }

    fn hang(&mut self, call: &str, outcome: &Unsupervised) {
        match &outcome.driver {
            Some((Err(failure), at)) if outcome.pending => {
                let at = at.as_secs_f64() * 1e3;
                let what = format!("STILL PENDING; its driver failed after {at:.1} ms: {failure}");
                self.line(call, outcome.waited, what, true);
            }
            _ => self.line(call, outcome.waited, "no hang", false),
        }
    }

    fn cause(&mut self, call: &str, reply: &Reply, took: Duration, expected: impl Fn(&Failure) -> bool) {
        match reply.as_ref().map_err(|ended| (ended, ended.cause().error())) {
            Err((_, Some(failure))) => {
                self.line(call, took, format!("ended by: {failure}"), expected(failure) && took < AT_ONCE);
            }
            Err((ended, None)) => self.line(call, took, format!("{ended:?}"), false),
            Ok(reply) => self.line(call, took, format!("a reply: {reply}"), false),
        }
    }

    fn reply(&mut self, call: &str, (outcome, took): &Timed, why: &str, as_claimed: bool) {
        match outcome {
            Ok(result) => self.line(call, *took, format!("{:?}, {why}", result.text()), as_claimed),
            Err(error) => self.line(call, *took, format!("{error:#}"), false),
        }
    }

    fn http_error(&mut self, call: &str, (outcome, took): &Timed) {
        match outcome {
            Err(error) => {
                let http = error.http().map(|http| (http.status(), http.body_excerpt()));
                let as_claimed = http == Some((HTTP_STATUS, HTTP_BODY)) && *took < AT_ONCE;
                self.line(call, *took, format!("{error} ({:?})", error.delivery()), as_claimed);
            }
            Ok(result) => self.line(call, *took, format!("{:?}", result.text()), false),
        }
    }

    fn server_exited(&mut self, call: &str, (outcome, took): &Timed, delivery: Delivery) {
        let error = outcome.as_ref().err();
        let cause = error.and_then(|error| error.session_cause()?.error());
        match (error, cause.map(Error::kind)) {
            (Some(error), Some(ErrorKind::ServerExited(exited))) => {
                let as_claimed = exited.status().and_then(|status| status.code()) == Some(EXIT_STATUS)
                    && exited.stderr().trim_end().ends_with(LAST_WORDS)
                    && error.delivery() == delivery
                    && *took < AT_ONCE;
                let words = exited.stderr().lines().last().unwrap_or_default();
                let status =
                    exited.status().map_or_else(|| "running".to_owned(), |status| status.to_string());
                let what = format!("ended by: {status}: {words:?} ({:?})", error.delivery());
                self.line(call, *took, what, as_claimed);
            }
            _ => self.line(call, *took, format!("{outcome:?}"), false),
        }
    }
}
