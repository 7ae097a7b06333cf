//! Transports.

#[cfg(feature = "mcp-stdio")]
mod stdio;
