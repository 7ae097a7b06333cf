//! [`Timer`]: where time comes from.

use std::pin::Pin;
use std::time::{Duration, Instant};

/// A boxed future, as the traits of this module use it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a client's deadlines come from.
///
/// The default, [`AsyncIoTimer`], works on every executor and on none. `TokioTimer` (feature `tokio`)
/// is for tokio's own timers. Implement this for those of another runtime, or for a clock that a test
/// controls.
pub trait Timer: Send + Sync + 'static {
    /// Resolves after `duration`, whoever polls it.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// The time now. Monotonic.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// The scope of a timer that is made now: calls that are polled in other scopes do not rely on that timer.
    ///
    /// If a timer goes off only while the runtime that it was made in runs, each such runtime is a scope with a number of its
    /// own. Timers that go off everywhere share the scope 0.
    fn scope(&self) -> u64 {
        0
    }
}

/// Timers of the `async-io` crate: its one thread serves every executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncIoTimer;

impl Timer for AsyncIoTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let timer = async_io::Timer::after(duration);
        Box::pin(async move {
            timer.await;
        })
    }
}

/// In milliseconds: no time at all.
pub(crate) const NEVER: u64 = u64::MAX;

/// Whole milliseconds, saturating below [`NEVER`].
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER).min(NEVER - 1)
}
