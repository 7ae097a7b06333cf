//! What is left for the driver to do, in order.

use super::handlers::ServerRequest;
use super::protocol::message::RequestId;
use super::transport::Outgoing;
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
pub(crate) enum Work {
    /// Send a message that nobody waits for.
    Send(Outgoing),
    /// Answer a request of the server's.
    Serve(ServerRequest),
    /// The server does not want that answer any more.
    Cancel(RequestId),
}

#[derive(Debug)]
pub(crate) struct WorkQueue {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    work: VecDeque<Work>,
    driver: Option<Waker>,
}

impl WorkQueue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// `false` if there is no room.
    pub(crate) fn push(&self, work: Work) -> bool {
        let driver = {
            let mut state = self.state.lock();
            if state.work.len() >= self.limit {
                return false;
            }
            state.work.push_back(work);
            state.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        true
    }

    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Work> {
        if let Some(work) = self.state.lock().work.pop_front() {
            return Poll::Ready(work);
        }
        let waker = cx.waker().clone();
        let (work, left_over) = {
            let mut state = self.state.lock();
            match state.work.pop_front() {
                Some(work) => (Some(work), Some(waker)),
                None => (None, state.driver.replace(waker)),
            }
        };
        drop(left_over);
        work.map_or(Poll::Pending, Poll::Ready)
    }
}
