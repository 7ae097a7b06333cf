//! One HTTP/1.1 connection, polled by whoever uses it.

use std::cell::Cell;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use std::{fmt, io};

use bytes::Bytes;
use futures_io::{AsyncRead as _, AsyncWrite as _};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::ReadBufCursor;

use super::failure::{Cause, Failure, Stage, Unsolicited, has_io_error};
use super::net::ByteStream;
use super::proxy::Server;

/// Which connections may stand in for one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tls: bool,
    /// In lower case, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) scope: u64,
    pub(super) proxy: Option<Arc<Server>>,
}

impl Key {
    /// The proxy that requests are handed to, and that sees them.
    pub(super) fn forwarder(&self) -> Option<&Server> {
        self.proxy.as_deref().filter(|proxy| proxy.forwards(self.tls))
    }
}

/// An open socket, and what hyper needs for the exchange on it: 25 kB, which are there from the beginning of an
/// exchange to its end. One that only waits for the next is a socket and nothing else.
pub(super) struct Connection {
    pub(super) key: Key,
    pub(super) idle_since: Instant,
    /// Between two exchanges.
    stream: Option<Box<dyn ByteStream>>,
    /// From the head of a response on.
    requests: Option<SendRequest<Full<Bytes>>>,
    /// The socket and hyper's state. Gone as soon as the connection has ended: dropping it is what
    /// closes the socket, and what makes hyper hand back a request it had not begun to write.
    driver: Option<http1::Connection<Io, Full<Bytes>>>,
    ended_by: Option<hyper::Error>,
    watch: Arc<Watch>,
}

/// What a connection and its [`Io`], which hyper owns, know of one another.
#[derive(Default)]
struct Watch {
    /// Something was written, or was to be, since the last flush. hyper always flushes in the end.
    unflushed: AtomicBool,
    /// How often the stream was read since the connection was last polled.
    reads: AtomicUsize,
    /// Writing has failed.
    broken: AtomicBool,
    /// Nothing was there to be read, and the task that is being polled is registered. hyper asks several
    /// times in one poll, and each time would be a system call. Must be `false` when a poll begins.
    drained: AtomicBool,
}

/// How often a stream is read in one poll. hyper skips interim answers (1xx) for as long as they come,
/// and so would never let go of its task; nor would a TLS session of one that sends nothing but tickets.
pub(super) const READS_PER_POLL: usize = 32;

/// The longest response head, in bytes. hyper looks after each read, so a head that is longer by less than one read may
/// pass. Servers and proxies send 8 to 32 KiB at most.
pub(super) const LONGEST_HEAD: usize = 64 * 1024;

impl Connection {
    /// No I/O happens before the first request.
    pub(super) fn new(key: Key, stream: Box<dyn ByteStream>) -> Self {
        Self {
            key,
            idle_since: Instant::now(),
            stream: Some(stream),
            requests: None,
            driver: None,
            ended_by: None,
            watch: Arc::default(),
        }
    }

    /// Takes a request, sends it and waits for the head of the response. If that fails before a byte was
    /// written, the request is put back. The future must not be dropped before its end unless the
    /// connection is dropped as well. Its first poll goes on with the poll that began with
    /// [`begin_poll`](Self::begin_poll).
    ///
    /// A response head has at most 100 fields, which is hyper's limit, and [`LONGEST_HEAD`].
    pub(super) async fn exchange(
        &mut self,
        request: &mut Option<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, Failure> {
        let begun = self.begin_exchange().await;
        let mut requests = begun.map_err(|cause| Failure::unsent(Stage::Send, cause))?;
        let Some(taken) = request.take() else {
            return Err(Failure::unsent(Stage::Send, "there is no request"));
        };
        let mut response = pin!(requests.try_send_request(taken));
        let (driver, ended_by, watch) = (&mut self.driver, &mut self.ended_by, &self.watch);
        let result = poll_fn(|cx| {
            drive(driver, ended_by, watch, cx);
            let poll = response.as_mut().poll(cx);
            if poll.is_pending() {
                watch.forget_drained();
            }
            poll
        });
        let result = result.await;
        self.requests = Some(requests);
        result.map_err(|mut error| {
            *request = error.take_message();
            match request {
                Some(_) => Failure::unsent(Stage::Send, why_unsent(error.into_error())),
                None => Failure::sent(Stage::Head, error.into_error()),
            }
        })
    }

    /// Builds hyper's state around the socket; nothing is read or written.
    async fn begin_exchange(&mut self) -> Result<SendRequest<Full<Bytes>>, Cause> {
        let Some(stream) = self.stream.take() else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        let io = Io { stream, watch: self.watch.clone(), unwritten: None };
        let (requests, driver) = http1::Builder::new().max_buf_size(LONGEST_HEAD).handshake(io).await?;
        self.driver = Some(driver);
        Ok(requests)
    }

    /// Ends an exchange whose response has been read to its end. Whether another request can be sent.
    ///
    /// Nothing is read: what the peer has done since is for [`is_open`](Self::is_open) to find out.
    pub(super) fn end_exchange(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(requests) = self.requests.take() else { return false };
        if !requests.is_ready() {
            // hyper has to be told that its user is done.
            self.watch.drained.store(true, Ordering::Relaxed);
            self.drive(cx);
            self.watch.forget_drained();
        }
        let may_stay =
            requests.is_ready() && !self.is_sending() && !self.watch.broken.load(Ordering::Relaxed);
        if let Some(driver) = self.driver.take().filter(|_| may_stay) {
            let parts = driver.into_parts();
            // What came behind the response belongs to no request.
            self.stream = Some(parts.io.stream).filter(|_| parts.read_buf.is_empty());
        }
        self.stream.is_some()
    }

    /// Whether a request can be sent. Notices a peer that has closed the connection, or talks unasked.
    pub(super) fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let is_open = Pin::new(stream).poll_read(cx, &mut [0]).is_pending();
        self.watch.drained.store(is_open, Ordering::Relaxed);
        is_open
    }

    /// Moves bytes in both directions as far as the socket allows.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, &mut self.ended_by, &self.watch, cx);
    }

    /// To be called where a task's poll of this connection begins: what is there to be read is another
    /// matter then, and the task may be another one.
    pub(super) fn begin_poll(&self) {
        self.watch.forget_drained();
    }

    /// Whether a part of the request waits to be written. hyper does not say; to it, a request is done
    /// when it is in the buffer.
    pub(super) fn is_sending(&self) -> bool {
        self.driver.is_some() && self.watch.unflushed.load(Ordering::Relaxed)
    }

    /// The error that ended the connection, if nobody has been told of it.
    pub(super) fn take_error(&mut self) -> Option<hyper::Error> {
        self.ended_by.take()
    }
}

impl Watch {
    fn forget_drained(&self) {
        self.drained.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("open", &(self.driver.is_some() || self.stream.is_some()))
            .finish_non_exhaustive()
    }
}

fn drive(
    driver: &mut Option<http1::Connection<Io, Full<Bytes>>>,
    ended_by: &mut Option<hyper::Error>,
    watch: &Watch,
    cx: &mut Context<'_>,
) {
    let Some(connection) = driver else { return };
    watch.reads.store(0, Ordering::Relaxed);
    // Without the shutdown at the end, which could be pending while a request waits to be handed back.
    if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
        *driver = None;
        *ended_by = result.err();
    }
}

/// hyper says "cancelled"; find out what the peer has done.
fn why_unsent(error: hyper::Error) -> Cause {
    match error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>()) {
        None => io::Error::new(io::ErrorKind::UnexpectedEof, error).into(),
        Some(cause) if has_io_error(cause) => error.into(),
        Some(_) => Unsolicited.into(),
    }
}

/// Shows a stream to hyper.
struct Io {
    stream: Box<dyn ByteStream>,
    watch: Arc<Watch>,
    /// Why writing failed. A peer may refuse a request that it has not read, and reset the connection:
    /// its answer is looked for first, and only if there is none this is told.
    unwritten: Option<io::Error>,
}

impl Io {
    fn broken(&mut self, error: io::Error, cx: &mut Context<'_>) {
        self.watch.broken.store(true, Ordering::Relaxed);
        self.watch.unflushed.store(false, Ordering::Relaxed);
        // An answer may have come since there was nothing to read.
        self.watch.forget_drained();
        self.unwritten = Some(error);
        // hyper takes the request for written, and has not yet begun to read.
        cx.waker().wake_by_ref();
    }
}

thread_local! {
    /// hyper's buffer may be uninitialised, so reading straight into it would take unsafe code. Not each
    /// connection has one of these: most only wait.
    static SCRATCH_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// As long as the longest TLS record.
const SCRATCH: usize = 16 * 1024;

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.drained.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if self.watch.reads.fetch_add(1, Ordering::Relaxed) >= READS_PER_POLL {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // A stream that is read in the course of reading another one finds none and makes its own.
        let mut scratch = SCRATCH_BUFFER.try_with(Cell::take).unwrap_or_default();
        scratch.resize(SCRATCH, 0);
        let room = SCRATCH.min(buffer.remaining());
        let poll = Pin::new(&mut self.stream).poll_read(cx, &mut scratch[..room]);
        if let Poll::Ready(Ok(read)) = poll {
            buffer.put_slice(&scratch[..room][..read]);
        }
        self.watch.drained.store(poll.is_pending(), Ordering::Relaxed);
        let _ = SCRATCH_BUFFER.try_with(|buffer| buffer.set(scratch));
        // What has not arrived by now never will.
        if !matches!(poll, Poll::Ready(Ok(1..))) {
            if let Some(error) = self.unwritten.take() {
                return Poll::Ready(Err(error));
            }
        }
        poll.map_ok(|_| ())
    }
}

/// Not vectored: hyper then joins head and body, and a small request is one write and one TLS record.
impl hyper::rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.watch.broken.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.watch.unflushed.store(true, Ordering::Relaxed);
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Err(error) => {
                self.broken(error, cx);
                Poll::Ready(Ok(bytes.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.watch.broken.load(Ordering::Relaxed) {
            match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                Err(error) => self.broken(error, cx),
                Ok(()) => self.watch.unflushed.store(false, Ordering::Relaxed),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
