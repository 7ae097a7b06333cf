//! [`Driver`]: publish, then drop.
//!
//! Invariant: the verdict is latched and every waiter woken *before* the inner future is dropped
//! (R1). Its drop is what makes a library fail its pending requests with an echo such as "channel
//! closed"; whoever sees the echo can already see the cause.

mod map;

pub use map::MapOutput;

use crate::contain::{Payload, contain, discard};
use crate::session::{Cause, PanicMessage, Seat, Session};
use futures_core::FusedFuture;
use pin_project_lite::pin_project;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What a driver future may resolve to: `()`, or `Result<(), E>` with the session's error type; or
/// nothing at all, where it never ends by itself.
#[diagnostic::on_unimplemented(
    message = "a driver of a `Session<{E}>` resolves to `()` or `Result<(), {E}>`, not to `{Self}`",
    note = "make one of it with `session.drive_map(driver, |output| …)`"
)]
pub trait DriverOutput<E>: sealed::Sealed<E> {}

impl<E> DriverOutput<E> for () {}
impl<E> DriverOutput<E> for Result<(), E> {}
impl<E> DriverOutput<E> for Never {}

/// `!`, which cannot be named otherwise yet: what `async { loop { … } }` resolves to.
type Never = <fn() -> ! as Returns>::Output;

#[allow(unnameable_types, reason = "a way to name a type")]
pub trait Returns {
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

mod sealed {
    #[allow(unnameable_types, reason = "sealed")]
    pub trait Sealed<E> {
        fn into_cause(self) -> super::Cause<E>;
    }
}

impl<E> sealed::Sealed<E> for () {
    fn into_cause(self) -> Cause<E> {
        Cause::Closed
    }
}

impl<E> sealed::Sealed<E> for Never {
    fn into_cause(self) -> Cause<E> {
        self
    }
}

impl<E> sealed::Sealed<E> for Result<(), E> {
    fn into_cause(self) -> Cause<E> {
        match self {
            Ok(()) => Cause::Closed,
            Err(error) => Cause::Failed(Arc::new(error)),
        }
    }
}

pin_project! {
    /// Future for [`Session::drive`]: runs the connection and ends the session with it.
    ///
    /// Spawn it anywhere, or run it beside its users without a spawn: [`with`](Driver::with). It
    /// resolves when its inner future does, and also when somebody else ends the session; the inner
    /// future is dropped before it returns.
    ///
    /// **Panics:** a panic of the inner future is published as [`Cause::Panicked`], the inner future
    /// is dropped, and then the panic goes on in whoever polls the driver (a spawned task reports it
    /// as its executor does). So does a panic of the inner future's drop. Requests never unwind with
    /// either.
    ///
    /// **Drop:** dropping a driver that has not resolved ends the session with [`Cause::Dropped`].
    /// It needs no runtime: an executor that shuts down tells the waiters this way.
    ///
    /// An executor that forgets its tasks instead of dropping them tells nobody anything.
    ///
    /// **Blocking:** a driver must not block in its poll, as no future should. While it does, errors of
    /// [`try_supervised`](crate::SupervisedExt::try_supervised) requests on other threads are kept back: they might be the echo of what this poll
    /// is about to report.
    ///
    /// **Fairness:** the inner future is polled unless the session has already ended.
    #[must_use = "futures do nothing unless polled: without its driver no request completes"]
    pub struct Driver<F, E> {
        #[pin]
        inner: Option<F>,
        session: Session<E>,
        seat: Seat,
    }

    impl<F, E> PinnedDrop for Driver<F, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            leave(this.session, this.seat);
            if this.inner.is_some() {
                this.session.end(Cause::Dropped);
            }
        }
    }
}

impl<F, E> Driver<F, E> {
    pub(crate) fn new(inner: F, session: Session<E>) -> Self {
        Self { inner: Some(inner), session, seat: Seat::default() }
    }

    /// The session this drives.
    pub fn session(&self) -> &Session<E> {
        &self.session
    }
}

/// Publishes, then drops the inner future; returns a panic of that drop.
fn resolve<F, E>(
    mut inner: Pin<&mut Option<F>>,
    session: &Session<E>,
    seat: &mut Seat,
    verdict: Option<Cause<E>>,
) -> Option<Payload> {
    // Out of the table first: who resolves need not be woken.
    leave(session, seat);
    if let Some(cause) = verdict {
        // A cause that comes too late is dropped, and that is foreign code.
        contain(|| _ = session.end(cause));
    }
    catch_unwind(AssertUnwindSafe(|| inner.set(None))).err()
}

/// Gives up the seat. The drop of the waker in it is foreign code.
fn leave<E>(session: &Session<E>, seat: &mut Seat) {
    let own = session.inner().leave(seat);
    contain(|| drop(own));
}

impl<F, E> Driver<F, E>
where
    F: Future,
    F::Output: DriverOutput<E>,
{
    /// Polls `app` and this driver in one task: no spawn, any executor, or none.
    ///
    /// Resolves to `app`'s output; the session is closed and the driver dropped then. Should the
    /// driver end first, `app` goes on, and its supervised requests get the cause.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// let session = Session::new();
    /// let driver = session.drive(async { Err(io::Error::other("connection reset")) });
    /// let request = std::future::pending::<u32>().supervised(&session);
    /// let answer = pollster::block_on(driver.with(request));
    /// assert_eq!(answer.unwrap_err().cause().error().unwrap().to_string(), "connection reset");
    /// ```
    pub fn with<A: Future>(self, app: A) -> With<F, E, A> {
        With { app, driver: self, done: false }
    }

    /// `Ready(Some(_))` is a panic, already published.
    fn poll_contained(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Payload>> {
        let mut this = self.project();
        let session = &*this.session;
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let mut panic = None;
        let mut verdict = None;
        // Held until the verdict is out: failed requests wait for it (see `rounds`).
        let _round;
        if !session.is_ended() {
            _round = session.round();
            // The inner future is dropped right after a panic: nobody can see what it left broken.
            match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
                Ok(Poll::Pending) => {
                    // Somebody else may end the session: `close` makes its drivers resolve.
                    let _: Cause<E> = ready!(session.inner().poll_ended(this.seat, cx));
                }
                Ok(Poll::Ready(output)) => verdict = Some(sealed::Sealed::into_cause(output)),
                Err(payload) => {
                    verdict = Some(Cause::Panicked(PanicMessage::of(&*payload)));
                    panic = Some(payload);
                }
            }
        }
        let drop_panic = resolve(this.inner, session, this.seat, verdict);
        if panic.is_some() {
            discard(drop_panic);
            return Poll::Ready(panic);
        }
        Poll::Ready(drop_panic)
    }
}

impl<F, E> Future for Driver<F, E>
where
    F: Future,
    F::Output: DriverOutput<E>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_contained(cx)) {
            None => Poll::Ready(()),
            Some(panic) => resume_unwind(panic),
        }
    }
}

impl<F, E> FusedFuture for Driver<F, E>
where
    F: Future,
    F::Output: DriverOutput<E>,
{
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

impl<F, E> fmt::Debug for Driver<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("session", &self.session).finish_non_exhaustive()
    }
}

pin_project! {
    /// Future for [`Driver::with`]: an application and its driver in one task.
    ///
    /// **Fairness:** in every poll the application comes first, then the driver; a result of the
    /// application is never held back by the driver.
    ///
    /// **Panics:** the application's own panics go on as usual. A panic of the driver does not unwind
    /// here: it is the session's cause, [`Cause::Panicked`], and reaches the application through its
    /// requests.
    ///
    /// **Drop:** drops both; an unresolved driver ends the session with [`Cause::Dropped`].
    #[must_use = "futures do nothing unless polled"]
    pub struct With<F, E, A> {
        #[pin]
        app: A,
        #[pin]
        driver: Driver<F, E>,
        done: bool,
    }
}

impl<F, E, A> Future for With<F, E, A>
where
    F: Future,
    F::Output: DriverOutput<E>,
    A: Future,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.app.poll(cx) {
            *this.done = true;
            let driver = this.driver.project();
            discard(resolve(driver.inner, driver.session, driver.seat, Some(Cause::Closed)));
            return Poll::Ready(output);
        }
        if let Poll::Ready(panic) = this.driver.poll_contained(cx) {
            // It is the session's cause, and goes no further.
            discard(panic);
        }
        Poll::Pending
    }
}

impl<F, E, A> FusedFuture for With<F, E, A>
where
    F: Future,
    F::Output: DriverOutput<E>,
    A: Future,
{
    fn is_terminated(&self) -> bool {
        self.done
    }
}

impl<F, E, A> fmt::Debug for With<F, E, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With").field("driver", &self.driver).finish_non_exhaustive()
    }
}
