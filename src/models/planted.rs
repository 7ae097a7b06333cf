//! Bugs on purpose: models that pass mean little unless they fail where they should.

use super::*;
use std::panic::catch_unwind;

/// What is planted: the order of two lines.
trait Table: Default + Send + Sync + 'static {
    fn poll(&self, waker: &Waker) -> bool;
    fn end(&self);
}

#[derive(Default)]
struct Waiting {
    ended: shuttle::sync::atomic::AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Waiting {
    fn is_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    fn end(&self) {
        self.ended.store(true, SeqCst);
        let wakers = std::mem::take(&mut *self.wakers.lock());
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// As ours: looks again under the lock.
#[derive(Default)]
struct Right(Waiting);

impl Table for Right {
    fn poll(&self, waker: &Waker) -> bool {
        let mut wakers = self.0.wakers.lock();
        let ended = self.0.is_ended();
        if !ended {
            wakers.push(waker.clone());
        }
        ended
    }

    fn end(&self) {
        self.0.end();
    }
}

/// The classic: looks, then registers.
#[derive(Default)]
struct Wrong(Waiting);

impl Table for Wrong {
    fn poll(&self, waker: &Waker) -> bool {
        if self.0.is_ended() {
            return true;
        }
        self.0.wakers.lock().push(waker.clone());
        false
    }

    fn end(&self) {
        self.0.end();
    }
}

fn lost_wake_up<T: Table>() {
    let table = Arc::new(T::default());
    let ender = Arc::clone(&table);
    let other = thread::spawn(move || ender.end());
    let task = Task::new();
    let ended = table.poll(&task.waker);
    other.join().unwrap();
    assert!(ended || task.wakes() == 1, "a lost wake-up");
}

#[test]
fn a_planted_lost_wake_up_is_found() {
    shuttle::check_random(lost_wake_up::<Right>, 2000);
    let found = catch_unwind(|| shuttle::check_random(lost_wake_up::<Wrong>, 2000));
    assert!(found.is_err(), "these models would not notice");
}

/// A driver that drops first and publishes then.
fn echo<const PUBLISH_FIRST: bool>() {
    let session = Text::new();
    let (sender, receiver) = reply_channel();
    let driver = session.clone();
    let other = thread::spawn(move || {
        if PUBLISH_FIRST {
            driver.fail(Why("reset"));
        }
        drop(sender);
        driver.fail(Why("reset"));
    });
    let task = Task::new();
    let mut request = pin!(receiver.try_supervised(&session));
    let first = task.poll(request.as_mut());
    other.join().unwrap();
    assert!(task.settle(first, request).unwrap_err().cause().is_some(), "the echo hides the cause");
}

#[test]
fn a_planted_late_verdict_is_found() {
    shuttle::check_random(echo::<true>, 2000);
    let found = catch_unwind(|| shuttle::check_random(echo::<false>, 2000));
    assert!(found.is_err(), "these models would not notice");
}

/// Everything at once. A hang is a deadlock, and shuttle says so.
fn a_session_with_all_of_these() {
    use shuttle::future::block_on;
    let session = Text::new();
    let replies: Vec<_> = (0..3).map(|_| reply_channel()).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
    let mut connection = senders.into_iter();
    let first = connection.next().unwrap();
    let rest: Vec<_> = connection.collect();
    let driver = session.drive(std::future::poll_fn(move |_| {
        first.settle(Ok(7));
        assert!(rest.len() == 2);
        Poll::Ready(Err(Why("reset")))
    }));
    let mut threads = vec![thread::spawn(move || drop(block_on(driver)))];
    for (number, receiver) in receivers.into_iter().enumerate() {
        let session = session.clone();
        threads.push(thread::spawn(move || match block_on(receiver.try_supervised(session)) {
            Ok(reply) => assert_eq!((number, reply), (0, 7)),
            Err(error) => assert_eq!(error.cause().unwrap().error(), Some(&Why("reset"))),
        }));
    }
    let child = session.child();
    threads.push(thread::spawn(move || assert!(block_on(child.ended()).error() == Some(&Why("reset")))));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(session.waiting(), 0);
}

#[test]
fn nothing_hangs() {
    model(a_session_with_all_of_these);
}
