//! Any bytes, as header values and mirrored arguments: see `mcp/src/protocol/properties`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared_fate_mcp::properties::headers(input));
