//! What is left for the driver to do, in order.

use super::handlers::ServerRequest;
use super::protocol::message::RequestId;
use super::transport::Outgoing;
use super::watched::Watched;
use std::collections::VecDeque;
use std::task::{Context, Poll};

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
    work: Watched<VecDeque<Work>>,
}

impl WorkQueue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, work: Watched::default() }
    }

    /// `false` if there is no room.
    pub(crate) fn push(&self, work: Work) -> bool {
        self.work.change(|queue| {
            let room = queue.len() < self.limit;
            if room {
                queue.push_back(work);
            }
            room
        })
    }

    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Work> {
        self.work.poll(cx, VecDeque::pop_front)
    }

    /// Nobody works any more.
    pub(crate) fn forget_worker(&self) {
        self.work.forget();
    }
}
