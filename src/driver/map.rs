//! [`MapOutput`]: a driver whose output is not yet what a session takes.

use super::{Driver, DriverOutput};
use crate::session::Session;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl<E> Session<E> {
    /// [`drive`](Self::drive) for a future that resolves to something else: `map` makes `()` or
    /// `Result<(), E>` of it.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// // The library's connection resolves to an error of its own, and to the bytes that are left over.
    /// let connection = async { Err::<Vec<u8>, _>(io::Error::other("connection reset")) };
    ///
    /// let session = Session::<String>::new();
    /// let driver = session.drive_map(connection, |output| output.map(drop).map_err(|error| error.to_string()));
    /// let request = std::future::pending::<u32>().supervised(&session);
    /// let error = pollster::block_on(driver.with(request)).unwrap_err();
    /// assert_eq!(error.cause().error().unwrap(), "connection reset");
    /// ```
    ///
    /// An `async` block around the future, or `FutureExt::map`, would drop the future before the driver can
    /// publish the cause; this keeps it until that is done.
    pub fn drive_map<F, M, O>(&self, driver: F, map: M) -> Driver<MapOutput<F, M>, E>
    where
        F: Future,
        M: FnOnce(F::Output) -> O,
        O: DriverOutput<E>,
    {
        self.drive(MapOutput { future: driver, map: Some(map) })
    }
}

pin_project! {
    /// Future in the driver that [`Session::drive_map`] makes.
    ///
    /// **Drop:** the mapped future is dropped with this, not when it resolves.
    ///
    /// **Panics:** when polled again after it has resolved.
    #[must_use = "futures do nothing unless polled"]
    pub struct MapOutput<F, M> {
        #[pin]
        future: F,
        map: Option<M>,
    }
}

impl<F, M, O> Future for MapOutput<F, M>
where
    F: Future,
    M: FnOnce(F::Output) -> O,
{
    type Output = O;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let this = self.project();
        let output = ready!(this.future.poll(cx));
        let map = this.map.take().expect("`MapOutput` polled after completion");
        Poll::Ready(map(output))
    }
}

impl<F, M> fmt::Debug for MapOutput<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapOutput").field("resolved", &self.map.is_none()).finish_non_exhaustive()
    }
}
