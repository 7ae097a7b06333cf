//! [`SupervisedExt`]: `supervised`, `try_supervised`, `try_supervised_if` and `explained_by`.

use crate::explained::Explained;
use crate::supervised::{Supervised, Supervisor};
use crate::try_supervised::{EveryError, TrySupervised};
use futures_core::TryFuture;

/// Puts a request under a session's supervision. Implemented for every future.
pub trait SupervisedExt: Future {
    /// Resolves to this future's output, or at once to the session's cause if the session ends first.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
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
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// let session = Session::new();
    /// let request = async {
    ///     session.fail(io::Error::other("status 500")); // the driver's verdict
    ///     Err::<(), _>(io::Error::other("channel closed")) // and what its library makes of it
    /// };
    /// let error = pollster::block_on(request.try_supervised(&session)).unwrap_err();
    /// assert_eq!(error.cause().unwrap().error().unwrap().to_string(), "status 500");
    /// assert_eq!(error.request_error().unwrap().to_string(), "channel closed");
    /// ```
    fn try_supervised<S>(self, supervisor: S) -> TrySupervised<Self, S>
    where
        Self: TryFuture + Sized,
        S: Supervisor,
    {
        TrySupervised::new(self, supervisor, EveryError)
    }

    /// For a request that always resolves by itself: it is never cut short, and if it fails, the session's cause is
    /// not lost behind its own error.
    ///
    /// Many libraries (hyper, h2, tonic, tokio-postgres) fail their pending requests themselves when the connection
    /// breaks, and hand over what has arrived before. Their requests need an explanation and no supervision:
    /// [`try_supervised`](Self::try_supervised) would end a slow reader of a body that is all there. A
    /// request that may hang needs `try_supervised`.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// let session = Session::new();
    /// session.fail(io::Error::other("connection reset"));
    /// // What has arrived is read, whatever has become of the session.
    /// let read = async { Ok::<_, io::Error>("the body") };
    /// assert_eq!(pollster::block_on(read.explained_by(&session)).unwrap(), "the body");
    /// // What fails says why.
    /// let late = async { Err::<(), _>(io::Error::other("channel closed")) };
    /// let error = pollster::block_on(late.explained_by(&session)).unwrap_err();
    /// assert_eq!(error.cause().unwrap().error().unwrap().to_string(), "connection reset");
    /// ```
    fn explained_by<S>(self, supervisor: S) -> Explained<Self, S, Self::Error>
    where
        Self: TryFuture + Sized,
        S: Supervisor,
    {
        Explained::new(self, supervisor)
    }

    /// [`try_supervised`](Self::try_supervised) where the caller knows which errors may be echoes of the
    /// session's end.
    ///
    /// An error for which `is_echo` says `false` is the request's own. It waits for no driver and leads;
    /// if the session has ended by then, the cause goes along.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::io;
    ///
    /// let session = Session::<io::Error>::new();
    /// let request = async { Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)) };
    /// let request = request.try_supervised_if(&session, |error| error.kind() == io::ErrorKind::BrokenPipe);
    /// let error = pollster::block_on(request).unwrap_err();
    /// assert_eq!(error.request_error().unwrap().kind(), io::ErrorKind::NotFound);
    /// ```
    fn try_supervised_if<S, P>(self, supervisor: S, is_echo: P) -> TrySupervised<Self, S, P>
    where
        Self: TryFuture + Sized,
        S: Supervisor,
        P: FnMut(&Self::Error) -> bool,
    {
        TrySupervised::new(self, supervisor, is_echo)
    }
}

impl<F: Future + ?Sized> SupervisedExt for F {}

/// A wrong `Output` fails here and not in the user's code.
fn assert_future<T, F: Future<Output = T>>(future: F) -> F {
    future
}
