//! Unit tests of `sync::shared_future`.

use super::*;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

/// Counts its wakes.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn poll<T: Clone + Send + 'static>(self: &Arc<Self>, part: &mut Waiter<T>) -> Poll<Option<T>> {
        let waker = Waker::from(Arc::clone(self));
        Pin::new(part).poll(&mut Context::from_waker(&waker))
    }

    fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn is_registered(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }
}

/// What a test's future waits for.
#[derive(Default)]
struct Gate(Mutex<(bool, Option<Waker>)>);

impl Gate {
    fn open(&self) {
        let waker = {
            let mut gate = self.0.lock();
            gate.0 = true;
            gate.1.take()
        };
        waker.unwrap().wake();
    }

    async fn passed(self: Arc<Self>) -> u32 {
        poll_fn(|cx| {
            let mut gate = self.0.lock();
            gate.1 = Some(cx.waker().clone());
            if gate.0 { Poll::Ready(7) } else { Poll::Pending }
        })
        .await
    }
}

#[test]
fn who_is_not_polled_holds_nobody_up() {
    let gate = Arc::new(Gate::default());
    let (joint, mut first) = SharedFuture::start(Arc::clone(&gate).passed());
    let mut second = joint.waiter().unwrap();
    let (one, other) = (Arc::<Task>::default(), Arc::<Task>::default());
    assert!(one.poll(&mut first).is_pending());
    assert!(other.poll(&mut second).is_pending());
    gate.open();
    assert_eq!((one.wakes(), other.wakes()), (1, 1));
    assert_eq!(other.poll(&mut second), Poll::Ready(Some(7)));
    assert!(joint.waiter().is_none());
    assert_eq!(one.poll(&mut first), Poll::Ready(Some(7)));
}

#[test]
fn the_future_goes_with_the_last_part() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let (joint, mut first) = SharedFuture::start(async move {
        pending::<()>().await;
        drop(inside);
    });
    let second = joint.waiter().unwrap();
    let task = Arc::<Task>::default();
    assert!(task.poll(&mut first).is_pending());
    assert!(task.is_registered());
    drop(first);
    assert!(!task.is_registered());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(second);
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(joint.waiter().is_none());
}

#[test]
fn a_helper_keeps_nothing_and_is_told() {
    let gate = Arc::new(Gate::default());
    let (joint, first) = SharedFuture::start(Arc::clone(&gate).passed());
    let mut helper = joint.helper().unwrap();
    let task = Arc::<Task>::default();
    assert!(task.poll(&mut helper).is_pending());
    drop(first);
    assert_eq!((task.wakes(), Arc::strong_count(&gate)), (1, 1));
    assert_eq!(task.poll(&mut helper), Poll::Ready(None));
    // While the helper polls.
    let first = Arc::new(Mutex::new(None::<Waiter<()>>));
    let goes = Arc::clone(&first);
    let (joint, part) = SharedFuture::start(poll_fn(move |_| {
        let part = goes.lock().take();
        drop(part);
        Poll::<()>::Pending
    }));
    *first.lock() = Some(part);
    let mut helper = joint.helper().unwrap();
    assert!(task.poll(&mut helper).is_pending());
    assert_eq!((task.wakes(), Arc::strong_count(&first)), (2, 1));
    assert_eq!(task.poll(&mut helper), Poll::Ready(None));
}

#[test]
fn a_wake_during_a_poll_reaches_also_who_came_since() {
    let late = Arc::new(Mutex::new(None::<Waiter<()>>));
    let task = Arc::<Task>::default();
    let (came, waits) = (Arc::clone(&late), Arc::clone(&task));
    let (joint, mut first) = SharedFuture::start(poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        let part = came.lock().take();
        if let Some(mut part) = part {
            assert!(waits.poll(&mut part).is_pending());
            assert_eq!(waits.wakes(), 0);
            *came.lock() = Some(part);
        }
        Poll::<()>::Pending
    }));
    *late.lock() = joint.waiter();
    let one = Arc::<Task>::default();
    assert!(one.poll(&mut first).is_pending());
    assert_eq!((one.wakes(), task.wakes()), (1, 1));
    let part = late.lock().take();
    drop((part, first));
}

#[test]
fn a_panic_is_the_pollers_and_the_others_are_told() {
    let (joint, mut first) = SharedFuture::start(poll_fn(|_| -> Poll<()> { panic!("a bug") }));
    let mut second = joint.waiter().unwrap();
    let task = Arc::<Task>::default();
    catch_unwind(AssertUnwindSafe(|| task.poll(&mut first))).unwrap_err();
    assert_eq!(task.poll(&mut second), Poll::Ready(None));
    assert!(joint.waiter().is_none());
    drop(first);
}

#[test]
fn who_takes_over_as_soon_as_it_is_put_back_keeps_it() {
    /// Polls a waiter in another thread, and goes on when the future is being polled there.
    struct Hand {
        waiter: Mutex<Option<Waiter<u32>>>,
        polling: Mutex<Receiver<()>>,
        output: Mutex<Option<JoinHandle<Poll<Option<u32>>>>>,
    }

    impl Wake for Hand {
        fn wake(self: Arc<Self>) {
            let Some(mut waiter) = self.waiter.lock().take() else { return };
            let poll = move || Pin::new(&mut waiter).poll(&mut Context::from_waker(Waker::noop()));
            *self.output.lock() = Some(thread::spawn(poll));
            self.polling.lock().recv().unwrap();
        }
    }

    let ((polling, is_polling), (returned, has_returned)) = (mpsc::channel(), mpsc::channel::<()>());
    let hand = Arc::new(Hand {
        waiter: Mutex::default(),
        polling: Mutex::new(is_polling),
        output: Mutex::default(),
    });
    let (late, mut is_first) = (Arc::clone(&hand), true);
    let (joint, mut first) = SharedFuture::start(poll_fn(move |cx| {
        if !std::mem::take(&mut is_first) {
            polling.send(()).unwrap();
            has_returned.recv().unwrap();
            return Poll::Ready(7);
        }
        // It is registered while the future is polled, and the wake is passed on to it after that.
        cx.waker().wake_by_ref();
        let mut waiter = late.waiter.lock().take().unwrap();
        let waker = Waker::from(Arc::clone(&late));
        assert!(Pin::new(&mut waiter).poll(&mut Context::from_waker(&waker)).is_pending());
        *late.waiter.lock() = Some(waiter);
        Poll::Pending
    }));
    *hand.waiter.lock() = joint.waiter();
    assert!(Arc::<Task>::default().poll(&mut first).is_pending());
    returned.send(()).unwrap();
    let output = hand.output.lock().take().unwrap();
    assert_eq!(output.join().unwrap(), Poll::Ready(Some(7)));
    // It was not given up for having been put back.
    assert_eq!(Arc::<Task>::default().poll(&mut first), Poll::Ready(Some(7)));
}
