//! A whole client against a server that writes what the input says: bytes, and messages that are nearly right.
//!
//! What holds, whatever the server writes: nothing panics; every call ends, and its error says why; no call is left;
//! and a client that waits for the server has a timer, too. The test has a clock of its own. Its time passes only when
//! the client has nothing else to do.

#![no_main]

use futures_util::io::{AsyncRead, AsyncWrite};
use shared_fate_mcp::runtime::{BoxFuture, Timer};
use shared_fate_mcp::{Client, Error, Limits, Mode, Stdio};
use std::collections::BTreeMap;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

libfuzzer_sys::fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let [first, script @ ..] = input else { return };
    let mode = [Mode::Auto, Mode::Legacy, Mode::Stateless][usize::from(first % 3)];
    let server = Server { script: script.into(), chunk: usize::from(first / 3) + 1, ..Server::default() };
    let (server, clock) = (Pipe(Arc::new(Mutex::new(server))), Clock::new());
    let limits = Limits::default().line(4096).stray(20).outbox(10).rounds(3).pages(5);
    let builder = Client::builder().mode(mode).timer(clock.clone()).limits(limits).on_event(|_| {});
    block_on(&clock, async {
        let (client, driver) = match builder.connect(Stdio::over(server.clone(), server)).await {
            Ok(connected) => connected,
            Err(error) => return check(&error),
        };
        let calls = async {
            for _ in 0..2 {
                let (called, listed, pinged) =
                    futures_util::join!(client.call_tool("x", ()), client.list_tools(), client.ping());
                let errors = [called.err(), listed.err(), pinged.err()];
                errors.iter().flatten().for_each(check);
            }
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
        };
        driver.run_until(calls).await;
    });
}

fn check(error: &Error) {
    let story = format!("{error:#} {error:?}");
    assert!(!error.to_string().is_empty() && story.len() < 64 * 1024, "{story}");
}

/// A server that writes its script. Some bytes of the script stand for a [`piece`] of a message. What comes after
/// [`WAIT`] is written when the client has written a line.
#[derive(Default)]
struct Server {
    script: Vec<u8>,
    /// How much is read at a time.
    chunk: usize,
    at: usize,
    ready: Vec<u8>,
    /// The id of the last request.
    id: u64,
    /// How many lines the client has written for which no [`WAIT`] has waited.
    lines: usize,
    line: Vec<u8>,
    waiting: Option<Waker>,
}

const WAIT: u8 = 0x0B;
const HANG_UP: u8 = 0x0F;

/// What this byte of a script stands for: a piece of a message, or `None` for the byte itself.
fn piece(byte: u8, id: u64) -> Option<String> {
    Some(match byte {
        0x01 => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#),
        0x02 => r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#
            .to_owned(),
        0x03 => r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"},"ttlMs":0,"cacheScope":"private"}"#
            .to_owned(),
        0x04 => r#"{"resultType":"complete","content":[{"type":"text","text":"x"}]}"#.to_owned(),
        0x05 => "}\n".to_owned(),
        0x06 => id.to_string(),
        0x07 => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"x"}}}}"#) + "\n",
        0x08 => format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#
        ) + "\n",
        0x0C => r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}],"nextCursor":"c"}"#.to_owned(),
        0x0E => r#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}},"requestState":"s"}"#
            .to_owned(),
        _ => return None,
    })
}

impl Server {
    /// Makes more ready to be read. `None` if there is nothing, because the server waits for the client or is silent.
    fn fill(&mut self) -> Option<()> {
        while self.ready.is_empty() && self.at < self.script.len() {
            match self.script[self.at] {
                WAIT if self.lines == 0 => return None,
                WAIT => self.lines -= 1,
                HANG_UP => return Some(()),
                byte => match piece(byte, self.id) {
                    Some(piece) => self.ready.extend_from_slice(piece.as_bytes()),
                    None => self.ready.push(byte),
                },
            }
            self.at += 1;
        }
        // At the end of the script the server is silent.
        (!self.ready.is_empty()).then_some(())
    }

    fn hear(&mut self, line: &[u8]) {
        self.lines += 1;
        let text = String::from_utf8_lossy(line);
        let Some((_, id)) = text.split_once("\"id\":") else { return };
        let digits: String = id.chars().take_while(char::is_ascii_digit).collect();
        self.id = digits.parse().unwrap_or(self.id);
    }
}

#[derive(Clone)]
struct Pipe(Arc<Mutex<Server>>);

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut server = self.0.lock().unwrap();
        if server.fill().is_none() {
            server.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = server.ready.len().min(server.chunk).min(buffer.len());
        buffer[..length].copy_from_slice(&server.ready[..length]);
        server.ready.drain(..length);
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waiting = {
            let mut server = self.0.lock().unwrap();
            for byte in bytes {
                match byte {
                    b'\n' => {
                        let line = std::mem::take(&mut server.line);
                        server.hear(&line);
                    }
                    byte => server.line.push(*byte),
                }
            }
            server.waiting.take()
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

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls the future until it is ready. When it was not woken, time passes.
fn block_on(clock: &Clock, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    for _ in 0..100_000 {
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
        if !woken.0.swap(false, Ordering::SeqCst) {
            clock.pass();
        }
    }
    panic!("it never ends");
}

#[derive(Clone)]
struct Clock {
    start: Instant,
    state: Arc<Mutex<Time>>,
}

#[derive(Default)]
struct Time {
    now: Duration,
    next: u64,
    sleepers: BTreeMap<(Duration, u64), Option<Waker>>,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), state: Arc::default() }
    }

    /// Lets time pass until the next timer is due, and wakes what waits for that.
    fn pass(&self) {
        let waker = {
            let mut time = self.state.lock().unwrap();
            let next = time.sleepers.iter().find(|(_, waker)| waker.is_some()).map(|(key, _)| *key);
            let key = next.expect("it waits for nothing");
            time.now = time.now.max(key.0);
            time.sleepers.get_mut(&key).and_then(Option::take)
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut time = self.state.lock().unwrap();
        time.next += 1;
        let key = (time.now.saturating_add(duration), time.next);
        time.sleepers.insert(key, None);
        Box::pin(Sleep { key, state: Arc::clone(&self.state) })
    }

    fn now(&self) -> Instant {
        self.start + self.state.lock().unwrap().now
    }
}

struct Sleep {
    key: (Duration, u64),
    state: Arc<Mutex<Time>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut time = self.state.lock().unwrap();
        if time.now >= self.key.0 {
            return Poll::Ready(());
        }
        time.sleepers.insert(self.key, Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let left_over = self.state.lock().unwrap().sleepers.remove(&self.key);
        drop(left_over);
    }
}
