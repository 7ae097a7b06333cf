//! [`Cause`]: why a session ended, and what it may end with.

use crate::errors::SessionEnded;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What a session can fail with: every [`Error`] that is `'static`, and `dyn Error`, alone or with `Send`
/// and `Sync`.
///
/// `Box<dyn Error + Send + Sync>`, `anyhow::Error` and strings are not errors themselves, so a session of
/// theirs could not be used with `?`. [`Session::new`](crate::Session::new) refuses them. For "any error",
/// make a session of the error *in* the box:
///
/// ```
/// use shared_fate::{AnyError, Cause, Session};
///
/// let session = Session::<AnyError>::new();
/// session.end(Cause::any("anything that converts into a box"));
/// ```
///
/// A session that never fails with an error of its own is a `Session<Infallible>`.
///
/// ```compile_fail
/// // A string is no error.
/// let session = shared_fate::Session::<String>::new();
/// ```
///
/// ```compile_fail
/// // Nor is a box of one.
/// let session = shared_fate::Session::<Box<dyn std::error::Error + Send + Sync>>::new();
/// ```
pub trait SessionError: sealed::AsError {}

impl<E: sealed::AsError + ?Sized> SessionError for E {}

mod sealed {
    use std::error::Error;
    use std::fmt::Debug;

    #[allow(unnameable_types, reason = "sealed")]
    pub trait AsError: Debug {
        fn as_error(&self) -> &(dyn Error + 'static);
    }

    impl<E: Error + 'static> AsError for E {
        fn as_error(&self) -> &(dyn Error + 'static) {
            self
        }
    }

    macro_rules! trait_objects {
        ($($object:ty),*) => {$(
            impl AsError for $object {
                fn as_error(&self) -> &(dyn Error + 'static) {
                    self
                }
            }
        )*};
    }
    trait_objects!(dyn Error, dyn Error + Send, dyn Error + Send + Sync);
}

/// Why a session ended: its first cause, the same for everyone who asks.
///
/// It is cheap to clone. `E` need not be `Clone` nor [`Sized`]: an error is shared behind an [`Arc`], and
/// [`Error::source`] reaches the original value, so `downcast_ref` works on it. `{:#}` prints the cause with
/// its sources on one line.
///
/// From an error at hand `Cause::from(error)` makes the cause of a session of just that type, and
/// [`Cause::any(error)`](Self::any) that of a `Session<AnyError>`.
#[non_exhaustive]
pub enum Cause<E: ?Sized> {
    /// A driver resolved to this error, or it was reported with [`Session::fail`](crate::Session::fail).
    Failed(Arc<E>),
    /// A driver panicked.
    Panicked(PanicMessage),
    /// A driver was dropped before it resolved: it was aborted, or its executor is gone.
    Dropped,
    /// A driver resolved without an error.
    ///
    /// It is what the driver says. A peer that crashed looks like this through a driver that swallows the
    /// error.
    Finished,
    /// Its owner closed the session.
    Closed,
}

impl<E: ?Sized> Cause<E> {
    /// The cause of a panic that was caught, from its payload: for a driver that waits for a task of its own.
    ///
    /// ```
    /// use shared_fate::Cause;
    /// use std::io;
    ///
    /// let payload = std::panic::catch_unwind(|| panic!("the decoder tripped")).unwrap_err();
    /// let cause = Cause::<io::Error>::panicked(&*payload);
    /// assert_eq!(cause.panic_message().unwrap().as_str(), "the decoder tripped");
    /// ```
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked(PanicMessage::of(payload))
    }

    /// The error, if the session failed with one.
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Panicked(_) | Self::Dropped | Self::Finished | Self::Closed => None,
        }
    }

    /// What the driver's panic said, if it panicked.
    pub fn panic_message(&self) -> Option<&PanicMessage> {
        match self {
            Self::Panicked(message) => Some(message),
            Self::Failed(_) | Self::Dropped | Self::Finished | Self::Closed => None,
        }
    }

    /// Whether the session failed with an error.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Whether a driver panicked.
    pub fn is_panicked(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// Whether a driver was dropped before it resolved.
    pub fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped)
    }

    /// Whether a driver resolved without an error.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Finished)
    }

    /// Whether the owner closed the session.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether this is an end in good order: [`Finished`](Self::Finished) or [`Closed`](Self::Closed).
    ///
    /// An end in good order says nothing of why a single request failed, so there the request's own error
    /// leads; see [`RequestFailed`](crate::RequestFailed).
    pub fn is_orderly(&self) -> bool {
        self.is_finished() || self.is_closed()
    }
}

/// Any error, for sessions whose drivers fail in more than one way: `Session<AnyError>`.
pub type AnyError = dyn Error + Send + Sync;

impl Cause<AnyError> {
    /// The cause of a `Session<AnyError>`, from any error, a box of one, an `anyhow::Error` or a text.
    ///
    /// ```
    /// use shared_fate::{AnyError, Cause, Session};
    /// use std::io;
    ///
    /// let session = Session::<AnyError>::new();
    /// let connection = async { Err::<(), _>(io::Error::other("connection reset")) };
    /// let driver = session.drive_map(connection, |output| output.err().map(Cause::any));
    /// let cause = pollster::block_on(driver);
    /// assert!(cause.error().unwrap().downcast_ref::<io::Error>().is_some());
    /// ```
    pub fn any(error: impl Into<Box<AnyError>>) -> Self {
        Self::from(error.into())
    }
}

impl<E: ?Sized> Clone for Cause<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked(message) => Self::Panicked(message.clone()),
            Self::Dropped => Self::Dropped,
            Self::Finished => Self::Finished,
            Self::Closed => Self::Closed,
        }
    }
}

impl<E: PartialEq + ?Sized> PartialEq for Cause<E> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failed(one), Self::Failed(two)) => **one == **two,
            (Self::Panicked(one), Self::Panicked(two)) => one == two,
            (Self::Dropped, Self::Dropped)
            | (Self::Finished, Self::Finished)
            | (Self::Closed, Self::Closed) => true,
            _ => false,
        }
    }
}

impl<E: Eq + ?Sized> Eq for Cause<E> {}

impl<E> From<E> for Cause<E> {
    fn from(error: E) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl<E: ?Sized> From<Box<E>> for Cause<E> {
    fn from(error: Box<E>) -> Self {
        Self::Failed(Arc::from(error))
    }
}

/// So that `?` works where a function returns `Result<_, Cause<E>>`.
impl<E: ?Sized> From<SessionEnded<Self>> for Cause<E> {
    fn from(ended: SessionEnded<Self>) -> Self {
        ended.into_cause()
    }
}

impl<E: fmt::Debug + ?Sized> fmt::Debug for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.debug_tuple("Failed").field(&error).finish(),
            Self::Panicked(message) => f.debug_tuple("Panicked").field(&message.as_str()).finish(),
            Self::Dropped => f.write_str("Dropped"),
            Self::Finished => f.write_str("Finished"),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

impl<E: SessionError + ?Sized> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("the session failed"),
            Self::Panicked(message) => write!(f, "the session's driver panicked: {message}"),
            Self::Dropped => f.write_str("the session's driver was dropped"),
            Self::Finished => f.write_str("the session's driver finished"),
            Self::Closed => f.write_str("the session was closed"),
        }?;
        crate::errors::alternate(f, self.source())
    }
}

impl<E: SessionError + ?Sized> Error for Cause<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().map(sealed::AsError::as_error)
    }
}

/// What a driver's panic said. It is cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
// A thin pointer: it keeps `Cause` at two words.
pub struct PanicMessage(Arc<String>);

impl PanicMessage {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = if let Some(text) = payload.downcast_ref::<&'static str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "a value that is not a string".to_owned()
        };
        Self(Arc::new(text))
    }

    /// The panic's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PanicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
