//! What is left for the driver to do: of each kind in order, and each kind with a limit of its own, so that
//! none takes the room of another.

use super::handlers::ServerRequest;
use super::protocol::message::RequestId;
use super::transport::Outgoing;
use super::watched::Watched;
use std::collections::VecDeque;
use std::task::{Context, Poll};

#[derive(Debug)]
pub(crate) enum Work {
    /// Answer a request of the server's.
    Serve(ServerRequest),
    /// The server does not want that answer any more.
    Forget(RequestId),
    /// Send an answer to the server.
    Answer(Outgoing),
    /// Tell the server that an answer of its own is not wanted any more.
    Cancel(Outgoing),
}

#[derive(Debug)]
pub(crate) struct WorkQueue {
    limit: usize,
    queues: Watched<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    /// `Serve` and `Forget`: whoever is to be forgotten has been served before.
    served: VecDeque<Work>,
    answers: VecDeque<Work>,
    cancellations: VecDeque<Work>,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) answers: bool,
    pub(crate) cancellations: bool,
}

impl WorkQueue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, queues: Watched::default() }
    }

    /// `false` if there is no room.
    pub(crate) fn push(&self, work: Work) -> bool {
        self.queues.change(|queues| {
            let queue = match work {
                Work::Serve(_) | Work::Forget(_) => &mut queues.served,
                Work::Answer(_) => &mut queues.answers,
                Work::Cancel(_) => &mut queues.cancellations,
            };
            let room = queue.len() < self.limit;
            if room {
                queue.push_back(work);
            }
            room
        })
    }

    /// What the server waits for comes first.
    pub(crate) fn poll_pop(&self, room: Room, cx: &mut Context<'_>) -> Poll<Work> {
        self.queues.poll(cx, |Queues { served, answers, cancellations }| {
            let mut next = served.pop_front();
            if next.is_none() && room.answers {
                next = answers.pop_front();
            }
            if next.is_none() && room.cancellations {
                next = cancellations.pop_front();
            }
            next
        })
    }

    /// Nobody works any more.
    pub(crate) fn forget_worker(&self) {
        self.queues.forget();
    }
}
