//! Handles beside [`Session`]: one that keeps nothing alive, and one that closes when it goes.

use super::{Inner, Session};
use std::fmt;
use std::sync::{Arc, Weak};

/// A handle that does not keep its session alive; see [`Session::downgrade`].
pub struct WeakSession<E: ?Sized>(Weak<Inner<E>>);

impl<E: ?Sized> WeakSession<E> {
    /// The session, if there is another handle of it, or a driver, a request or a child.
    pub fn upgrade(&self) -> Option<Session<E>> {
        self.0.upgrade().map(|inner| Session { inner })
    }
}

impl<E: ?Sized> Clone for WeakSession<E> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<E: ?Sized> fmt::Debug for WeakSession<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakSession").field(&self.upgrade()).finish()
    }
}

/// Closes a session when it is dropped; see [`Session::drop_guard`].
#[must_use = "the session is closed when the guard is dropped, which is at once if it is not kept"]
pub struct DropGuard<E: ?Sized> {
    /// `None` when disarmed.
    session: Option<Session<E>>,
}

impl<E: ?Sized> DropGuard<E> {
    /// Gives the session back, which is not closed then.
    pub fn disarm(mut self) -> Session<E> {
        match self.session.take() {
            Some(session) => session,
            None => unreachable!("only this takes it"),
        }
    }
}

impl<E: ?Sized> Drop for DropGuard<E> {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.close();
        }
    }
}

impl<E: ?Sized> fmt::Debug for DropGuard<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DropGuard").field(&self.session).finish()
    }
}

impl<E: ?Sized> Session<E> {
    /// A handle that does not keep the session alive: for what the session's own driver holds, or a cache.
    #[must_use]
    pub fn downgrade(&self) -> WeakSession<E> {
        WeakSession(Arc::downgrade(&self.inner))
    }

    /// A guard that [closes](Self::close) the session when it is dropped.
    ///
    /// Put it into the handle that your users clone, behind an `Arc`: the session is closed when the last one
    /// is gone.
    ///
    /// ```
    /// use shared_fate::Session;
    /// use std::io;
    ///
    /// let session = Session::<io::Error>::new();
    /// let guard = session.clone().drop_guard();
    /// drop(guard);
    /// assert!(session.cause().unwrap().is_closed());
    /// ```
    pub fn drop_guard(self) -> DropGuard<E> {
        DropGuard { session: Some(self) }
    }
}
