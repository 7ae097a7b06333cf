//! What is to be written, in order. Requests can be taken back until they are begun.

use crate::mcp::watched::Watched;
use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Watched by whoever writes.
    state: Watched<State>,
}

#[derive(Debug, Default)]
struct State {
    order: VecDeque<Entry>,
    /// The requests among them. One that was taken back is in `order` only.
    requests: HashMap<u64, Vec<u8>>,
    /// How many other messages there are, and who waits for room for more.
    others: usize,
    waiting: Vec<Waker>,
}

#[derive(Debug)]
enum Entry {
    Request(u64),
    Other(Vec<u8>),
}

impl Queue {
    /// Bounded by its users: a call has one request in here.
    pub(super) fn push_request(&self, id: u64, mut line: Vec<u8>) {
        line.push(b'\n');
        self.state.change(|state| {
            state.order.push_back(Entry::Request(id));
            state.requests.insert(id, line);
        });
    }

    /// Takes the line as soon as there are fewer than `limit` others: a server that does not read must
    /// not make us keep answers without end.
    pub(super) fn poll_push(&self, line: &mut Vec<u8>, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = Some(cx.waker().clone());
        let pushed = self.state.change(|state| {
            if state.others >= limit.max(1) {
                if !state.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
                    state.waiting.extend(waker.take());
                }
                return Poll::Pending;
            }
            let mut line = std::mem::take(line);
            line.push(b'\n');
            state.others += 1;
            state.order.push_back(Entry::Other(line));
            Poll::Ready(())
        });
        drop(waker);
        pushed
    }

    pub(super) fn retract(&self, id: u64) -> bool {
        self.state.with(|State { order, requests, .. }| {
            let retracted = requests.remove(&id).is_some();
            // Calls that come and go while nothing is written must not pile up.
            if retracted && order.len() > 64 && order.len() > 4 * requests.len() {
                order.retain(|entry| match entry {
                    Entry::Request(id) => requests.contains_key(id),
                    Entry::Other(_) => true,
                });
            }
            retracted
        })
    }

    /// Appends lines to `buffer` until it holds `enough` bytes or nothing is left.
    pub(super) fn fill(&self, buffer: &mut Vec<u8>, enough: usize) {
        // Who waits for the room that there is now.
        let waiting = self.state.with(|state| {
            let mut room = false;
            while buffer.len() < enough {
                let line = match state.order.pop_front() {
                    Some(Entry::Request(id)) => state.requests.remove(&id),
                    Some(Entry::Other(line)) => {
                        state.others -= 1;
                        room = true;
                        Some(line)
                    }
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
            if room { std::mem::take(&mut state.waiting) } else { Vec::new() }
        });
        for waker in waiting {
            waker.wake();
        }
    }

    /// Ready when there is something.
    pub(super) fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.poll(cx, |state| (!state.order.is_empty()).then_some(()))
    }
}
