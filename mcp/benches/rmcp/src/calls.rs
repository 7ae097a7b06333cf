//! The calls: what each costs its client, over every way and at every depth.

use crate::again;
use crate::client::Who;
use crate::count::instructions;
use crate::load::Spent;
use crate::page::Section;
use crate::server::Process;
use crate::table::{Table, above, counted, less, less_counted, more};

const IN_FLIGHT: [usize; 3] = [1, 64, 1000];

/// Rounds of a timed cell, in which the clients take turns: what counts is the median of the rounds' ratios.
const ROUNDS: usize = 5;

struct Cell<'a> {
    /// The way to the server, for the page.
    name: &'static str,
    /// The way to the server, for the process that makes the calls.
    way: &'a str,
    in_flight: usize,
}

/// What a call costs one client.
struct Cost {
    who: Who,
    instructions: Option<f64>,
    allocations: f64,
    /// CPU and wall time in nanoseconds, round by round, on one thread and on two.
    rounds: [Vec<[f64; 2]>; 2],
}

impl Cost {
    /// The medians, over the rounds, of the ratio of ours to theirs: CPU and wall time.
    fn ratios(&self, theirs: &Self, threads: usize) -> [f64; 2] {
        [0, 1].map(|time| {
            let pairs = self.rounds[threads - 1].iter().zip(&theirs.rounds[threads - 1]);
            let mut ratios: Vec<_> = pairs.map(|(ours, theirs)| ours[time] / theirs[time]).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        })
    }
}

impl Cell<'_> {
    /// The arguments with which this program makes the calls.
    fn arguments(&self, what: &str, who: Who, calls: usize, threads: usize) -> Vec<String> {
        let numbers = [self.in_flight, calls, threads].map(|number| number.to_string());
        [what, who.name(), self.way].map(str::to_owned).into_iter().chain(numbers).collect()
    }

    /// About so many calls, the same number for each task.
    fn calls(&self, about: usize) -> usize {
        about.div_ceil(self.in_flight) * self.in_flight
    }

    /// The clients that are measured in this cell.
    fn clients(&self) -> Vec<Who> {
        let every = Who::ALL.into_iter();
        every
            .filter(|who| match who {
                Who::Ours | Who::Rmcp => true,
                // The same pipe for both, and no kernel below it.
                Who::OursOnTokio | Who::Floor => self.name != "in memory",
                Who::RmcpDefault => self.name == "HTTP" && self.in_flight == 1,
            })
            .collect()
    }

    fn measure(&self) -> Vec<Cost> {
        let mut costs: Vec<_> = self.clients().into_iter().map(|who| self.counts(who)).collect();
        for _ in 0..ROUNDS {
            for cost in costs.iter_mut().filter(|cost| cost.who != Who::Floor) {
                let calls = self.calls(5000);
                for (threads, rounds) in (1..).zip(&mut cost.rounds) {
                    let text = again(&self.arguments("load", cost.who, calls, threads));
                    let [cpu, wall, ..] = Spent::read(&text, calls);
                    rounds.push([cpu, wall]);
                }
            }
        }
        costs
    }

    fn counts(&self, who: Who) -> Cost {
        let calls = self.calls(if self.in_flight == 1 { 400 } else { 2000 });
        let [.., allocations, _] = Spent::read(&again(&self.arguments("tally", who, calls, 1)), calls);
        Cost {
            who,
            instructions: instructions(calls, |calls| self.arguments("load", who, calls, 1)),
            allocations,
            rounds: [Vec::new(), Vec::new()],
        }
    }

    fn rows(&self, table: &mut Table) {
        let costs = self.measure();
        let of = |who| costs.iter().find(|cost| cost.who == who);
        let floor = of(Who::Floor);
        let depth = crate::table::thousands(self.in_flight as f64);
        let named = |what: &str| format!("{}, {depth}{what}", self.name);
        let pairs = [
            (Who::Ours, Who::Rmcp, String::new()),
            (Who::OursOnTokio, Who::Rmcp, ", tokio's I/O".to_owned()),
            (Who::Ours, Who::RmcpDefault, ", rmcp's default".to_owned()),
        ];
        for (ours, theirs, what) in pairs {
            let (Some(ours), Some(theirs)) = (of(ours), of(theirs)) else { continue };
            let allocations = [Some(ours), floor, Some(theirs)]
                .map(|cost| cost.map_or_else(|| "–".to_owned(), |cost| format!("{:.0}", cost.allocations)));
            let ([cpu, wall], [two_cpu, two_wall]) = (ours.ratios(theirs, 1), ours.ratios(theirs, 2));
            table.row([
                named(&what),
                counted(ours.instructions),
                floor.map_or_else(|| "–".to_owned(), |floor| counted(floor.instructions)),
                counted(theirs.instructions),
                above(ours.instructions, floor.and_then(|floor| floor.instructions)),
                less_counted(ours.instructions, theirs.instructions),
                allocations.join(", "),
                less(cpu, 1.0),
                more(1.0, wall),
                less(two_cpu, 1.0),
                more(1.0, two_wall),
            ]);
        }
    }
}

pub(crate) fn section() -> Section {
    let server = Process::http();
    let mut table = Table::new([
        "in flight",
        "instructions",
        "floor",
        "rmcp",
        "ours / floor",
        "ours / rmcp",
        "allocations: ours, floor, rmcp",
        "CPU time, ours / rmcp",
        "calls/s, ours / rmcp",
        "2 threads: CPU time",
        "2 threads: calls/s",
    ]);
    for (name, way) in [("in memory", "memory"), ("stdio", "stdio"), ("HTTP", &server.port)] {
        for in_flight in IN_FLIGHT {
            Cell { name, way, in_flight }.rows(&mut table);
        }
    }
    Section {
        title: "One call of a tool",
        before: "![Instructions for one call, by transport, beside rmcp and the floor](calls.svg)\n\nA typed call, on \
                 tokio. With more than one in flight the floor writes up to 200 requests at once and then\nreads the \
                 replies, or does one exchange after the other on as many connections.",
        tables: vec![("", table)],
        after: "",
    }
}
