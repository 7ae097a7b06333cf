//! One reply costs at most eight times its text, whatever is in it: at the peak, with all copies. What would cost more fails,
//! and the error has the text. A process of its own, because it counts what is allocated.

mod allocator;

use futures::io::{AsyncRead, AsyncWrite};
use shared_fate_mcp::types::CompletionTarget;
use shared_fate_mcp::{Client, Error, ErrorKind, Limits, Mode, Stdio};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A server that keeps nothing of what it sends: a reply is `before`, then `item` as often as it fits into `length`,
/// separated by commas, then `after`.
#[derive(Clone)]
struct Reply {
    before: &'static str,
    item: &'static str,
    after: &'static str,
    length: usize,
}

#[derive(Default)]
struct State {
    /// How many lines the client has written.
    lines: usize,
    waiting: Option<Waker>,
}

struct Server {
    state: Arc<Mutex<State>>,
    reply: Reply,
    /// How many replies were begun, and how much of this one is sent.
    begun: usize,
    sent: usize,
    total: usize,
}

/// What the client writes: lines are counted, and nothing is kept.
struct Requests(Arc<Mutex<State>>);

impl AsyncWrite for Requests {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waiting = {
            let mut state = self.0.lock().unwrap();
            state.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
            state.waiting.take()
        };
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const INITIALIZED: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocolVersion\":\"2025-11-25\",\
    \"capabilities\":{},\"serverInfo\":{\"name\":\"s\",\"version\":\"1\"}}}\n";
const HEAD: &str = "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":";

impl Server {
    /// The byte of the big reply at this place.
    fn piece(&self, at: usize) -> &[u8] {
        let Reply { before, item, after, .. } = self.reply;
        let fixed = HEAD.len() + before.len();
        let items = self.total - fixed - after.len() - 2;
        if at < HEAD.len() {
            &HEAD.as_bytes()[at..]
        } else if at < fixed {
            &before.as_bytes()[at - HEAD.len()..]
        } else if at < fixed + items {
            let at = (at - fixed) % (item.len() + 1);
            if at == item.len() { b"," } else { &item.as_bytes()[at..] }
        } else if at < self.total - 2 {
            &after.as_bytes()[at - fixed - items..]
        } else {
            &b"}\n"[at + 2 - self.total..]
        }
    }
}

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // After `initialize` the handshake; after `initialized` and the call the reply.
        let lines = [1, 3][self.begun.min(1)];
        if self.sent == 0 {
            let mut state = self.state.lock().unwrap();
            if state.lines < lines || self.begun > 1 {
                state.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        if self.begun == 0 {
            buffer[..INITIALIZED.len()].copy_from_slice(INITIALIZED.as_bytes());
            self.begun = 1;
            return Poll::Ready(Ok(INITIALIZED.len()));
        }
        let mut filled = 0;
        while filled < buffer.len() && self.sent < self.total {
            let piece = self.piece(self.sent);
            let length = piece.len().min(buffer.len() - filled).min(self.total - self.sent);
            buffer[filled..filled + length].copy_from_slice(&piece[..length]);
            filled += length;
            self.sent += length;
        }
        if self.sent == self.total {
            (self.begun, self.sent) = (2, 0);
        }
        Poll::Ready(Ok(filled))
    }
}

/// What is allocated is counted for the whole process, so one call is measured at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Whether the call succeeded, and how many times the text it cost.
fn cost(limits: &Limits, reply: &Reply, call: impl AsyncFn(&Client) -> Result<(), Error>) -> (bool, f64) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let state = Arc::<Mutex<State>>::default();
    let Reply { before, item, after, length } = reply;
    let fixed = HEAD.len() + before.len() + after.len() + 2;
    let count = (length - fixed + 1) / (item.len() + 1);
    let total = fixed + count * (item.len() + 1) - 1;
    let server = Server { state: Arc::clone(&state), reply: reply.clone(), begun: 0, sent: 0, total };
    pollster::block_on(async {
        let builder = Client::builder().mode(Mode::Legacy).limits(limits.clone());
        let (client, driver) = builder.connect(Stdio::over(server, Requests(state))).await.unwrap();
        let measured = async {
            let before = allocator::begin();
            let result = call(&client).await;
            let times = (allocator::peak() - before) as f64 / total as f64;
            if let Err(error) = &result {
                assert!(matches!(error.kind(), ErrorKind::Limit(_)), "{item}: {error:#}");
                assert_eq!(error.result_text().map(str::len), Some(total - HEAD.len() - 2), "{item}");
            }
            (result.is_ok(), times)
        };
        driver.run_until(measured).await
    })
}

/// All that is known to cost much, and some more.
fn family(length: usize) -> Vec<(&'static str, Reply)> {
    let content = r#"{"content":["#;
    let rows = [
        ("tools/call", content, "{}", "]}"),
        ("tools/call", content, r#"{"type":"x"}"#, "]}"),
        ("tools/call", content, r#"{"type":"text","text":""}"#, "]}"),
        ("tools/call", content, r#"{"text":"","type":"text"}"#, "]}"),
        ("tools/call", content, r#"{"type":"image","data":"x"}"#, "]}"),
        ("tools/call", content, r#"{"type":"resource_link","uri":"x"}"#, "]}"),
        ("tools/call", content, r#"{"type":"resource","resource":{}}"#, "]}"),
        ("tools/call", content, r#"{"type":"tool_use","id":"1"}"#, "]}"),
        ("tools/call", content, "7", "]}"),
        ("tools/call", content, r#""""#, "]}"),
        ("tools/call", r#"{"structuredContent":["#, "0", "]}"),
        ("tools/call", r#"{"structuredContent":{"a":["#, "{}", "]}}"),
        ("tools/call", "{", r#""a":0"#, "}"),
        ("tools/call", r#"{"_meta":{"#, r#""a":0"#, "}}"),
        ("tools/call", r#"{"content":[{"type":"text","text":"a"#, r"\u00e4", "\"}]}"),
        ("tools/call", r#"{"content":[{"type":"text","text":"a"#, "b", "\"}]}"),
        ("tools/call", r#"{"content":[{"type":"text","#, r#""a":0"#, "}]}"),
        ("tools/list", r#"{"tools":["#, r#"{"name":"a"}"#, "]}"),
        ("tools/list", r#"{"tools":["#, "{}", "]}"),
        ("tools/list", r#"{"tools":[{"name":"a","icons":["#, r#"{"src":"x"}"#, "]}]}"),
        ("resources/list", r#"{"resources":["#, r#"{"uri":"a"}"#, "]}"),
        ("resources/templates/list", r#"{"resourceTemplates":["#, r#"{"uriTemplate":"a"}"#, "]}"),
        ("resources/read", r#"{"contents":["#, "{}", "]}"),
        ("prompts/list", r#"{"prompts":["#, r#"{"name":"a"}"#, "]}"),
        ("prompts/list", r#"{"prompts":[{"name":"p","arguments":["#, r#"{"name":"a"}"#, "]}]}"),
        ("prompts/get", r#"{"messages":["#, "{}", "]}"),
        ("prompts/get", r#"{"messages":["#, r#"{"role":"x","content":{}}"#, "]}"),
        ("completion/complete", r#"{"completion":{"values":["#, r#""""#, "]}}"),
        ("tasks/list", r#"{"tasks":["#, r#"{"taskId":"a"}"#, "]}"),
    ];
    rows.into_iter()
        .map(|(method, before, item, after)| (method, Reply { before, item, after, length }))
        .collect()
}

async fn call(client: &Client, method: &str) -> Result<(), Error> {
    match method {
        "tools/call" => client.call_tool("x", ()).await.map(drop),
        "tools/list" => client.list_tools().await.map(drop),
        "resources/list" => client.list_resources().await.map(drop),
        "resources/templates/list" => client.list_resource_templates().await.map(drop),
        "resources/read" => client.read_resource("x:y").await.map(drop),
        "prompts/list" => client.list_prompts().await.map(drop),
        "prompts/get" => client.get_prompt("x", ()).await.map(drop),
        "tasks/list" => client.list_tasks().await.map(drop),
        _ => {
            let target = CompletionTarget::Prompt { name: "x".to_owned() };
            client.complete(&target, "x", "", &BTreeMap::new()).await.map(drop)
        }
    }
}

/// The default limits, and replies as long as they allow; in a sixteenth of their size, which takes a sixteenth of the time.
#[test]
fn one_reply_costs_at_most_eight_times_its_text() {
    let mut limits = Limits::default();
    limits.line /= 16;
    limits.decoded /= 16;
    let mut worst = (0.0, String::new());
    for (method, reply) in family(limits.line) {
        let (ok, times) = cost(&limits, &reply, async |client| call(client, method).await);
        println!(
            "{times:5.2} times, {}: {method} {}{}…",
            if ok { "taken" } else { "refused" },
            reply.before,
            reply.item
        );
        assert!(times <= 8.0, "{method} {}{}: {times} times its text", reply.before, reply.item);
        if times > worst.0 {
            worst = (times, reply.item.to_owned());
        }
    }
    println!("at worst {:.2} times: {}", worst.0, worst.1);
}

/// Of full size, the three that cost most in the first edition.
#[test]
fn sixteen_mebibytes_cost_at_most_a_hundred_and_twenty_eight() {
    let limits = Limits::default();
    for (method, reply) in family(limits.line).into_iter().filter(|(_, reply)| {
        matches!((reply.before, reply.item), (r#"{"content":["#, "{}") | (r#"{"tools":["#, r#"{"name":"a"}"#))
    }) {
        let (_, times) = cost(&limits, &reply, async |client| call(client, method).await);
        assert!(times <= 8.0, "{method} {}: {times} times its text", reply.item);
    }
}

/// What people send is far below the limit.
#[test]
fn what_is_usual_is_taken() {
    let limits = Limits::default();
    let tool = concat!(
        r#"{"name":"search_issues","description":"Search the issues of a repository, by words, labels and state.","#,
        r#""inputSchema":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}}}}"#
    );
    let reply = Reply { before: r#"{"tools":["#, item: tool, after: "]}", length: 2 << 20 };
    let (ok, times) = cost(&limits, &reply, async |client| call(client, "tools/list").await);
    assert!(ok && times < 8.0, "{times}");
}
