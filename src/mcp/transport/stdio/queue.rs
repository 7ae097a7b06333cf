//! What is to be written, in order. Requests can be taken back until they are begun.

use super::Outgoing;
use crate::sync::Mutex;
use std::collections::{HashMap, VecDeque};
use std::task::Waker;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    order: VecDeque<Entry>,
    /// The requests among them. One that was taken back is in `order` only.
    requests: HashMap<u64, Vec<u8>>,
    writer: Option<Waker>,
}

#[derive(Debug)]
enum Entry {
    Request(u64),
    Other(Vec<u8>),
}

impl Queue {
    /// Bounded by its users: a call has one request in here, and the outbox has a limit.
    pub(super) fn push(&self, message: Outgoing) {
        let mut line = message.body;
        line.push(b'\n');
        let writer = {
            let mut state = self.state.lock();
            match message.id {
                Some(id) => {
                    state.order.push_back(Entry::Request(id));
                    state.requests.insert(id, line);
                }
                None => state.order.push_back(Entry::Other(line)),
            }
            state.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    pub(super) fn retract(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let State { order, requests, .. } = &mut *state;
        let retracted = requests.remove(&id).is_some();
        // Calls that come and go while nothing is written must not pile up.
        if retracted && order.len() > 64 && order.len() > 4 * requests.len() {
            order.retain(|entry| match entry {
                Entry::Request(id) => requests.contains_key(id),
                Entry::Other(_) => true,
            });
        }
        retracted
    }

    /// Appends lines to `buffer` until it holds `enough` bytes or nothing is left.
    pub(super) fn fill(&self, buffer: &mut Vec<u8>, enough: usize) {
        let mut state = self.state.lock();
        while buffer.len() < enough {
            let line = match state.order.pop_front() {
                Some(Entry::Request(id)) => state.requests.remove(&id),
                Some(Entry::Other(line)) => Some(line),
                None => break,
            };
            if let Some(line) = line {
                if buffer.is_empty() && line.len() >= enough {
                    *buffer = line;
                } else {
                    buffer.extend_from_slice(&line);
                }
            }
        }
    }

    /// Asks to be woken when there is something. `false` if there is already.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        {
            let state = self.state.lock();
            if !state.order.is_empty() {
                return false;
            }
            if state.writer.as_ref().is_some_and(|writer| writer.will_wake(waker)) {
                return true;
            }
        }
        let waker = waker.clone();
        let left_over = {
            let mut state = self.state.lock();
            if !state.order.is_empty() {
                return false;
            }
            state.writer.replace(waker)
        };
        drop(left_over);
        true
    }
}
