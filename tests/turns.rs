//! R4 and R13, continued: failed requests, and streams that end, wait out the poll of the driver that may be the
//! reason.

mod support;

use futures::channel::{mpsc as queue, oneshot};
use futures::stream::Stream;
use shared_fate::stream::SupervisedStreamExt;
use shared_fate::{Cause, Driver, Session, SupervisedExt, TrySupervised};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread;
use support::{Outcome, Script, TestWaker, Why, no_deadlock, script};

type Text = Session<Why>;

/// A driver on another thread that is inside a poll while `inside` runs. It does `first` in there, and
/// resolves to `ends` when it is told to leave.
fn in_a_poll<T>(
    session: &Text,
    mut first: impl FnMut() + Send + 'static,
    ends: Poll<Outcome>,
    inside: impl FnOnce(&dyn Fn()) -> T,
) -> T {
    let (entered, wait) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (done, wait_done) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let mut ends = Some(ends);
    let driver = session.drive(Script::each(move |_| {
        first();
        entered.send(()).unwrap();
        // A test that fails lets go of the other end.
        let _ = released.recv();
        ends.take().unwrap()
    }));
    let driver = thread::spawn(move || {
        let mut driver = pin!(driver);
        let _: Poll<Cause<Why>> = TestWaker::new().poll(&mut driver);
        let _ = done.send(());
        let _ = finished.recv();
    });
    wait.recv().unwrap();
    let output = inside(&|| {
        release.send(()).unwrap();
        wait_done.recv().unwrap();
    });
    drop((release, finish));
    driver.join().unwrap();
    output
}

#[test]
fn r04_an_echo_from_inside_the_last_poll_gets_its_cause() {
    for of_a_child in [false, true] {
        no_deadlock(move || {
            let session = Text::new();
            let supervisor = if of_a_child { session.child() } else { session.clone() };
            let request = script![Ready(Err::<u8, _>("channel closed"))];
            let log = request.log();
            let task = TestWaker::new();
            let mut request = pin!(request.try_supervised(supervisor));
            in_a_poll(
                &session,
                || (),
                Poll::Ready(Err(Why("reset"))),
                |leave| {
                    task.pending(&mut request);
                    // Registered with the session, and with the poll.
                    assert_eq!((log.polls(), log.drops(), task.registered()), (1, 1, 2));
                    task.pending(&mut request); // polled for another reason
                    assert_eq!(log.polls(), 1, "a request that has failed is not polled again");
                    leave();
                },
            );
            assert_eq!(task.wakes(), 1);
            let error = task.ready(&mut request).unwrap_err();
            assert_eq!(task.registered(), 0);
            assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
            assert_eq!(error.request_error(), Some(&"channel closed"));
        });
    }
}

#[test]
fn r04_an_echo_on_a_lane_gets_its_cause() {
    no_deadlock(|| {
        let session = Text::new();
        let mut lane = session.lane();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("channel closed"))].try_supervised(&mut lane));
        in_a_poll(
            &session,
            || (),
            Poll::Ready(Err(Why("reset"))),
            |leave| {
                task.pending(&mut request);
                leave();
            },
        );
        assert_eq!(task.wakes(), 1);
        let error = task.ready(&mut request).unwrap_err();
        assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
    });
}

#[test]
fn r04_an_error_of_its_own_waits_for_one_poll_and_no_longer() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("404"))].try_supervised(&session));
        in_a_poll(
            &session,
            || (),
            Poll::Pending,
            |leave| {
                task.pending(&mut request);
                leave();
                assert_eq!(task.wakes(), 1);
                // The driver lives, and is being polled again: not waited for.
                in_a_poll(
                    &session,
                    || (),
                    Poll::Pending,
                    |leave| {
                        let error = task.ready(&mut request).unwrap_err();
                        assert_eq!(error.into_parts(), (Some("404"), None));
                        leave();
                    },
                );
            },
        );
    });
}

#[test]
fn r04_a_verdict_from_elsewhere_ends_the_wait() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("echo"))].try_supervised(&session));
        in_a_poll(
            &session,
            || (),
            Poll::Pending,
            |leave| {
                task.pending(&mut request);
                session.fail(Why("by another"));
                assert_eq!(task.wakes(), 1);
                assert_eq!(
                    task.ready(&mut request).unwrap_err().cause().unwrap().error(),
                    Some(&Why("by another"))
                );
                leave();
            },
        );
    });
}

#[test]
fn r04_a_request_inside_its_own_drivers_poll_waits_for_nothing() {
    // It would wait for the poll that is below it on the stack.
    let session = Text::new();
    let inside = session.clone();
    let mut driver = pin!(session.drive(Script::<Outcome>::each(move |_| {
        let request = script![Ready(Err::<u8, _>("404"))].try_supervised(&inside);
        assert_eq!(pollster::block_on(request).unwrap_err().into_parts(), (Some("404"), None));
        Poll::Pending
    })));
    TestWaker::new().pending(&mut driver);
}

#[test]
fn r10_a_waiting_echo_may_be_dropped_and_may_panic() {
    no_deadlock(|| {
        let session = Text::new();
        let (gone, bad, good) = (TestWaker::new(), TestWaker::panicking(), TestWaker::new());
        let mut requests = [(); 3].map(|()| {
            let (reply, answer) = oneshot::channel::<u8>();
            drop(reply);
            Box::pin(answer.try_supervised(session.clone()))
        });
        let [one, two, three] = &mut requests;
        in_a_poll(
            &session,
            || (),
            Poll::Ready(Ok(())),
            |leave| {
                gone.pending(one);
                bad.pending(two);
                good.pending(three);
                one.set(oneshot::channel().1.try_supervised(session.clone()));
                leave();
            },
        );
        assert_eq!([&gone, &bad, &good].map(TestWaker::wakes), [0, 1, 1]);
        assert_eq!(good.ready(three).unwrap_err().cause(), Some(&Cause::Finished));
        drop(requests);
        assert_eq!(
            [&gone, &bad, &good].map(TestWaker::registered),
            [0; 3],
            "kept no longer than the request"
        );
    });
}

#[test]
fn r04_no_error_waits_for_a_poll_that_is_over() {
    let session = Text::new();
    let driver = session.drive(script![Pending::<Outcome>, Pending]);
    // Polled on another thread, and left there.
    let _driver = thread::spawn(move || {
        let mut driver = Box::pin(driver);
        TestWaker::new().pending(&mut driver);
        driver
    })
    .join()
    .unwrap();
    let task = TestWaker::new();
    let mut request = pin!(script![Ready(Err::<u8, _>("not found"))].try_supervised(&session));
    assert_eq!(task.ready(&mut request).unwrap_err().into_parts(), (Some("not found"), None));
}

#[test]
fn r11_the_end_wakes_an_echo_that_waits_for_a_poll() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("echo"))].try_supervised(&session));
        // The driver is stuck; the owner closes the session to get rid of it.
        in_a_poll(
            &session,
            || (),
            Poll::Pending,
            |_| {
                task.pending(&mut request);
                assert!(session.close());
                assert_eq!(
                    task.wakes(),
                    1,
                    "`close` has returned `true`: everything that waited has been woken"
                );
            },
        );
    });
}

#[test]
fn r11_a_verdict_that_is_out_is_not_held_back_by_the_drivers_drop() {
    no_deadlock(|| {
        let session = Text::new();
        let (task, request_task) = (TestWaker::new(), Arc::new(TestWaker::new()));
        let request = Arc::new(Mutex::new(Box::pin(
            script![Ready(Err::<u8, _>("echo"))].try_supervised(session.clone()),
        )));
        let seen = Arc::new(AtomicUsize::new(usize::MAX));
        let (seen_in_drop, waker_in_drop) = (Arc::clone(&seen), Arc::clone(&request_task));
        let (in_poll, at_poll) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let script = Script::<Outcome>::each(move |_| {
            in_poll.send(()).unwrap();
            may_go.recv().unwrap();
            Poll::Ready(Err(Why("reset")))
        })
        .on_drop(move || seen_in_drop.store(waker_in_drop.wakes(), SeqCst));
        let driver = session.drive(script);
        let driver = thread::spawn(move || task.ready(&mut pin!(driver)));
        at_poll.recv().unwrap();
        request_task.pending(&mut request.lock().unwrap());
        go.send(()).unwrap();
        driver.join().unwrap();
        assert_eq!(seen.load(SeqCst), 1, "the verdict is out, and this drop may last for ever");
    });
}

#[test]
fn r10_an_echo_that_waits_is_registered_once() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = pin!(script![Ready(Err::<u8, _>("echo"))].try_supervised(&session));
        let registered = in_a_poll(
            &session,
            || (),
            Poll::Pending,
            |_| {
                // Other branches of the task keep it busy.
                (0..1000).for_each(|_| task.pending(&mut request));
                task.registered()
            },
        );
        assert!(registered <= 2, "{registered}: one registration with the session, one with the poll");
    });
}

#[test]
fn r10_an_echo_that_waits_and_is_dropped_is_registered_no_more() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = Box::pin(script![Ready(Err::<u8, _>("echo"))].try_supervised(session.clone()));
        let registered = in_a_poll(
            &session,
            || (),
            Poll::Pending,
            |_| {
                task.pending(&mut request);
                drop(request);
                task.registered()
            },
        );
        assert_eq!(registered, 0);
    });
}

#[test]
fn r04_a_childs_driver_keeps_no_error_of_its_parent_back() {
    // A child never ends its parent, nor its siblings: there is nothing to wait for.
    no_deadlock(|| {
        let session = Text::new();
        let (child, sibling) = (session.child(), session.child());
        let task = TestWaker::new();
        in_a_poll(
            &child,
            || (),
            Poll::Pending,
            |_| {
                for session in [&session, &sibling] {
                    let mut request = pin!(script![Ready(Err::<u8, _>("404"))].try_supervised(session));
                    assert!(task.poll(&mut request).is_ready());
                }
            },
        );
    });
}

#[test]
fn r04_a_busy_sibling_lets_no_echo_through() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        let (reply, answer) = oneshot::channel::<u8>();
        let mut reply = Some(reply);
        let mut request = pin!(answer.try_supervised(&session));
        // The reader is about to fail; its reply channel is down already.
        let outcome = in_a_poll(
            &session,
            move || drop(reply.take()),
            Poll::Ready(Err(Why("reset"))),
            |leave| {
                task.pending(&mut request);
                // The writer is polled, and has nothing to do. (Or the driver of any child in the family.)
                let mut writer = pin!(session.drive(script![Pending::<Outcome>]));
                TestWaker::new().pending(&mut writer);
                assert_eq!(task.wakes(), 0, "it waits for another driver's poll");
                if let Poll::Ready(outcome) = task.poll(&mut request) {
                    return outcome;
                }
                leave();
                task.ready(&mut request)
            },
        );
        let error = outcome.unwrap_err();
        assert_eq!(error.cause().expect("the echo hides the cause").error(), Some(&Why("reset")));
    });
}

#[test]
fn r04_an_error_that_is_no_echo_waits_for_no_poll() {
    no_deadlock(|| {
        let session = Text::new();
        let task = TestWaker::new();
        in_a_poll(
            &session,
            || (),
            Poll::Ready(Err(Why("reset"))),
            |leave| {
                let is_echo = |error: &&str| *error == "channel closed";
                let request = script![Ready(Err::<u8, _>("404"))].try_supervised_if(&session, is_echo);
                let error = task.ready(&mut pin!(request)).unwrap_err();
                assert_eq!(error.into_parts(), (Some("404"), None));
                assert_eq!(task.clones(), 0);
                let request = script![Ready(Err::<u8, _>("channel closed"))];
                let mut request = pin!(request.try_supervised_if(&session, is_echo));
                task.pending(&mut request);
                leave();
                let error = task.ready(&mut request).unwrap_err();
                assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
            },
        );
    });
}

fn next<S: Stream>(task: &TestWaker, stream: Pin<&mut S>) -> Poll<Option<S::Item>> {
    stream.poll_next(&mut Context::from_waker(task.waker()))
}

#[test]
fn r13_a_stream_cut_short_inside_the_drivers_last_poll_says_so() {
    // The driver is an async block: it drops the sender inside its last poll, then fails. To the reader a
    // truncated stream looks like a complete one.
    no_deadlock(|| {
        let session = Text::new();
        let (sender, items) = queue::unbounded::<u8>();
        let mut sender = Some(sender);
        let task = TestWaker::new();
        let mut stream = pin!(SupervisedStreamExt::supervised(items, &session));
        assert!(next(&task, stream.as_mut()).is_pending());
        in_a_poll(
            &session,
            move || drop(sender.take()),
            Poll::Ready(Err(Why("reset"))),
            |leave| {
                let mut item = next(&task, stream.as_mut());
                leave();
                if item.is_pending() {
                    item = next(&task, stream.as_mut());
                }
                match item {
                    Poll::Ready(Some(Err(ended))) => assert_eq!(ended.cause().error(), Some(&Why("reset"))),
                    Poll::Ready(None) => panic!("a bare end, and {:?}", session.cause()),
                    other => panic!("{other:?}"),
                }
            },
        );
    });
}

#[test]
fn r13_a_stream_that_ends_inside_a_drivers_last_poll_waits_for_what_that_brings() {
    // Finished, and still alive: then the end is what it seems to be.
    for ends in [Poll::Ready(Ok(())), Poll::Pending] {
        no_deadlock(move || {
            let session = Text::new();
            let (sender, items) = queue::unbounded::<u8>();
            let mut sender = Some(sender);
            let task = TestWaker::new();
            let mut stream = pin!(SupervisedStreamExt::supervised(items, &session));
            in_a_poll(
                &session,
                move || drop(sender.take()),
                ends,
                |leave| {
                    assert!(next(&task, stream.as_mut()).is_pending());
                    assert!(next(&task, stream.as_mut()).is_pending(), "polled for another reason");
                    leave();
                    assert!(task.wakes() > 0);
                    assert!(matches!(next(&task, stream.as_mut()), Poll::Ready(None)));
                    assert_eq!(task.registered(), 0);
                },
            );
        });
    }
}

#[test]
fn r04_an_items_error_from_inside_the_last_poll_gets_its_cause() {
    no_deadlock(|| {
        let session = Text::new();
        let (sender, items) = queue::unbounded::<Result<u8, &str>>();
        let task = TestWaker::new();
        let mut stream = pin!(items.try_supervised(&session));
        in_a_poll(
            &session,
            move || sender.unbounded_send(Err("closed")).unwrap(),
            Poll::Ready(Err(Why("reset"))),
            |leave| {
                assert!(next(&task, stream.as_mut()).is_pending());
                assert!(next(&task, stream.as_mut()).is_pending(), "polled for another reason");
                assert_eq!(task.registered(), 2, "with the session, and with the poll");
                leave();
                assert!(task.wakes() > 0);
                let Poll::Ready(Some(Err(failed))) = next(&task, stream.as_mut()) else { panic!() };
                assert_eq!(failed.cause().unwrap().error(), Some(&Why("reset")));
                assert_eq!(failed.request_error(), Some(&"closed"));
                assert!(matches!(next(&task, stream.as_mut()), Poll::Ready(None)));
                assert_eq!(task.registered(), 0);
            },
        );
    });
}

#[test]
fn r04_a_child_whose_parent_has_ended_lets_no_echo_through() {
    // The parent's verdict is out, and wakers are being woken: the parent's first, then the child's. The driver,
    // woken, drops its connection at once; the echo reaches a request of the child before its turn.
    let parent = Text::new();
    let (reply, answer) = oneshot::channel::<u8>();
    let driver = parent.drive(Script::<Outcome>::never().on_drop(move || drop(reply)));
    type Map = fn(Outcome) -> Option<Cause<Why>>;
    type Pair =
        (Pin<Box<Driver<Script<Outcome>, Why, Map>>>, Pin<Box<TrySupervised<oneshot::Receiver<u8>, Text>>>);
    let slot = Arc::new(Mutex::new(None::<Pair>));
    let (inside, request_task) = (Arc::clone(&slot), TestWaker::new());
    let outcome = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&outcome);
    let polling = TestWaker::new();
    let driver_task = TestWaker::on_wake(move || {
        let Some((mut driver, mut request)) = inside.lock().unwrap().take() else { return };
        // Another worker's work: here it is done inside the wake, there it takes a microsecond.
        polling.ready(&mut driver);
        *seen.lock().unwrap() = Some(request_task.ready(&mut request));
    });
    let mut driver = Box::pin(driver);
    driver_task.pending(&mut driver);
    let child = parent.child();
    let mut request = Box::pin(answer.try_supervised(child.clone()));
    TestWaker::new().pending(&mut request);
    *slot.lock().unwrap() = Some((driver, request));
    assert!(parent.fail(Why("reset")));
    let error = outcome.lock().unwrap().take().unwrap().unwrap_err();
    assert_eq!(error.cause().expect("the echo hides the cause").error(), Some(&Why("reset")));
}

#[test]
fn r13_a_stream_of_a_child_whose_parent_has_ended_ends_with_the_cause() {
    let parent = Text::new();
    let seen = Arc::new(Mutex::new(None));
    let (sender, items) = queue::unbounded::<u8>();
    let slot = Arc::new(Mutex::new(None));
    let (inside, seen_inside) = (Arc::clone(&slot), Arc::clone(&seen));
    let first = TestWaker::on_wake(move || {
        if let Some((sender, mut stream)) = inside.lock().unwrap().take() {
            drop::<queue::UnboundedSender<u8>>(sender);
            let stream: &mut Pin<Box<shared_fate::stream::SupervisedStream<_, Text>>> = &mut stream;
            *seen_inside.lock().unwrap() = Some(next(&TestWaker::new(), stream.as_mut()));
        }
    });
    let mut before = pin!(parent.ended());
    first.pending(&mut before);
    let child = parent.child();
    let mut stream = Box::pin(SupervisedStreamExt::supervised(items, child));
    assert!(next(&TestWaker::new(), stream.as_mut()).is_pending());
    *slot.lock().unwrap() = Some((sender, stream));
    parent.fail(Why("reset"));
    let item = seen.lock().unwrap().take().unwrap();
    assert!(matches!(item, Poll::Ready(Some(Err(_)))), "{item:?}");
}
