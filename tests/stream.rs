//! Streams end with their session's cause.

mod support;

use futures::channel::mpsc;
use futures::stream::{self, FusedStream, Stream, StreamExt};
use shared_fate::stream::{SupervisedStream, SupervisedStreamExt, TrySupervisedStream};
use shared_fate::{Cause, Failed, Session, SessionEnded};
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use support::{Script, TestWaker, Why, no_deadlock, script};

type Text = Session<Why>;

/// Follows a script; counts its polls and drops.
struct Items {
    steps: VecDeque<Poll<Option<u8>>>,
    counts: Arc<[AtomicUsize; 2]>,
}

fn items(steps: impl IntoIterator<Item = Poll<Option<u8>>>) -> (Items, Arc<[AtomicUsize; 2]>) {
    let counts = Arc::default();
    (Items { steps: steps.into_iter().collect(), counts: Arc::clone(&counts) }, counts)
}

fn counted(counts: &[AtomicUsize; 2]) -> [usize; 2] {
    counts.each_ref().map(|count| count.load(SeqCst))
}

impl Stream for Items {
    type Item = u8;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
        self.counts[0].fetch_add(1, SeqCst);
        self.steps.pop_front().expect("polled beyond its script")
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.counts[1].fetch_add(1, SeqCst);
    }
}

type Item = Result<u8, SessionEnded<Cause<Why>>>;

fn next<T: Stream<Item = u8>>(
    task: &TestWaker,
    stream: &mut Pin<&mut SupervisedStream<T, &Text>>,
) -> Poll<Option<Item>> {
    stream.as_mut().poll_next(&mut Context::from_waker(task.waker()))
}

fn ended(item: Poll<Option<Item>>) -> Why {
    let Ready(Some(Err(ended))) = item else { panic!("not an end: {item:?}") };
    assert!(ended.request_started());
    *ended.into_cause().error().expect("the session failed")
}

use Poll::{Pending, Ready};

#[test]
fn r13_items_then_one_cause_then_the_end() {
    let session = Text::new();
    let (items, counts) =
        items([Ready(Some(1)), Pending, Pending, Ready(Some(2)), Pending, Pending, Pending]);
    let task = TestWaker::new();
    let mut stream = pin!(items.supervised(&session));
    assert!(matches!(next(&task, &mut stream), Ready(Some(Ok(1)))));
    assert_eq!(task.clones(), 0, "an item that is there costs no registration");
    assert!(next(&task, &mut stream).is_pending());
    assert!(next(&task, &mut stream).is_pending());
    assert!(matches!(next(&task, &mut stream), Ready(Some(Ok(2)))));
    assert!(next(&task, &mut stream).is_pending());
    assert_eq!((task.clones(), task.wakes()), (1, 0));
    session.fail(Why("reset"));
    assert_eq!(task.wakes(), 1);
    assert!(!stream.is_terminated());
    assert_eq!(ended(next(&task, &mut stream)), Why("reset"));
    assert_eq!(counted(&counts), [7, 1], "dropped with the cause, not with the end");
    assert!(stream.is_terminated());
    for _ in 0..2 {
        assert!(matches!(next(&task, &mut stream), Ready(None)));
    }
    assert_eq!((task.wakes(), task.registered(), counted(&counts)[0]), (1, 0, 7));
}

#[test]
fn r13_items_that_have_arrived_come_before_the_cause() {
    let session = Text::new();
    let (send, receive) = mpsc::unbounded();
    let task = TestWaker::new();
    let mut stream = pin!(receive.supervised(&session));
    assert!(next(&task, &mut stream).is_pending());
    send.unbounded_send(1).unwrap();
    send.unbounded_send(2).unwrap();
    session.fail(Why("reset"));
    assert!(matches!(next(&task, &mut stream), Ready(Some(Ok(1)))));
    assert!(matches!(next(&task, &mut stream), Ready(Some(Ok(2)))));
    assert_eq!(ended(next(&task, &mut stream)), Why("reset"));
    assert!(matches!(next(&task, &mut stream), Ready(None)));
}

#[test]
fn r13_items_that_arrive_while_the_stream_is_polled_and_before_the_end() {
    // As for requests: `Pending`, then items and the end from another thread, then the session is seen.
    let session = Text::new();
    let task = TestWaker::new();
    let ending = session.clone();
    let mut polls = 0;
    let stream = stream::poll_fn(move |_| {
        polls += 1;
        match polls {
            2 => {
                ending.fail(Why("reset"));
                Pending
            }
            3 | 4 => Ready(Some(polls)),
            _ => Pending,
        }
    });
    let mut stream = pin!(stream.supervised(&session));
    assert!(next(&task, &mut stream).is_pending());
    assert!(matches!(next(&task, &mut stream), Ready(Some(Ok(3)))));
    assert!(matches!(next(&task, &mut stream), Ready(Some(Ok(4)))));
    assert_eq!(ended(next(&task, &mut stream)), Why("reset"));
    assert!(matches!(next(&task, &mut stream), Ready(None)));
}

type End = fn(&Text);

/// The five ends, and whether a stream says why it ended.
const ENDS: [(End, bool); 5] = [
    (|session| assert!(session.fail(Why("reset"))), true),
    (|session| _ = pollster::block_on(session.drive(Script::each(|_| panic!("oh")))), true),
    (|session| drop(session.drive(Script::never())), true),
    (|session| _ = pollster::block_on(session.drive(script![Ready(Ok(()))])), false),
    (|session| assert!(session.close()), false),
];

#[test]
fn r13_a_bare_end_is_complete_unless_the_session_failed() {
    let task = TestWaker::new();
    // Cut short: the channel's sender went down with the driver. Or the stream waits: nothing more comes.
    for last in [Ready(None), Pending] {
        for (end, is_failure) in ENDS {
            let session = Text::new();
            // A stream that waits is asked twice: an item may have come before the end was seen.
            let polls = if last.is_pending() { 4 } else { 3 };
            let (items, counts) = items([Pending, Ready(Some(1)), last, last]);
            let mut stream = pin!(items.supervised(&session));
            assert!(next(&task, &mut stream).is_pending());
            end(&session);
            let cause = session.cause().unwrap();
            assert!(matches!(next(&task, &mut stream), Ready(Some(Ok(1)))), "items first: {cause:?}");
            let item = next(&task, &mut stream);
            if is_failure {
                let Ready(Some(Err(ended))) = item else { panic!("{cause:?}: {item:?}") };
                assert_eq!(ended.into_cause(), cause);
            } else {
                assert!(matches!(item, Ready(None)), "{cause:?}: {item:?}");
            }
            assert!(stream.is_terminated());
            assert_eq!((counted(&counts), task.registered()), ([polls, 1], 0));
            assert!(matches!(next(&task, &mut stream), Ready(None)));
        }
    }
    // Complete.
    let session = Text::new();
    let (items, counts) = items([Pending, Ready(None)]);
    let mut stream = pin!(items.supervised(&session));
    assert!(next(&task, &mut stream).is_pending());
    let wakes = task.wakes();
    assert!(matches!(next(&task, &mut stream), Ready(None)));
    assert_eq!((counted(&counts), task.registered()), ([2, 1], 0));
    session.fail(Why("later"));
    assert!(matches!(next(&task, &mut stream), Ready(None)), "what is complete stays so");
    assert_eq!(task.wakes(), wakes);
}

#[test]
fn r13_under_a_future_too() {
    let task = TestWaker::new();
    let (end, over) = futures::channel::oneshot::channel::<&str>();
    let mut stream = pin!(SupervisedStreamExt::supervised(stream::pending::<u8>(), over));
    let mut cx = Context::from_waker(task.waker());
    assert!(stream.as_mut().poll_next(&mut cx).is_pending());
    end.send("why").unwrap();
    assert_eq!(task.wakes(), 1);
    let Ready(Some(Err(cause))) = stream.as_mut().poll_next(&mut cx) else { panic!() };
    assert_eq!(cause.into_cause(), Ok("why"));
    assert!(matches!(stream.as_mut().poll_next(&mut cx), Ready(None)));
}

type Row = Result<u8, &'static str>;

fn next_row<P>(
    task: &TestWaker,
    stream: &mut Pin<&mut TrySupervisedStream<stream::Iter<std::vec::IntoIter<Row>>, &Text, P>>,
) -> Poll<Option<Result<u8, Failed<&'static str, Why>>>>
where
    P: shared_fate::MayBeEcho<&'static str>,
{
    stream.as_mut().poll_next(&mut Context::from_waker(task.waker()))
}

#[test]
fn r04_an_item_that_is_an_error_does_not_hide_the_cause() {
    let task = TestWaker::new();
    // The session lives: the error is the stream's own, and the stream goes on.
    let session = Text::new();
    let rows = vec![Ok(1), Err("bad row"), Ok(2), Err("closed"), Err("closed")];
    let mut stream = pin!(stream::iter(rows).try_supervised(&session));
    assert!(matches!(next_row(&task, &mut stream), Ready(Some(Ok(1)))));
    let Ready(Some(Err(own))) = next_row(&task, &mut stream) else { panic!() };
    assert_eq!(own.into_parts(), (Some("bad row"), None));
    assert!(!stream.is_terminated());
    // The session has ended: items that have arrived, then both errors in one, then the end.
    session.fail(Why("reset"));
    assert!(matches!(next_row(&task, &mut stream), Ready(Some(Ok(2)))));
    let Ready(Some(Err(failed))) = next_row(&task, &mut stream) else { panic!() };
    assert_eq!(failed.cause().unwrap().error(), Some(&Why("reset")));
    assert_eq!((failed.request_error(), failed.request_leads()), (Some(&"closed"), false));
    assert!(stream.is_terminated());
    assert!(matches!(next_row(&task, &mut stream), Ready(None)));
    assert_eq!(task.registered(), 0);
    // After an orderly end the item's error leads, and is the last one, too.
    let session = Text::new();
    let mut stream = pin!(stream::iter(vec![Err("closed"), Ok(1)]).try_supervised(&session));
    session.close();
    let Ready(Some(Err(failed))) = next_row(&task, &mut stream) else { panic!() };
    assert_eq!((failed.cause(), failed.request_error()), (Some(&Cause::Closed), Some(&"closed")));
    assert!(failed.request_leads() && stream.is_terminated());
    // And a stream that says nothing gets what `supervised` says.
    for (end, is_failure) in ENDS {
        let session = Text::new();
        let mut stream = pin!(stream::iter(Vec::<Row>::new()).try_supervised(&session));
        end(&session);
        match next_row(&task, &mut stream) {
            Ready(Some(Err(failed))) => {
                assert!(is_failure);
                assert_eq!((failed.request_error(), failed.cause()), (None, session.cause().as_ref()));
            }
            item => assert!(matches!(item, Ready(None)) && !is_failure),
        }
        assert!(matches!(next_row(&task, &mut stream), Ready(None)));
    }
}

#[test]
fn r04_an_items_error_that_is_no_echo_ends_no_stream() {
    let session = Text::new();
    let task = TestWaker::new();
    let rows = vec![Err("bad row"), Err("bad row"), Ok(1), Err("closed")];
    let mut stream = pin!(stream::iter(rows).try_supervised_if(&session, |error: &&str| *error == "closed"));
    let own = |item: Poll<Option<Result<u8, Failed<_, _>>>>| {
        let Ready(Some(Err(own))) = item else { panic!() };
        assert_eq!(own.into_parts(), (Some("bad row"), None));
    };
    own(next_row(&task, &mut stream));
    session.fail(Why("reset"));
    own(next_row(&task, &mut stream));
    assert!(matches!(next_row(&task, &mut stream), Ready(Some(Ok(1)))));
    let Ready(Some(Err(failed))) = next_row(&task, &mut stream) else { panic!() };
    assert_eq!(failed.cause().unwrap().error(), Some(&Why("reset")));
    assert_eq!(failed.request_error(), Some(&"closed"));
    assert!(matches!(next_row(&task, &mut stream), Ready(None)));
}

#[test]
fn r10_a_dropped_stream_is_unregistered() {
    let session = Text::new();
    let task = TestWaker::new();
    let (items, counts) = items([Pending]);
    {
        let mut stream = pin!(items.supervised(&session));
        assert!(next(&task, &mut stream).is_pending());
        assert_eq!(task.registered(), 1);
    }
    assert_eq!((task.registered(), counted(&counts)), (0, [1, 1]));
    session.close();
    assert_eq!(task.wakes(), 0);
}

#[test]
fn r13_size_hints_allow_for_the_cause() {
    let session = Text::new();
    let stream = stream::iter([1, 2, 3]).supervised(&session);
    assert_eq!(stream.size_hint(), (0, Some(4)));
    assert_eq!(SupervisedStreamExt::supervised(stream::repeat(1), &session).size_hint(), (0, None));
    session.fail(Why("reset"));
    let all = pollster::block_on(stream.collect::<Vec<_>>());
    assert_eq!(all.len(), 4);
}

#[test]
fn r11_a_stream_dropped_from_inside_the_end() {
    type Owned = Pin<Box<SupervisedStream<Items, Text>>>;
    no_deadlock(|| {
        let session = Text::new();
        let slot: Arc<Mutex<Option<Owned>>> = Arc::default();
        let task = TestWaker::on_wake({
            let slot = Arc::clone(&slot);
            move || *slot.lock().unwrap() = None
        });
        let (items, counts) = items([Pending]);
        let mut stream = Box::pin(items.supervised(session.clone()));
        assert!(stream.as_mut().poll_next(&mut Context::from_waker(task.waker())).is_pending());
        *slot.lock().unwrap() = Some(stream);
        session.close();
        assert_eq!((counted(&counts), task.wakes()), ([1, 1], 1));
    });
}
