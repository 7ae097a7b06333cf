//! Children: sessions that end with their parent.
//!
//! Invariants:
//!
//! 1. A child can be reached (its count is up) *before* it is put in its parent's table, and that is done under
//!    the lock under which the table is emptied after the parent's verdict. So either the end finds the child,
//!    or the child finds the verdict.
//! 2. Once emptied a table stays empty, so a place in it never means somebody else's.
//! 3. Ends and drops go through a family in a loop, never by recursion, however deep it is.
//! 4. Between a parent's verdict and its child's there is a moment. Who must not miss it looks upwards
//!    ([`Inner::inherit`]).

use super::turns::Address;
use super::registrations::Waiters;
use super::{Inner, Session};
use crate::contain::contain;
use crate::sync::{Latch, Mutex};
use std::sync::{Arc, OnceLock, Weak};

pub(super) struct Parent<E> {
    session: Session<E>,
    /// The child's place in its parent's table; none if that had ended by then.
    place: OnceLock<u32>,
}

impl<E> Session<E> {
    /// A session that ends with this one, and never the other way round.
    ///
    /// It takes this session's cause when this one ends, unless it has one of its own by then. A driver of
    /// the child that is dropped by a driver of the parent, as a part of it, reports
    /// [`Dropped`](crate::Cause::Dropped) before the parent's driver can say why: drive such parts on the parent itself.
    pub fn child(&self) -> Self {
        let parent = Parent { session: self.clone(), place: OnceLock::new() };
        let child = Arc::new(Inner {
            verdict: Latch::new(),
            waiters: Waiters::default(),
            rounds: Arc::clone(&self.inner.rounds),
            children: Mutex::default(),
            parent: Some(parent),
        });
        let place = {
            let own = Arc::downgrade(&child);
            let mut children = self.inner.children.lock();
            if self.is_ended() { None } else { Some(children.insert(own)) }
        };
        match (&child.parent, place) {
            // Looked at when nobody else has the child any more.
            (Some(parent), Some(place)) => parent.place.set(place).expect("set once"),
            _ => child.inherit(),
        }
        Self { inner: child }
    }
}

impl<E> Inner<E> {
    /// Ends this session if one above it has ended: the turn of this one may not have come yet.
    pub(super) fn inherit(&self) {
        if let Some(cause) = self.ancestors().skip(1).find_map(Self::cause) {
            self.end(cause);
        }
    }

    /// After the verdict: ends the children, their children, and so on.
    pub(super) fn end_children(&self) {
        let mut heirs: Vec<Weak<Self>> = self.disinherit().collect();
        while let Some(heir) = heirs.pop() {
            let (Some(heir), Some(cause)) = (heir.upgrade(), self.cause()) else { continue };
            if heir.verdict.set(cause) {
                heir.waiters.wake_all();
                heirs.extend(heir.disinherit());
            }
            // It may be the last that knows of it, and what it drops is foreign code.
            contain(|| drop(heir));
        }
    }

    /// Empties the table of children.
    fn disinherit(&self) -> impl Iterator<Item = Weak<Self>> + use<E> {
        std::mem::take(&mut *self.children.lock()).into_values()
    }

    pub(super) fn address(&self) -> Address {
        std::ptr::from_ref(self).addr()
    }

    pub(super) fn is_or_is_below(&self, session: Address) -> bool {
        self.ancestors().any(|ancestor| ancestor.address() == session)
    }

    /// This session, its parent, and so on.
    fn ancestors(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |at| Some(&*at.parent.as_ref()?.session.inner))
    }
}

impl<E> Drop for Inner<E> {
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(Parent { session, place }) = above {
            let own = place.get().and_then(|place| session.inner.children.lock().remove(*place));
            drop(own);
            // A line that nobody else keeps goes step by step, not by recursion.
            above = Arc::into_inner(session.inner).and_then(|mut parent| parent.parent.take());
        }
    }
}
