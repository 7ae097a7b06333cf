//! [`Outbox`]: what is left for the driver to do. Each kind of work has its own queue, with a limit of its own, so that none
//! takes the room of another.
//!
//! Invariant: `Queues::request_bytes` is the length of the requests in `served` together. It is above the limit only where
//! there is one request alone.

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
    /// Tell the server that its answer to a call is not wanted any more.
    Cancel(Outgoing<'static>),
    /// Tell the server that nobody wants to know of a resource any more, if that is so by then.
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
    /// `Serve` and `Forget`, in one queue: the request that is to be forgotten comes first.
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
    /// They have too much text. This one can be answered: with an error.
    Busy(RequestId),
}

impl Outbox {
    pub(crate) fn new(limit: usize, request_bytes: usize) -> Self {
        Self { limit, request_bytes, queues: WaitCell::default() }
    }

    /// Queues a request of the server's.
    pub(crate) fn serve(&self, request: ServerRequest) -> Result<(), Refused> {
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

    /// Queues that the server does not want an answer any more. `false` if there is no room.
    pub(crate) fn forget(&self, id: RequestId) -> bool {
        self.push(Job::Forget(id), |queues| &mut queues.served)
    }

    /// Queues an answer to the server. `false` if there is no room.
    pub(crate) fn answer(&self, answer: Outgoing<'static>) -> bool {
        self.push(Job::Answer(answer), |queues| &mut queues.answers)
    }

    /// Queues a cancellation. `false` if there is no room.
    pub(crate) fn cancel(&self, message: Outgoing<'static>) -> bool {
        self.push(Job::Cancel(message), |queues| &mut queues.cancellations)
    }

    /// Queues the end of a subscription to a resource. `false` if there is no room.
    pub(crate) fn unsubscribe(&self, uri: String, message: Outgoing<'static>) -> bool {
        self.push(Job::Unsubscribe { uri, message }, |queues| &mut queues.cancellations)
    }

    fn push(&self, job: Job, queue: impl FnOnce(&mut Queues) -> &mut VecDeque<Job>) -> bool {
        self.queues.change(|queues| {
            let queue = queue(queues);
            let has_room = queue.len() < self.limit;
            if has_room {
                queue.push_back(job);
            }
            has_room
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
        assert!(outbox.serve(request(60)).is_ok());
        assert!(outbox.serve(request(40)).is_ok(), "at the limit");
        assert!(matches!(outbox.serve(request(6)), Err(Refused::Busy(_))), "past it");
        assert!(pop(&outbox));
        assert!(outbox.serve(request(60)).is_ok());
        assert!(matches!(outbox.serve(request(6)), Err(Refused::Busy(_))));
        assert!(pop(&outbox) && pop(&outbox) && !pop(&outbox));
        assert!(outbox.serve(request(1000)).is_ok(), "alone");
        assert!(matches!(outbox.serve(request(6)), Err(Refused::Busy(_))));
    }

    #[test]
    fn requests_fit_up_to_the_limit_in_number() {
        let outbox = Outbox::new(2, 100);
        assert!(outbox.serve(request(6)).is_ok() && outbox.serve(request(6)).is_ok());
        assert!(matches!(outbox.serve(request(6)), Err(Refused::Full)));
    }
}
