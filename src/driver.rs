//! [`Driver`]: publish, then drop.
//!
//! Invariant: the verdict is latched and every waiting request woken *before* the inner future is dropped
//! (R1). Its drop is what makes a library fail its pending requests with an echo such as "channel
//! closed"; a request that sees the echo can already see the cause.

mod run;

pub use run::{DrainUntil, RunDuring, RunUntil};

use crate::cause::Cause;
use crate::contain::{Payload, contain, discard};
use crate::session::{Attached, Registration, Session};
use futures_core::FusedFuture;
use pin_project_lite::pin_project;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The [`Driver`] of a future that resolves to a `Result`, by its full name: for a field that holds one.
pub type ResultDriver<F, E> = Driver<F, E, fn(Result<(), E>) -> Option<Cause<E>>>;

impl<E> Session<E> {
    /// Wraps the future that owns the connection, so that however it ends, the session ends with it:
    /// `Ok(())` is [`Finished`](Cause::Finished), `Err` is [`Failed`](Cause::Failed).
    ///
    /// This says: after the driver has resolved no request is answered any more. It is right for a reader of your own
    /// with a map of pending calls. A library's connection is often *done* while its replies are still to be
    /// read; use [`monitor`](Self::monitor) for that.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// # async fn next_frame() -> io::Result<()> { Err(io::ErrorKind::ConnectionReset.into()) }
    /// let session = Session::<io::Error>::new();
    /// let driver = session.drive(async {
    ///     loop {
    ///         next_frame().await?;
    ///     }
    /// });
    /// let request = std::future::pending::<u32>().supervised(&session);
    /// let error = pollster::block_on(driver.run_until(request)).unwrap_err();
    /// assert_eq!(error.cause().error().unwrap().kind(), io::ErrorKind::ConnectionReset);
    /// ```
    ///
    /// A session may have several drivers; the first to end ends it, and the others resolve. But of a reader and
    /// a writer, drive the reader alone, and attach the writer with `session.drive_map(write, |_| None)`. When a peer
    /// says why it hangs up, the writer finds a broken pipe before the reader has come to the reason.
    pub fn drive<F>(&self, driver: F) -> ResultDriver<F, E>
    where
        F: Future<Output = Result<(), E>>,
    {
        self.drive_map(driver, |output| match output {
            Ok(()) => Some(Cause::Finished),
            Err(error) => Some(Cause::from(error)),
        })
    }

    /// [`drive`](Self::drive) for a future whose `Ok(())` means *done*, not *dead*: it ends the session when it
    /// fails, panics or is dropped, and not when it completes.
    ///
    /// It is right for a library that resolves its own channels when its connection is done: hyper, h2,
    /// tonic, tokio-postgres, quinn. There a reply may be in its channel, read by a slow caller, when the
    /// connection has nothing left to do.
    ///
    /// ```
    /// use shared_fate::Session;
    /// use std::io;
    ///
    /// let session = Session::<io::Error>::new();
    /// let driver = session.monitor(async { Ok(()) });
    /// assert!(pollster::block_on(driver).is_finished());
    /// assert!(!session.is_ended());
    /// ```
    pub fn monitor<F>(&self, driver: F) -> ResultDriver<F, E>
    where
        F: Future<Output = Result<(), E>>,
    {
        self.drive_map(driver, |output| output.err().map(Cause::from))
    }
}

impl<E: ?Sized> Session<E> {
    /// [`drive`](Self::drive) for a future that resolves to anything: `map` says what its end means.
    /// `Some` ends the session with that cause. `None` means done: the session lives on, as with
    /// [`monitor`](Self::monitor).
    ///
    /// A driver that resolves to `()` has kept its error to itself. Say what an end means that comes unasked:
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// # let connection = async {};
    /// let session = Session::new();
    /// let driver = session.drive_map(connection, |()| {
    ///     Some(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection is gone").into())
    /// });
    /// let request = std::future::pending::<u32>().supervised(&session);
    /// let error = pollster::block_on(driver.run_until(request)).unwrap_err();
    /// assert_eq!(error.cause().error().unwrap().to_string(), "the connection is gone");
    /// ```
    ///
    /// An `async` block around the future, or `FutureExt::map`, would drop the future before the driver can
    /// publish the cause; this keeps it until that is done.
    ///
    /// **Panics:** a panic of `map` counts as the driver's. For a future that has caught one, a `JoinHandle`, use
    /// [`Cause::panicked`].
    pub fn drive_map<F, M>(&self, driver: F, map: M) -> Driver<F, E, M>
    where
        F: Future,
        M: FnOnce(F::Output) -> Option<Cause<E>>,
    {
        Driver {
            inner: Some(driver),
            map: Some(map),
            session: self.clone(),
            registration: Registration::default(),
            attached: self.attach(),
        }
    }
}

pin_project! {
    /// Future for [`Session::drive`], [`monitor`](Session::monitor) and [`drive_map`](Session::drive_map):
    /// runs the connection and ends the session with it.
    ///
    /// Spawn it anywhere, or run it beside its users without a spawn: [`run_until`](Driver::run_until). It
    /// resolves when its inner future does, and also when the session is ended from elsewhere. The inner
    /// future is dropped before it returns.
    ///
    /// **Output:** the session's cause. A driver that is merely done, so that the session lives on, resolves to
    /// [`Cause::Finished`]. So a driver of [`drive`](Session::drive) and its `JoinHandle` can supervise a request
    /// themselves; the session is the better supervisor. A driver that may be merely done must not: its end is not
    /// the session's.
    ///
    /// **Panics:** none. A panic of the inner future is the session's cause, [`Cause::Panicked`], and the driver's
    /// output. The panic hook has reported it. A panic of the inner future's drop is reported by the hook and goes
    /// no further. (A program that is built with `panic = "abort"` ends at a panic, and no session is told.)
    ///
    /// **Cancel safety, drop:** dropping a driver that has not resolved ends the session with
    /// [`Cause::Dropped`]. It needs no runtime: an executor that shuts down tells the waiting requests this way.
    /// If an executor leaks its tasks, the session never learns that its driver is gone.
    ///
    /// **Ties:** the inner future is polled unless the session has already ended.
    ///
    /// **Blocking:** a driver must not block in its poll, as no future should. While it does, errors of
    /// [`try_supervised`](crate::SupervisedExt::try_supervised) requests on other threads are held back: they
    /// might be the echo of what this poll is about to report. A driver whose poll waits for a thread on which a
    /// request fails is a deadlock until something else ends the session.
    #[must_use = "futures do nothing unless polled: without its driver no request completes"]
    pub struct Driver<F, E, M>
    where
        E: ?Sized,
    {
        #[pin]
        inner: Option<F>,
        map: Option<M>,
        session: Session<E>,
        registration: Registration,
        attached: Attached,
    }

    impl<F, E, M> PinnedDrop for Driver<F, E, M>
    where
        E: ?Sized,
    {
        fn drop(this: Pin<&mut Self>) {
            this.finish(Some(Cause::Dropped));
        }
    }
}

impl<F, E: ?Sized, M> Driver<F, E, M> {
    /// The session this drives.
    pub fn session(&self) -> &Session<E> {
        &self.session
    }

    /// Ends it, unless it has resolved.
    fn finish(self: Pin<&mut Self>, cause: Option<Cause<E>>) {
        let this = self.project();
        if this.inner.is_some() {
            resolve(this.inner, this.map, this.session, this.registration, this.attached, cause);
        }
    }
}

/// Publishes the cause, if there is one, and then drops the inner future and its mapping.
fn resolve<F, E: ?Sized, M>(
    mut inner: Pin<&mut Option<F>>,
    map: &mut Option<M>,
    session: &Session<E>,
    registration: &mut Registration,
    attached: &Attached,
    cause: Option<Cause<E>>,
) {
    // Deregistered first: what resolves need not be woken. The drop of a waker is foreign code.
    contain(|| session.deregister(registration));
    if let Some(cause) = cause {
        // A cause that comes too late is dropped, and that is foreign code.
        contain(|| _ = session.end(cause));
    }
    contain(|| inner.set(None));
    contain(|| *map = None);
    session.detach(attached);
}

fn panicked<E: ?Sized>(payload: Payload) -> Cause<E> {
    let cause = Cause::panicked(&*payload);
    discard(Some(payload));
    cause
}

impl<F, E, M> Future for Driver<F, E, M>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
{
    type Output = Cause<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause<E>> {
        let mut this = self.project();
        let session = &*this.session;
        if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            let mut cause = None;
            // Until the verdict is out: failed requests wait for it (see `session/turns.rs`).
            let _polling = this.attached.turn.begin(session);
            if !session.is_ended() {
                // The inner future is dropped right after a panic: nothing can see what it left broken.
                let poll = catch_unwind(AssertUnwindSafe(|| {
                    inner.poll(cx).map(|output| this.map.take().and_then(|map| map(output)))
                }));
                match poll {
                    // The session may be ended from elsewhere: `close` makes its drivers resolve.
                    Ok(Poll::Pending) => drop(ready!(session.poll_ended(this.registration, cx))),
                    Ok(Poll::Ready(output)) => cause = output,
                    Err(payload) => cause = Some(panicked(payload)),
                }
            }
            resolve(this.inner, this.map, session, this.registration, this.attached, cause);
        }
        Poll::Ready(session.cause().unwrap_or(Cause::Finished))
    }
}

impl<F, E, M> FusedFuture for Driver<F, E, M>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
{
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

impl<F, E: ?Sized, M> fmt::Debug for Driver<F, E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("session", &self.session).finish_non_exhaustive()
    }
}
