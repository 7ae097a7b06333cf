//! `io::Tap`: what it reports, and what it passes on.

mod support;

use futures::io::{AsyncRead, AsyncWrite};
use futures::{AsyncReadExt, AsyncWriteExt};
use shared_fate::io::Tap;
use shared_fate::{Cause, Session};
use std::error::Error;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection that gives one answer to everything.
struct Answers(Option<ErrorKind>);

impl Answers {
    fn say<T>(&self, otherwise: T) -> Poll<io::Result<T>> {
        Poll::Ready(match self.0 {
            Some(kind) => Err(kind.into()),
            None => Ok(otherwise),
        })
    }
}

impl AsyncRead for Answers {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        self.say(0)
    }
}

impl AsyncWrite for Answers {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.say(buf.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.say(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say(())
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say(())
    }
}

fn tap(answer: Option<ErrorKind>) -> (Session<io::Error>, Tap<Answers, io::Error>) {
    let session = Session::new();
    (session.clone(), Tap::new(Answers(answer), session))
}

fn kind(session: &Session<io::Error>) -> Option<ErrorKind> {
    session.cause().map(|cause| cause.error().unwrap().kind())
}

#[test]
fn r07_an_error_of_closing_is_not_reported() {
    let (session, mut tap) = tap(Some(ErrorKind::NotConnected));
    assert_eq!(pollster::block_on(tap.close()).unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(!session.is_ended());
    assert!(pollster::block_on(tap.flush()).is_err());
    assert_eq!(kind(&session), Some(ErrorKind::NotConnected));
}

#[test]
fn the_end_of_the_stream_is_reported_if_asked_for() {
    let (session, mut plain) = tap(None);
    assert_eq!(pollster::block_on(plain.read(&mut [0])).unwrap(), 0);
    assert!(!session.is_ended());
    let (session, plain) = tap(None);
    let mut tap = plain.report_eof();
    assert_eq!(pollster::block_on(tap.read(&mut [])).unwrap(), 0);
    assert!(!session.is_ended(), "nothing was asked for");
    assert_eq!(pollster::block_on(tap.read(&mut [0])).unwrap(), 0);
    assert_eq!(kind(&session), Some(ErrorKind::UnexpectedEof));
}

#[test]
fn any_error_type_through_a_mapping() {
    let session = Session::<dyn Error + Send + Sync>::new();
    let mut tap = Tap::with(Answers(Some(ErrorKind::ConnectionReset)), session.clone(), Cause::any);
    let copy = pollster::block_on(tap.write(&[1])).unwrap_err();
    assert_eq!(copy.kind(), ErrorKind::ConnectionReset);
    let cause = session.cause().unwrap();
    let original = cause.error().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(original.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn what_is_no_failure_is_not_reported() {
    for answer in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        let (session, mut tap) = tap(Some(answer));
        assert!(
            pollster::block_on(futures::future::poll_fn(|cx| Pin::new(&mut tap).poll_read(cx, &mut [0])))
                .is_err()
        );
        assert!(!session.is_ended());
    }
}

#[test]
fn vectored_writes_are_passed_on() {
    let (_, mut tap) = tap(None);
    let bufs = [IoSlice::new(&[1, 2]), IoSlice::new(&[3])];
    let written =
        pollster::block_on(futures::future::poll_fn(|cx| Pin::new(&mut tap).poll_write_vectored(cx, &bufs)));
    assert_eq!(written.unwrap(), 3);
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

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
