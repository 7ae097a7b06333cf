//! A small command-line client for any MCP server.
//!
//! ```text
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> list
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> call <tool> [<json>]
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> read <uri>
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> prompt <name> [<json>]
//! cargo run -p shared-fate-mcp --example mcp --features stdio,tls -- <URL | command…> ping
//! cargo run -p shared-fate-mcp --example mcp --features stdio,oauth -- <URL> login
//! cargo run -p shared-fate-mcp --example mcp --features stdio,oauth -- <URL> status
//! cargo run -p shared-fate-mcp --example mcp --features stdio,oauth -- <URL> logout
//! ```
//!
//! Results go to standard output; progress, the server's log and errors to standard error. An interrupt (Ctrl-C; SIGTERM,
//! too) gives the call up and stops the server in an orderly way, which takes some seconds if the server is stubborn. A
//! second interrupt kills it at once.
//!
//! Exit codes: 0 done; 1 the tool reported an error; 2 wrong usage; 3 no connection; 4 the call failed; 130 interrupted.

mod actions;
mod arguments;
#[cfg(feature = "oauth")]
mod sign_in;
mod terminal;

use actions::act;
use arguments::{Arguments, USAGE};
use async_signal::{Signal, Signals};
use futures::StreamExt;
use futures::future::{Either, select};
use shared_fate_mcp::{CallOptions, Client, Delivery, Driver, Error, Event, Http, Stdio};
use std::pin::pin;
use std::process::{Command, ExitCode};
use terminal::Terminal;

const TOOL_FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const NO_CONNECTION: u8 = 3;
const CALL_FAILED: u8 = 4;
/// As a shell says it of a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(run(&words))
}

/// The whole program: returns its exit code.
pub(crate) fn run(words: &[String]) -> u8 {
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("mcp: {why}\n{USAGE}");
            return WRONG_USAGE;
        }
    };
    // Any executor will do; this one looks after timers, sockets, pipes and signals itself, in this thread.
    async_io::block_on(async {
        let terminal = Terminal::new();
        // From here on an interrupt ends nothing by itself.
        let signals = match Signals::new(SIGNALS) {
            Ok(signals) => signals,
            Err(error) => {
                terminal.line(&format!("interrupts cannot be caught: {error}"));
                return NO_CONNECTION;
            }
        };
        let mut interrupts = Interrupts { signals, terminal: terminal.clone() };
        #[cfg(feature = "oauth")]
        if let arguments::Action::SignIn(what) = arguments.action {
            let Some(oauth) = sign_in::identity(&terminal) else { return CALL_FAILED };
            return match interrupts.or(sign_in::sign_in(&oauth, &arguments.server[0], what)).await {
                None => INTERRUPTED,
                Some(Err(error)) => fail(&terminal, "signing in failed", &error, CALL_FAILED),
                Some(Ok(text)) => {
                    print!("{text}");
                    0
                }
            };
        }
        match interrupts.or(connect(arguments.server, &terminal)).await {
            // What was begun is dropped: if that was a process, it is killed.
            None => INTERRUPTED,
            Some(Err(error)) => fail(&terminal, "cannot connect", &error, NO_CONNECTION),
            Some(Ok((client, driver))) => {
                let app = async {
                    let code = match interrupts.or(act(&client, arguments.action)).await {
                        None => INTERRUPTED,
                        Some(Err(error)) => fail(&terminal, "the call failed", &error, CALL_FAILED),
                        Some(Ok(output)) => {
                            terminal.clear();
                            print!("{}", output.text);
                            if output.has_failed { TOOL_FAILED } else { 0 }
                        }
                    };
                    // If this is interrupted, the driver is dropped while the server runs: it is killed.
                    interrupts.or(client.close()).await.map_or(INTERRUPTED, |()| code)
                };
                driver.run_until(app).await
            }
        }
    })
}

#[cfg(unix)]
const SIGNALS: &[Signal] = &[Signal::Int, Signal::Term];
#[cfg(not(unix))]
const SIGNALS: &[Signal] = &[Signal::Int];

struct Interrupts {
    signals: Signals,
    terminal: Terminal,
}

impl Interrupts {
    /// What `future` resolves to; `None` if an interrupt comes first. Then the future is dropped.
    async fn or<F: Future>(&mut self, future: F) -> Option<F::Output> {
        match select(pin!(future), self.signals.next()).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => {
                self.terminal.line("interrupted");
                None
            }
        }
    }
}

async fn connect(server: &[String], terminal: &Terminal) -> Result<(Client, Driver), Error> {
    let log = terminal.clone();
    let builder =
        Client::builder().identity("shared-fate-example", env!("CARGO_PKG_VERSION")).on_event(move |event| {
            if let Event::Log(message) = event {
                log.line(&message.data.to_string());
            }
        });
    let (client, driver) = match server {
        [url] if url.contains("://") => {
            let http = Http::new(url)?;
            #[cfg(feature = "oauth")]
            let http = match sign_in::identity(terminal) {
                Some(oauth) => http.oauth(&oauth),
                None => http,
            };
            builder.connect(http).await?
        }
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            builder.connect(Stdio::spawn(command)?).await?
        }
        [] => unreachable!("there is at least one word"),
    };
    let terminal = terminal.clone();
    let options = CallOptions::default().on_progress(move |progress| terminal.progress(progress));
    Ok((client.with_options(options), driver))
}

fn fail(terminal: &Terminal, what: &str, error: &Error, code: u8) -> u8 {
    terminal.line(&format!("{what}: {error:#}"));
    if error.delivery() == Delivery::MaybeSent {
        terminal.line("the server may have acted on it all the same");
    }
    if let Some(after) = error.http().and_then(|http| http.retry_after()) {
        terminal.line(&format!("the server asks to wait for {after:?}"));
    }
    code
}
