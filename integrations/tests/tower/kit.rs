//! A service that is ready when it is told, and a buffer before it.

use futures::FutureExt;
use futures::future::BoxFuture;
use shared_fate::Cause;
use shared_fate_integrations::panicking;
use shared_fate_integrations::seen::AnySession;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tower::buffer::Buffer;
use tower::{Service, ServiceExt};

/// What becomes of the service.
#[derive(Debug)]
pub enum Fate {
    Ready,
    Panic,
    Fail,
}

/// Answers when it is told.
pub struct Gated {
    fate: oneshot::Receiver<Fate>,
    is_ready: bool,
    answer: watch::Receiver<bool>,
}

impl Service<&'static str> for Gated {
    type Response = &'static str;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<&'static str>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_ready {
            match ready!(Pin::new(&mut self.fate).poll(cx)) {
                Ok(Fate::Ready) => self.is_ready = true,
                Ok(Fate::Panic) => panic!("{}", panicking::TEXT),
                Ok(Fate::Fail) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Err(_) => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: &'static str) -> Self::Future {
        let mut answer = self.answer.clone();
        async move {
            _ = answer.wait_for(|answer| *answer).await;
            Ok(request)
        }
        .boxed()
    }
}

pub fn gated() -> (Gated, oneshot::Sender<Fate>, watch::Sender<bool>) {
    let (decide, fate) = oneshot::channel();
    let (let_answer, answer) = watch::channel(false);
    (Gated { fate, is_ready: false, answer }, decide, let_answer)
}

/// What the end of the worker is to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// There is no session.
    Plain,
    /// The worker is done, and the session lives on.
    Done,
    /// The session's end.
    Finished,
}

pub type Buffered = Buffer<&'static str, <Gated as Service<&'static str>>::Future>;

pub struct Client {
    pub buffer: Buffered,
    pub session: Option<AnySession>,
    pub driver: JoinHandle<()>,
    pub fate: oneshot::Sender<Fate>,
    pub answer: watch::Sender<bool>,
}

pub fn connect(with: With, on: &Handle) -> Client {
    let (service, fate, answer) = gated();
    let (buffer, worker) = Buffer::pair(service, 8);
    let session = (with != With::Plain).then(AnySession::new);
    let driver = match &session {
        None => on.spawn(worker),
        Some(session) => {
            let is_end = with == With::Finished;
            let driver = session.drive_map(worker, move |()| is_end.then_some(Cause::Finished));
            on.spawn(driver.map(drop))
        }
    };
    Client { buffer, session, driver, fate, answer }
}

/// Makes a call. Its error is wrapped: tower's box of an error is no error itself.
pub async fn call(buffer: Buffered) -> io::Result<&'static str> {
    buffer.oneshot("request").await.map_err(io::Error::other)
}
