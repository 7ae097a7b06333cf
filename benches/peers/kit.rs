//! The request, what is done to it, and the tasks that poll it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The request: pends so many times, then it is ready.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) left: u64,
}

impl Request {
    /// A request that is never answered.
    pub(crate) fn hopeless() -> Self {
        Self { left: u64::MAX }
    }
}

impl Future for Request {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
        if self.left == 0 {
            return Poll::Ready(7);
        }
        self.left -= 1;
        Poll::Pending
    }
}

/// What is done to one request at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// W1: ready at the first poll.
    Ready,
    /// W2: pends once, then completes.
    PendsOnce,
    /// W3: 16 polls with the same waker, then completes.
    SameWaker,
    /// W4: 16 polls with a new waker each, then completes.
    NewWakers,
    /// W6: registered, then dropped.
    Dropped,
}

impl Work {
    pub(crate) const ALL: [Self; 5] =
        [Self::Ready, Self::PendsOnce, Self::SameWaker, Self::NewWakers, Self::Dropped];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ready => "W1",
            Self::PendsOnce => "W2",
            Self::SameWaker => "W3",
            Self::NewWakers => "W4",
            Self::Dropped => "W6",
        }
    }
}

/// Who polls the waiters of W5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Executor {
    FuturesUnordered,
    Smol,
    Tokio,
}

/// What [`Peer::memory`] found, in bytes and pieces for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// In the future, beyond the request.
    pub(crate) inline: usize,
    /// On the heap for each waiter, when there are many.
    pub(crate) heap: f64,
    /// Allocations for a call that pends once, after a warm-up.
    pub(crate) allocations: f64,
}

/// What has been allocated so far: pieces, and bytes that are left of them.
pub(crate) type Allocated = fn() -> (u64, i64);

/// One way to supervise a request.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// So many requests of a kind, one after the other.
    pub(crate) calls: fn(Work, u64),
    /// W5: so many sessions with so many waiters each; the time from a session's end until all of its waiters are
    /// resolved, for all of them together.
    pub(crate) fan_out: fn(Executor, usize, usize) -> Duration,
    /// W6 on so many threads, so many times on each, with so many others waiting: the time of all threads together.
    pub(crate) contended: fn(usize, u64, usize) -> Duration,
    /// W7 with so many waiters; the function says what has been allocated: pieces, net bytes.
    pub(crate) memory: fn(Allocated, usize) -> Memory,
}

pub(crate) struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

pub(crate) fn waker() -> Waker {
    Waker::from(Arc::new(Task))
}

pub(crate) const POLLS: usize = 16;

pub(crate) fn wakers(new: bool) -> [Waker; POLLS + 1] {
    let one = waker();
    std::array::from_fn(|_| if new { waker() } else { one.clone() })
}

#[inline(always)]
pub(crate) fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// A poll that has to wait.
#[inline(always)]
pub(crate) fn register<F: Future>(future: Pin<&mut F>, waker: &Waker) {
    assert!(poll(future, waker).is_pending());
}
