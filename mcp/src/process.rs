//! A server process: starting it, its end, its process group. It knows nothing of MCP, and of no executor.

#[cfg(feature = "stdio")]
mod child;
mod exit_status;

#[cfg(feature = "stdio")]
pub(crate) use child::{Child, Pipes};
pub use exit_status::ExitStatus;
