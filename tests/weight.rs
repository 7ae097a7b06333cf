//! Costs stay where they arise (R22): who is woken, and what is given back.

mod support;

use shared_fate::{Session, SupervisedExt};
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use support::{Script, TestWaker, Why, script};

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A driver that is polled `polls` times on a thread of its own, and given back by the thread.
///
/// It says when it is inside a poll, and stays there until it is told to leave.
fn slow_driver(
    session: &Session<Why>,
    polls: usize,
) -> (JoinHandle<impl Send + use<>>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (entered, inside) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let mut driver = Box::pin(session.drive(Script::each(move |_| {
        entered.send(()).unwrap();
        left.recv().unwrap();
        Poll::Pending
    })));
    let driver = thread::spawn(move || {
        let task = TestWaker::new();
        (0..polls).for_each(|_| task.pending(&mut driver));
        driver
    });
    (driver, inside, leave)
}

/// 10 000 failed requests wait for one slow poll. 100 polls of another driver, which can end none of them, wake none.
#[test]
fn r22_a_poll_wakes_only_what_waits_for_it() {
    const WAITING: usize = 10_000;
    let session = Session::<Why>::new();
    let (slow, inside, leave) = slow_driver(&session, 1);
    inside.recv().unwrap();
    let task = TestWaker::new();
    let mut waiting: Vec<Waiting> = (0..WAITING)
        .map(|_| {
            let request = script![Ready(Err::<(), _>(Why("echo")))].try_supervised(session.clone());
            let request: Waiting = Box::pin(async move {
                assert!(request.await.unwrap_err().cause().is_none());
            });
            request
        })
        .collect();
    for request in &mut waiting {
        task.pending(request);
    }
    // Another driver of the session, and one of a child's.
    let child = session.child();
    let mut others =
        [Box::pin(session.drive(std::future::pending())), Box::pin(child.drive(std::future::pending()))];
    let other = TestWaker::new();
    for _ in 0..100 {
        others.iter_mut().for_each(|driver| other.pending(driver));
    }
    assert_eq!(task.wakes(), 0, "polls of other drivers wake {WAITING} requests");
    leave.send(()).unwrap();
    let slow = slow.join().unwrap();
    assert_eq!(task.wakes(), WAITING);
    waiting.iter_mut().for_each(|request| task.ready(request));
    drop((slow, others));
}

/// A request that waits for a poll waits for that one alone.
#[test]
fn r22_a_request_does_not_wait_for_later_polls() {
    let session = Session::<Why>::new();
    let (driver, inside, leave) = slow_driver(&session, 2);
    inside.recv().unwrap();
    let task = TestWaker::new();
    let mut request = Box::pin(script![Ready(Err::<(), _>(Why("echo")))].try_supervised(&session));
    task.pending(&mut request);
    leave.send(()).unwrap();
    inside.recv().unwrap();
    // The second poll is under way.
    assert_eq!(task.wakes(), 1);
    assert!(task.ready(&mut request).unwrap_err().cause().is_none());
    leave.send(()).unwrap();
    drop(driver.join().unwrap());
}

/// What a request leaves behind when it is dropped while it waits for a poll: nothing.
#[test]
fn r10_a_request_that_is_dropped_while_it_waits_for_a_poll() {
    let session = Session::<Why>::new();
    let (driver, inside, leave) = slow_driver(&session, 1);
    inside.recv().unwrap();
    let task = TestWaker::new();
    let mut requests: Vec<_> = (0..3)
        .map(|_| Box::pin(script![Ready(Err::<(), _>(Why("echo")))].try_supervised(&session)))
        .collect();
    requests.iter_mut().for_each(|request| task.pending(request));
    assert_eq!(task.registered(), 6, "each with the session and with the driver");
    drop(requests.remove(1));
    assert_eq!(task.registered(), 4);
    leave.send(()).unwrap();
    let _driver = driver.join().unwrap();
    assert_eq!(task.wakes(), 2);
    drop(requests);
    assert_eq!(task.registered(), 0);
}

/// A request that waited for an earlier poll is dropped during a later one. The place that it had is another's now.
#[test]
fn r10_a_place_of_an_earlier_poll_is_no_longer_the_requests_own() {
    let session = Session::<Why>::new();
    let (driver, inside, leave) = slow_driver(&session, 2);
    let failed = || Box::pin(script![Ready(Err::<(), _>(Why("echo")))].try_supervised(&session));
    inside.recv().unwrap();
    let (one, two) = (TestWaker::new(), TestWaker::new());
    let mut first = failed();
    one.pending(&mut first);
    leave.send(()).unwrap();
    inside.recv().unwrap();
    let mut second = failed();
    two.pending(&mut second);
    drop(first);
    leave.send(()).unwrap();
    let _driver = driver.join().unwrap();
    assert_eq!((one.wakes(), two.wakes()), (1, 1));
    assert!(two.ready(&mut second).unwrap_err().cause().is_none());
}
