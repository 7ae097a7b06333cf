//! Timers, sockets and pipes, on any executor or on tokio. It knows nothing of MCP.

pub(crate) mod output;
#[cfg(feature = "stdio")]
pub(crate) mod pipes;
pub(crate) mod timer;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
