//! Idle connections.
//!
//! Nothing watches them. That the peer has closed one is noticed when it is about to be used, and the
//! ones that have been idle for too long are closed whenever the pool is next used.
//!
//! A connection is never polled or dropped while the lock is held: both run code of the stream.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::connection::{Connection, Key};

pub(super) struct Pool {
    idle: Mutex<Idle>,
    timeout: Duration,
    max_per_host: usize,
    /// Nothing is kept any more. Changed and read with the lock held.
    closed: AtomicBool,
}

/// For each host the connections in the order in which they became idle. No entry is empty.
type Idle = HashMap<Key, VecDeque<Box<Connection>>>;

impl Pool {
    pub(super) fn new(timeout: Duration, max_per_host: usize) -> Self {
        Self { idle: Mutex::default(), timeout, max_per_host, closed: AtomicBool::new(false) }
    }

    /// Takes the connection used last that is still open.
    pub(super) async fn take(&self, key: &Key) -> Option<Box<Connection>> {
        poll_fn(|cx| {
            loop {
                let Some(mut connection) = self.pop(key) else {
                    return Poll::Ready(None);
                };
                if connection.is_idle(cx) {
                    return Poll::Ready(Some(connection));
                }
            }
        })
        .await
    }

    /// Keeps a connection for the next request, or closes it if it cannot take one.
    pub(super) fn put(&self, mut connection: Box<Connection>, cx: &mut Context<'_>) {
        if self.max_per_host == 0 || !connection.is_idle(cx) {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.lock();
        if self.closed.load(Ordering::Relaxed) {
            drop(idle);
            return;
        }
        let mut surplus = self.remove_expired(&mut idle);
        let same_host = idle.entry(connection.key.clone()).or_default();
        if same_host.len() >= self.max_per_host {
            surplus.extend(same_host.pop_front());
        }
        same_host.push_back(connection);
        drop(idle);
        drop(surplus);
    }

    /// Closes all idle connections.
    #[cfg(test)]
    pub(super) fn clear(&self) {
        let idle = mem::take(&mut *self.lock());
        drop(idle);
    }

    /// Closes all idle connections, and from now on each as soon as it is no longer used.
    pub(super) fn close(&self) {
        let idle = {
            let mut idle = self.lock();
            self.closed.store(true, Ordering::Relaxed);
            mem::take(&mut *idle)
        };
        drop(idle);
    }

    fn pop(&self, key: &Key) -> Option<Box<Connection>> {
        let mut idle = self.lock();
        let expired = self.remove_expired(&mut idle);
        let connection = idle.get_mut(key).and_then(VecDeque::pop_back);
        if idle.get(key).is_some_and(VecDeque::is_empty) {
            idle.remove(key);
        }
        drop(idle);
        drop(expired);
        connection
    }

    fn remove_expired(&self, idle: &mut Idle) -> VecDeque<Box<Connection>> {
        let mut expired = VecDeque::new();
        idle.retain(|_, connections| {
            let count =
                connections.partition_point(|connection| connection.idle_since.elapsed() >= self.timeout);
            expired.extend(connections.drain(..count));
            !connections.is_empty()
        });
        expired
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
