//! [`Outbox`]: what is left for the driver to do: of each kind in order, and each kind with a limit of its own, so that
//! none takes the room of another.

use crate::protocol::message::RequestId;
use crate::protocol::outgoing::{Outgoing, ServerRequest};
use crate::sync::wait_cell::WaitCell;
use std::collections::VecDeque;
use std::task::{Context, Poll};

#[derive(Debug)]
pub(crate) enum Job {
    /// Answer a request of the server's.
    Serve(ServerRequest),
    /// The server does not want that answer any more.
    Forget(RequestId),
    /// Send an answer to the server.
    Answer(Outgoing<'static>),
    /// Tell the server that an answer of its own is not wanted any more.
    Cancel(Outgoing<'static>),
}

#[derive(Debug)]
pub(crate) struct Outbox {
    limit: usize,
    queues: WaitCell<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    /// `Serve` and `Forget`: whoever is to be forgotten has been served before.
    served: VecDeque<Job>,
    answers: VecDeque<Job>,
    cancellations: VecDeque<Job>,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) answers: bool,
    pub(crate) cancellations: bool,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, queues: WaitCell::default() }
    }

    /// `false` if there is no room.
    pub(crate) fn push(&self, job: Job) -> bool {
        self.queues.change(|queues| {
            let queue = match job {
                Job::Serve(_) | Job::Forget(_) => &mut queues.served,
                Job::Answer(_) => &mut queues.answers,
                Job::Cancel(_) => &mut queues.cancellations,
            };
            let room = queue.len() < self.limit;
            if room {
                queue.push_back(job);
            }
            room
        })
    }

    /// What the server waits for comes first.
    pub(crate) fn poll_pop(&self, capacity: Capacity, cx: &mut Context<'_>) -> Poll<Job> {
        self.queues.poll(cx, |Queues { served, answers, cancellations }| {
            let mut next = served.pop_front();
            if next.is_none() && capacity.answers {
                next = answers.pop_front();
            }
            if next.is_none() && capacity.cancellations {
                next = cancellations.pop_front();
            }
            next
        })
    }

    /// The driver is gone.
    pub(crate) fn forget_driver(&self) {
        self.queues.forget();
    }
}
