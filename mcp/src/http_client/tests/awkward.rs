//! Streams that do no more than the contract says.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};

use super::super::engine::{Engine, EngineConfig};
use super::super::net::{AsyncIo, ByteStream, Connecting, Net};
use super::kit::{Server, call, post, run};
use super::tls::{Authority, url};

/// A stream that is as awkward as the contract allows: what is written goes out at a flush only, a
/// flush takes many turns, a read gives little, and every other call is pending.
struct Awkward {
    inner: Box<dyn ByteStream>,
    unsent: Vec<u8>,
    reading: Turns,
    writing: Turns,
    flushing: Turns,
}

#[derive(Default)]
struct Turns(bool);

impl Turns {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.0 = !self.0;
        if self.0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Awkward {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.reading.poll(cx));
        let some = buffer.len().min(7);
        Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..some])
    }
}

impl AsyncWrite for Awkward {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!bytes.is_empty(), "an empty write");
        ready!(self.writing.poll(cx));
        let some = bytes.len().min(100);
        self.unsent.extend_from_slice(&bytes[..some]);
        Poll::Ready(Ok(some))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            ready!(self.flushing.poll(cx));
            let Self { inner, unsent, .. } = &mut *self;
            let some = unsent.len().min(50);
            let sent = ready!(Pin::new(inner).poll_write(cx, &unsent[..some]))?;
            unsent.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

struct AwkwardNet;

impl Net for AwkwardNet {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let inner = AsyncIo.connect(host, port).await?;
            let (reading, writing, flushing) = <(Turns, Turns, Turns)>::default();
            let awkward = Awkward { inner, unsent: Vec::new(), reading, writing, flushing };
            Ok(Box::new(awkward) as Box<dyn ByteStream>)
        })
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        AsyncIo.sleep(duration)
    }
}

#[test]
fn no_flush_is_lost_on_an_awkward_stream() {
    let plain = Server::echo();
    let body = "x".repeat(20_000);
    for version in rustls::ALL_VERSIONS {
        let authority = Authority::speaking(&[version]);
        let server = authority.echo();
        let config = EngineConfig { net: Arc::new(AwkwardNet), ..authority.trusted() };
        run(async {
            let engine = Engine::new(config).unwrap();
            for url in [url(&server), plain.url("/")] {
                for _ in 0..2 {
                    let answer = call(&engine, post(&url, body.clone())).await.unwrap();
                    assert!(answer == body.as_bytes());
                }
            }
        });
        assert_eq!(server.connections(), 1);
    }
}
