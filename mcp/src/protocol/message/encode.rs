//! Outbound messages: strict JSON-RPC, one line each, built in one buffer.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Draft, RequestId, RpcError};
use memchr::memchr2;

/// How every message begins.
pub(super) const JSONRPC: &[u8] = br#"{"jsonrpc":"2.0""#;

/// Room for the fixed members of any message, so that most are built in one allocation.
const ENVELOPE: usize = 64;

/// A request without a line end, in which no raw line break occurs.
pub(crate) fn encode_request(id: u64, method: &str, params: Option<&RawValue>) -> Vec<u8> {
    let mut out = open(method.len() + params.map_or(0, raw_len));
    member(&mut out, "id", &id);
    member(&mut out, "method", method);
    close_with_params(out, params)
}

/// The request that was drafted, without a line end, in which no raw line break occurs.
pub(crate) fn encode_request_of(draft: Draft, id: u64) -> Vec<u8> {
    draft.with_id(id)
}

/// A notification without a line end, in which no raw line break occurs.
pub(crate) fn encode_notification(method: &str, params: Option<&RawValue>) -> Vec<u8> {
    let mut out = open(method.len() + params.map_or(0, raw_len));
    member(&mut out, "method", method);
    close_with_params(out, params)
}

/// The successful answer to a request of the peer.
pub(crate) fn encode_result(id: &RequestId, result: &RawValue) -> Vec<u8> {
    let mut out = open(id.as_str().len() + raw_len(result));
    raw_member(&mut out, "id", id.as_str());
    raw_member(&mut out, "result", result.get());
    out.push(b'}');
    out
}

/// The answer that refuses a request of the peer.
pub(crate) fn encode_error(id: &RequestId, error: &RpcError) -> Vec<u8> {
    let data = error.data();
    let content = error.message().len() + data.map_or(0, str::len);
    let mut out = open(id.as_str().len() + content + ENVELOPE);
    raw_member(&mut out, "id", id.as_str());
    out.extend_from_slice(br#","error":{"code":"#);
    value(&mut out, &error.code());
    member(&mut out, "message", error.message());
    if let Some(data) = data {
        raw_member(&mut out, "data", data);
    }
    out.extend_from_slice(b"}}");
    out
}

fn raw_len(raw: &RawValue) -> usize {
    raw.get().len()
}

fn open(content: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENVELOPE + content);
    out.extend_from_slice(JSONRPC);
    out
}

fn close_with_params(mut out: Vec<u8>, params: Option<&RawValue>) -> Vec<u8> {
    // Absent parameters are left out: `"params":null` is invalid.
    if let Some(params) = params.map(RawValue::get).filter(|params| *params != "null") {
        raw_member(&mut out, "params", params);
    }
    out.push(b'}');
    out
}

fn member<T: Serialize + ?Sized>(out: &mut Vec<u8>, name: &str, content: &T) {
    key(out, name);
    value(out, content);
}

fn raw_member(out: &mut Vec<u8>, name: &str, json: &str) {
    key(out, name);
    let from = out.len();
    out.extend_from_slice(json.as_bytes());
    without_line_breaks(out, from);
}

/// Takes raw line breaks out of the JSON text that begins there. They occur only between tokens, where JSON needs no space
/// at all.
pub(super) fn without_line_breaks(out: &mut Vec<u8>, from: usize) {
    let Some(first) = memchr2(b'\n', b'\r', &out[from..]) else { return };
    let rest = out.split_off(from + first);
    out.extend(rest.into_iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
}

/// Names are our own and need no escaping.
fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn value<T: Serialize + ?Sized>(out: &mut Vec<u8>, content: &T) {
    let written = serde_json::to_writer(out, content);
    debug_assert!(written.is_ok(), "numbers and strings always encode, and memory accepts all bytes");
}
