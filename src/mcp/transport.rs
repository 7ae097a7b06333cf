//! Transports.

#[cfg(feature = "mcp-http")]
pub(crate) mod http;
