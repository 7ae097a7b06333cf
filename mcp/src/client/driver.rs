//! [`Driver`]: runs a client's connection.

use super::keep_alive::keep_alive;
use crate::connection::Connection;
use crate::error::{Delivery, Error};
use crate::inbox::Inbox;
use crate::inbox::deadline::within;
use crate::inbox::event::Event;
use crate::inbox::handlers::{self, Serving};
use crate::inbox::outbox::{Capacity, Job};
use crate::protocol::outgoing::Outgoing;
use crate::runtime::timer::BoxFuture;
use crate::transport::{Sent, Tracking};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Future that runs a [`Client`](crate::Client)'s connection. Spawn it anywhere, or use
/// [`run_until`](Self::run_until).
///
/// It resolves when the session has ended and the transport is released. After
/// [`Client::close`](crate::Client::close), or when the last client was dropped, it shuts the transport down in an orderly
/// way; after a failure, at once. The cause is in [`Client::session`](crate::Client::session).
///
/// **Drop:** ends the session ([`Cause::Dropped`](shared_fate::Cause::Dropped)) and gives the transport up:
/// sockets are closed, a child is killed with what it has started. It needs no runtime.
///
/// **Panics:** a panic in a transport is the session's cause
/// ([`Cause::Panicked`](shared_fate::Cause::Panicked)), and unwinds nowhere. The driver also calls the application's
/// handlers and its event hook. If a handler panics, the server gets an error; if the event hook does, only the panic hook
/// reports it. The session goes on.
#[must_use = "a client's calls wait until its driver is polled"]
pub struct Driver {
    run: Option<BoxFuture<'static, ()>>,
}

impl Driver {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { run: Some(Box::pin(drive(connection))) }
    }

    /// Runs this driver until `app` is done, in one task, and resolves to `app`'s output.
    ///
    /// When `app` is done the driver is dropped, which ends the session. For an orderly end call
    /// [`Client::close`](crate::Client::close) at the end of `app`. If the session ends first, `app`
    /// goes on and its calls get the cause.
    pub fn run_until<A: Future>(self, app: A) -> RunUntil<Self, A> {
        RunUntil::new(self, app)
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(run) = &mut self.run else { return Poll::Ready(()) };
        // A panic in what follows the session's end; those before it are contained by the session's driver. What
        // it left broken is dropped here, and seen by nothing.
        let poll = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))).unwrap_or(Poll::Ready(()));
        if poll.is_ready() {
            self.run = None;
        }
        poll
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("resolved", &self.run.is_none()).finish_non_exhaustive()
    }
}

pin_project! {
    /// Future for [`Driver::run_until`] and [`ReconnectingDriver::run_until`](crate::ReconnectingDriver::run_until).
    ///
    /// **Fairness, ties:** the driver and the application are both polled in every poll and take turns in going first, so
    /// neither starves the other. The application's output is returned in the poll that finds it.
    ///
    /// **Cancel safety, drop:** drops both; see [`Driver`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct RunUntil<D, A> {
        #[pin]
        app: A,
        // `None` when it has resolved, or the application has.
        driver: Option<D>,
        driver_first: bool,
    }
}

impl<D, A> RunUntil<D, A> {
    pub(crate) fn new(driver: D, app: A) -> Self {
        Self { app, driver: Some(driver), driver_first: false }
    }
}

impl<D: Future<Output = ()> + Unpin, A: Future> Future for RunUntil<D, A> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        let this = self.project();
        let mut drive = |cx: &mut Context<'_>| {
            if this.driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
                *this.driver = None;
            }
        };
        let driver_first = std::mem::replace(this.driver_first, !*this.driver_first);
        if driver_first {
            drive(cx);
        }
        let poll = this.app.poll(cx);
        match poll {
            Poll::Ready(_) => *this.driver = None,
            Poll::Pending if !driver_first => drive(cx),
            Poll::Pending => {}
        }
        poll
    }
}

async fn drive(connection: Arc<Connection>) {
    // Declared first, so dropped last: the verdict is published before the transport goes.
    let mut end = End { connection: &connection, aborts: true };
    let session = connection.inbox.session();
    if session.drive(pump(&connection)).await.is_orderly() {
        // Whoever else closes goes on if this is dropped.
        end.aborts = false;
        if let Some(closing) = connection.help_close() {
            closing.await;
        }
    }
}

/// What is done when the driver is done, or dropped.
struct End<'a> {
    connection: &'a Connection,
    aborts: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if self.aborts {
            self.connection.transport.abort();
        }
        // A handler may hold a client, which holds the handler.
        self.connection.inbox.reporters().clear();
        self.connection.inbox.forget_driver();
    }
}

/// The transport's own work, and what is left for the driver to do.
async fn pump(connection: &Arc<Connection>) -> Result<(), Error> {
    let (transport, inbox) = (&*connection.transport, &*connection.inbox);
    let mut run = pin!(transport.run(inbox));
    let mut keep_alive =
        inbox.timeouts().keep_alive.map(|interval| Box::pin(keep_alive(connection, interval)));
    let mut serving = Serving::default();
    // Apart from each other: a server that is slow to take cancellations gets its answers all the same.
    let (mut answers, mut cancellations) = (Sends::new(connection), Sends::new(connection));
    let post_answer = |answer| {
        inbox.served();
        if !inbox.post_answer(answer) {
            let limit = inbox.limits().outbox;
            inbox.session().fail(Error::limit("queued answers", limit, Delivery::NotSent));
        }
    };
    poll_fn(|cx| {
        if serving.len() > 0 {
            serving.poll(cx, post_answer);
        }
        answers.poll(cx);
        cancellations.poll(cx);
        loop {
            // Whatever cannot be sent now, the server's requests go on.
            let capacity =
                Capacity { answers: answers.has_capacity(), cancellations: cancellations.has_capacity() };
            let Poll::Ready(job) = inbox.poll_job(capacity, cx) else { break };
            match job {
                Job::Answer(message) => answers.send(message, cx),
                Job::Cancel(message) => cancellations.send(message, cx),
                Job::Unsubscribe { uri, .. } if inbox.is_listening_to(&uri) => {}
                Job::Unsubscribe { message, .. } => cancellations.send(message, cx),
                Job::Serve(request) if !serving.has_room(&request, inbox.limits()) => {
                    post_answer(handlers::busy(&request.id));
                }
                Job::Serve(request) => match serving.start(&inbox.config().handlers, request) {
                    None => serving.poll(cx, post_answer),
                    Some(answer) => post_answer(answer),
                },
                Job::Forget(id) => (0..serving.cancel(&id)).for_each(|_| inbox.served()),
            }
        }
        // Read first: an answer that has come is no missed one, however late the driver is.
        match run.as_mut().poll(cx) {
            Poll::Pending => match &mut keep_alive {
                Some(keep_alive) => keep_alive.as_mut().poll(cx).map(Err),
                None => Poll::Pending,
            },
            end => end,
        }
    })
    .await
}

/// Messages that nobody waits for, on their way.
struct Sends<'a> {
    connection: &'a Connection,
    under_way: Vec<BoxFuture<'a, Result<Sent, Error>>>,
}

impl<'a> Sends<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self { connection, under_way: Vec::new() }
    }

    fn has_capacity(&self) -> bool {
        self.under_way.len() < self.connection.inbox.limits().sends.max(1)
    }

    fn send(&mut self, message: Outgoing<'static>, cx: &mut Context<'_>) {
        let (transport, inbox) = (&*self.connection.transport, &*self.connection.inbox);
        let mut send: BoxFuture<'a, _> = Box::pin(async move {
            let tracking = Tracking::default();
            within(inbox, inbox.timeouts().silence, transport.send(message, &tracking, inbox)).await
        });
        if is_under_way(&mut send, inbox, cx) {
            self.under_way.push(send);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        if self.under_way.is_empty() {
            return;
        }
        self.under_way.retain_mut(|send| is_under_way(send, &self.connection.inbox, cx));
    }
}

fn is_under_way(send: &mut BoxFuture<'_, Result<Sent, Error>>, inbox: &Inbox, cx: &mut Context<'_>) -> bool {
    match send.as_mut().poll(cx) {
        Poll::Pending => true,
        Poll::Ready(Ok(_)) => false,
        Poll::Ready(Err(error)) => {
            inbox.emit(&Event::NotDelivered(Arc::new(error)));
            false
        }
    }
}
