//! [`Sending`]: a message on its way.

use super::Sent;
use crate::error::Error;
use crate::runtime::timer::BoxFuture;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Future for [`Transport::send`](super::Transport::send): the outcome, or a future that finds it out.
///
/// A transport that only hands messages over, as a queue does, knows the outcome at once; then a call costs no future of its
/// own.
#[must_use = "futures do nothing unless polled"]
pub struct Sending<'a> {
    state: State<'a>,
}

enum State<'a> {
    /// `None` once it has been told.
    Now(Option<Result<Sent, Error>>),
    Later(BoxFuture<'a, Result<Sent, Error>>),
}

impl<'a> Sending<'a> {
    /// The message was handed over; a reply, if any, comes to the inbox.
    pub fn accepted() -> Self {
        Self::now(Ok(Sent::accepted()))
    }

    /// The outcome is known.
    pub fn now(sent: Result<Sent, Error>) -> Self {
        Self { state: State::Now(Some(sent)) }
    }

    /// The future finds the outcome out.
    pub fn later(sending: impl Future<Output = Result<Sent, Error>> + Send + 'a) -> Self {
        Self { state: State::Later(Box::pin(sending)) }
    }
}

impl Future for Sending<'_> {
    type Output = Result<Sent, Error>;

    /// # Panics
    ///
    /// When it has resolved before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Now(sent) => Poll::Ready(sent.take().expect("polled after it has resolved")),
            State::Later(sending) => sending.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Now(sent) => sent as &dyn fmt::Debug,
            State::Later(_) => &"later",
        };
        f.debug_tuple("Sending").field(state).finish()
    }
}
