//! Parents, children, and echoes that wait.

use super::*;
#[cfg(shared_fate_loom)]
use loom::sync::Mutex as Turn;
#[cfg(shared_fate_shuttle)]
use shuttle::sync::Mutex as Turn;

/// The connection of a parent, and a request of its child, while somebody else reports. Three threads, as
/// on any executor with several: the reporter wakes everybody, the driver's task is one of them.
#[test]
fn parent_end_and_an_echo_of_the_child() {
    model(|| {
        let parent = Text::new();
        let child = parent.child();
        let (sender, receiver) = reply_channel();
        let driver = parent.drive(Connection { sender, answers: false });
        let reporter = parent.clone();
        let others = [
            thread::spawn(move || {
                reporter.fail("reset");
            }),
            thread::spawn(move || assert!(Task::new().poll(pin!(driver)).is_ready())),
        ];
        let task = Task::new();
        let mut request = pin!(receiver.try_supervised(&child));
        let mut first = task.poll(request.as_mut());
        if first.is_pending() {
            first = task.poll(request.as_mut());
        }
        for other in others {
            other.join().unwrap();
        }
        let error = task.settle(first, request).unwrap_err();
        assert_eq!(error.cause().expect("the echo hides the cause").error(), Some(&"reset"));
    });
}

/// An echo that waits for a poll, and an end that is not that poll's.
#[test]
fn end_and_an_echo_that_waits_for_a_poll() {
    model(|| {
        let session = Text::new();
        let round = session.round();
        let task = Arc::new(Task::new());
        let reporter = session.clone();
        let mut request = Box::pin(std::future::ready(Err::<u8, _>(Echo)).try_supervised(session.clone()));
        let polling = Arc::clone(&task);
        // The driver is polled by this thread, and will be for long.
        let other = thread::spawn(move || {
            let pended = polling.poll(request.as_mut()).is_pending();
            (pended, request)
        });
        assert!(reporter.close());
        let (pended, _request) = other.join().unwrap();
        let wakes = task.wakes();
        drop(round);
        assert!(!pended || wakes > 0, "a lost wake-up");
    });
}

/// One request, polled by two threads in turn, each with a waker of its own, while a third one ends the
/// session. Whoever polled last and was told to wait has been woken.
#[test]
fn end_and_a_request_that_changes_tasks() {
    model(|| {
        let session = Text::new();
        let tasks = [Arc::new(Task::new()), Arc::new(Task::new())];
        let request = std::future::pending::<()>().supervised(session.clone());
        // The last to poll, and what it was told.
        let shared = Arc::new(Turn::new((Box::pin(request), None)));
        let poll = |at: usize| {
            let (task, shared) = (Arc::clone(&tasks[at]), Arc::clone(&shared));
            move || {
                let mut shared = shared.lock().unwrap();
                let (request, last) = &mut *shared;
                if !matches!(last, Some((_, false))) {
                    *last = Some((at, task.poll(request.as_mut()).is_pending()));
                }
            }
        };
        let (one, two) = (poll(0), poll(1));
        let others = [thread::spawn(one), thread::spawn(two)];
        session.fail("reset");
        for other in others {
            other.join().unwrap();
        }
        let (last, pended) = shared.lock().unwrap().1.unwrap();
        assert!(!pended || tasks[last].wakes() == 1, "a lost wake-up");
        assert_eq!(session.waiting(), 0);
    });
}

/// What `Session::child` relies on, with a reference count that loom can see: `Weak::upgrade` begins with a
/// `Relaxed` load. The steps are those of `child` and of `end`. (With `Arc::new_cyclic`, which publishes the
/// child only after it was registered, loom finds a child that never hears of its parent's end.)
#[cfg(shared_fate_loom)]
mod birth {
    use super::*;
    use loom::sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    };

    #[derive(Default)]
    struct Family {
        /// The parent's latch.
        verdict: AtomicBool,
        /// The parent's table: whether the child is in it.
        table: Mutex<bool>,
        /// The child's strong count.
        strong: AtomicUsize,
        /// Std's, for they are only looked at when all is over.
        child_ended: std::sync::atomic::AtomicBool,
    }

    impl Family {
        /// The child's way into its parent's table.
        fn register(&self) {
            let mut table = self.table.lock();
            *table = !self.verdict.load(Acquire);
        }

        /// `Arc::new`.
        fn publish(&self) {
            self.strong.fetch_add(1, Release);
        }

        fn end_child_if_ended(&self) {
            if self.verdict.load(Acquire) {
                self.child_ended.store(true, SeqCst);
            }
        }

        fn end(&self) {
            // `OnceLock`'s last step.
            self.verdict.swap(true, AcqRel);
            let link = std::mem::take(&mut *self.table.lock());
            if link && self.strong.load(Relaxed) != 0 {
                self.child_ended.store(true, SeqCst);
            }
        }
    }

    fn birth(child: fn(&Family)) {
        loom::model(move || {
            let family = Arc::new(Family::default());
            let parent = Arc::clone(&family);
            let other = thread::spawn(move || parent.end());
            child(&family);
            other.join().unwrap();
            assert!(family.child_ended.load(SeqCst), "a child that never hears of its parent's end");
        });
    }

    /// Whoever finds the link in the table has locked it after this thread, and sees the count.
    #[test]
    fn child_birth_and_parent_end() {
        birth(|family| {
            family.publish();
            family.register();
            family.end_child_if_ended();
        });
    }
}
