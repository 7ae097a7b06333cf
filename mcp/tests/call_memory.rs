//! What a call allocates, and what a client that waits occupies. A process of its own, because it counts what is allocated.

mod allocator;

use futures::io::{AsyncRead, AsyncWrite};
use shared_fate_mcp::runtime::{BoxFuture, Timer};
use shared_fate_mcp::types::Content;
use shared_fate_mcp::{Builder, Client, Driver, Mode, Stdio};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#;
const ANSWER: &str =
    r#"{"content":[{"type":"text","text":"The capital of France is Paris."}],"isError":false}"#;

/// A server that allocates nothing: it answers one request at a time.
struct Server {
    reply: [u8; 192],
    length: usize,
    waiting: Option<Waker>,
}

#[derive(Clone)]
struct End(Arc<Mutex<Server>>);

impl End {
    fn pair() -> (Self, Self) {
        let end = Self(Arc::new(Mutex::new(Server { reply: [0; 192], length: 0, waiting: None })));
        (end.clone(), end)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap()
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap();
        let text = std::str::from_utf8(line.strip_suffix(b"\n").expect("whole lines")).unwrap();
        if let Some((_, rest)) = text.split_once(r#""id":"#) {
            let id = &rest[..rest.find(',').unwrap()];
            let result = if text.contains("initialize") { INITIALIZED } else { ANSWER };
            let mut server = self.server();
            assert_eq!(server.length, 0, "one at a time");
            let mut room = &mut server.reply[..];
            let whole = room.len();
            writeln!(room, r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).unwrap();
            let left = room.len();
            server.length = whole - left;
            let waiting = server.waiting.take();
            drop(server);
            waiting.into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(line.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut server = self.server();
        if server.length == 0 {
            server.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = std::mem::take(&mut server.length);
        bytes[..length].copy_from_slice(&server.reply[..length]);
        Poll::Ready(Ok(length))
    }
}

/// Time stands still: a timer that goes off in another thread would allocate there.
struct Still(Instant);

impl Timer for Still {
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn now(&self) -> Instant {
        self.0
    }
}

async fn connect(builder: Builder) -> (Client, Driver) {
    let (reader, writer) = End::pair();
    builder.mode(Mode::Legacy).connect(Stdio::over(reader, writer)).await.unwrap()
}

async fn call(client: &Client, arguments: &BTreeMap<&str, &str>) {
    let result = client.call_tool("capital", arguments).await.unwrap();
    let [Content::Text(text)] = &result.content[..] else { panic!("{result:?}") };
    assert_eq!(text.text, "The capital of France is Paris.");
}

/// The four are the request, the text of the result, the list of its contents, and the text in that list.
#[test]
fn a_call_allocates_four_times() {
    let _alone = allocator::alone();
    let arguments = BTreeMap::from([("country", "France")]);
    // A reactor in this thread would allocate, too.
    pollster::block_on(async {
        let builder = Client::builder().timer(Still(Instant::now()));
        let (client, driver) = connect(builder).await;
        let calls = async {
            // The first calls let the tables grow, and set the alarm.
            for _ in 0..16 {
                call(&client, &arguments).await;
            }
            let before = allocator::count();
            for _ in 0..100 {
                call(&client, &arguments).await;
            }
            let allocations = allocator::count() - before;
            assert!((400..404).contains(&allocations), "100 calls: {allocations}");
        };
        driver.run_until(calls).await;
    });
}

/// A call that is over gives back what it needed. Most clients wait, most of the time.
#[test]
fn an_idle_client_occupies_six_kilobytes() {
    const CLIENTS: usize = 100;
    let _alone = allocator::alone();
    let arguments = BTreeMap::from([("country", "France")]);
    pollster::block_on(async {
        let used = async || {
            let (client, driver) = connect(Client::builder()).await;
            let mut driver = Box::pin(driver);
            futures::future::select(pin!(call(&client, &arguments)), &mut driver).await;
            assert!(futures::poll!(&mut driver).is_pending());
            (client, driver)
        };
        let mut clients = Vec::with_capacity(CLIENTS + 1);
        // The first client leaves what is there once, such as the thread's buffers.
        clients.push(used().await);
        let before = allocator::bytes();
        for _ in 0..CLIENTS {
            clients.push(used().await);
        }
        let each = (allocator::bytes() - before) / CLIENTS;
        println!("{each} bytes for each idle client");
        assert!(each <= 6000, "{each} bytes for each idle client");
    });
}
