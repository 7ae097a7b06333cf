//! A TLS session on a stream.
//!
//! Invariants:
//!
//! 1. Whatever rustls has to say reaches the stream *and is flushed* before this side waits for the
//!    peer; the peer may be waiting for exactly that.
//! 2. `Pending` comes from the stream, so the stream has registered the waker; or from a read that has
//!    had its turn, which wakes itself. A peer may send records without content for ever.

use std::io::{self, BufRead as _, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::super::connection::READS_PER_POLL;
use super::super::net::ByteStream;
use super::TlsError;

pub(super) struct TlsStream {
    session: ClientConnection,
    socket: Box<dyn ByteStream>,
    /// The socket has been written to since it was last flushed.
    unflushed: bool,
    said_goodbye: bool,
}

impl TlsStream {
    pub(super) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: Box<dyn ByteStream>,
    ) -> io::Result<Self> {
        let session = ClientConnection::new(config, name).map_err(TlsError)?;
        let mut stream = Self { session, socket, unflushed: false, said_goodbye: false };
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let received = ready!(self.poll_receive(cx))?;
            if received == 0 && self.session.is_handshaking() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends the records that are ready, and flushes the socket.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let written = self.session.write_tls(&mut NonBlocking { socket: &mut self.socket, cx });
            if ready!(or_pending(written))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Receives some bytes, `Ok(0)` at the end, and lets rustls work on them.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.session.read_tls(&mut NonBlocking { socket: &mut self.socket, cx });
        let read = ready!(or_pending(read))?;
        if let Err(error) = self.session.process_new_packets() {
            // Tell the peer, if that is possible without waiting; the error comes first.
            let _ = self.poll_send(cx);
            return Poll::Ready(Err(TlsError(error).into()));
        }
        Poll::Ready(Ok(read))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..READS_PER_POLL {
            let mut reader = self.session.reader();
            match reader.fill_buf() {
                Ok(plain) => {
                    let read = plain.len().min(buffer.len());
                    buffer[..read].copy_from_slice(&plain[..read]);
                    reader.consume(read);
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            // Alerts and key updates. If they cannot be sent, there may still be something to read,
            // and if not, reading fails as well.
            let _ = self.poll_send(cx);
            ready!(self.poll_receive(cx))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            // What rustls accepts it keeps until it can be sent; full, it accepts nothing.
            let accepted = self.session.writer().write(bytes)?;
            let sent = self.poll_send(cx)?;
            if accepted > 0 {
                return Poll::Ready(Ok(accepted));
            }
            ready!(sent);
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.writer().flush()?;
        self.poll_send(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said_goodbye {
            self.said_goodbye = true;
            self.session.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// Shows the socket to rustls as one that does not block.
struct NonBlocking<'a, 'cx> {
    socket: &'a mut Box<dyn ByteStream>,
    cx: &'a mut Context<'cx>,
}

impl Read for NonBlocking<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.socket).poll_read(self.cx, buffer))
    }
}

impl Write for NonBlocking<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.socket).poll_flush(self.cx))
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn or_pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
