//! A connection whose reads panic on demand: a stand-in for a decoder that trips over a message.

use std::io;
use std::panic;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the panic says.
pub const TEXT: &str = "the decoder tripped";

/// Panics in the first read that gets something after it was armed.
pub struct Panicking<T> {
    io: T,
    armed: Arc<AtomicBool>,
}

/// Arms a [`Panicking`].
#[derive(Clone)]
pub struct Trigger(Arc<AtomicBool>);

impl Trigger {
    pub fn arm(&self) {
        self.0.store(true, SeqCst);
    }
}

impl<T> Panicking<T> {
    pub fn new(io: T) -> (Self, Trigger) {
        let armed = Arc::new(AtomicBool::new(false));
        (Self { io, armed: Arc::clone(&armed) }, Trigger(armed))
    }
}

/// Keeps panics with this text out of the test's output.
pub fn keep_quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some(TEXT) {
                loud(info);
            }
        }));
    });
}

impl<T: AsyncRead + Unpin> AsyncRead for Panicking<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        if poll.is_ready() && self.armed.load(SeqCst) {
            panic::panic_any(TEXT);
        }
        poll
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Panicking<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
