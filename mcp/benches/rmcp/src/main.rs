//! The MCP client beside rmcp's: one run, the same servers, the same executor.
//!
//! ```text
//! cargo run --release --manifest-path benches/rmcp/Cargo.toml                     everything
//! cargo run --release --manifest-path benches/rmcp/Cargo.toml -- calls decode     some of it
//! ```
//!
//! The parts are `calls`, `decode`, `faults`, `pending` and `crates`. Every figure comes from a process of
//! its own, this program again; so are the servers, but for that in memory, whose instructions are left
//! out. Instructions are counted under callgrind, of all the client's threads, without the kernel's. Times
//! are the best of several rounds, in which the clients take turns; of those only the ratios mean anything.

mod calls;
mod client;
mod count;
mod crates;
mod decode;
mod faults;
mod load;
mod pending;
mod server;
mod table;
mod wire;

use client::{Way, Who};
use load::Load;
use std::env;
use std::process::{Command, Stdio};

const PARTS: [(&str, fn()); 5] = [
    ("calls", calls::print),
    ("decode", decode::print),
    ("faults", faults::print),
    ("pending", pending::print),
    ("crates", crates::print),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", "stdio"] => server::stdio().expect("a client"),
        ["server", "http"] => server::http().expect("a port"),
        ["load", who, way, in_flight, calls, threads] => {
            let (in_flight, calls, threads) = (number(in_flight), number(calls), number(threads));
            let spent = Load { who: named(who), way: reached(way), in_flight, calls, threads }.run();
            print!("{} {}", spent.cpu.as_nanos(), spent.wall.as_nanos());
        }
        ["decode", depth, size, n] => {
            print!("{}", decode::run(depth, *size == "small", number(n)).as_nanos())
        }
        ["pending", who, way, n] => print!("{}", pending::run(named(who), reached(way), number(n))),
        wanted => {
            let unknown = wanted.iter().find(|name| PARTS.iter().all(|(part, _)| part != *name));
            assert_eq!(unknown, None, "no such part");
            for (part, print) in PARTS {
                if wanted.is_empty() || wanted.contains(&part) {
                    print();
                }
            }
        }
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
