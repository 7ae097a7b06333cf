//! Peers that go: what they said before is not lost, whoever finds out that they are gone.

use crate::client;
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use crate::fault::{answer, tool};
use futures::future::{Either, join, select};
use futures::{AsyncRead, AsyncWrite, poll};
use serde_json::{Value, json};
use shared_fate_mcp::{Interest, Limits, Memory, Mode, Stdio};
use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A server in the place of a pair of streams. It answers each call, and goes when it has answered the tool `last`.
#[derive(Default)]
struct Wire {
    output: VecDeque<u8>,
    waker: Option<Waker>,
    line: Vec<u8>,
    is_gone: bool,
    /// It reads no more, for now.
    is_deaf: bool,
    unsubscribed: usize,
    /// How long the last reply's text is.
    length: usize,
    /// Whether the last reply has no line end.
    is_open: bool,
    /// What reading comes to at last; an end if nothing.
    end: Option<io::ErrorKind>,
}

type Shared = Arc<Mutex<Wire>>;

/// Gives at most so many bytes at a time.
struct Reader(Shared, usize);

struct Writer(Shared);

fn stdio(wire: Wire, piece: usize) -> (Stdio, Shared) {
    let wire = Arc::new(Mutex::new(wire));
    (Stdio::over(Reader(wire.clone(), piece), Writer(wire.clone())), wire)
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        let length = wire.output.len().min(into.len()).min(self.1);
        if length > 0 {
            into.iter_mut().zip(wire.output.drain(..length)).for_each(|(to, from)| *to = from);
            return Poll::Ready(Ok(length));
        }
        if wire.is_gone {
            return Poll::Ready(wire.end.map_or(Ok(0), |kind| Err(kind.into())));
        }
        wire.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        if wire.is_deaf {
            // The test polls again.
            return Poll::Pending;
        }
        if wire.is_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        wire.line.extend(&bytes[..end]);
        if wire.line.ends_with(b"\n") {
            let message: Value = serde_json::from_slice(&std::mem::take(&mut wire.line)).unwrap();
            wire.answer(&message);
        }
        Poll::Ready(Ok(end))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    fn answer(&mut self, message: &Value) {
        self.unsubscribed += usize::from(message["method"] == "resources/unsubscribe");
        let Some(mut answer) = answer(message) else { return };
        if message["method"] == "initialize" {
            answer["result"]["capabilities"]["resources"]["subscribe"] = true.into();
        }
        self.is_gone = tool(message) == "last";
        if self.is_gone {
            let text = "x".repeat(self.length);
            answer["result"] = json!({ "content": [{ "type": "text", "text": text }] });
        }
        self.output.extend(answer.to_string().bytes());
        if !(self.is_gone && self.is_open) {
            self.output.push_back(b'\n');
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The write that finds out comes before the read: the reply is in the stream by then, however long it is.
#[test]
fn a_whole_reply_counts_also_when_the_next_write_fails() {
    for (length, piece) in [(1_000, 65_536), (300_000, 16_384), (3_000_000, 65_536)] {
        once(async move |_| {
            let (stdio, _) = stdio(Wire { length, ..Wire::default() }, piece);
            let (client, driver) = client().connect(stdio).await.unwrap();
            let (last, next) =
                driver.run_until(join(client.call_tool("last", ()), client.call_tool("next", ()))).await;
            assert_eq!(last.unwrap().text().len(), length);
            assert_eq!(next.unwrap_err().io_kind(), Some(io::ErrorKind::BrokenPipe));
        });
    }
}

/// The write that finds out takes the last of the budget that tokio gives a task for one poll, or any part before it.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_whole_reply_counts_whatever_budget_tokio_leaves() {
    use shared_fate_mcp::runtime::TokioIo;
    use std::future::poll_fn;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    for spent in 0..=128 {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let mut serve = Box::pin(async move {
            let mut lines = BufReader::new(theirs).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                let message = serde_json::from_str(&line).unwrap();
                if let Some(answer) = answer(&message) {
                    lines.get_mut().write_all(format!("{answer}\n").as_bytes()).await.unwrap();
                }
                if tool(&message) == "last" {
                    return;
                }
            }
        });
        let (reader, writer) = tokio::io::split(ours);
        let stdio = Stdio::over(TokioIo::new(reader), TokioIo::new(writer));
        let connected = select(Box::pin(client().connect(stdio)), &mut serve).await;
        let Either::Left((connected, _)) = connected else { panic!("it serves on") };
        let (client, driver) = connected.unwrap();
        let mut last = pin!(client.call_tool("last", ()));
        let mut next = pin!(client.call_tool("next", ()));
        let mut driver = pin!(driver);
        assert!(poll!(&mut last).is_pending() && poll!(&mut driver).is_pending());
        serve.await;
        let mut to_spend = spent;
        poll_fn(|cx| {
            for _ in 0..std::mem::take(&mut to_spend) {
                _ = pin!(tokio::task::consume_budget()).poll(cx);
            }
            _ = next.as_mut().poll(cx);
            driver.as_mut().poll(cx).map(drop)
        })
        .await;
        assert_eq!(last.await.unwrap().text(), "fine", "{spent}");
    }
}

/// TLS that is not closed ends with an error. What came before it is as good as before an end.
#[test]
fn a_last_reply_without_a_line_end_counts_however_the_stream_ends() {
    for end in [None, Some(io::ErrorKind::UnexpectedEof), Some(io::ErrorKind::ConnectionReset)] {
        once(async move |_| {
            let (stdio, _) = stdio(Wire { length: 4, is_open: true, end, ..Wire::default() }, 65_536);
            let (client, driver) = client().connect(stdio).await.unwrap();
            let last = driver.run_until(client.call_tool("last", ())).await;
            assert_eq!(last.unwrap().text(), "xxxx", "{end:?}");
        });
    }
}

#[test]
fn in_memory_a_reply_counts_also_when_the_next_send_finds_nobody() {
    once(async |_| {
        let (transport, server) = Memory::pair();
        let mut serve = Box::pin(async move {
            while let Some(message) = server.receive().await {
                let message: Value = serde_json::from_slice(&message).unwrap();
                if let Some(answer) = answer(&message) {
                    server.send(answer.to_string()).await.unwrap();
                }
                if tool(&message) == "last" {
                    return;
                }
            }
        });
        let connected = select(Box::pin(client().connect(transport)), &mut serve).await;
        let Either::Left((connected, _)) = connected else { panic!("it serves on") };
        let (client, _driver) = connected.unwrap();
        let mut last = pin!(client.call_tool("last", ()));
        assert!(poll!(&mut last).is_pending());
        serve.await;
        assert!(client.call_tool("next", ()).await.is_err());
        assert_eq!(last.await.unwrap().text(), "fine");
    });
}

/// Not only a process that exits has last words.
#[test]
fn the_reason_is_told_also_of_a_peer_that_only_hangs_up() {
    for words in ["fatal: the database is gone\n", "[ERROR] the database is gone"] {
        once(async move |_| {
            let (stdio, _server) = pair(move |peer, message| match tool(message) {
                "odd" => {
                    peer.write(words);
                    peer.hang_up();
                }
                _ => normal(peer, message),
            });
            let (client, driver) = client().connect(stdio).await.unwrap();
            let error = driver.run_until(client.call_tool("odd", ())).await.unwrap_err();
            assert_eq!(error.io_kind(), Some(io::ErrorKind::UnexpectedEof));
            assert!(format!("{error:#}").contains("the database is gone"), "{error:#}");
        });
    }
}

/// What a handler holds is dropped when the server wants no answer any more. A panic there is the application's own.
#[test]
fn a_handler_that_panics_while_it_is_dropped_harms_nobody() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("an application may do so");
        }
    }

    once(async |_| {
        let (stdio, _server) = pair(move |peer, message| match tool(message) {
            "odd" => {
                peer.say(&json!({ "jsonrpc": "2.0", "id": 7, "method": "x/ask" }));
                let params = json!({ "requestId": 7 });
                peer.say(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
                normal(peer, message);
            }
            _ => normal(peer, message),
        });
        let ask = async |_| {
            let _held = Panics;
            std::future::pending().await
        };
        let (client, driver) = client().on_request("x/ask", ask).connect(stdio).await.unwrap();
        let both = async { [client.call_tool("odd", ()).await, client.call_tool("next", ()).await] };
        for result in driver.run_until(both).await {
            assert_eq!(result.unwrap().text(), "fine");
        }
    });
}

/// Nobody waits for the replies to these requests, so nobody bounds them but the queue.
#[test]
fn requests_that_nobody_waits_for_do_not_pile_up_before_a_server_that_reads_no_more() {
    once(async |_| {
        let (stdio, wire) = stdio(Wire::default(), 65_536);
        let limits = Limits::default().outbox(10).sends(1);
        let (client, mut driver) = client().mode(Mode::Legacy).limits(limits).connect(stdio).await.unwrap();
        wire.lock().unwrap().is_deaf = true;
        for number in 0..1_000 {
            let interest = Interest::default().resource(format!("file:///{number}"));
            assert!(poll!(Box::pin(client.listen(&interest))).is_pending());
            assert!(poll!(&mut driver).is_pending());
        }
        wire.lock().unwrap().is_deaf = false;
        driver.run_until(client.call_tool("next", ())).await.unwrap();
        let unsubscribed = wire.lock().unwrap().unsubscribed;
        assert!((10..=30).contains(&unsubscribed), "{unsubscribed}");
    });
}
