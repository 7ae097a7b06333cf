//! An executor of one thread that counts polls and wakes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// The tasks that have been woken, and how many wakes there were of each.
type Ready = Arc<Mutex<VecDeque<usize>>>;

struct Bell {
    task: usize,
    ready: Ready,
    wakes: AtomicUsize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Relaxed);
        self.ready.lock().expect("no panic").push_back(self.task);
    }
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    bell: Arc<Bell>,
    polls: usize,
}

pub(super) struct Tasks {
    tasks: Vec<Task>,
    ready: Ready,
}

impl Tasks {
    pub(super) fn with_capacity(n: usize) -> Self {
        Self { tasks: Vec::with_capacity(n), ready: Arc::new(Mutex::new(VecDeque::with_capacity(n))) }
    }

    /// Adds a task, which the next [`run`](Self::run) polls.
    pub(super) fn push(&mut self, future: impl Future<Output = ()> + 'static) {
        let task = self.tasks.len();
        let bell = Arc::new(Bell { task, ready: Arc::clone(&self.ready), wakes: AtomicUsize::new(0) });
        self.tasks.push(Task { future: Some(Box::pin(future)), bell, polls: 0 });
        self.ready.lock().expect("no panic").push_back(task);
    }

    /// Polls the tasks that have been woken, until there is none.
    pub(super) fn run(&mut self) {
        while let Some(task) = self.next() {
            let task = &mut self.tasks[task];
            let Some(future) = &mut task.future else { continue };
            task.polls += 1;
            let waker = Waker::from(Arc::clone(&task.bell));
            if future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
                task.future = None;
            }
        }
    }

    fn next(&self) -> Option<usize> {
        self.ready.lock().expect("no panic").pop_front()
    }

    /// Whether every task from this one on has ended.
    pub(super) fn is_over(&self, from: usize) -> bool {
        self.tasks[from..].iter().all(|task| task.future.is_none())
    }

    /// Polls of this task, and how often it was woken.
    pub(super) fn of(&self, task: usize) -> (usize, usize) {
        (self.tasks[task].polls, self.tasks[task].bell.wakes.load(Relaxed))
    }

    /// The polls of all tasks from this one on, and how often they were woken.
    pub(super) fn from(&self, first: usize) -> (usize, usize) {
        let every = (first..self.tasks.len()).map(|task| self.of(task));
        every.fold((0, 0), |sum, (polls, wakes)| (sum.0 + polls, sum.1 + wakes))
    }
}
