//! Parents, children, and echoes that wait.

use super::*;
#[cfg(shared_fate_loom)]
use loom::sync::Mutex as Turn;
#[cfg(shared_fate_shuttle)]
use shuttle::sync::Mutex as Turn;

/// The connection of a parent, and a request of its child, while a third thread reports: the reporter wakes all
/// that wait, and the driver's task is one of them.
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
                reporter.fail(Why("reset"));
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
        assert_eq!(error.cause().expect("the echo hides the cause").error(), Some(&Why("reset")));
    });
}

/// An echo that waits for a poll, and an end that is not that poll's.
#[test]
fn end_and_an_echo_that_waits_for_a_poll() {
    model(|| {
        let session = Text::new();
        let driver = session.attach();
        let polling = driver.turn.begin(&session);
        let task = Arc::new(Task::new());
        let reporter = session.clone();
        let mut request = Box::pin(std::future::ready(Err::<u8, _>(Echo)).try_supervised(session.clone()));
        let waiting = Arc::clone(&task);
        // The driver is polled by this thread, and will be for long.
        let other = thread::spawn(move || {
            let pended = waiting.poll(request.as_mut()).is_pending();
            (pended, request)
        });
        assert!(reporter.close());
        let (pended, _request) = other.join().unwrap();
        let wakes = task.wakes();
        drop(polling);
        session.detach(&driver);
        assert!(!pended || wakes > 0, "a lost wake-up");
    });
}

/// A driver that fails one request, as a library does, and goes on.
struct FailsOne(Option<Sender>);

impl Future for FailsOne {
    type Output = Result<(), Why>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0 = None;
        Poll::Pending
    }
}

/// An error that waits for a poll which ends nothing: the end of the poll lets it go.
#[test]
fn an_error_that_is_no_echo() {
    model(|| {
        let session = Text::new();
        let (sender, receiver) = reply_channel();
        let mut driver = Box::pin(session.drive(FailsOne(Some(sender))));
        let other = thread::spawn(move || {
            assert!(Task::new().poll(driver.as_mut()).is_pending());
            driver
        });
        let task = Task::new();
        let mut request = pin!(receiver.try_supervised(&session));
        let mut first = task.poll(request.as_mut());
        if first.is_pending() {
            // Perhaps woken by the error, while the driver is at it.
            first = task.poll(request.as_mut());
        }
        let _driver = other.join().unwrap();
        let error = task.settle(first, request).unwrap_err();
        assert!(error.cause().is_none() && error.request_error() == Some(&Echo));
        assert_eq!(task.registered(), 0);
    });
}

/// One request, polled by two threads in turn, each with a waker of its own, while a third one ends the
/// session. The task that polled last and was told to wait has been woken.
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
        session.fail(Why("reset"));
        for other in others {
            other.join().unwrap();
        }
        let (last, pended) = shared.lock().unwrap().1.unwrap();
        assert!(!pended || tasks[last].wakes() == 1, "a lost wake-up");
        assert_eq!(session.waiting(), 0);
    });
}

/// A parent's driver is woken by the parent's end and drops a part of the connection, with it the child's driver.
/// The child was alive when its parent ended, so it has its parent's cause.
#[test]
fn parent_end_and_a_child_whose_driver_goes_with_it() {
    model(|| {
        let parent = Text::new();
        let child = parent.child();
        let driver = child.drive(std::future::pending());
        let watched = parent.clone();
        let other = thread::spawn(move || {
            let task = Task::new();
            let mut ended = pin!(watched.ended());
            if task.poll(ended.as_mut()).is_ready() {
                drop(driver);
                return None;
            }
            Some(driver)
        });
        assert!(parent.fail(Why("reset")));
        assert!(child.is_ended(), "the parent has ended");
        drop(other.join().unwrap());
        assert_eq!(child.cause().unwrap().error(), Some(&Why("reset")));
    });
}

/// A thread that sees the parent ended sees the child and the grandchild ended, with one cause.
#[test]
fn parent_end_seen_from_elsewhere() {
    model(|| {
        let parent = Text::new();
        let child = parent.child();
        let grandchild = child.child();
        let reporter = parent.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        if parent.is_ended() {
            assert!(child.is_ended() && grandchild.is_ended());
            assert!(!child.fail(Why("late")), "the first cause stays");
        }
        if child.is_ended() {
            assert!(grandchild.is_ended());
        }
        other.join().unwrap();
        assert_eq!(grandchild.cause(), parent.cause());
    });
}

/// The last handle of a child goes during the end; its place in the family may be another's at once.
#[test]
fn parent_end_and_a_child_for_another() {
    model(|| {
        let parent = Text::new();
        let (dying, sibling) = (parent.child(), parent.child());
        let reporter = sibling.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("one stream"))));
        drop(dying);
        let late = parent.child();
        other.join().unwrap();
        assert!(!late.is_ended() && !parent.is_ended());
        assert!(parent.fail(Why("reset")));
        assert_eq!(late.cause().unwrap().error(), Some(&Why("reset")));
        assert_eq!(sibling.cause().unwrap().error(), Some(&Why("one stream")));
    });
}

/// Two requests that register at the same time, so that the tables may spread, and an end.
#[test]
fn end_and_two_that_meet_at_the_table() {
    model(|| {
        let session = Text::new();
        let register = || {
            let session = session.clone();
            move || {
                // The second one finds the tables that the first one may have made.
                [session.ended(), session.ended()].map(|ended| {
                    let (task, mut ended) = (Task::new(), Box::pin(ended));
                    let pended = task.poll(ended.as_mut()).is_pending();
                    (task, ended, pended)
                })
            }
        };
        let others = [thread::spawn(register()), thread::spawn(register())];
        assert!(session.fail(Why("reset")));
        for (task, mut ended, pended) in others.into_iter().flat_map(|other| other.join().unwrap()) {
            assert!(!pended || task.wakes() == 1, "a lost wake-up");
            assert!(task.poll(ended.as_mut()).is_ready());
            drop(ended);
            assert_eq!(task.registered(), 0);
        }
        assert_eq!(session.waiting(), 0);
    });
}

/// A registration in a table of its thread, after the tables have spread, and its removal, beside an end.
#[test]
fn end_and_a_registration_after_the_spread() {
    model(|| {
        let session = Text::new();
        session.spread();
        let reporter = session.clone();
        let other = thread::spawn(move || assert!(reporter.fail(Why("reset"))));
        let (leaving, staying) = (Task::new(), Task::new());
        let mut leaver = Box::pin(session.ended());
        let _ = leaving.poll(leaver.as_mut());
        drop(leaver);
        let mut stayer = pin!(session.ended());
        let first = staying.poll(stayer.as_mut());
        other.join().unwrap();
        staying.settle(first, stayer);
        assert_eq!([leaving.registered(), staying.registered(), session.waiting()], [0; 3]);
    });
}

/// Waiting for the last driver to be gone.
#[test]
fn close_and_the_last_driver_goes() {
    model(|| {
        let parent = Text::new();
        let child = parent.child();
        let drivers = [parent.drive(std::future::pending()), child.drive(std::future::pending())];
        let other = thread::spawn(move || drop(drivers));
        parent.close();
        let task = Task::new();
        let mut gone = pin!(parent.drivers_gone());
        let mut first = task.poll(gone.as_mut());
        if first.is_pending() {
            // Perhaps woken for the session's end.
            first = task.poll(gone.as_mut());
        }
        other.join().unwrap();
        task.settle(first, gone);
        assert_eq!((task.registered(), parent.waiting()), (0, 0));
    });
}

/// What `Session::child` relies on, with a reference count that loom can see: `Weak::upgrade` begins with a
/// `Relaxed` load. The steps are those of `child` and of `end_family`. (With `Arc::new_cyclic`, which publishes the
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
            let mut table = self.table.lock();
            let link = std::mem::take(&mut *table);
            if link && self.strong.load(Relaxed) != 0 {
                self.child_ended.store(true, SeqCst);
            }
            // `OnceLock`'s last step.
            self.verdict.swap(true, AcqRel);
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

    /// A thread that finds the link in the table has locked it after this one, and sees the count.
    #[test]
    fn child_birth_and_parent_end() {
        birth(|family| {
            family.publish();
            family.register();
            family.end_child_if_ended();
        });
    }
}
