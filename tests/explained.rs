//! `explained_by`: requests that resolve by themselves get a cause for their error, and nothing is taken from them.

mod support;

use futures::stream::{self, FusedStream, StreamExt};
use shared_fate::stream::SupervisedStreamExt;
use shared_fate::{Session, SupervisedExt};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use support::{Script, TestWaker, Why, script};

#[test]
fn a_request_is_never_cut_short() {
    let session = Session::new();
    let task = TestWaker::new();
    let mut request = pin!(script![Pending, Pending, Ready(Ok::<_, Why>(7))].explained_by(&session));
    task.pending(&mut request);
    session.fail(Why("reset"));
    assert_eq!((task.wakes(), task.registered()), (0, 0), "it waits for the request alone");
    task.pending(&mut request);
    assert_eq!(task.ready(&mut request).unwrap(), 7);
    // Nor is it kept from starting.
    let mut late = pin!(script![Ready(Ok::<_, Why>(7))].explained_by(&session));
    assert_eq!(task.ready(&mut late).unwrap(), 7);
}

#[test]
fn an_error_comes_with_the_cause() {
    let task = TestWaker::new();
    let session = Session::new();
    let mut alive = pin!(script![Ready(Err::<(), _>(Why("not found")))].explained_by(&session));
    let error = task.ready(&mut alive).unwrap_err();
    assert!(error.cause().is_none() && error.request_leads());
    session.fail(Why("reset"));
    let mut echo = pin!(script![Pending, Ready(Err::<(), _>(Why("closed")))].explained_by(session.clone()));
    task.pending(&mut echo);
    let error = task.ready(&mut echo).unwrap_err();
    assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
    assert_eq!(error.request_error(), Some(&Why("closed")));
    assert!(!error.request_leads());
    let closed = Session::<Why>::new();
    closed.close();
    let mut own = pin!(script![Ready(Err::<(), _>(Why("not found")))].explained_by(&closed));
    assert!(task.ready(&mut own).unwrap_err().request_leads());
}

/// An echo from inside a driver's poll waits for it, as under supervision.
#[test]
fn an_echo_waits_out_the_poll_that_it_comes_from() {
    let session = Session::new();
    let (entered, inside) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let driver = session.monitor(Script::each(move |_| {
        entered.send(()).unwrap();
        left.recv().unwrap();
        Poll::Ready(Err(Why("reset")))
    }));
    let driver = thread::spawn(move || pollster::block_on(driver));
    inside.recv().unwrap();
    let task = TestWaker::new();
    let mut requests: Vec<_> = (0..2)
        .map(|_| Box::pin(script![Ready(Err::<(), _>(Why("closed")))].explained_by(&session)))
        .collect();
    requests.iter_mut().for_each(|request| task.pending(request));
    drop(requests.pop());
    assert_eq!(task.registered(), 2, "with the session and with the driver");
    leave.send(()).unwrap();
    assert!(driver.join().unwrap().is_failed());
    assert!(task.wakes() > 0);
    let error = task.ready(&mut requests[0]).unwrap_err();
    assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
    drop(requests);
    assert_eq!(task.registered(), 0);
}

#[test]
fn a_stream_keeps_its_items_and_its_end() {
    let session = Session::new();
    session.fail(Why("reset"));
    let rows = stream::iter([Ok::<_, Why>(1), Ok(2)]).explained_by(&session);
    let rows: Vec<_> = pollster::block_on(rows.collect());
    assert_eq!(rows, [Ok(1), Ok(2)]);
    // An echo that is repeated for ever comes once, with the cause.
    let mut rows =
        pin!(stream::iter([Ok(1)]).chain(stream::repeat_with(|| Err(Why("closed")))).explained_by(&session));
    let seen: Vec<_> = pollster::block_on(rows.by_ref().collect());
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].as_ref().unwrap_err().cause().unwrap().error(), Some(&Why("reset")));
    assert!(rows.is_terminated());
    // While the session lives an error is the stream's own.
    let alive = Session::<Why>::new();
    let rows = stream::iter([Err(Why("a bad row")), Ok(2)]).explained_by(&alive);
    let rows: Vec<_> = pollster::block_on(rows.collect());
    assert!(rows[0].as_ref().unwrap_err().cause().is_none());
    assert_eq!(rows[1], Ok(2));
}

#[test]
fn any_future_explains() {
    let (token, task) = (tokio_util::sync::CancellationToken::new(), TestWaker::new());
    token.cancel();
    let mut request = pin!(script![Ready(Err::<(), _>(Why("closed")))].explained_by(token.cancelled_owned()));
    assert_eq!(task.ready(&mut request).unwrap_err().cause(), Some(&()));
    // The future is polled when the request has failed, and not before.
    let mut request = pin!(script![Pending, Ready(Ok::<_, Why>(7))].explained_by(Script::<()>::untouched()));
    task.pending(&mut request);
    assert_eq!(task.ready(&mut request).unwrap(), 7);
}
