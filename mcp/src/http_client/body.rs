//! The body of a response, which drives the connection it comes from.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::Response;
use hyper::body::{Body as _, Incoming};

use super::connection::Connection;
use super::failure::{Failure, Stage, has_io_error};
use super::pool::Pool;

/// A response body. It owns its connection.
///
/// # Drop
///
/// Read to its end, it returns the connection to the pool. Dropped before, it closes the socket at
/// once, unless all of the rest has arrived already; then the connection is kept. Drop never waits.
#[must_use = "dropping an unfinished body closes its connection"]
pub(crate) struct Body {
    incoming: Incoming,
    /// `None` when the body has ended, well or badly.
    connection: Option<Box<Connection>>,
    pool: Weak<Pool>,
    /// A peer may accept a request before it has read all of it, and needs the rest. One that refuses
    /// it does not want the rest, and may never read it.
    accepted: bool,
    /// Chunks handed out since the task last waited.
    in_a_row: usize,
}

/// How many chunks may follow one another before other tasks get a turn.
const MAX_IN_A_ROW: usize = 32;

/// How many chunks a dropped body may throw away to keep its connection.
const MAX_DISCARDED: usize = 16;

impl Body {
    pub(super) fn new(
        response: Response<Incoming>,
        connection: Box<Connection>,
        pool: Weak<Pool>,
    ) -> Response<Self> {
        let accepted = response.status().is_success();
        let connection = Some(connection);
        response.map(|incoming| Self { incoming, connection, pool, accepted, in_a_row: 0 })
    }

    /// The next bytes, `None` at the end and after a failure. The end of the body of a success also
    /// means that the whole request is written, unless writing failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call continues.
    ///
    /// # Fairness
    ///
    /// However fast the bytes come, it lets other tasks run from time to time.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, Failure>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// [`chunk`](Self::chunk) for futures written by hand.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        if self.in_a_row == MAX_IN_A_ROW {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(connection) = &self.connection {
            connection.begin_poll();
        }
        let chunk = self.poll_next(cx);
        self.in_a_row = if chunk.is_ready() { self.in_a_row + 1 } else { 0 };
        chunk
    }

    /// Lets go of the connection if nothing more is to come: a response without a body gives it back
    /// even if nobody asks for the first chunk.
    pub(super) fn release_if_ended(&mut self, cx: &mut Context<'_>) {
        if self.incoming.is_end_stream() && !self.must_send_the_rest() {
            self.release(cx);
        }
    }

    fn must_send_the_rest(&self) -> bool {
        self.accepted && self.connection.as_ref().is_some_and(|connection| connection.is_sending())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(None);
            };
            let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
            // A small body came with its head: then there is nothing to wait for.
            if frame.is_pending() || connection.is_sending() {
                connection.drive(cx);
                if frame.is_pending() {
                    frame = Pin::new(&mut self.incoming).poll_frame(cx);
                }
            }
            match ready!(frame) {
                None if self.must_send_the_rest() => return Poll::Pending,
                None => {
                    self.release(cx);
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(error)))),
                Some(Ok(frame)) => {
                    self.release_if_ended(cx);
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    // Trailers, which nobody wants.
                }
            }
        }
    }

    fn release(&mut self, cx: &mut Context<'_>) {
        if let (Some(connection), Some(pool)) = (self.connection.take(), self.pool.upgrade()) {
            pool.put(connection, cx);
        }
    }

    fn fail(&mut self, error: hyper::Error) -> Failure {
        let connection = self.connection.take();
        // When writing fails, hyper tells the body only that there was an error.
        let ended_by = connection.and_then(|mut connection| connection.take_error());
        let better = ended_by.filter(|ended_by| !has_io_error(&error) && has_io_error(ended_by));
        Failure::sent(Stage::Body, better.unwrap_or(error))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        if let Some(connection) = &self.connection {
            connection.begin_poll();
        }
        for _ in 0..MAX_DISCARDED {
            let Poll::Ready(Some(Ok(_))) = self.poll_next(&mut cx) else {
                return;
            };
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("connection", &self.connection).finish_non_exhaustive()
    }
}
