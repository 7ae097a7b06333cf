//! What is to be written, in order. Requests can be taken back until they are begun.

use crate::sync::contain;
use crate::sync::wait_cell::WaitCell;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Whoever writes waits for it.
    state: WaitCell<State>,
}

#[derive(Debug, Default)]
struct State {
    order: VecDeque<Entry>,
    /// The requests among them. One that was taken back is in `order` only.
    requests: FxHashMap<u64, Vec<u8>>,
    /// How many other messages there are, and who waits for room for more, in the order of arrival.
    others: usize,
    waiting: BTreeMap<u64, Waker>,
    places: u64,
    /// Nothing more will be written.
    closed: bool,
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
    pub(super) fn push(&self, line: Vec<u8>, limit: usize) -> Push<'_> {
        Push { queue: self, line, limit, place: None }
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
        self.take(|state| state.fill(buffer, enough, true));
    }

    /// Appends lines at the end of the session. Nobody waits for the replies to requests then: requests are not written any
    /// more, and can still be taken back. When nothing but requests is left, the queue takes nothing more.
    pub(super) fn fill_last(&self, buffer: &mut Vec<u8>, enough: usize) {
        self.take(|state| {
            let room = state.fill(buffer, enough, false);
            state.closed = buffer.is_empty();
            room
        });
    }

    /// Takes lines out, and tells those who wait for the room.
    fn take(&self, take: impl FnOnce(&mut State) -> bool) {
        let waiting = self.state.with(|state| match take(state) {
            true => std::mem::take(&mut state.waiting),
            false => BTreeMap::new(),
        });
        for waker in waiting.into_values() {
            contain(|| waker.wake());
        }
    }

    /// Ready when there is something.
    pub(super) fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.poll(cx, |state| (!state.order.is_empty()).then_some(()))
    }

    /// Nobody writes any more.
    pub(super) fn forget_writer(&self) {
        self.state.forget();
    }
}

impl State {
    /// Whether there is room now that there was not before.
    fn fill(&mut self, buffer: &mut Vec<u8>, enough: usize, requests: bool) -> bool {
        let mut room = false;
        while buffer.len() < enough {
            let line = match self.order.pop_front() {
                Some(Entry::Request(id)) if requests => self.requests.remove(&id),
                Some(Entry::Request(_)) => None,
                Some(Entry::Other(line)) => {
                    self.others -= 1;
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
        room
    }
}

/// Future for [`Queue::push`].
pub(super) struct Push<'a> {
    queue: &'a Queue,
    line: Vec<u8>,
    limit: usize,
    /// Among those who wait.
    place: Option<u64>,
}

impl Future for Push<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { queue, line, limit, place } = &mut *self;
        let waker = cx.waker().clone();
        let (poll, _left_over) = queue.state.change(|state| {
            if state.closed || state.others >= (*limit).max(1) {
                let place = *place.get_or_insert_with(|| {
                    state.places += 1;
                    state.places
                });
                return (Poll::Pending, (None, state.waiting.insert(place, waker)));
            }
            let mut line = std::mem::take(line);
            line.push(b'\n');
            state.others += 1;
            state.order.push_back(Entry::Other(line));
            let registered = place.take().and_then(|place| state.waiting.remove(&place));
            (Poll::Ready(()), (Some(waker), registered))
        });
        poll
    }
}

impl Drop for Push<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.queue.state.with(|state| state.waiting.remove(&place));
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker may do so");
        }
    }

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waker_that_panics_harms_no_other_that_waits_for_room() {
        let queue = Queue::default();
        assert!(
            pin!(queue.push(b"first".to_vec(), 1)).poll(&mut Context::from_waker(&noop_waker())).is_ready()
        );
        let (mut one, mut two) = (pin!(queue.push(Vec::new(), 1)), pin!(queue.push(Vec::new(), 1)));
        let counts = Arc::<Counts>::default();
        let (panics, waker) = (Waker::from(Arc::new(Panics)), Waker::from(Arc::clone(&counts)));
        assert!(one.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        assert!(two.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut written = Vec::new();
        queue.fill(&mut written, 100);
        assert_eq!((&*written, counts.0.load(Ordering::Relaxed)), (&b"first\n"[..], 1));
    }
}
