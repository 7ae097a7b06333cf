//! The calls: what each costs its client, over every way and at every depth.

use crate::again;
use crate::client::Who;
use crate::count::instructions;
use crate::server::Process;
use crate::table::{Table, ratio, thousands};

const IN_FLIGHT: [usize; 3] = [1, 64, 1000];
const WAYS: [&str; 3] = ["memory", "stdio", "http"];

/// Rounds of a timed cell, in turns; the best of each client counts.
const ROUNDS: usize = 5;

struct Cell<'a> {
    way: &'a str,
    in_flight: usize,
}

impl Cell<'_> {
    /// What this program is told to do the calls.
    fn arguments(&self, who: Who, calls: usize, threads: usize, port: &str) -> Vec<String> {
        let way = if self.way == "http" { port } else { self.way };
        let numbers = [self.in_flight, calls, threads].map(|number| number.to_string());
        ["load", who.name(), way].map(str::to_owned).into_iter().chain(numbers).collect()
    }

    /// Some thousand, and each task has its share.
    fn calls(&self, about: usize) -> usize {
        about.div_ceil(self.in_flight) * self.in_flight
    }

    fn clients(&self) -> Vec<Who> {
        let every = Who::ALL.into_iter();
        every
            .filter(|who| match who {
                Who::Ours | Who::Rmcp => true,
                // The same pipe for both.
                Who::OursOnTokio => self.way != "memory",
                Who::RmcpDefault => self.way == "http",
            })
            .collect()
    }

    /// CPU and wall time of a call, in nanoseconds, at best.
    fn times(&self, threads: usize, port: &str) -> Vec<(Who, f64, f64)> {
        let calls = self.calls(5000);
        let mut best: Vec<_> =
            self.clients().into_iter().map(|who| (who, f64::INFINITY, f64::INFINITY)).collect();
        for _ in 0..ROUNDS {
            for (who, cpu, wall) in &mut best {
                let text = again(&self.arguments(*who, calls, threads, port));
                let mut numbers = text.split(' ').map(|number| number.parse::<f64>().expect("a number"));
                let mut next = || numbers.next().expect("two numbers") / calls as f64;
                (*cpu, *wall) = (cpu.min(next()), wall.min(next()));
            }
        }
        best
    }
}

pub(crate) fn print() {
    let server = Process::http();
    println!("One call of a tool: what it costs the client\n");
    let mut table = Table::new([
        "in flight, client",
        "instructions",
        "ours / rmcp",
        "CPU µs",
        "ours / rmcp",
        "calls/s",
        "ours / rmcp",
        "2 threads: CPU",
        "calls/s",
    ]);
    for way in WAYS {
        for in_flight in IN_FLIGHT {
            let cell = Cell { way, in_flight };
            let one = cell.times(1, &server.port);
            let two = cell.times(2, &server.port);
            let calls = cell.calls(if in_flight == 1 { 400 } else { 2000 });
            let counts: Vec<_> = one
                .iter()
                .map(|&(who, ..)| instructions(calls, |calls| cell.arguments(who, calls, 1, &server.port)))
                .collect();
            let rmcp = one.iter().position(|&(who, ..)| who == Who::Rmcp).expect("is always there");
            for (at, &(who, cpu, wall)) in one.iter().enumerate() {
                let share = |ours: f64, theirs: f64| match who {
                    Who::Rmcp => String::new(),
                    _ => ratio(ours, theirs),
                };
                let (_, rmcp_cpu, rmcp_wall) = one[rmcp];
                table.row([
                    format!("{way}, {in_flight}: {}", who.label()),
                    counts[at].map_or_else(|| "no valgrind".to_owned(), thousands),
                    counts[at]
                        .zip(counts[rmcp])
                        .map_or_else(String::new, |(ours, theirs)| share(ours, theirs)),
                    format!("{:.1}", cpu / 1000.0),
                    share(cpu, rmcp_cpu),
                    thousands(1e9 / wall),
                    share(rmcp_wall, wall),
                    share(two[at].1, two[rmcp].1),
                    share(two[rmcp].2, two[at].2),
                ]);
            }
        }
    }
    table.print();
}
