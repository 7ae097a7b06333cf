//! Any bytes, as members of objects: see `mcp/src/protocol/properties`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared_fate_mcp::properties::object(input));
