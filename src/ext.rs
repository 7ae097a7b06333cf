//! [`SupervisedExt`]: the two methods.

use crate::supervised::{Supervised, Supervisor, TrySupervised};

/// Puts a request under a session's supervision. Implemented for every future.
pub trait SupervisedExt: Future {
    /// Resolves to this future's output, or at once to the session's cause if the session ends first.
    ///
    /// ```
    /// use shared_fate::{Cause, Session, SupervisedExt};
    ///
    /// let session = Session::<std::io::Error>::new();
    /// let reply = pollster::block_on(async { 7 }.supervised(&session));
    /// assert_eq!(reply.unwrap(), 7);
    ///
    /// session.close();
    /// let error = pollster::block_on(async { 7 }.supervised(&session)).unwrap_err();
    /// assert!(error.cause().is_closed());
    /// assert!(!error.request_started(), "on a dead session the request is never polled");
    /// ```
    fn supervised<S>(self, supervisor: S) -> Supervised<Self, S>
    where
        Self: Sized,
        S: Supervisor,
    {
        assert_future::<Result<Self::Output, _>, _>(Supervised::new(self, supervisor))
    }

    /// Like [`supervised`](Self::supervised), for a request that may fail by itself: if it does and
    /// the session has ended, the session's cause is not lost behind the request's own error.
    ///
    /// ```
    /// use shared_fate::{RequestFailed, Session, SupervisedExt};
    ///
    /// let session = Session::new();
    /// let request = async {
    ///     session.fail("500 Internal Server Error"); // the driver's verdict
    ///     Err::<(), _>("channel closed") // and what its library makes of it
    /// };
    /// let error = pollster::block_on(request.try_supervised(&session)).unwrap_err();
    /// assert_eq!(error.cause().unwrap().error(), Some(&"500 Internal Server Error"));
    /// assert_eq!(error.request_error(), Some(&"channel closed"));
    /// ```
    fn try_supervised<S, T, R>(self, supervisor: S) -> TrySupervised<Self, S>
    where
        Self: Future<Output = Result<T, R>> + Sized,
        S: Supervisor,
    {
        assert_future::<Result<T, _>, _>(TrySupervised::new(self, supervisor))
    }
}

impl<F: Future + ?Sized> SupervisedExt for F {}

/// A wrong `Output` fails here and not in the user's code.
fn assert_future<T, F: Future<Output = T>>(future: F) -> F {
    future
}
