//! The load, in a process of its own: so many calls in flight, each task's next call after its last.

use crate::client::{Client, Way, Who, connect, ours, rmcp};
use crate::wire::RESULT;
use crate::{counting, floor};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// The length of the text that every call returns.
pub(crate) const TEXT: usize =
    RESULT.len() - r#"{"content":[{"type":"text","text":""}],"isError":false}"#.len();

/// What polls the futures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// A runtime of tokio's with so many threads; the driver and the calls are tasks.
    Tokio(usize),
    /// `smol::block_on`, and the driver is a task of smol's.
    Smol,
    /// `async_io::block_on` of the driver and one call after the other.
    AsyncIo,
    /// `pollster::block_on` of the driver and one call after the other.
    Pollster,
}

impl On {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "smol" => Self::Smol,
            "async-io" => Self::AsyncIo,
            "pollster" => Self::Pollster,
            threads => Self::Tokio(threads.parse().expect("an executor")),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) who: Who,
    pub(crate) way: Way,
    pub(crate) in_flight: usize,
    pub(crate) calls: usize,
    pub(crate) on: On,
}

/// What the calls took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    /// 0 unless they are counted.
    pub(crate) allocations: i64,
    /// How often a thread of the client's was taken off its processor, voluntarily or not.
    pub(crate) switches: i64,
}

impl Spent {
    /// The four numbers as the process prints them.
    pub(crate) fn show(self) -> String {
        let (cpu, wall) = (self.cpu.as_nanos(), self.wall.as_nanos());
        format!("{cpu} {wall} {} {}", self.allocations, self.switches)
    }

    /// The four numbers that were printed, each divided by the number of calls.
    pub(crate) fn read(text: &str, calls: usize) -> [f64; 4] {
        let mut numbers = text.split(' ').map(|number| number.parse::<f64>().expect("a number"));
        [(); 4].map(|()| numbers.next().expect("four numbers") / calls as f64)
    }
}

/// Measures from before the calls until after them.
pub(crate) struct Meter {
    wall: Instant,
    cpu: Duration,
    allocations: i64,
    switches: i64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        let (allocations, switches) = (counting::allocations(), switches());
        Self { wall: Instant::now(), cpu: cpu(), allocations, switches }
    }

    pub(crate) fn stop(self) -> Spent {
        Spent {
            cpu: cpu() - self.cpu,
            wall: self.wall.elapsed(),
            allocations: counting::allocations() - self.allocations,
            switches: switches() - self.switches,
        }
    }
}

pub(crate) fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build().expect("a runtime")
}

impl Load {
    /// Makes the calls in this process.
    pub(crate) fn run(self) -> Spent {
        match (self.who, self.on) {
            (Who::Floor, _) => floor::run(self.way, self.in_flight, self.calls),
            (who, On::Tokio(threads)) => runtime(threads).block_on(async move {
                match who {
                    Who::Rmcp | Who::RmcpDefault => self.with(rmcp(self.way, who == Who::Rmcp).await).await,
                    _ => self.with(ours(self.way, who == Who::OursOnTokio).await).await,
                }
            }),
            (_, On::Smol) => smol::block_on(async {
                let (client, driver) = connect(self.way, false).await;
                smol::spawn(driver).detach();
                self.one_by_one(client).await
            }),
            (_, On::AsyncIo) => async_io::block_on(self.alone()),
            (_, On::Pollster) => pollster::block_on(self.alone()),
        }
    }

    async fn alone(self) -> Spent {
        let (client, driver) = connect(self.way, false).await;
        driver.run_until(self.one_by_one(client)).await
    }

    async fn one_by_one(self, client: impl Client) -> Spent {
        for _ in 0..8 {
            assert_eq!(client.call("echo").await, Ok(TEXT));
        }
        let meter = Meter::start();
        for _ in 0..self.calls {
            assert_eq!(client.call("echo").await, Ok(TEXT));
        }
        meter.stop()
    }

    async fn with(self, client: impl Client) -> Spent {
        // Connections are opened, and tables grow.
        self.calls(&client, 2 * self.in_flight).await;
        let meter = Meter::start();
        self.calls(&client, self.calls).await;
        meter.stop()
    }

    async fn calls(self, client: &impl Client, calls: usize) {
        let tasks = (0..self.in_flight).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..calls / self.in_flight {
                    assert_eq!(client.call("echo").await, Ok(TEXT));
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("every call is answered");
        }
    }
}

/// The CPU time of this process, all threads.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

fn switches() -> i64 {
    // SAFETY: all zeros is a value of `rusage`, and `usage` is writable.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    usage.ru_nvcsw + usage.ru_nivcsw
}
