//! The floor: what a client on these bytes takes that does nothing else. It is blocking, by hand, of one thread: the
//! request is written with one system call, what comes is read, and the reply is decoded in one pass into the typed
//! result that [`shared_fate_mcp`] returns. It has no deadlines, no cancellation, no supervision and no handshake, it
//! trusts the server, and it does not say what failed.

use crate::client::{ARGUMENTS, Way, server_command};
use crate::load::{Meter, Spent, TEXT};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, from_slice, to_writer};
use shared_fate_mcp::types::{CallToolResult, Content};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// So many requests fit into one pipe, and their replies into the other, before either end has to read.
const AT_ONCE: usize = 200;

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: Params<'a>,
}

#[derive(Serialize)]
struct Params<'a> {
    name: &'static str,
    arguments: &'a Map<String, Value>,
}

/// A reply, decoded in one pass.
#[derive(Deserialize)]
pub(crate) struct Reply<'a, T> {
    jsonrpc: &'a str,
    pub(crate) id: u64,
    pub(crate) result: T,
}

/// The result of a tool as a view of the reply's text.
#[derive(Deserialize)]
pub(crate) struct ResultView<'a> {
    #[serde(borrow)]
    content: Vec<BlockView<'a>>,
    #[serde(rename = "isError")]
    is_error: bool,
}

#[derive(Deserialize)]
struct BlockView<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    text: &'a str,
}

/// A list of tools as a view of the reply's text; the schemas stay text.
#[derive(Deserialize)]
pub(crate) struct ToolsView<'a> {
    #[serde(borrow)]
    tools: Vec<ToolView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolView<'a> {
    name: &'a str,
    title: &'a str,
    description: &'a str,
    #[serde(borrow)]
    input_schema: &'a RawValue,
}

impl ResultView<'_> {
    pub(crate) fn len(&self) -> usize {
        assert!(!self.is_error && self.content.iter().all(|block| block.kind == "text"));
        self.content.iter().map(|block| block.text.len()).sum()
    }
}

impl ToolsView<'_> {
    pub(crate) fn len(&self) -> usize {
        let lengths = self.tools.iter().map(|tool| {
            tool.name.len() + tool.title.len() + tool.description.len() + tool.input_schema.get().len()
        });
        lengths.sum()
    }
}

/// Reads one reply.
pub(crate) fn decode<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Reply<'a, T> {
    let reply: Reply<'a, T> = from_slice(text).expect("a reply");
    assert_eq!(reply.jsonrpc, "2.0");
    reply
}

fn encode(id: u64, body: &mut Vec<u8>) {
    let params = Params { name: "echo", arguments: &ARGUMENTS };
    to_writer(body, &Request { jsonrpc: "2.0", id, method: "tools/call", params }).expect("memory");
}

/// The length of the text that the tool returned.
fn text_of(reply: Reply<'_, CallToolResult>) -> usize {
    match &reply.result.content[..] {
        [Content::Text(text)] => text.text.len(),
        other => panic!("{other:?}"),
    }
}

trait Line {
    /// Writes so many requests, and then reads their replies.
    fn exchange(&mut self, requests: usize);
}

pub(crate) fn run(way: Way, in_flight: usize, calls: usize) -> Spent {
    match way {
        Way::Memory => panic!("there is nothing to read from"),
        Way::Stdio => spend(Pipes::open(), in_flight.min(AT_ONCE), calls),
        Way::Http(port) => spend(Sockets::open(port, in_flight), in_flight, calls),
    }
}

fn spend(mut line: impl Line, in_flight: usize, calls: usize) -> Spent {
    line.exchange(in_flight);
    let meter = Meter::start();
    let mut left = calls;
    while left > 0 {
        let requests = left.min(in_flight);
        line.exchange(requests);
        left -= requests;
    }
    meter.stop()
}

struct Pipes {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    id: u64,
    output: Vec<u8>,
    input: Box<[u8]>,
}

impl Pipes {
    fn open() -> Self {
        let mut child =
            server_command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a server");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let input = vec![0; 128 * 1024].into();
        Self { child, stdin, stdout, id: 0, output: Vec::new(), input }
    }
}

impl Line for Pipes {
    fn exchange(&mut self, requests: usize) {
        self.output.clear();
        for _ in 0..requests {
            self.id += 1;
            encode(self.id, &mut self.output);
            self.output.push(b'\n');
        }
        self.stdin.write_all(&self.output).expect("a pipe");
        let (mut filled, mut begin, mut replies) = (0, 0, 0);
        while replies < requests {
            let read = self.stdout.read(&mut self.input[filled..]).expect("a pipe");
            assert_ne!(read, 0, "the server is there");
            let mut searched = filled;
            filled += read;
            while let Some(length) = memchr::memchr(b'\n', &self.input[searched..filled]) {
                let end = searched + length;
                let reply = decode::<CallToolResult>(&self.input[begin..end]);
                assert!(reply.id <= self.id && text_of(reply) == TEXT);
                (begin, searched) = (end + 1, end + 1);
                replies += 1;
            }
        }
        assert_eq!(begin, filled, "nothing but replies");
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Sockets {
    streams: Vec<TcpStream>,
    host: String,
    id: u64,
    body: Vec<u8>,
    output: Vec<u8>,
    input: Box<[u8]>,
}

impl Sockets {
    fn open(port: u16, in_flight: usize) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            stream
        };
        Self {
            streams: (0..in_flight).map(connect).collect(),
            host: format!("127.0.0.1:{port}"),
            id: 0,
            body: Vec::new(),
            output: Vec::new(),
            input: vec![0; 64 * 1024].into(),
        }
    }

    /// Makes a request, with the same head as the client's.
    fn encode(&mut self) {
        self.id += 1;
        self.body.clear();
        encode(self.id, &mut self.body);
        self.output.clear();
        write!(
            self.output,
            "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n\
             content-length: {}\r\n\r\n",
            self.host,
            self.body.len()
        )
        .expect("memory");
        self.output.extend_from_slice(&self.body);
    }
}

impl Line for Sockets {
    fn exchange(&mut self, requests: usize) {
        for at in 0..requests {
            self.encode();
            self.streams[at].write_all(&self.output).expect("a socket");
        }
        for stream in &mut self.streams[..requests] {
            let mut filled = 0;
            let body = loop {
                let read = stream.read(&mut self.input[filled..]).expect("a socket");
                assert_ne!(read, 0, "the server is there");
                filled += read;
                if let Some(body) = body_of(&self.input[..filled]) {
                    break body;
                }
            };
            let reply = decode::<CallToolResult>(body);
            assert!(reply.id <= self.id && text_of(reply) == TEXT);
        }
    }
}

/// The body of a response, if it is all there.
fn body_of(input: &[u8]) -> Option<&[u8]> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(input).expect("a head") else { return None };
    assert_eq!(response.code, Some(200));
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = std::str::from_utf8(length.expect("a length").value).expect("digits");
    input[head..].get(..length.parse().expect("a number"))
}
