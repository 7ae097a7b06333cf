//! What is to be written, in order. Requests can be taken back until they are begun.

use crate::mcp::protocol::by_id::ById;
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    order: VecDeque<Entry>,
    /// The requests among them. One that was taken back is in `order` only.
    requests: ById<Vec<u8>>,
    writer: Option<Waker>,
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
        let writer = {
            let mut state = self.state.lock();
            state.order.push_back(Entry::Request(id));
            state.requests.insert(id, line);
            state.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Takes the line as soon as there are fewer than `limit` others: a server that does not read must
    /// not make us keep answers without end.
    pub(super) fn poll_push(&self, line: &mut Vec<u8>, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let (writer, left_over) = {
            let mut state = self.state.lock();
            if state.others >= limit.max(1) {
                if state.waiting.iter().any(|waiting| waiting.will_wake(&waker)) {
                    drop(state);
                    drop(waker);
                } else {
                    state.waiting.push(waker);
                }
                return Poll::Pending;
            }
            let mut line = std::mem::take(line);
            line.push(b'\n');
            state.others += 1;
            state.order.push_back(Entry::Other(line));
            (state.writer.take(), waker)
        };
        drop(left_over);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(())
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
        let waiting = self.fill_locked(buffer, enough);
        for waker in waiting {
            waker.wake();
        }
    }

    /// Returns who waits for the room that there is now.
    fn fill_locked(&self, buffer: &mut Vec<u8>, enough: usize) -> Vec<Waker> {
        let mut state = self.state.lock();
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
