//! What it takes to make a value of a reply's text.

use crate::again;
use crate::count::instructions;
use crate::load::runtime;
use crate::table::{Table, ratio, thousands};
use crate::wire::{INITIALIZED, RESULT, TOOLS, reply};
use rmcp::model::ServerJsonRpcMessage;
use serde_json::from_str;
use shared_fate_mcp::types::{CallToolResult, ListToolsResult};
use shared_fate_mcp::{BoxFuture, Client, Error, Inbox, Limits, Mode, Outgoing, Sent, Tracking, Transport};
use std::future::ready;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::oneshot::{Sender, channel};

/// How far a reply is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// JSON-RPC read and attributed to its call; the result stays text.
    Envelope,
    /// That, and the result as the typed method returns it.
    Typed,
    /// The message as rmcp's transports make it, which is always typed.
    Rmcp,
}

const DEPTHS: [(&str, Depth); 3] =
    [("envelope", Depth::Envelope), ("typed", Depth::Typed), ("rmcp", Depth::Rmcp)];

/// `decode <depth> <reply> <n>`: how many nanoseconds one takes, at best.
pub(crate) fn run(depth: &str, small: bool, n: usize) -> Duration {
    let text = reply("7", if small { RESULT } else { &TOOLS });
    assert!(!small || text.len() == 129);
    match DEPTHS.iter().find(|(name, _)| *name == depth).expect("a depth").1 {
        Depth::Envelope => ours(text, n, || {}),
        Depth::Typed if small => {
            ours(text, n, || drop(black_box(from_str::<CallToolResult>(RESULT).unwrap())))
        }
        Depth::Typed => ours(text, n, || drop(black_box(from_str::<ListToolsResult>(&TOOLS).unwrap()))),
        Depth::Rmcp => best_of(n, || {
            drop(black_box(
                serde_json::from_slice::<ServerJsonRpcMessage>(black_box(text.as_bytes())).unwrap(),
            ));
        }),
    }
}

/// The shortest of twenty rounds.
fn best_of(n: usize, once: impl Fn()) -> Duration {
    let round = |n: usize| {
        let start = Instant::now();
        (0..n).for_each(|_| once());
        start.elapsed() / u32::try_from(n).expect("a small number")
    };
    (0..20).map(|_| round(n / 20)).min().unwrap_or_default()
}

/// Only transports get hold of an [`Inbox`]: so this is one.
struct Fed {
    text: String,
    n: usize,
    typed: fn(),
    took: Mutex<Option<Sender<Duration>>>,
}

fn ours(text: String, n: usize, typed: fn()) -> Duration {
    let (took, result) = channel();
    runtime(1).block_on(async {
        let mut limits = Limits::default();
        // Nobody waits for these replies, and some time that would end the session.
        limits.stray = usize::MAX;
        let builder = Client::builder().mode(Mode::Legacy).limits(limits);
        let transport = Fed { text, n, typed, took: Mutex::new(Some(took)) };
        let (_client, driver) = builder.connect(transport).await.expect("a handshake");
        driver.run_until(result).await.expect("the transport runs")
    })
}

impl Transport for Fed {
    fn send<'a>(
        &'a self,
        message: Outgoing,
        _: &'a Tracking,
        inbox: &'a Inbox,
    ) -> BoxFuture<'a, Result<Sent, Error>> {
        if let Some(id) = message.id() {
            inbox.deliver(reply(&id.to_string(), INITIALIZED).as_bytes());
        }
        Box::pin(ready(Ok(Sent::accepted())))
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async {
            let took = best_of(self.n, || {
                inbox.deliver(black_box(self.text.as_bytes()));
                (self.typed)();
            });
            if let Some(told) = self.took.lock().expect("no panic").take() {
                let _ = told.send(took);
            }
            std::future::pending().await
        })
    }

    fn close<'a>(&'a self, _: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(ready(()))
    }

    fn abort(&self) {}
}

pub(crate) fn print() {
    println!("From the text of a reply to its value: instructions, and microseconds at best\n");
    let mut table = Table::new([
        "reply",
        "envelope",
        "with its result, typed",
        "rmcp (typed)",
        "typed: ours / rmcp",
        "µs",
        "µs, typed",
        "µs, rmcp",
    ]);
    for (name, size, n) in [("a tool's result, 129 B", "small", 20_000), ("100 tools, 28 kB", "large", 400)] {
        let arguments =
            |depth: &str, n: usize| ["decode", depth, size, &n.to_string()].map(str::to_owned).to_vec();
        let counts = DEPTHS.map(|(depth, _)| instructions(n / 10, |n| arguments(depth, n)));
        let times = DEPTHS.map(|(depth, _)| {
            let nanos = |_| again(&arguments(depth, n)).parse::<f64>().expect("a number");
            (0..3).map(nanos).fold(f64::INFINITY, f64::min) / 1000.0
        });
        let count = |index: usize| counts[index].map_or_else(|| "no valgrind".to_owned(), thousands);
        table.row([
            name.to_owned(),
            count(0),
            count(1),
            count(2),
            counts[1].zip(counts[2]).map_or_else(String::new, |(ours, theirs)| ratio(ours, theirs)),
            format!("{:.2}", times[0]),
            format!("{:.2}", times[1]),
            format!("{:.2}", times[2]),
        ]);
    }
    table.print();
}
