//! `Gate`: supervision for code that is written as polls.

mod support;

use shared_fate::Session;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use support::{Script, TestWaker, Why};

#[test]
fn a_gate_passes_on_what_its_function_says() {
    let session = Session::<Why>::new();
    let mut gate = session.gate::<Why>();
    let task = TestWaker::new();
    let cx = &mut Context::from_waker(task.waker());
    assert!(gate.poll(cx, |_| Poll::<Result<(), _>>::Pending).is_pending());
    assert_eq!(task.registered(), 1);
    assert_eq!(gate.poll(cx, |_| Poll::Ready(Ok(7))), Poll::Ready(Ok(7)));
    let Poll::Ready(Err(error)) = gate.poll(cx, |_| Poll::Ready(Err::<(), _>(Why("full")))) else {
        panic!("it waits for nothing")
    };
    assert!(error.cause().is_none());
    assert_eq!(error.request_error(), Some(&Why("full")));
    drop(gate);
    assert_eq!(task.registered(), 0);
}

#[test]
fn a_gate_wakes_at_the_end_and_tells_the_cause() {
    let session = Session::<Why>::new();
    let mut gate = session.gate::<Why>();
    let task = TestWaker::new();
    let cx = &mut Context::from_waker(task.waker());
    assert!(gate.poll(cx, |_| Poll::<Result<(), _>>::Pending).is_pending());
    session.fail(Why("reset"));
    assert_eq!(task.wakes(), 1);
    let mut asked = false;
    let poll = gate.poll(cx, |_| {
        asked = true;
        Poll::<Result<(), _>>::Pending
    });
    let Poll::Ready(Err(error)) = poll else { panic!("the session has ended") };
    assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
    assert!(!asked, "nothing is begun under a session that has ended");
}

/// The library's "not ready" is an echo, and the cause comes with it.
#[test]
fn a_gate_puts_the_cause_beside_an_echo() {
    let session = Session::<Why>::new();
    let mut gate = session.gate::<Why>();
    let task = TestWaker::new();
    let cx = &mut Context::from_waker(task.waker());
    let Poll::Ready(Err(error)) = gate.poll(cx, |_| {
        session.fail(Why("reset"));
        Poll::Ready(Err::<(), _>(Why("not ready")))
    }) else {
        panic!("it has failed")
    };
    assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
    assert_eq!(error.request_error(), Some(&Why("not ready")));
}

/// An echo from inside a driver's poll is held back in the gate, and the function is not called again.
#[test]
fn a_gate_waits_out_a_poll_that_is_under_way() {
    let session = Session::<Why>::new();
    let (entered, inside) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let driver = session.drive(Script::each(move |_| {
        entered.send(()).unwrap();
        left.recv().unwrap();
        Poll::Ready(Err(Why("reset")))
    }));
    let driver = std::thread::spawn(move || pollster::block_on(driver));
    inside.recv().unwrap();
    let mut gate = session.gate::<Why>();
    let task = TestWaker::new();
    let mut calls = 0;
    {
        let mut ready = pin!(poll_fn(|cx| gate.poll(cx, |_| {
            calls += 1;
            Poll::Ready(Err::<(), _>(Why("not ready")))
        })));
        task.pending(&mut ready);
        leave.send(()).unwrap();
        assert!(driver.join().unwrap().is_failed());
        assert!(task.wakes() > 0);
        let error = task.ready(&mut ready).unwrap_err();
        assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
        assert_eq!(error.request_error(), Some(&Why("not ready")));
    }
    assert_eq!(calls, 1);
    assert!(gate.session().is_ended());
}
