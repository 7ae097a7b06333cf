//! tokio's cooperative budget, which makes a resource say `Pending` though it is ready.
//!
//! A task of tokio's has 128 operations a poll. When they are spent, every channel, socket and timer of
//! tokio's says `Pending` until the next poll of the task, whatever it holds. Such a `Pending` is no answer, so
//! where an end is about to be decided the request is asked outside of the budget. No other poll is: a request
//! that merely waits stays as cooperative as it is without us.
//!
//! To turn the feature on for others changes nothing for them: outside of a task of tokio's there is no budget,
//! and lifting none has no effect.

use std::task::{Context, Poll};

/// Calls `poll` so that its `Pending` is an answer.
#[cfg(feature = "tokio")]
pub(crate) fn poll_unbudgeted<T>(
    cx: &mut Context<'_>,
    poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    std::pin::pin!(tokio::task::unconstrained(std::future::poll_fn(poll))).poll(cx)
}

#[cfg(not(feature = "tokio"))]
#[inline]
pub(crate) fn poll_unbudgeted<T>(
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    poll(cx)
}
