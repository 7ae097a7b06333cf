//! Timers, sockets and pipes, on any executor or on tokio. It knows nothing of MCP.
//!
//! Deadlines come from a [`Timer`]. The default one works on every executor; this one is for a test that decides when time
//! passes:
//!
//! ```
//! use shared_fate_mcp::runtime::{BoxFuture, Timer};
//! use std::time::Duration;
//!
//! /// No deadline ever comes.
//! struct Never;
//!
//! impl Timer for Never {
//!     fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
//!         Box::pin(std::future::pending())
//!     }
//! }
//!
//! let builder = shared_fate_mcp::Client::builder().timer(Never);
//! ```

pub(crate) mod output;
#[cfg(feature = "stdio")]
pub(crate) mod pipes;
pub(crate) mod timer;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

/// What says that a socket or a pipe is ready.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Reactor {
    /// That of `async-io`.
    #[default]
    AsyncIo,
    /// That of the runtime at hand; there must be one.
    #[cfg(feature = "tokio")]
    Tokio,
}

pub use timer::{AsyncIoTimer, BoxFuture, Timer};
#[cfg(all(feature = "http", feature = "tokio"))]
pub use tokio::TokioNet;
#[cfg(feature = "tokio")]
pub use tokio::{TokioIo, TokioTimer};
