//! Driver and caller on two runtimes, and so on two threads: what is an echo and what is a cause is a race then.

use std::future::Future;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// How long a call may wait before it counts as hung.
pub const LIMIT: Duration = Duration::from_secs(2);

/// One runtime for the servers and what breaks them, one for drivers, and one for callers.
pub struct Runtimes {
    servers: Runtime,
    drivers: Runtime,
    callers: Runtime,
    idle: Runtime,
}

impl Default for Runtimes {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtimes {
    pub fn new() -> Self {
        let idle = Builder::new_current_thread().build().expect("a runtime");
        Self { servers: runtime(), drivers: runtime(), callers: runtime(), idle }
    }

    /// Runs a test: a caller, on a thread of its own.
    pub fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        self.callers.block_on(test)
    }

    /// The runtime of the servers, and of what stands before them.
    pub fn servers(&self) -> &Handle {
        self.servers.handle()
    }

    /// The runtime of the drivers. A connection belongs to the runtime in which it was made.
    pub fn drivers(&self) -> &Handle {
        self.drivers.handle()
    }

    /// A runtime without a thread that runs it: what is spawned there is never polled.
    pub fn idle(&self) -> &Handle {
        self.idle.handle()
    }
}

/// A runtime with one thread of its own.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}
