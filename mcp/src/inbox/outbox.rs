//! [`Outbox`]: what is left for the driver to do: of each kind in order, and each kind with a limit of its own, so that
//! none takes the room of another.
//!
//! Invariant: `request_bytes` is what the requests in `served` have together; so much as the limit, or what one alone has.

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
    /// Tell it that nobody wants to know of a resource any more, if that is so.
    Unsubscribe { uri: String, message: Outgoing<'static> },
}

#[derive(Debug)]
pub(crate) struct Outbox {
    limit: usize,
    request_bytes: usize,
    queues: WaitCell<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    /// `Serve` and `Forget`: whoever is to be forgotten has been served before.
    served: VecDeque<Job>,
    request_bytes: usize,
    answers: VecDeque<Job>,
    cancellations: VecDeque<Job>,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) answers: bool,
    pub(crate) cancellations: bool,
}

/// Why a request of the server's is not queued.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There are too many.
    Full,
    /// They have too much text. It can be answered that it is refused.
    Busy(RequestId),
}

impl Outbox {
    pub(crate) fn new(limit: usize, request_bytes: usize) -> Self {
        Self { limit, request_bytes, queues: WaitCell::default() }
    }

    pub(crate) fn push_request(&self, request: ServerRequest) -> Result<(), Refused> {
        self.queues.change(|queues| {
            let bytes = queues.request_bytes.saturating_add(request.bytes());
            if queues.served.len() >= self.limit {
                return Err(Refused::Full);
            }
            if queues.request_bytes > 0 && bytes > self.request_bytes {
                return Err(Refused::Busy(request.id));
            }
            queues.request_bytes = bytes;
            queues.served.push_back(Job::Serve(request));
            Ok(())
        })
    }

    /// `false` if there is no room.
    pub(crate) fn push(&self, job: Job) -> bool {
        self.queues.change(|queues| {
            let queue = match job {
                Job::Serve(_) | Job::Forget(_) => &mut queues.served,
                Job::Answer(_) => &mut queues.answers,
                Job::Cancel(_) | Job::Unsubscribe { .. } => &mut queues.cancellations,
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
        self.queues.poll(cx, |Queues { served, request_bytes, answers, cancellations }| {
            let mut next = served.pop_front();
            if let Some(Job::Serve(request)) = &next {
                *request_bytes -= request.bytes();
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{Inbound, Message, parse};

    /// A request of `bytes` bytes.
    fn request(bytes: usize) -> ServerRequest {
        let text = format!(r#"{{"id":1,"method":"x","params":["{}"]}}"#, "y".repeat(bytes - 5));
        match parse(text.as_bytes()).unwrap() {
            Inbound::One(Message::Request { id, method, params }) => ServerRequest { id, method, params },
            other => panic!("{other:?}"),
        }
    }

    fn pop(outbox: &Outbox) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let capacity = Capacity { answers: true, cancellations: true };
        outbox.poll_pop(capacity, &mut cx).is_ready()
    }

    #[test]
    fn requests_fit_up_to_the_limit_in_bytes_and_one_alone_may_be_larger() {
        let outbox = Outbox::new(10, 100);
        assert!(outbox.push_request(request(60)).is_ok());
        assert!(outbox.push_request(request(40)).is_ok(), "at the limit");
        assert!(matches!(outbox.push_request(request(6)), Err(Refused::Busy(_))), "past it");
        assert!(pop(&outbox));
        assert!(outbox.push_request(request(60)).is_ok());
        assert!(matches!(outbox.push_request(request(6)), Err(Refused::Busy(_))));
        assert!(pop(&outbox) && pop(&outbox) && !pop(&outbox));
        assert!(outbox.push_request(request(1000)).is_ok(), "alone");
        assert!(matches!(outbox.push_request(request(6)), Err(Refused::Busy(_))));
    }

    #[test]
    fn requests_fit_up_to_the_limit_in_number() {
        let outbox = Outbox::new(2, 100);
        assert!(outbox.push_request(request(6)).is_ok() && outbox.push_request(request(6)).is_ok());
        assert!(matches!(outbox.push_request(request(6)), Err(Refused::Full)));
    }
}
