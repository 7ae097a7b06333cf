//! What a review of the MCP client found, and what it tried that held.
//!
//! A test that fails today is ignored, and says why; the attribute goes with the fix.
#![cfg(all(unix, feature = "mcp-stdio", feature = "mcp-http"))]

#[path = "../mcp_faults/check.rs"]
#[allow(dead_code, reason = "this binary uses a part of it")]
mod check;
#[path = "../fault/mod.rs"]
mod fault;
#[path = "../mcp_features/kit.rs"]
#[allow(dead_code, reason = "this binary uses a part of it")]
mod kit;

mod causes;
mod deadlines;
mod floods;
mod siblings;
