//! `io::Tap` catches what a driver swallows.

mod support;

use Poll::{Pending, Ready};
use futures::io::{AsyncRead, AsyncWrite};
use shared_fate::io::Tap;
use shared_fate::{Cause, Session};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use support::{TestWaker, Why};

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
    let session = Session::<Why>::new();
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

/// Real sockets of tokio's, without an adapter.
#[cfg(feature = "tokio")]
mod on_sockets {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    fn kind(session: &Session<io::Error>) -> Option<ErrorKind> {
        session.cause().map(|cause| cause.error().unwrap().kind())
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    /// A reset, from a real socket, without an adapter.
    #[tokio::test]
    async fn a_reset_on_a_socket_of_tokios() {
        let (ours, mut theirs) = pair().await;
        let session = Session::<io::Error>::new();
        let mut tap = Tap::new(ours, session.clone());
        assert!(tap.is_write_vectored(), "as the socket");
        tap.write_all(b"hello").await.unwrap();
        tap.flush().await.unwrap();
        let mut hello = [0; 5];
        theirs.read_exact(&mut hello).await.unwrap();
        // It closes with unread bytes, which is a reset.
        tap.write_all(b"more").await.unwrap();
        theirs.readable().await.unwrap();
        drop(theirs);
        let error = tap.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(kind(&session), Some(ErrorKind::ConnectionReset));
        assert_eq!(session.cause().unwrap().error().unwrap().raw_os_error(), error.raw_os_error());
    }

    #[tokio::test]
    async fn an_end_on_a_socket_of_tokios() {
        let (ours, theirs) = pair().await;
        let session = Session::<io::Error>::new();
        let mut tap = Tap::new(ours, session.clone()).report_eof();
        drop(theirs);
        assert_eq!(tap.read(&mut []).await.unwrap(), 0);
        assert!(!session.is_ended());
        assert_eq!(tap.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(kind(&session), Some(ErrorKind::UnexpectedEof));
    }

    #[tokio::test]
    async fn an_error_of_shutting_down_is_not_reported() {
        let (ours, theirs) = pair().await;
        let session = Session::<io::Error>::new();
        let mut tap = Tap::new(ours, session.clone());
        drop(theirs);
        // The second one says `NotConnected` on some systems.
        for _ in 0..2 {
            _ = tap.shutdown().await;
        }
        assert!(!session.is_ended());
    }
}
