//! [`SharedFuture`]: one future that several tasks wait for, and any of them carries on.
//!
//! Nobody leads: who began may be dropped, or be kept and never polled again (the branch of a `select!`
//! that lost), and the others go on.
//!
//! Invariants:
//!
//! 1. The future is polled by one waiter at a time, and, as all foreign code, without the lock.
//! 2. A wake reaches every waiter that waits; one that comes while the future is polled also those that
//!    registered since, when that poll is over.
//! 3. When the last waiter goes that is no helper, so does the future, unless it is done.

#[cfg(test)]
mod tests;

use crate::sync::Mutex;
use crate::sync::contain;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Where one can join in. It keeps nothing going.
pub(crate) struct SharedFuture<T> {
    shared: Arc<Inner<T>>,
}

/// One that waits. Resolves to what the future does; to `None` if it was given up: a poll of another waiter
/// panicked, this one was a helper of waiters that have gone, or somebody has given it up.
pub(crate) struct Waiter<T> {
    shared: Arc<Inner<T>>,
    number: usize,
    helps: bool,
}

struct Inner<T>(Mutex<State<T>>);

struct State<T> {
    run: Run<T>,
    /// How many waiters there are that are no helpers.
    waiters: usize,
    /// How many waiters there have been.
    numbers: usize,
    waiting: Vec<(usize, Waker)>,
    /// Since the future was polled last.
    woken: bool,
}

enum Run<T> {
    Going(Pin<Box<dyn Future<Output = T> + Send>>),
    /// A waiter has it.
    Polled,
    Done(T),
    GivenUp,
}

impl<T> Clone for SharedFuture<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Clone + Send + 'static> SharedFuture<T> {
    pub(crate) fn start(future: impl Future<Output = T> + Send + 'static) -> (Self, Waiter<T>) {
        let run = Run::Going(Box::pin(future));
        let state = State { run, waiters: 1, numbers: 1, waiting: Vec::new(), woken: false };
        let shared = Arc::new(Inner(Mutex::new(state)));
        let waiter = Waiter { shared: Arc::clone(&shared), number: 1, helps: false };
        (Self { shared }, waiter)
    }

    /// `None` when it is over, one way or the other.
    pub(crate) fn waiter(&self) -> Option<Waiter<T>> {
        self.join(false)
    }

    /// A waiter that carries the future on only as long as others want it; `None` when the future is over.
    pub(crate) fn helper(&self) -> Option<Waiter<T>> {
        self.join(true)
    }

    /// Drops the future, whoever waits: it resolves to `None` for them. One that is polled just now is dropped behind
    /// that.
    #[cfg(feature = "oauth")]
    pub(crate) fn give_up(&self) {
        let (run, waiting) = {
            let mut state = self.shared.0.lock();
            if matches!(state.run, Run::Done(_)) {
                return;
            }
            (std::mem::replace(&mut state.run, Run::GivenUp), std::mem::take(&mut state.waiting))
        };
        contain(|| drop(run));
        wake_all(waiting);
    }

    fn join(&self, helps: bool) -> Option<Waiter<T>> {
        let mut state = self.shared.0.lock();
        if matches!(state.run, Run::Done(_) | Run::GivenUp) {
            return None;
        }
        state.waiters += usize::from(!helps);
        state.numbers += 1;
        Some(Waiter { shared: Arc::clone(&self.shared), number: state.numbers, helps })
    }
}

impl<T: Clone + Send + 'static> Future for Waiter<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let waker = cx.waker().clone();
        let (polled, _left_over) = self.shared.0.lock().begin(self.number, waker);
        let future = match polled {
            Poll::Ready(output) => return Poll::Ready(output),
            Poll::Pending => match self.shared.0.lock().take() {
                Some(future) => future,
                // Whoever has it passes a wake on.
                None => return Poll::Pending,
            },
        };
        let mut poller = Poller { shared: &self.shared, future: Some(future), is_put_back: false };
        let waker = Waker::from(Arc::clone(&self.shared));
        poller.poll(&mut Context::from_waker(&waker)).map(Some)
    }
}

impl<T: Clone> State<T> {
    /// What there is to see; if nothing, the waker is registered. Returns one that is left over, too.
    fn begin(&mut self, number: usize, waker: Waker) -> (Poll<Option<T>>, Option<Waker>) {
        match &self.run {
            Run::Done(output) => (Poll::Ready(Some(output.clone())), Some(waker)),
            Run::GivenUp => (Poll::Ready(None), Some(waker)),
            Run::Going(_) | Run::Polled => {
                let registered = self.waiting.iter_mut().find(|(it, _)| *it == number);
                let left_over = match registered {
                    Some((_, registered)) => Some(std::mem::replace(registered, waker)),
                    None => {
                        self.waiting.push((number, waker));
                        None
                    }
                };
                (Poll::Pending, left_over)
            }
        }
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Pin<Box<dyn Future<Output = T> + Send>>> {
        match std::mem::replace(&mut self.run, Run::Polled) {
            Run::Going(future) => {
                self.woken = false;
                Some(future)
            }
            other => {
                self.run = other;
                None
            }
        }
    }
}

/// The future, while a waiter polls it.
struct Poller<'a, T> {
    shared: &'a Inner<T>,
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    /// From then on it is the next one's, who may be polling it already.
    is_put_back: bool,
}

impl<T: Clone> Poller<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let polled = self.future.as_mut().expect("it is polled once").as_mut().poll(cx);
        let future = self.future.take();
        let run = match (&polled, future) {
            (Poll::Pending, Some(future)) => Run::Going(future),
            (Poll::Pending, None) => Run::GivenUp,
            (Poll::Ready(output), future) => {
                // What it holds is gone before anybody sees that it is done.
                drop(future);
                Run::Done(output.clone())
            }
        };
        self.is_put_back = true;
        self.shared.put_back(run);
        polled
    }
}

impl<T> Drop for Poller<'_, T> {
    fn drop(&mut self) {
        if self.is_put_back {
            return;
        }
        // It has panicked, in a poll or while it was dropped.
        if let Some(future) = self.future.take() {
            contain(|| drop(future));
        }
        self.shared.put_back(Run::GivenUp);
    }
}

impl<T> Inner<T> {
    fn put_back(&self, run: Run<T>) {
        let waiting = {
            let mut state = self.0.lock();
            // Given up meanwhile.
            if !matches!(state.run, Run::Polled) {
                return;
            }
            let pass_on = state.woken || !matches!(run, Run::Going(_));
            state.run = run;
            if pass_on { std::mem::take(&mut state.waiting) } else { Vec::new() }
        };
        wake_all(waiting);
    }
}

fn wake_all(waiting: Vec<(usize, Waker)>) {
    for (_, waker) in waiting {
        contain(|| waker.wake());
    }
}

impl<T: Send + 'static> Wake for Inner<T> {
    fn wake(self: Arc<Self>) {
        let waiting = {
            let mut state = self.0.lock();
            state.woken = true;
            std::mem::take(&mut state.waiting)
        };
        wake_all(waiting);
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        let (left_over, helpers) = {
            let mut state = self.shared.0.lock();
            state.waiters -= usize::from(!self.helps);
            let registered = state.waiting.iter().position(|(it, _)| *it == self.number);
            let registered = registered.map(|index| state.waiting.swap_remove(index));
            match state.run {
                // A helper that polls it just now drops it.
                Run::Going(_) | Run::Polled if state.waiters == 0 && !self.helps => {
                    let run = std::mem::replace(&mut state.run, Run::GivenUp);
                    ((registered, Some(run)), std::mem::take(&mut state.waiting))
                }
                _ => ((registered, None), Vec::new()),
            }
        };
        // The helpers are told, whatever it does when it is dropped.
        contain(|| drop(left_over));
        wake_all(helpers);
    }
}

impl<T> fmt::Debug for SharedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFuture").finish_non_exhaustive()
    }
}
