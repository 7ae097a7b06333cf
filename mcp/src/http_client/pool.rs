//! Idle connections, and the right to open new ones.
//!
//! Nothing watches idle connections. That the peer has closed one is noticed when it is about to be used,
//! and the ones that have been idle for too long are closed whenever the pool is next used.
//!
//! Only so many connections are opened at a time. A thousand calls at once would otherwise overrun the
//! server's queue of new connections, and those that find no room there are late by a second. (A server that
//! accepts connections more slowly than its system opens them is overrun all the same.) As soon as a
//! connection becomes idle, a call that waits gets it; so many calls need few connections if the server is
//! fast, and one each if it is slow.
//!
//! A connection is never polled or dropped while the lock is held, nor is a waker cloned, woken or
//! dropped: all of these run code of others.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::connection::{Connection, Key};

pub(super) struct Pool {
    state: Mutex<State>,
    timeout: Duration,
    max_per_host: usize,
    max_opening: usize,
}

struct State {
    /// In the order in which they became idle.
    idle: VecDeque<Box<Connection>>,
    /// Nothing is kept any more.
    closed: bool,
    /// How many are being opened.
    opening: usize,
    /// Who waits, and for what, by number. While there is anybody, as many connections as may be are being
    /// opened, or one who has waited is woken and will look, or hand that on.
    waiting: VecDeque<Waiting>,
    last_number: u64,
}

struct Waiting {
    number: u64,
    key: Key,
    waker: Waker,
}

/// What a request can go out on.
pub(super) enum Claim<'a> {
    Idle(Box<Connection>),
    /// The right to open a connection, until it is dropped.
    Open(Opening<'a>),
}

pub(super) struct Opening<'a> {
    pool: &'a Pool,
}

impl Pool {
    pub(super) fn new(timeout: Duration, max_per_host: usize, max_opening: usize) -> Self {
        let state = State {
            idle: VecDeque::new(),
            closed: false,
            opening: 0,
            waiting: VecDeque::new(),
            last_number: 0,
        };
        Self { state: Mutex::new(state), timeout, max_per_host, max_opening: max_opening.max(1) }
    }

    /// Takes the connection used last that is still open.
    pub(super) async fn take(&self, key: &Key) -> Option<Box<Connection>> {
        poll_fn(|cx| Poll::Ready(self.take_now(key, cx))).await
    }

    /// An idle connection, or, if there is none, the right to open one. Waits for either.
    pub(super) async fn claim(&self, key: &Key) -> Claim<'_> {
        let mut place = Place { pool: self, number: None };
        poll_fn(|cx| place.poll(key, cx)).await
    }

    fn take_now(&self, key: &Key, cx: &mut Context<'_>) -> Option<Box<Connection>> {
        loop {
            let mut connection = self.pop(key)?;
            connection.begin_poll();
            if connection.is_open(cx) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over for the next request, or closes it if it cannot take one.
    pub(super) fn put(&self, mut connection: Box<Connection>, cx: &mut Context<'_>) {
        if self.max_per_host == 0 || !connection.end_exchange(cx) {
            return;
        }
        connection.idle_since = Instant::now();
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return;
        }
        let expired = self.remove_expired(&mut state);
        let waiting = state.waiting.iter().position(|waiting| waiting.key == connection.key);
        let waiting = waiting.and_then(|at| state.waiting.remove(at));
        let same_host = |other: &Connection| other.key == connection.key;
        let mut surplus = None;
        if state.idle.len() >= self.max_per_host
            && state.idle.iter().filter(|other| same_host(other)).count() >= self.max_per_host
        {
            let oldest = state.idle.iter().position(|other| same_host(other));
            surplus = oldest.and_then(|at| state.idle.remove(at));
        }
        state.idle.push_back(connection);
        drop(state);
        drop((expired, surplus));
        if let Some(waiting) = waiting {
            wake(waiting.waker);
        }
    }

    /// Closes all idle connections.
    #[cfg(test)]
    pub(super) fn clear(&self) {
        let idle = mem::take(&mut self.lock().idle);
        drop(idle);
    }

    /// Closes all idle connections, and from now on each as soon as it is no longer used.
    pub(super) fn close(&self) {
        let idle = {
            let mut state = self.lock();
            state.closed = true;
            mem::take(&mut state.idle)
        };
        drop(idle);
    }

    fn pop(&self, key: &Key) -> Option<Box<Connection>> {
        let mut state = self.lock();
        let expired = self.remove_expired(&mut state);
        let last = state.idle.iter().rposition(|connection| connection.key == *key);
        let connection = last.and_then(|at| state.idle.remove(at));
        drop(state);
        drop(expired);
        connection
    }

    fn remove_expired(&self, state: &mut State) -> VecDeque<Box<Connection>> {
        let count = state.idle.partition_point(|connection| connection.idle_since.elapsed() >= self.timeout);
        state.idle.drain(..count).collect()
    }

    /// Whoever waits longest looks again.
    fn wake_first(&self) {
        let first = self.lock().waiting.pop_front();
        if let Some(first) = first {
            wake(first.waker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One whose waker panics harms no other; the panic hook has reported it.
fn wake(waker: Waker) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        // Dropping what the panic carries may panic once more.
        catch_unwind(AssertUnwindSafe(|| drop(payload))).unwrap_or_else(mem::forget);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.pool.lock().opening -= 1;
        self.pool.wake_first();
    }
}

/// A place in the queue, if it has one.
struct Place<'a> {
    pool: &'a Pool,
    number: Option<u64>,
}

impl<'a> Place<'a> {
    fn poll(&mut self, key: &Key, cx: &mut Context<'_>) -> Poll<Claim<'a>> {
        let poll = match self.pool.take_now(key, cx) {
            Some(connection) => Poll::Ready(Claim::Idle(connection)),
            None => self.poll_open(key, cx).map(Claim::Open),
        };
        if poll.is_ready() {
            self.leave();
        }
        poll
    }

    fn poll_open(&mut self, key: &Key, cx: &mut Context<'_>) -> Poll<Opening<'a>> {
        let mut waiting = Waiting { number: 0, key: key.clone(), waker: cx.waker().clone() };
        let mut guard = self.pool.lock();
        let state = &mut *guard;
        if state.opening < self.pool.max_opening {
            state.opening += 1;
            drop(guard);
            return Poll::Ready(Opening { pool: self.pool });
        }
        let replaced = match self.number.and_then(|number| state.find(number)) {
            Some(at) => Some(mem::replace(&mut state.waiting[at].waker, waiting.waker)),
            None => {
                state.last_number += 1;
                waiting.number = state.last_number;
                self.number = Some(waiting.number);
                state.waiting.push_back(waiting);
                None
            }
        };
        drop(guard);
        drop(replaced);
        Poll::Pending
    }

    /// Whether it was still in the queue.
    fn leave(&mut self) -> bool {
        let Some(number) = self.number.take() else { return true };
        let left = {
            let mut state = self.pool.lock();
            state.find(number).and_then(|at| state.waiting.remove(at))
        };
        left.is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // It has been woken, and did not come to look: that is for the next one.
        if !self.leave() {
            self.pool.wake_first();
        }
    }
}

impl State {
    fn find(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }
}
