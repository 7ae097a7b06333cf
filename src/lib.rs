//! A pending request shares the fate of its session.

#[cfg(feature = "mcp")]
pub mod mcp;
