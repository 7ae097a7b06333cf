//! The MCP client beside rmcp's, and beside the floor: the same servers, the same executor.
//!
//! ```text
//! cargo run --release --manifest-path mcp/benches/rmcp/Cargo.toml -- costs              the page `docs/costs.md`
//! cargo run --release --manifest-path mcp/benches/rmcp/Cargo.toml -- calls decode       some parts of it
//! cargo run --release --manifest-path mcp/benches/rmcp/Cargo.toml -- scale timeouts 8000 10
//! cargo run --release --manifest-path mcp/benches/rmcp/Cargo.toml -- gate               fails if reading a reply costs more
//! ```
//!
//! The parts are `calls`, `executors`, `decode`, `faults`, `pending`, `scale` and `crates`. Every figure comes
//! from a process of its own, this program again; so are the servers, but for that in memory, whose
//! instructions are left out. Instructions are counted under callgrind, of all the client's threads, without
//! the kernel's. Times are compared in several rounds, in which the clients take turns; the median of their
//! ratios is shown.

mod calls;
mod client;
mod count;
mod counting;
mod crates;
mod decode;
mod executors;
mod faults;
mod fed;
mod floor;
mod load;
mod page;
mod pending;
mod scale;
mod server;
mod table;
mod wire;

use client::{Way, Who};
use load::{Load, On};
use page::Part;
use std::env;
use std::process::{self, Command, Stdio};

const PARTS: [Part; 7] = [
    ("calls", calls::section),
    ("executors", executors::section),
    ("decode", decode::section),
    ("faults", faults::section),
    ("pending", pending::section),
    ("scale", scale::section),
    ("crates", crates::section),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", "stdio"] => server::stdio().expect("a client"),
        ["server", "http"] => server::http().expect("a port"),
        [what @ ("load" | "tally"), who, way, in_flight, calls, on] => {
            if *what == "tally" {
                counting::start();
            }
            let (in_flight, calls, on) = (number(in_flight), number(calls), On::named(on));
            print!("{}", Load { who: named(who), way: reached(way), in_flight, calls, on }.run().show());
        }
        ["decode", depth, size, n] => {
            print!("{}", decode::run(depth, *size == "small", number(n)).as_nanos())
        }
        ["pending", who, way, n] => print!("{}", pending::run(named(who), reached(way), number(n))),
        ["scale", what, rest @ ..] => print!("{}", scale::run(what, rest)),
        ["gate"] if decode::gate() => {}
        ["gate"] => process::exit(1),
        [] | ["costs"] => page::whole(&PARTS),
        wanted => page::some(&PARTS, wanted),
    }
}

/// What this program prints when it is run with `arguments`.
fn again(arguments: &[String]) -> String {
    let mut command = Command::new(env::current_exe().expect("this program"));
    let output = command.args(arguments).stderr(Stdio::inherit()).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn named(name: &str) -> Who {
    Who::ALL.into_iter().find(|who| who.name() == name).expect("a client")
}

fn reached(way: &str) -> Way {
    match way {
        "memory" => Way::Memory,
        "stdio" => Way::Stdio,
        port => Way::Http(port.parse().expect("a port")),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}
