//! Drivers without a spawn: one task polls the driver and the application that needs it.
//!
//! Invariant: both are polled in every poll, and they take turns in going first. So neither can starve the other,
//! also where the first one uses up what a task may do in one poll (tokio's budget).

use super::Driver;
use crate::cause::Cause;
use futures_core::FusedFuture;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl<F, E, M> Driver<F, E, M>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
{
    /// Runs this driver until `app` is done, in one task: no spawn, any executor, or none.
    ///
    /// Resolves to `app`'s output. The session is closed and the driver dropped then, at once: what is queued in
    /// it is lost. For an orderly end add [`drain_until`](RunUntil::drain_until). If the driver ends
    /// first, `app` goes on, and its supervised requests get the cause.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// let session = Session::new();
    /// let driver = session.drive(async { Err(io::Error::other("connection reset")) });
    /// let request = std::future::pending::<u32>().supervised(&session);
    /// let answer = pollster::block_on(driver.run_until(request));
    /// assert_eq!(answer.unwrap_err().cause().error().unwrap().to_string(), "connection reset");
    /// ```
    pub fn run_until<A: Future>(self, app: A) -> RunUntil<F, E, M, A> {
        RunUntil { app: Some(app), driver: self, driver_first: false }
    }

    /// Runs this driver while `app` is under way. The driver can be polled on, or spawned, afterwards; the
    /// session is not closed.
    ///
    /// This is for a handshake, before which there is nothing to spawn:
    ///
    /// ```
    /// use shared_fate::Session;
    /// use std::convert::Infallible;
    ///
    /// # async fn handshake() -> u32 { 7 }
    /// let session = Session::<Infallible>::new();
    /// let mut driver = Box::pin(session.drive(std::future::pending()));
    /// let version = pollster::block_on(driver.as_mut().run_during(handshake()));
    /// let spawned = std::thread::spawn(|| pollster::block_on(driver));
    /// # session.close();
    /// # spawned.join().unwrap();
    /// # assert_eq!(version, 7);
    /// ```
    pub fn run_during<A: Future>(self: Pin<&mut Self>, app: A) -> RunDuring<'_, F, E, M, A> {
        RunDuring { app: Some(app), driver: self, driver_first: false }
    }
}

/// Polls both; the order changes each time.
///
/// Ready with the application's output. The application is dropped then, and with it its handles.
fn poll_both<A: Future, D: Future>(
    mut app: Pin<&mut Option<A>>,
    mut driver: Pin<&mut D>,
    driver_first: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<A::Output> {
    let was_first = std::mem::replace(driver_first, !*driver_first);
    if was_first {
        _ = driver.as_mut().poll(cx);
    }
    let running = app.as_mut().as_pin_mut().expect("polled after completion");
    if let Poll::Ready(output) = running.poll(cx) {
        app.set(None);
        return Poll::Ready(output);
    }
    if !was_first {
        _ = driver.poll(cx);
    }
    Poll::Pending
}

pin_project! {
    /// Future for [`Driver::run_until`].
    ///
    /// **Fairness, ties:** both are polled in every poll and take turns in going first, the application in the
    /// first poll. An output of the application is returned in the poll that finds it.
    ///
    /// **Panics:** the application's own panics go on as usual. A panic of the driver is the session's cause and
    /// reaches the application through its requests. Polled again after it has resolved, this panics.
    ///
    /// **Cancel safety, drop:** drops both; a driver that has not resolved ends the session with
    /// [`Cause::Dropped`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RunUntil<F, E, M, A>
    where
        E: ?Sized,
    {
        #[pin]
        app: Option<A>,
        #[pin]
        driver: Driver<F, E, M>,
        driver_first: bool,
    }
}

impl<F, E: ?Sized, M, A: Future> RunUntil<F, E, M, A> {
    /// When the application is done, lets the driver finish what is queued, until it resolves or the bound does.
    ///
    /// `bound` is called when the application is done, since many a timer runs from the moment in which it is made.
    /// The application is dropped then, so that the driver sees its last handle go. The result is
    /// the application's output *and* the session's cause. That is the driver's own error if it failed while
    /// it drained, [`Finished`](Cause::Finished) if `drive`'s driver came to its end, and
    /// [`Closed`](Cause::Closed) if `bound` came first or the driver was merely done.
    ///
    /// ```
    /// use shared_fate::Session;
    /// use std::io;
    ///
    /// let session = Session::<io::Error>::new();
    /// let (queue, messages) = async_channel::unbounded();
    /// let driver = session.drive(async move {
    ///     while let Ok(message) = messages.recv().await {
    ///         write(message)?;
    ///     }
    ///     Ok(())
    /// });
    /// # fn write(_: u32) -> io::Result<()> { Ok(()) }
    /// let app = async move { queue.send(7).await.is_ok() };
    /// let at_most = || std::future::pending(); // a timer of your executor's: `|| sleep(duration)`
    /// let (sent, cause) = pollster::block_on(driver.run_until(app).drain_until(at_most));
    /// assert!(sent && cause.is_finished());
    /// ```
    pub fn drain_until<N, B>(self, bound: N) -> DrainUntil<F, E, M, A, N, B>
    where
        N: FnOnce() -> B,
        B: Future<Output = ()>,
    {
        DrainUntil { run: self, output: None, make_bound: Some(bound), bound: None, driver_first: true }
    }
}

impl<F, E, M, A> Future for RunUntil<F, E, M, A>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
    A: Future,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        let mut this = self.project();
        let output = ready!(poll_both(this.app, this.driver.as_mut(), this.driver_first, cx));
        this.driver.close();
        Poll::Ready(output)
    }
}

impl<F, E: ?Sized, M> Driver<F, E, M> {
    /// Closes the session and drops the inner future.
    fn close(mut self: Pin<&mut Self>) {
        self.as_mut().finish(Some(Cause::Closed));
        // Also where the driver was done before.
        self.session.close();
    }
}

impl<F, E, M, A> FusedFuture for RunUntil<F, E, M, A>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
    A: Future,
{
    fn is_terminated(&self) -> bool {
        self.app.is_none()
    }
}

impl<F, E: ?Sized, M, A> fmt::Debug for RunUntil<F, E, M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunUntil").field("driver", &self.driver).finish_non_exhaustive()
    }
}

pin_project! {
    /// Future for [`Driver::run_during`].
    ///
    /// **Fairness, ties, panics:** as for [`RunUntil`].
    ///
    /// **Cancel safety, drop:** drops the application. The driver and its session go on.
    #[must_use = "futures do nothing unless polled"]
    pub struct RunDuring<'a, F, E, M, A>
    where
        E: ?Sized,
    {
        #[pin]
        app: Option<A>,
        driver: Pin<&'a mut Driver<F, E, M>>,
        driver_first: bool,
    }
}

impl<F, E, M, A> Future for RunDuring<'_, F, E, M, A>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
    A: Future,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        let this = self.project();
        poll_both(this.app, this.driver.as_mut(), this.driver_first, cx)
    }
}

impl<F, E, M, A> FusedFuture for RunDuring<'_, F, E, M, A>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
    A: Future,
{
    fn is_terminated(&self) -> bool {
        self.app.is_none()
    }
}

impl<F, E: ?Sized, M, A> fmt::Debug for RunDuring<'_, F, E, M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunDuring").field("driver", &self.driver).finish_non_exhaustive()
    }
}

pin_project! {
    /// Future for [`RunUntil::drain_until`].
    ///
    /// **Fairness, ties, panics:** as for [`RunUntil`]. While it drains, the driver and the bound take turns
    /// in going first. If both are ready in one poll, the driver's own end is the cause.
    ///
    /// **Cancel safety, drop:** drops all three; a driver that has not resolved ends the session with
    /// [`Cause::Dropped`]. An output of the application that was waiting for the driver is lost.
    #[must_use = "futures do nothing unless polled"]
    pub struct DrainUntil<F, E, M, A, N, B>
    where
        E: ?Sized,
        A: Future,
    {
        #[pin]
        run: RunUntil<F, E, M, A>,
        // The application's, while the driver drains.
        output: Option<A::Output>,
        make_bound: Option<N>,
        #[pin]
        bound: Option<B>,
        driver_first: bool,
    }
}

impl<F, E, M, A, N, B> Future for DrainUntil<F, E, M, A, N, B>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
    A: Future,
    N: FnOnce() -> B,
    B: Future<Output = ()>,
{
    type Output = (A::Output, Cause<E>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut run = this.run.project();
        if this.output.is_none() {
            let output = poll_both(run.app, run.driver.as_mut(), run.driver_first, cx);
            *this.output = Some(ready!(output));
            this.bound.set(this.make_bound.take().map(|bound| bound()));
        }
        let drained = poll_drained(this.bound.as_mut(), run.driver.as_mut(), this.driver_first, cx);
        ready!(drained);
        this.bound.set(None);
        run.driver.as_mut().close();
        let cause = run.driver.session.cause().expect("the session was closed, or had ended");
        Poll::Ready((this.output.take().expect("set above"), cause))
    }
}

/// Polls the driver and the bound, until one of them is ready.
fn poll_drained<B: Future, D: Future>(
    bound: Pin<&mut Option<B>>,
    mut driver: Pin<&mut D>,
    driver_first: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let was_first = std::mem::replace(driver_first, !*driver_first);
    let bound_is_over =
        |cx: &mut Context<'_>| bound.as_pin_mut().is_some_and(|bound| bound.poll(cx).is_ready());
    let is_over = if was_first {
        driver.poll(cx).is_ready() || bound_is_over(cx)
    } else {
        let bound_is_over = bound_is_over(cx);
        driver.as_mut().poll(cx).is_ready() || bound_is_over
    };
    if is_over { Poll::Ready(()) } else { Poll::Pending }
}

impl<F, E, M, A, N, B> FusedFuture for DrainUntil<F, E, M, A, N, B>
where
    F: Future,
    E: ?Sized,
    M: FnOnce(F::Output) -> Option<Cause<E>>,
    A: Future,
    N: FnOnce() -> B,
    B: Future<Output = ()>,
{
    fn is_terminated(&self) -> bool {
        self.make_bound.is_none() && self.bound.is_none()
    }
}

impl<F, E: ?Sized, M, A: Future, N, B> fmt::Debug for DrainUntil<F, E, M, A, N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainUntil").field("driver", &self.run.driver).finish_non_exhaustive()
    }
}
