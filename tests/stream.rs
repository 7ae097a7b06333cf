//! Streams end with their session's cause, and a tap catches what a driver swallows.

mod support;

use futures::channel::mpsc;
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::{self, FusedStream, Stream, StreamExt};
use shared_fate::io::Tap;
use shared_fate::stream::{SupervisedStream, SupervisedStreamExt, TrySupervisedStream};
use shared_fate::{Cause, Failed, Session, SessionEnded};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
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

/// Fails each operation with what it is given, once.
#[derive(Debug, Default)]
struct Wire(VecDeque<io::Result<usize>>);

impl Wire {
    fn step(mut self: Pin<&mut Self>) -> Poll<io::Result<usize>> {
        self.0.pop_front().map_or(Pending, Ready)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        self.step()
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.step()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step().map_ok(drop)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step().map_ok(drop)
    }
}

type Operation = fn(Pin<&mut Tap<Wire, io::Error>>, &mut Context<'_>) -> Poll<io::Result<usize>>;

const OPERATIONS: [Operation; 5] = [
    |tap, cx| tap.poll_read(cx, &mut [0]),
    |tap, cx| tap.poll_read_vectored(cx, &mut [IoSliceMut::new(&mut [0])]),
    |tap, cx| tap.poll_write(cx, &[0]),
    |tap, cx| tap.poll_write_vectored(cx, &[IoSlice::new(&[0])]),
    |tap, cx| tap.poll_flush(cx).map_ok(|()| 0),
];

fn tap(steps: impl IntoIterator<Item = io::Result<usize>>) -> (Tap<Wire, io::Error>, Session<io::Error>) {
    let session = Session::new();
    (Tap::new(Wire(steps.into_iter().collect()), session.clone()), session)
}

#[test]
fn r07_a_tap_reports_the_first_error_of_every_operation() {
    for operation in OPERATIONS {
        let (tap, session) =
            tap([Ok(0), Err(io::Error::from_raw_os_error(104)), Err(ErrorKind::Other.into())]);
        let task = TestWaker::new();
        let mut cx = Context::from_waker(task.waker());
        let mut waiting = pin!(session.ended());
        task.pending(&mut waiting);
        let mut tap = pin!(tap);
        assert!(matches!(operation(tap.as_mut(), &mut cx), Ready(Ok(0))));
        assert!(!session.is_ended(), "the end of a stream is not an error");
        let Ready(Err(echo)) = operation(tap.as_mut(), &mut cx) else { panic!() };
        assert_eq!(echo.raw_os_error(), Some(104), "the driver gets the same code");
        assert_eq!(task.wakes(), 1);
        let Ready(Err(second)) = operation(tap.as_mut(), &mut cx) else { panic!() };
        assert_eq!(second.kind(), ErrorKind::Other, "later errors pass through");
        assert!(operation(tap.as_mut(), &mut cx).is_pending());
        assert_eq!(task.ready(&mut waiting).error().unwrap().raw_os_error(), Some(104));
        assert_eq!(task.wakes(), 1);
    }
}

#[test]
fn r07_a_tap_reports_no_error_of_closing() {
    // Most often the peer has gone first, and that is in order.
    let (tap, session) = tap([Ok(0), Err(ErrorKind::NotConnected.into()), Err(ErrorKind::BrokenPipe.into())]);
    let task = TestWaker::new();
    let mut cx = Context::from_waker(task.waker());
    let mut tap = pin!(tap);
    assert!(matches!(tap.as_mut().poll_close(&mut cx), Ready(Ok(()))));
    let Ready(Err(error)) = tap.as_mut().poll_close(&mut cx) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::NotConnected, "the driver gets it");
    assert!(!session.is_ended());
    // A later failure is one.
    assert!(tap.as_mut().poll_write(&mut cx, &[0]).is_ready());
    assert_eq!(session.cause().unwrap().error().unwrap().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn r07_a_tap_reports_the_end_of_the_stream_if_asked() {
    let task = TestWaker::new();
    let mut cx = Context::from_waker(task.waker());
    for operation in [OPERATIONS[0], OPERATIONS[1]] {
        let (tap, session) = tap([Ok(1), Ok(0), Ok(0)]);
        let mut tap = pin!(tap.report_eof());
        assert!(matches!(operation(tap.as_mut(), &mut cx), Ready(Ok(1))));
        assert!(!session.is_ended());
        for _ in 0..2 {
            assert!(matches!(operation(tap.as_mut(), &mut cx), Ready(Ok(0))), "the driver sees the end");
            assert_eq!(session.cause().unwrap().error().unwrap().kind(), ErrorKind::UnexpectedEof);
        }
    }
    // To read nothing, or to write nothing, says nothing.
    let (tap, session) = tap([Ok(0), Ok(0), Ok(0), Ok(0), Ok(0)]);
    let mut tap = pin!(tap.report_eof());
    assert!(matches!(tap.as_mut().poll_read(&mut cx, &mut []), Ready(Ok(0))));
    assert!(matches!(tap.as_mut().poll_read_vectored(&mut cx, &mut []), Ready(Ok(0))));
    for operation in &OPERATIONS[2..] {
        assert!(matches!(operation(tap.as_mut(), &mut cx), Ready(Ok(0))));
    }
    assert!(!session.is_ended());
}

#[test]
fn r08_a_tap_for_any_error_type() {
    let task = TestWaker::new();
    let mut cx = Context::from_waker(task.waker());
    let session = Session::<dyn std::error::Error + Send + Sync>::new();
    let wire = Wire(VecDeque::from([Err(io::Error::from_raw_os_error(104))]));
    let mut tap = pin!(Tap::with(wire, session.clone(), Cause::any));
    let Ready(Err(echo)) = tap.as_mut().poll_read(&mut cx, &mut [0]) else { panic!() };
    assert_eq!(echo.raw_os_error(), Some(104));
    let cause = session.cause().unwrap();
    let error = cause.error().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(error.raw_os_error(), Some(104));

    // The mapping is asked once, for the first error; and it may end the session as it likes.
    let session = Text::new();
    let wire = Wire((0..2).map(|_| Err(ErrorKind::BrokenPipe.into())).collect());
    let mut asked = 0;
    let mut tap = pin!(Tap::with(wire, session.clone(), |_| {
        asked += 1;
        Why("the wire is cut").into()
    }));
    for _ in 0..2 {
        assert!(matches!(tap.as_mut().poll_flush(&mut cx), Ready(Err(_))));
    }
    assert_eq!(session.cause().unwrap().error(), Some(&Why("the wire is cut")));
    assert_eq!(asked, 1);
}

/// The traits of tokio's behave as those of `futures-io` do.
#[cfg(feature = "tokio")]
mod on_tokio {
    use super::*;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    impl AsyncRead for Wire {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.step().map_ok(|read| buf.put_slice(&[7; 8][..read]))
        }
    }

    impl AsyncWrite for Wire {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.step()
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.step().map_ok(drop)
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.step().map_ok(drop)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            assert_eq!(bufs.len(), 2, "not flattened on the way");
            self.step()
        }

        fn is_write_vectored(&self) -> bool {
            true
        }
    }

    fn read(tap: Pin<&mut Tap<Wire, io::Error>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buf = [0; 8];
        let mut buf = ReadBuf::new(&mut buf);
        AsyncRead::poll_read(tap, cx, &mut buf).map_ok(|()| buf.filled().len())
    }

    const OPERATIONS: [Operation; 4] = [
        read,
        |tap, cx| AsyncWrite::poll_write(tap, cx, &[0]),
        |tap, cx| AsyncWrite::poll_write_vectored(tap, cx, &[IoSlice::new(&[0]), IoSlice::new(&[0])]),
        |tap, cx| AsyncWrite::poll_flush(tap, cx).map_ok(|()| 0),
    ];

    #[test]
    fn r07_a_tap_reports_the_first_error_of_every_operation() {
        let task = TestWaker::new();
        let mut cx = Context::from_waker(task.waker());
        for operation in OPERATIONS {
            let (tap, session) = tap([Ok(0), Err(io::Error::from_raw_os_error(104))]);
            let mut tap = pin!(tap);
            assert!(AsyncWrite::is_write_vectored(&*tap));
            assert!(matches!(operation(tap.as_mut(), &mut cx), Ready(Ok(0))));
            assert!(!session.is_ended(), "the end of a stream is not an error");
            let Ready(Err(echo)) = operation(tap.as_mut(), &mut cx) else { panic!() };
            assert_eq!(echo.raw_os_error(), Some(104));
            assert_eq!(session.cause().unwrap().error().unwrap().raw_os_error(), Some(104));
            assert!(operation(tap.as_mut(), &mut cx).is_pending());
        }
    }

    #[test]
    fn r07_a_tap_reports_no_error_of_shutting_down_and_the_end_of_the_stream_if_asked() {
        let task = TestWaker::new();
        let mut cx = Context::from_waker(task.waker());
        let (tap, session) = tap([Err(ErrorKind::NotConnected.into()), Ok(0), Ok(3), Ok(0)]);
        let mut tap = pin!(tap.report_eof());
        assert!(matches!(AsyncWrite::poll_shutdown(tap.as_mut(), &mut cx), Ready(Err(_))));
        let mut no_room = ReadBuf::new(&mut []);
        assert!(matches!(AsyncRead::poll_read(tap.as_mut(), &mut cx, &mut no_room), Ready(Ok(()))));
        assert!(matches!(read(tap.as_mut(), &mut cx), Ready(Ok(3))));
        assert!(!session.is_ended());
        assert!(matches!(read(tap.as_mut(), &mut cx), Ready(Ok(0))));
        assert_eq!(session.cause().unwrap().error().unwrap().kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn r08_a_tap_gives_the_session_the_original_value() {
    #[derive(Debug)]
    struct Marker;
    impl std::fmt::Display for Marker {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("tls alert 42")
        }
    }
    impl std::error::Error for Marker {}
    let (tap, session) = tap([Err(io::Error::new(ErrorKind::InvalidData, Marker))]);
    let task = TestWaker::new();
    let Ready(Err(echo)) = pin!(tap).poll_read(&mut Context::from_waker(task.waker()), &mut [0]) else {
        panic!()
    };
    assert_eq!((echo.kind(), echo.to_string()), (ErrorKind::InvalidData, "tls alert 42".to_owned()));
    assert!(echo.get_ref().is_some_and(|inner| !inner.is::<Marker>()));
    let cause = session.cause().unwrap();
    assert!(cause.error().unwrap().get_ref().unwrap().is::<Marker>());
}

#[test]
fn r07_a_tap_lets_pass_what_is_no_failure() {
    let (tap, session) = tap([Err(ErrorKind::WouldBlock.into()), Err(ErrorKind::Interrupted.into()), Ok(3)]);
    let task = TestWaker::new();
    let mut cx = Context::from_waker(task.waker());
    let mut tap = pin!(tap);
    for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        let Ready(Err(error)) = tap.as_mut().poll_read(&mut cx, &mut [0; 3]) else { panic!() };
        assert_eq!(error.kind(), kind);
    }
    assert!(matches!(tap.as_mut().poll_read(&mut cx, &mut [0; 3]), Ready(Ok(3))));
    assert!(!session.is_ended());
    assert_eq!(tap.get_ref().0.len(), 0);
}

#[test]
fn r07_a_tap_beside_a_driver_that_swallows_its_error() {
    // The driver resolves to `()`: without the tap this would be an end in good order.
    let (mut tap, session) = tap([Err(ErrorKind::BrokenPipe.into())]);
    let connection = async move {
        let _: io::Result<usize> = futures::AsyncWriteExt::write(&mut tap, b"x").await;
    };
    let driver = session.drive_map(connection, |()| Some(Cause::Finished));
    let task = TestWaker::new();
    task.ready(&mut pin!(driver));
    assert_eq!(session.cause().unwrap().error().unwrap().kind(), ErrorKind::BrokenPipe);
    let (tap, session) = self::tap([]);
    assert!(tap.into_inner().0.is_empty());
    drop(session);
}
