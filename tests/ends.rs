//! What a driver's end means (R6, R18, R20), orderly ends (R21, R7), and the handles beside a session.

mod support;

use futures::channel::{mpsc, oneshot};
use futures::{SinkExt, StreamExt};
use shared_fate::{Cause, DriverState, Session, SupervisedExt};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;
use support::{Script, TestWaker, Why, script};

#[test]
fn r06_five_ends_are_told_apart() {
    fn end(run: impl FnOnce(&Session<Why>)) -> Cause<Why> {
        let session = Session::new();
        run(&session);
        session.cause().unwrap()
    }
    let poll = |driver| drop(TestWaker::new().ready(&mut Box::pin(driver)));
    let failed = end(|session| poll(session.drive(script![Ready(Err(Why("reset")))])));
    let panicked = end(|session| poll(session.drive(Script::each(|_| panic!("oops")))));
    let dropped = end(|session| drop(session.drive(std::future::pending())));
    let finished = end(|session| poll(session.drive(script![Ready(Ok(()))])));
    let closed = end(|session| assert!(session.close()));
    let all = [&failed, &panicked, &dropped, &finished, &closed];
    assert!(failed.is_failed() && failed.error() == Some(&Why("reset")));
    assert!(panicked.is_panicked() && panicked.panic_message().unwrap().as_str() == "oops");
    assert!(dropped.is_dropped() && finished.is_finished() && closed.is_closed());
    let predicates: [fn(&Cause<Why>) -> bool; 5] =
        [Cause::is_failed, Cause::is_panicked, Cause::is_dropped, Cause::is_finished, Cause::is_closed];
    for (row, predicate) in predicates.iter().enumerate() {
        for (column, cause) in all.iter().enumerate() {
            assert_eq!(predicate(cause), row == column, "{cause:?}");
        }
    }
    assert_eq!(all.map(Cause::is_orderly), [false, false, false, true, true]);
    for (row, one) in all.iter().enumerate() {
        for (column, other) in all.iter().enumerate() {
            assert_eq!(one == other, row == column);
        }
    }
}

#[test]
fn r18_a_monitored_driver_that_is_done_ends_nothing() {
    let session = Session::new();
    let task = TestWaker::new();
    let mut request = pin!(script![Pending, Pending, Ready(7)].supervised(&session));
    task.pending(&mut request);
    let mut driver = Box::pin(session.monitor(script![Pending, Ready(Ok::<_, Why>(()))]));
    assert_eq!(session.driver_state(), DriverState::NeverPolled);
    task.pending(&mut driver);
    assert_eq!(session.driver_state(), DriverState::Running);
    assert!(task.ready(&mut driver).is_finished());
    assert_eq!(session.driver_state(), DriverState::Done);
    drop(driver);
    assert!(!session.is_ended());
    assert_eq!(task.wakes(), 0);
    task.pending(&mut request);
    assert_eq!(task.ready(&mut request).unwrap(), 7);
    // Other drivers may come, and end it.
    drop(session.monitor(std::future::pending()));
    assert!(session.cause().unwrap().is_dropped());
}

#[test]
fn r18_a_monitored_driver_that_fails_panics_or_is_dropped_ends_its_session() {
    let task = TestWaker::new();
    let session = Session::new();
    assert!(task.ready(&mut Box::pin(session.monitor(script![Ready(Err(Why("reset")))]))).is_failed());
    assert_eq!(session.cause().unwrap().error(), Some(&Why("reset")));
    let session = Session::<Why>::new();
    assert!(task.ready(&mut Box::pin(session.monitor(Script::each(|_| panic!("oops"))))).is_panicked());
    assert!(session.cause().unwrap().is_panicked());
    let session = Session::<Why>::new();
    drop(session.monitor(std::future::pending()));
    assert!(session.cause().unwrap().is_dropped());
}

/// Of a reader and a writer the first to fail ends the session; one that is done does not.
#[test]
fn r18_driver_states_with_several_drivers() {
    let session = Session::<Why>::new();
    assert_eq!(session.driver_state(), DriverState::None);
    let task = TestWaker::new();
    let (mut reader, writer) =
        (Box::pin(session.monitor(std::future::pending())), session.monitor(std::future::ready(Ok(()))));
    assert_eq!(session.driver_state(), DriverState::NeverPolled);
    task.pending(&mut reader);
    assert_eq!(session.driver_state(), DriverState::NeverPolled, "the writer");
    task.ready(&mut Box::pin(writer));
    assert_eq!(session.driver_state(), DriverState::Running);
    let child = session.child();
    assert_eq!(child.driver_state(), DriverState::None);
    let of_child = child.drive(std::future::pending());
    assert_eq!(
        (child.driver_state(), session.driver_state()),
        (DriverState::NeverPolled, DriverState::Running)
    );
    drop(of_child);
    drop(reader);
    assert_eq!(session.driver_state(), DriverState::Done);
    assert!(format!("{session:?}").contains("Done"));
}

#[test]
fn r20_drive_map_says_what_an_end_means() {
    let task = TestWaker::new();
    let session = Session::new();
    let mut driver =
        Box::pin(session.drive_map(script![Ready(())], |()| Some(Cause::from(Why("the peer is gone")))));
    assert_eq!(task.ready(&mut driver), Cause::from(Why("the peer is gone")));
    let session = Session::<Why>::new();
    let mut driver =
        Box::pin(session.drive_map(script![Ready(7)], |left_over| (left_over > 7).then_some(Cause::Closed)));
    assert!(task.ready(&mut driver).is_finished());
    assert!(!session.is_ended());
    let session = Session::<Why>::new();
    let mut driver = Box::pin(session.drive_map(script![Ready(())], |()| panic!("the map panics")));
    assert!(task.ready(&mut driver).is_panicked());
    assert!(session.cause().unwrap().is_panicked());
}

/// The error type of a session that is named, or of the driver, is inferred through `?`.
#[test]
fn r20_an_endless_loop_with_question_marks_is_a_driver() {
    async fn step() -> Result<(), io::Error> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
    let session = Session::<io::Error>::new();
    let driver = session.drive(async {
        loop {
            step().await?;
        }
    });
    let cause = pollster::block_on(driver);
    assert_eq!(cause.error().unwrap().kind(), io::ErrorKind::ConnectionReset);
    let session = Session::<io::Error>::new();
    let driver = session.drive(async {
        step().await?;
        std::future::pending().await
    });
    assert!(pollster::block_on(driver).is_failed());
    let unnamed = Session::new();
    let driver = unnamed.drive(async { Err(io::Error::other("inferred")) });
    assert!(pollster::block_on(driver).is_failed());
}

/// A connection that writes what is queued, one message a poll, and ends when the last handle is gone.
async fn connection(
    mut queue: mpsc::UnboundedReceiver<u32>,
    written: Arc<AtomicUsize>,
    fails_at: Option<usize>,
) -> Result<(), Why> {
    while let Some(_message) = queue.next().await {
        if Some(written.load(SeqCst)) == fails_at {
            return Err(Why("the disk is full"));
        }
        written.fetch_add(1, SeqCst);
        let mut yields = true;
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::take(&mut yields) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
    Ok(())
}

#[test]
fn r21_what_is_queued_is_written_before_the_end() {
    let (session, written) = (Session::new(), Arc::new(AtomicUsize::new(0)));
    let (queue, messages) = mpsc::unbounded();
    let driver = session.drive(connection(messages, Arc::clone(&written), None));
    let app = async move {
        for number in 0..100 {
            queue.unbounded_send(number).unwrap();
        }
        "done"
    };
    let (output, cause) = pollster::block_on(driver.run_until(app).drain_until(std::future::pending));
    assert_eq!((output, written.load(SeqCst)), ("done", 100));
    assert!(cause.is_finished() && session.cause().unwrap().is_finished());
}

/// `run_until` alone is abrupt, and says so.
#[test]
fn r21_without_draining_what_is_queued_is_lost() {
    let (session, written) = (Session::new(), Arc::new(AtomicUsize::new(0)));
    let (queue, messages) = mpsc::unbounded();
    let driver = session.drive(connection(messages, Arc::clone(&written), None));
    let app = async move { (0..100).for_each(|number| queue.unbounded_send(number).unwrap()) };
    pollster::block_on(driver.run_until(app));
    assert_eq!(written.load(SeqCst), 0);
    assert!(session.cause().unwrap().is_closed());
}

#[test]
fn r21_draining_is_bounded_by_the_callers_future() {
    let (session, written) = (Session::new(), Arc::new(AtomicUsize::new(0)));
    let (queue, messages) = mpsc::unbounded();
    let driver = session.drive(connection(messages, Arc::clone(&written), None));
    let app = async { (0..100).for_each(|number| queue.unbounded_send(number).unwrap()) };
    let bound = {
        let written = Arc::clone(&written);
        std::future::poll_fn(move |_| if written.load(SeqCst) < 10 { Poll::Pending } else { Poll::Ready(()) })
    };
    let ((), cause) = pollster::block_on(driver.run_until(app).drain_until(|| bound));
    assert!(cause.is_closed(), "{cause:?}");
    let written = written.load(SeqCst);
    assert!((10..12).contains(&written), "{written} of 100");
    assert_eq!(session.driver_state(), DriverState::Done, "the driver is dropped");
}

#[test]
fn r21_a_driver_that_fails_while_it_drains_is_heard() {
    let (session, written) = (Session::new(), Arc::new(AtomicUsize::new(0)));
    let (queue, messages) = mpsc::unbounded();
    let driver = session.drive(connection(messages, Arc::clone(&written), Some(50)));
    let app = async move { (0..100).for_each(|number| queue.unbounded_send(number).unwrap()) };
    let ((), cause) = pollster::block_on(driver.run_until(app).drain_until(std::future::pending));
    assert_eq!((cause.error(), written.load(SeqCst)), (Some(&Why("the disk is full")), 50));
    // One that panics, too, and one that had failed before.
    let session = Session::<Why>::new();
    let driver = session.drive(std::future::ready(Err(Why("before"))));
    let app = session.ended();
    let (seen, cause) = pollster::block_on(driver.run_until(app).drain_until(std::future::pending));
    assert_eq!((seen.error(), cause.error()), (Some(&Why("before")), Some(&Why("before"))));
    let session = Session::<Why>::new();
    let driver = session.drive(Script::each(|_| panic!("while draining")));
    let ((), cause) = pollster::block_on(driver.run_until(async {}).drain_until(std::future::pending));
    assert!(cause.is_panicked());
}

#[test]
fn r21_a_monitored_driver_that_is_done_is_closed_at_the_end() {
    let session = Session::<Why>::new();
    let driver = session.monitor(std::future::ready(Ok(())));
    let (output, cause) = pollster::block_on(driver.run_until(async { 7 }).drain_until(std::future::pending));
    assert_eq!(output, 7);
    assert!(cause.is_closed());
}

#[test]
fn r21_dropping_a_drain_ends_the_session_as_dropped() {
    let session = Session::<Why>::new();
    let drain = session.drive(std::future::pending()).run_until(async {}).drain_until(std::future::pending);
    let mut drain = Box::pin(drain);
    TestWaker::new().pending(&mut drain);
    drop(drain);
    assert!(session.cause().unwrap().is_dropped());
}

/// A handshake inline, and the driver spawned afterwards, without a `select` by hand.
#[test]
fn r21_a_driver_that_was_run_for_a_handshake_is_spawned_afterwards() {
    let session = Session::<Why>::new();
    let (mut to_driver, mut requests) = mpsc::channel::<oneshot::Sender<u32>>(1);
    let mut driver = Box::pin(session.drive(async move {
        let mut answer = 0;
        while let Some(request) = requests.next().await {
            answer += 1;
            request.send(answer).map_err(|_| Why("nobody waits"))?;
        }
        Ok(())
    }));
    let mut call = async || {
        let (sender, reply) = oneshot::channel();
        to_driver.send(sender).await.unwrap();
        reply.try_supervised(&session).await.unwrap()
    };
    assert_eq!(pollster::block_on(driver.as_mut().run_during(call())), 1);
    assert!(!session.is_ended());
    let spawned = thread::spawn(move || pollster::block_on(driver));
    assert_eq!(pollster::block_on(call()), 2);
    drop(to_driver);
    assert!(spawned.join().unwrap().is_finished());
}

#[test]
fn r07_after_a_close_one_can_wait_until_all_drivers_are_gone() {
    let parent = Session::<Why>::new();
    let child = parent.child();
    let (released, start) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(4)));
    let drivers: Vec<_> = [parent.clone(), child.clone(), child.child()]
        .into_iter()
        .map(|session| {
            let (released, start) = (Arc::clone(&released), Arc::clone(&start));
            let connection = Script::never().on_drop(move || _ = released.fetch_add(1, SeqCst));
            let mut driver = Box::pin(session.drive(connection));
            thread::spawn(move || {
                TestWaker::new().pending(&mut driver);
                start.wait();
                pollster::block_on(driver)
            })
        })
        .collect();
    start.wait();
    let task = TestWaker::new();
    let mut gone = Box::pin(parent.drivers_gone());
    task.pending(&mut gone);
    assert!(parent.close());
    pollster::block_on(gone);
    assert_eq!(released.load(SeqCst), 3, "a connection is still there");
    for driver in drivers {
        assert!(driver.join().unwrap().is_closed());
    }
}

#[test]
fn r07_waiting_for_the_drivers_poll_by_poll() {
    let session = Session::<Why>::new();
    let (task, other) = (TestWaker::new(), TestWaker::new());
    let mut gone = Box::pin(session.drivers_gone());
    task.pending(&mut gone);
    let (one, two) = (session.drive(std::future::pending()), session.drive(std::future::pending()));
    session.close();
    assert_eq!(task.wakes(), 1, "the session has ended");
    task.pending(&mut gone);
    other.pending(&mut gone);
    assert_eq!((task.registered(), other.registered()), (0, 1));
    drop(one);
    assert_eq!(other.wakes(), 0);
    drop(two);
    assert_eq!((task.wakes(), other.wakes()), (1, 1));
    other.ready(&mut gone);
    assert_eq!(other.registered(), 0);
    // Without a driver it resolves with the session.
    let session = Session::<Why>::new();
    let mut gone = Box::pin(session.drivers_gone());
    task.pending(&mut gone);
    session.close();
    task.ready(&mut gone);
    // Dropped, it leaves nothing behind.
    let session = Session::<Why>::new();
    let driver = session.drive(std::future::pending());
    session.close();
    let (mut first, mut second) = (Box::pin(session.drivers_gone()), Box::pin(session.drivers_gone()));
    other.pending(&mut first);
    other.pending(&mut second);
    drop(first);
    assert_eq!(other.registered(), 1);
    drop(driver);
    other.ready(&mut second);
    // A driver that comes after the last has gone is not waited for.
    let late = session.drive(std::future::pending());
    assert!(other.poll(&mut Box::pin(session.drivers_gone())).is_pending());
    drop(late);
}

#[test]
fn r07_a_drop_guard_closes_and_can_be_disarmed() {
    let session = Session::<Why>::new();
    let guard = session.clone().drop_guard();
    assert!(!session.is_ended());
    let back = guard.disarm();
    assert!(back.ptr_eq(&session) && !session.is_ended());
    drop(back.drop_guard());
    assert!(session.cause().unwrap().is_closed());
}

#[test]
fn a_weak_handle_keeps_nothing_alive() {
    let session = Session::<Why>::new();
    let weak = session.downgrade();
    assert!(weak.upgrade().unwrap().ptr_eq(&session));
    assert!(!Session::<Why>::new().ptr_eq(&session));
    let child = session.child();
    assert!(!child.ptr_eq(&session));
    drop(session);
    assert!(weak.upgrade().is_some(), "a child holds its parent");
    drop(child);
    assert!(weak.clone().upgrade().is_none());
    assert!(format!("{weak:?}").contains("None"));
}

/// A session of any error, with `?` at every step.
#[test]
fn r08_any_error_goes_through_question_marks() {
    type Any = dyn Error + Send + Sync;
    async fn call(session: &Session<Any>) -> Result<u32, Box<Any>> {
        Ok(std::future::pending::<u32>().supervised(session).await?)
    }
    async fn fallible(session: &Session<Any>) -> Result<u32, Box<Any>> {
        Ok(async { Err::<u32, _>(io::Error::other("channel closed")) }.try_supervised(session).await?)
    }
    async fn cause(session: &Session<Any>) -> Result<u32, Cause<Any>> {
        Ok(std::future::pending::<u32>().supervised(session).await?)
    }
    let session = Session::<Any>::new();
    let driver = session
        .drive_map(async { Err::<Infallible, _>(io::Error::other("connection reset")) }, |output| {
            output.err().map(Cause::any)
        });
    let error = pollster::block_on(driver.run_until(call(&session))).unwrap_err();
    assert_eq!(
        chain(&*error),
        ["the session ended before the request resolved", "the session failed", "connection reset"]
    );
    let original = error.source().unwrap().source().unwrap();
    assert!(original.downcast_ref::<io::Error>().is_some());
    let error = pollster::block_on(fallible(&session)).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "the session had ended before the request was started: the session failed: connection reset"
    );
    assert!(pollster::block_on(cause(&session)).unwrap_err().error().unwrap().is::<io::Error>());
    // Boxes, texts and `anyhow`'s errors convert.
    let boxed = Session::<Any>::new();
    assert!(boxed.end(Cause::any("a text")));
    assert_eq!(format!("{:#}", boxed.cause().unwrap()), "the session failed: a text");
    let local = Session::<dyn Error>::new();
    assert!(local.end(Cause::from(Box::<dyn Error>::from("not Send"))));
    assert_eq!(local.cause().unwrap().source().unwrap().to_string(), "not Send");
}

fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}
