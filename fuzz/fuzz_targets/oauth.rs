//! Any bytes, as a flow of OAuth: see `mcp/src/protocol/properties`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared_fate_mcp::properties::oauth(input));
