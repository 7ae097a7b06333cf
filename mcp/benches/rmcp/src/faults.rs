//! From the fault to the caller's error. The call that asks for the fault is timed, so what is shown is
//! the fault's way to the caller and the request's way to the server, too.

use crate::client::{Client, Way, ours, rmcp};
use crate::load::runtime;
use crate::page::Section;
use crate::server::Process;
use crate::table::{Table, less};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A call that takes longer is taken to hang.
const PATIENCE: Duration = Duration::from_secs(2);

struct Fault {
    name: &'static str,
    http: bool,
    /// The tool whose call brings the fault about.
    tool: &'static str,
    /// How many calls wait for something else when the fault happens, and are to fail with it.
    others: usize,
    runs: usize,
}

const FAULTS: [Fault; 6] = [
    Fault { name: "stdio: the server exits, 1 call pending", http: false, tool: "die", others: 0, runs: 200 },
    Fault {
        name: "stdio: the server exits, 64 calls pending, until the last has its error",
        http: false,
        tool: "die",
        others: 63,
        runs: 200,
    },
    Fault { name: "stdio: the reply is malformed", http: false, tool: "malformed", others: 0, runs: 50 },
    Fault { name: "HTTP: status 500", http: true, tool: "failed", others: 0, runs: 1000 },
    Fault { name: "HTTP: the connection is closed", http: true, tool: "die", others: 0, runs: 1000 },
    Fault { name: "HTTP: 202 and no reply", http: true, tool: "accepted", others: 0, runs: 200 },
];

impl Fault {
    /// The time until the last of the calls has failed; `None` if one does not fail in time.
    async fn strike(&self, client: &impl Client) -> Option<Duration> {
        client.call("echo").await.expect("all is well");
        let others: Vec<_> = (0..self.others)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.call("held").await })
            })
            .collect();
        // The fault is asked for after those calls, so they are pending when it is answered.
        tokio::task::yield_now().await;
        let start = Instant::now();
        let all = async {
            client.call(self.tool).await.expect_err("a fault");
            for other in join_all(others).await {
                other.expect("no panic").expect_err("a fault");
            }
            start.elapsed()
        };
        timeout(PATIENCE, all).await.ok()
    }

    async fn run(&self, port: u16) -> [Times; 2] {
        let way = if self.http { Way::Http(port) } else { Way::Stdio };
        let (mut ours, mut theirs) = (ours(way, false).await, rmcp(way, true).await);
        let (mut our_times, mut their_times) = (Times::default(), Times::default());
        for run in 0..self.runs {
            if run > 0 && !self.http {
                (ours, theirs) = (crate::client::ours(way, false).await, rmcp(way, true).await);
            }
            our_times.add(self.strike(&ours).await);
            if !their_times.hangs {
                their_times.add(self.strike(&theirs).await);
            }
        }
        [our_times.sorted(), their_times.sorted()]
    }
}

#[derive(Default)]
struct Times {
    all: Vec<Duration>,
    hangs: bool,
}

impl Times {
    fn add(&mut self, time: Option<Duration>) {
        self.hangs |= time.is_none();
        self.all.extend(time);
    }

    fn sorted(mut self) -> Self {
        self.all.sort_unstable();
        self
    }

    /// Milliseconds.
    fn at(&self, percent: usize) -> f64 {
        self.all[(self.all.len() - 1) * percent / 100].as_secs_f64() * 1000.0
    }

    fn show(&self) -> String {
        match self.hangs {
            true => format!("none within {} s", PATIENCE.as_secs()),
            false => format!("{:.2}, {:.2}", self.at(50), self.at(99)),
        }
    }
}

pub(crate) fn section() -> Section {
    let server = Process::http();
    let port = server.port.parse().expect("a port");
    let mut table = Table::new(["fault", "ours", "rmcp", "medians: ours / rmcp"]);
    for fault in &FAULTS {
        let [ours, theirs] = runtime(2).block_on(fault.run(port));
        let share = match ours.hangs || theirs.hangs {
            true => String::new(),
            false => less(ours.at(50), theirs.at(50)),
        };
        table.row([fault.name.to_owned(), ours.show(), theirs.show(), share]);
    }
    Section {
        title: "From a fault to the error",
        before: "![From a fault to the error, milliseconds](faults.svg)\n\nMilliseconds: median, 99th percentile. What \
                 is timed is the call that asks for the fault: so the request's way to the\nserver is in it, too.",
        tables: vec![("", table)],
        after: "",
    }
}
