//! What it takes to make a value of a reply's text.

use crate::again;
use crate::client::ARGUMENTS;
use crate::count::instructions;
use crate::fed::Fed;
use crate::floor;
use crate::load::{TEXT, runtime};
use crate::page::Section;
use crate::table::{Table, above, counted, less, less_counted};
use crate::wire::{RESULT, TOOLS, reply};
use rmcp::model::ServerJsonRpcMessage;
use serde_json::from_str;
use shared_fate_mcp::Limits;
use shared_fate_mcp::transport::Inbox;
use shared_fate_mcp::types::{CallToolResult, ListToolsResult};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::oneshot::channel;

/// How far a reply is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// JSON-RPC read and attributed to its call (there is none); the result stays text.
    Envelope,
    /// The envelope read, and the result decoded as the typed method returns it.
    Typed,
    /// The typed method itself, over a transport without I/O: it makes the request, too.
    Call,
    /// The reply and its result decoded in one pass of serde's.
    Floor,
    /// A view of the text, made in one pass: nothing is copied.
    View,
    /// The message as rmcp's transports make it, which is always typed.
    Rmcp,
}

const DEPTHS: [(&str, Depth); 6] = [
    ("envelope", Depth::Envelope),
    ("typed", Depth::Typed),
    ("call", Depth::Call),
    ("floor", Depth::Floor),
    ("view", Depth::View),
    ("rmcp", Depth::Rmcp),
];

/// `decode <depth> <reply> <n>`: how many nanoseconds one takes, at best.
pub(crate) fn run(depth: &str, small: bool, n: usize) -> Duration {
    let text = reply("7", if small { RESULT } else { &TOOLS });
    assert!(!small || text.len() == 129);
    match DEPTHS.iter().find(|(name, _)| *name == depth).expect("a depth").1 {
        Depth::Envelope => delivered(text, n, || {}),
        Depth::Typed if small => {
            delivered(text, n, || drop(black_box(from_str::<CallToolResult>(RESULT).unwrap())))
        }
        Depth::Typed => delivered(text, n, || drop(black_box(from_str::<ListToolsResult>(&TOOLS).unwrap()))),
        Depth::Call => called(small, n),
        Depth::Floor if small => best_of(n, || {
            drop(black_box(floor::decode::<CallToolResult>(black_box(text.as_bytes())).result));
        }),
        Depth::Floor => best_of(n, || {
            drop(black_box(floor::decode::<ListToolsResult>(black_box(text.as_bytes())).result));
        }),
        Depth::View if small => best_of(n, || {
            black_box(floor::decode::<floor::ResultView<'_>>(black_box(text.as_bytes())).result.len());
        }),
        Depth::View => best_of(n, || {
            black_box(floor::decode::<floor::ToolsView<'_>>(black_box(text.as_bytes())).result.len());
        }),
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

/// Only transports get hold of an [`Inbox`], so a transport delivers the reply.
fn delivered(text: String, n: usize, typed: fn()) -> Duration {
    let (took, result) = channel();
    let took = Mutex::new(Some(took));
    runtime(1).block_on(async {
        let mut limits = Limits::default();
        // Nobody waits for these replies, and too many of those would end the session.
        limits.stray = usize::MAX;
        let transport = Fed::driven(None, move |inbox: &Inbox, _| {
            if let Some(took) = took.lock().expect("no panic").take() {
                let _ = took.send(best_of(n, || {
                    inbox.deliver(black_box(text.as_bytes()));
                    typed();
                }));
            }
        });
        let (_client, driver) = Fed::builder().limits(limits).connect(transport).await.expect("a handshake");
        driver.run_until(result).await.expect("the transport runs")
    })
}

/// The typed method, while nothing else is polled: the reply is there before the transport's `send` returns.
fn called(small: bool, n: usize) -> Duration {
    let transport = Fed::answering(if small { RESULT } else { &TOOLS });
    let (client, _driver) = pollster::block_on(Fed::builder().connect(transport)).expect("a handshake");
    best_of(n, || {
        pollster::block_on(async {
            if small {
                let result = client.call_tool("echo", &*ARGUMENTS).await.expect("a result");
                assert_eq!(result.text().len(), TEXT);
            } else {
                assert_eq!(client.list_tools_page(None).await.expect("a result").tools.len(), 100);
            }
        });
    })
}

/// The replies, by the name that this program knows them by, and how often one is read to be counted.
const REPLIES: [(&str, &str, usize); 2] =
    [("a tool's result, 129 bytes", "small", 2_000), ("100 tools, 28 kB", "large", 40)];

/// The arguments with which this program reads a reply so often.
fn arguments(depth: &str, size: &str, n: usize) -> Vec<String> {
    ["decode", depth, size, &n.to_string()].map(str::to_owned).to_vec()
}

/// Instructions for one reply.
fn count(depth: &str, size: &str, n: usize) -> Option<f64> {
    instructions(n, |n| arguments(depth, size, n))
}

/// The most instructions that reading a reply into its type may take, in the order of [`REPLIES`]. They are a fiftieth above
/// what was found: what the compiler inlines changes with code that has nothing to do with this.
const MOST: [f64; 2] = [4_400.0, 776_000.0];

/// Prints whether reading a reply takes no more than [`MOST`], and returns it.
pub(crate) fn gate() -> bool {
    let mut holds = true;
    for ((name, size, n), most) in REPLIES.into_iter().zip(MOST) {
        let Some(found) = count("typed", size, n) else {
            println!("SKIPPED: there is no valgrind");
            return true;
        };
        let word = if found <= most { "ok" } else { "BROKEN" };
        println!("{word}: {name}: {found:.0} instructions, at most {most:.0}");
        holds &= found <= most;
    }
    holds
}

pub(crate) fn section() -> Section {
    let mut table = Table::new([
        "reply",
        "envelope",
        "and typed",
        "the whole call",
        "serde, one pass",
        "serde, a view",
        "rmcp (typed)",
        "typed: ours / one pass",
        "typed: ours / rmcp",
        "time, typed: ours / rmcp",
    ]);
    for (name, size, n) in REPLIES {
        let [envelope, typed, call, floor, view, rmcp] = DEPTHS.map(|(depth, _)| count(depth, size, n));
        let time = |depth: &str| again(&arguments(depth, size, 10 * n)).parse::<f64>().expect("a number");
        let mut ratios = [(); 5].map(|()| {
            let [ours, theirs] = ["typed", "rmcp"].map(time);
            ours / theirs
        });
        ratios.sort_by(f64::total_cmp);
        table.row([
            name.to_owned(),
            counted(envelope),
            counted(typed),
            counted(call),
            counted(floor),
            counted(view),
            counted(rmcp),
            above(typed, floor),
            less_counted(typed, rmcp),
            less(ratios[2], 1.0),
        ]);
    }
    Section {
        title: "Reading a reply",
        before: "Instructions from the text to the value. *Envelope* is a reply that is delivered and attributed, with \
                 its result left as\ntext; *typed* decodes the result beside that, as the typed methods do. *The whole \
                 call* is the typed method itself,\n`call_tool` or `list_tools_page`, on a transport without I/O that \
                 has the reply at once: with the request, its deadline\nand its supervision, and without a task switch. *One pass* is serde's, into the same types with their \
                 envelope, and what\nthe floor does; ours does not scan the envelope, so it can be below that. *A view* \
                 borrows its texts from the reply,\nwhich none of the others does.",
        tables: vec![("", table)],
        after: "",
    }
}
