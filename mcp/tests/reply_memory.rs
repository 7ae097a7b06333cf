//! One reply costs at most eight times its text, whatever is in it: at the peak, with all copies. A reply that would cost
//! more fails, and the error has its text. A process of its own, because it counts what is allocated.

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
/// separated by commas, then `after`. It sends so many `pages` of this, each with another cursor, the last with none.
#[derive(Clone)]
struct Reply {
    before: &'static str,
    item: &'static str,
    after: &'static str,
    length: usize,
    pages: usize,
}

#[derive(Default)]
struct State {
    /// How many lines the client has written.
    lines: usize,
    /// How many pages were sent.
    pages: usize,
    waiting: Option<Waker>,
}

struct Server {
    state: Arc<Mutex<State>>,
    reply: Reply,
    /// What comes before the items of the present page.
    head: String,
    /// How many replies were begun.
    begun: usize,
    /// How much of the present page is sent, of how much.
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

/// What comes before the result of the call, or of a page of it.
fn envelope(page: usize) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":", page + 2)
}

impl Reply {
    /// What comes before the items of a page.
    fn head(&self, page: usize) -> String {
        let next = if page + 1 < self.pages { format!("\"nextCursor\":\"{page}\",") } else { String::new() };
        let before = self.before.strip_prefix('{').expect("an object");
        format!("{}{{{next}{before}", envelope(page))
    }

    /// How long a page is.
    fn total(&self, page: usize) -> usize {
        let fixed = self.head(page).len() + self.after.len() + 2;
        let count = (self.length - fixed + 1) / (self.item.len() + 1);
        fixed + count * (self.item.len() + 1) - 1
    }
}

impl Server {
    fn begin(&mut self, page: usize) {
        (self.begun, self.sent) = (page + 1, 0);
        (self.head, self.total) = (self.reply.head(page), self.reply.total(page));
    }

    /// Bytes of the page from `at` on, up to the end of the part that they are in.
    fn piece(&self, at: usize) -> &[u8] {
        let Reply { item, after, .. } = self.reply;
        let fixed = self.head.len();
        let items = self.total - fixed - after.len() - 2;
        if at < fixed {
            &self.head.as_bytes()[at..]
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
        // The handshake is answered after one line, the first page sent after three, and each other page after one more.
        let lines = [1, self.begun + 2][self.begun.min(1)];
        if self.sent == 0 {
            let mut state = self.state.lock().unwrap();
            if state.lines < lines || self.begun > self.reply.pages {
                state.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        if self.begun == 0 {
            buffer[..INITIALIZED.len()].copy_from_slice(INITIALIZED.as_bytes());
            self.begin(0);
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
            self.state.lock().unwrap().pages += 1;
            let next = self.begun;
            self.begin(next);
        }
        Poll::Ready(Ok(filled))
    }
}

/// Whether the call succeeded, and how many times the text of one page it cost.
fn cost(limits: &Limits, reply: &Reply, call: impl AsyncFn(&Client) -> Result<(), Error>) -> (bool, f64) {
    let _alone = allocator::alone();
    let state = Arc::<Mutex<State>>::default();
    let item = reply.item;
    let server = Server {
        state: Arc::clone(&state),
        reply: reply.clone(),
        head: String::new(),
        begun: 0,
        sent: 0,
        total: 0,
    };
    let requests = Requests(Arc::clone(&state));
    pollster::block_on(async {
        let builder = Client::builder().mode(Mode::Legacy).limits(limits.clone());
        let (client, driver) = builder.connect(Stdio::over(server, requests)).await.unwrap();
        let measured = async {
            let before = allocator::begin();
            let result = call(&client).await;
            let pages = state.lock().unwrap().pages;
            let times = (allocator::peak() - before) as f64 / reply.total(0) as f64;
            if let Err(error) = &result {
                assert!(matches!(error.kind(), ErrorKind::Limit(_)), "{item}: {error:#}");
                // The error has the page that was too much.
                let last = reply.total(pages - 1) - envelope(pages - 1).len() - 2;
                assert_eq!(error.result_text().map(str::len), Some(last), "{item}");
            } else {
                assert_eq!(pages, reply.pages, "{item}");
            }
            (result.is_ok(), times)
        };
        driver.run_until(measured).await
    })
}

/// All replies that are known to cost much, and some more.
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
        .map(|(method, before, item, after)| (method, Reply { before, item, after, length, pages: 1 }))
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

/// A sixteenth of the default limits, which takes a sixteenth of the time, and replies as long as they allow.
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

/// A client keeps the pages of a list until the last one has come: together they cost no more than one reply may. In this
/// test a reply may be as long as four pages.
#[test]
fn all_pages_cost_at_most_what_one_reply_may() {
    let mut limits = Limits::default();
    limits.line /= 16;
    limits.decoded /= 16;
    let family = family(limits.line / 4).into_iter().filter(|(method, _)| method.ends_with("/list"));
    let (mut taken, mut refused) = (0, 0);
    for (method, mut reply) in family {
        reply.pages = 12;
        let (ok, times) = cost(&limits, &reply, async |client| call(client, method).await);
        println!(
            "{times:5.2} times a page, {}: {method} {}",
            if ok { "taken" } else { "refused" },
            reply.item
        );
        assert!(times <= 4.0 * 8.0, "{method} {}: {times} times a page", reply.item);
        *if ok { &mut taken } else { &mut refused } += 1;
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

/// The two replies that cost most, in full size.
#[test]
fn sixteen_mebibytes_cost_at_most_a_hundred_and_twenty_eight() {
    let limits = Limits::default();
    let costliest = [r#"{"role":"x","content":{}}"#, r#"{"src":"x"}"#];
    for (method, reply) in
        family(limits.line).into_iter().filter(|(_, reply)| costliest.contains(&reply.item))
    {
        let (_, times) = cost(&limits, &reply, async |client| call(client, method).await);
        assert!(times <= 8.0, "{method} {}: {times} times its text", reply.item);
    }
}

/// A long list of usual tools is far below the limit.
#[test]
fn what_is_usual_is_taken() {
    let limits = Limits::default();
    let tool = concat!(
        r#"{"name":"search_issues","description":"Search the issues of a repository, by words, labels and state.","#,
        r#""inputSchema":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}}}}"#
    );
    let reply = Reply { before: r#"{"tools":["#, item: tool, after: "]}", length: 2 << 20, pages: 1 };
    let (ok, times) = cost(&limits, &reply, async |client| call(client, "tools/list").await);
    assert!(ok && times < 8.0, "{times}");
}
