//! Children: sessions that end with their parent.
//!
//! A family shares one tree, and the tree has the family's one lock. The root itself is not in it.
//!
//! Invariants:
//!
//! 1. A session below the root is in the tree exactly as long as it has not ended, from its birth to its drop. A
//!    child of an ended session is born ended and never in it.
//! 2. Every end takes its session's line out of the tree and latches it under the lock: descendants first, the
//!    session itself last. So where a session is seen ended, everything below it is ended with the same cause,
//!    or was ended before; and two ends of one family have one order for all threads.
//! 3. Under the lock only reference counts change. Waking, and dropping what may be the last handle or the last
//!    cause, come after it.
//! 4. A child can be reached (its count is up) before it is in the tree, so an end that finds it there can
//!    hold it, unless its last handle is being dropped: that drop waits for the lock, to find itself gone.
//! 5. A child holds its parent. So a session whose last handle is gone has no child in the tree.
//! 6. Ends and drops go through a family in a loop, never by recursion, however deep it is.

use super::slab::Slab;
use super::{Inner, Session};
use crate::cause::Cause;
use crate::contain::contain;
use crate::sync::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// No node: the root's number, and the end of a list.
const NONE: u32 = u32::MAX;

pub(super) struct Family<E: ?Sized>(Mutex<Tree<E>>);

struct Tree<E: ?Sized> {
    nodes: Slab<Node<E>>,
    /// The root's.
    first_child: u32,
}

struct Node<E: ?Sized> {
    session: Weak<Inner<E>>,
    parent: u32,
    first_child: u32,
    next: u32,
    previous: u32,
}

/// Where a session is in its family's tree. It is written and read under the family's lock.
pub(super) struct Place {
    number: AtomicU32,
    /// Of the session when it was born. A node of this number with another address is another session's. (A node, and
    /// whoever takes a session out of its memory, keeps the memory, so no other one can get the address.)
    address: AtomicUsize,
}

impl Place {
    pub(super) fn root() -> Self {
        Self { number: AtomicU32::new(NONE), address: AtomicUsize::new(0) }
    }

    fn number(&self) -> u32 {
        self.number.load(Relaxed)
    }
}

impl<E: ?Sized> Family<E> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Tree { nodes: Slab::default(), first_child: NONE }))
    }
}

impl<E: ?Sized> Tree<E> {
    /// The head of the list of a node's children.
    fn children(&mut self, parent: u32) -> &mut u32 {
        match self.nodes.get_mut(parent) {
            Some(node) => &mut node.first_child,
            None => &mut self.first_child,
        }
    }

    fn insert(&mut self, parent: u32, session: Weak<Inner<E>>) -> u32 {
        let next = *self.children(parent);
        let number = self.nodes.insert(Node { session, parent, first_child: NONE, next, previous: NONE });
        if let Some(next) = self.nodes.get_mut(next) {
            next.previous = number;
        }
        *self.children(parent) = number;
        number
    }

    /// Takes one node out of its parent's list.
    fn unlink(&mut self, number: u32) -> Option<Node<E>> {
        let node = self.nodes.remove(number)?;
        match self.nodes.get_mut(node.previous) {
            Some(previous) => previous.next = node.next,
            None => *self.children(node.parent) = node.next,
        }
        if let Some(next) = self.nodes.get_mut(node.next) {
            next.previous = node.previous;
        }
        Some(node)
    }

    /// Takes a session out with all that is below it. Gives back what is below, parents before their children.
    #[cold]
    fn take_line(&mut self, number: u32) -> Vec<Weak<Inner<E>>> {
        let mut line = Vec::new();
        let mut lists = Vec::new();
        let mut next = std::mem::replace(self.children(number), NONE);
        while let Some(node) = self.nodes.remove(next).or_else(|| self.nodes.remove(lists.pop()?)) {
            line.push(node.session);
            if node.first_child != NONE {
                lists.push(node.first_child);
            }
            next = node.next;
        }
        _ = self.unlink(number);
        line
    }
}

impl<E: ?Sized> Session<E> {
    /// A session that ends with this one, and never the other way round.
    ///
    /// A child that is alive when this one ends takes this one's cause. A child of a session that has ended is
    /// born ended.
    ///
    /// If a parent's driver owns a child's driver and drops it while failing, the child ends as
    /// [`Dropped`](Cause::Dropped) before the parent's cause is known. Drive such parts on the parent itself, or
    /// report with [`fail`](Self::fail) first.
    #[must_use]
    pub fn child(&self) -> Self {
        let parent = &*self.inner;
        let child = Arc::new(Inner::new(Arc::clone(&parent.family), Some(self.clone())));
        let cause = {
            let mut tree = parent.family.0.lock();
            let cause = self.cause();
            if cause.is_none() {
                let number = tree.insert(parent.place.number(), Arc::downgrade(&child));
                child.place.number.store(number, Relaxed);
                child.place.address.store(Arc::as_ptr(&child).addr(), Relaxed);
            }
            cause
        };
        if let Some(cause) = cause {
            // Nobody else has the child yet.
            child.verdict.latch(cause);
        }
        Self { inner: child }
    }

    /// Latches, then wakes. Returns whether this was the first cause.
    pub(super) fn end_family(&self, cause: Cause<E>) -> bool {
        let this = &*self.inner;
        let tree = this.family.0.lock();
        if self.is_ended() {
            drop(tree);
            drop(cause);
            return false;
        }
        if this.place.number() != NONE || tree.first_child != NONE {
            this.end_line(tree, cause);
        } else {
            // A root without children, as most sessions are.
            this.verdict.latch(cause);
            drop(tree);
            this.registrations.wake_all();
        }
        true
    }
}

impl<E: ?Sized> Drop for Inner<E> {
    fn drop(&mut self) {
        self.leave_family();
        let mut above = self.parent.take();
        while let Some(session) = above {
            if Arc::strong_count(&session.inner) > 1 {
                // Where two threads have the last two handles, it is dropped here, by one level of recursion.
                return drop(session);
            }
            // Until it has left, nobody else gets its address.
            let _memory = Arc::downgrade(&session.inner);
            // A line without other handles goes step by step, not by recursion.
            above = Arc::into_inner(session.inner).and_then(|mut parent| {
                parent.leave_family();
                parent.parent.take()
            });
        }
    }
}

impl<E: ?Sized> Inner<E> {
    #[cold]
    fn end_line(&self, mut tree: MutexGuard<'_, Tree<E>>, cause: Cause<E>) {
        // A last handle that is being dropped at this moment needs no end.
        let line = tree.take_line(self.place.number());
        let descendants: Vec<_> = line.iter().filter_map(Weak::upgrade).collect();
        for descendant in descendants.iter().rev() {
            descendant.verdict.latch(cause.clone());
        }
        self.verdict.latch(cause);
        drop(tree);
        self.registrations.wake_all();
        for descendant in descendants {
            descendant.registrations.wake_all();
            // It may be the last handle, and what that drops is foreign code.
            contain(|| drop(descendant));
        }
    }

    fn leave_family(&self) {
        if self.parent.is_none() {
            return;
        }
        let own = {
            let mut tree = self.family.0.lock();
            let (number, address) = (self.place.number(), self.place.address.load(Relaxed));
            let is_own =
                tree.nodes.get_mut(number).is_some_and(|node| node.session.as_ptr().addr() == address);
            if is_own { tree.unlink(number) } else { None }
        };
        drop(own);
    }
}
