//! The load, in a process of its own: so many calls in flight, each task's next call after its last.

use crate::client::{Client, Way, Who, ours, rmcp};
use crate::wire::RESULT;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// The length of the text that every call returns.
const TEXT: usize = RESULT.len() - r#"{"content":[{"type":"text","text":""}],"isError":false}"#.len();

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) who: Who,
    pub(crate) way: Way,
    pub(crate) in_flight: usize,
    pub(crate) calls: usize,
    pub(crate) threads: usize,
}

/// What the calls took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

pub(crate) fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build().expect("a runtime")
}

impl Load {
    /// In this process.
    pub(crate) fn run(self) -> Spent {
        runtime(self.threads).block_on(async move {
            match self.who {
                Who::Ours | Who::OursOnTokio => {
                    self.with(ours(self.way, self.who == Who::OursOnTokio).await).await
                }
                Who::Rmcp | Who::RmcpDefault => self.with(rmcp(self.way, self.who == Who::Rmcp).await).await,
            }
        })
    }

    async fn with(self, client: impl Client) -> Spent {
        // Warm: connections open, tables grown.
        self.calls(&client, 2 * self.in_flight).await;
        let (wall, cpu) = (Instant::now(), cpu());
        self.calls(&client, self.calls).await;
        Spent { cpu: self::cpu() - cpu, wall: wall.elapsed() }
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
