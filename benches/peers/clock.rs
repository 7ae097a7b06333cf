//! What a thread has computed, without the time in which others had its core.

use std::time::Duration;

/// Counts from its start.
#[derive(Debug)]
pub(crate) struct Clock(Duration);

impl Clock {
    /// What it reads.
    pub(crate) const READS: &str = now::READS;

    pub(crate) fn start() -> Self {
        Self(now::now())
    }

    /// To be asked on the thread that has started it.
    pub(crate) fn elapsed(&self) -> Duration {
        now::now() - self.0
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
mod now {
    use rustix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    pub(super) const READS: &str = "CPU time of the thread";

    /// A system call: some hundred nanoseconds.
    pub(super) fn now() -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a thread's time is not negative")
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod now {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    pub(super) const READS: &str =
        "wall clock, for want of a thread's CPU clock here: on a loaded machine long cells are too long";

    pub(super) fn now() -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}
