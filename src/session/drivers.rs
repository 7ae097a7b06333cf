//! The drivers of a session: their turns, what state they are in, and when all are gone.
//!
//! Invariants:
//!
//! 1. A driver is in its session's table from the call that makes it until its inner future has been dropped.
//!    Every session above counts it for the same time.
//! 2. A future that waits for all drivers to be gone registers under the lock under which the last one is taken
//!    out. It registers only after the session has ended.
//!
//! The table is made when it is needed: many a session, one for each stream of a connection, has no driver.

use super::slab::Slab;
use super::turns::{Turn, UnderWay};
use super::{Ended, Inner, Session};
use crate::contain::contain;
use crate::sync::Mutex;
use futures_core::FusedFuture;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// What the drivers of a session are doing; see [`Session::driver_state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverState {
    /// The session never had a driver.
    None,
    /// At least one driver was never polled. Was it spawned?
    NeverPolled,
    /// There are drivers, and all were polled.
    Running,
    /// There were drivers, and all have resolved or were dropped.
    Done,
}

#[derive(Default)]
pub(super) struct Drivers(Mutex<Option<Box<Table>>>);

#[derive(Default)]
struct Table {
    turns: Slab<Arc<Turn>>,
    /// How many drivers the sessions below have.
    below: usize,
    /// Whether there was ever a driver of this session's own.
    any: bool,
    /// What waits for all to be gone.
    waiting: Slab<Waker>,
    /// How often `waiting` was emptied: a place in it means something only until the next time.
    emptied: usize,
}

/// A place in [`Table::waiting`], and how often that had been emptied by then.
type Place = (usize, u32);

impl Table {
    fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.below == 0
    }

    /// Takes out what waits, if no driver is left.
    fn take_waiting(&mut self) -> Slab<Waker> {
        if !self.is_empty() || self.waiting.is_empty() {
            return Slab::default();
        }
        self.emptied += 1;
        std::mem::take(&mut self.waiting)
    }

    /// Registers `waker`, unless all drivers are gone, or were since `place` was taken. Gives back what is to be
    /// dropped outside of the lock.
    fn wait(&mut self, place: &mut Option<Place>, waker: Waker) -> (Poll<()>, Option<Waker>) {
        let is_over = place.is_some_and(|(emptied, _)| emptied != self.emptied);
        if self.is_empty() || is_over {
            return (Poll::Ready(()), Some(waker));
        }
        let left_over = match *place {
            Some((_, place)) => Some(self.waiting.replace(place, waker)),
            None => {
                *place = Some((self.emptied, self.waiting.insert(waker)));
                None
            }
        };
        (Poll::Pending, left_over)
    }

    fn remove(&mut self, (emptied, place): Place) -> Option<Waker> {
        if emptied == self.emptied { self.waiting.remove(place) } else { None }
    }
}

impl Drivers {
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(self.0.lock().get_or_insert_default())
    }

    /// Adds the polls that are under way on other threads.
    fn under_way(&self, polls: &mut Vec<UnderWay>) {
        if let Some(table) = &*self.0.lock() {
            polls.extend(table.turns.values().filter_map(Turn::under_way));
        }
    }
}

impl<E: ?Sized> Session<E> {
    /// What the drivers of this session are doing. Those of its children do not count.
    ///
    /// A request that waits under a session whose driver was never polled waits for ever. The core has no clock
    /// that could tell; a timeout of yours can say so:
    ///
    /// ```
    /// use shared_fate::{DriverState, Session};
    /// use std::convert::Infallible;
    ///
    /// let session = Session::<Infallible>::new();
    /// assert_eq!(session.driver_state(), DriverState::None);
    /// let driver = session.drive(std::future::pending());
    /// assert_eq!(session.driver_state(), DriverState::NeverPolled);
    /// drop(driver);
    /// assert_eq!(session.driver_state(), DriverState::Done);
    /// ```
    pub fn driver_state(&self) -> DriverState {
        match &*self.inner.drivers.0.lock() {
            Some(table) if table.turns.values().any(|turn| !turn.was_polled()) => DriverState::NeverPolled,
            Some(table) if !table.turns.is_empty() => DriverState::Running,
            Some(table) if table.any => DriverState::Done,
            _ => DriverState::None,
        }
    }

    /// Waits until the session has ended and all its drivers are gone, its descendants' too: they have resolved
    /// or were dropped, and with them the futures that they wrapped.
    ///
    /// ```
    /// use shared_fate::Session;
    /// use std::convert::Infallible;
    ///
    /// let session = Session::<Infallible>::new();
    /// let driver = std::thread::spawn({
    ///     let driver = session.drive(std::future::pending());
    ///     || pollster::block_on(driver)
    /// });
    /// session.close();
    /// pollster::block_on(session.drivers_gone());
    /// // What the driver owned (a socket, a file) is released now.
    /// # driver.join().unwrap();
    /// ```
    pub fn drivers_gone(&self) -> DriversGone<E> {
        DriversGone { ended: self.ended(), place: None, done: false }
    }

    /// The polls of drivers that may be about to end this session.
    #[cold]
    pub(crate) fn under_way(&self) -> Vec<UnderWay> {
        let mut polls = Vec::new();
        for session in self.inner.ancestors() {
            session.drivers.under_way(&mut polls);
        }
        polls
    }

    /// Adds a driver. It is there until [`detach`](Self::detach).
    pub(crate) fn attach(&self) -> Attached {
        let turn = Arc::new(Turn::new());
        let place = self.inner.drivers.change(|table| {
            table.any = true;
            table.turns.insert(Arc::clone(&turn))
        });
        for above in self.inner.ancestors().skip(1) {
            above.drivers.change(|table| table.below += 1);
        }
        Attached { turn, place }
    }

    /// Takes a driver out, once.
    pub(crate) fn detach(&self, driver: &Attached) {
        for (above, session) in self.inner.ancestors().enumerate() {
            let waiting = session.drivers.change(|table| {
                if above == 0 {
                    drop(table.turns.remove(driver.place));
                } else {
                    table.below -= 1;
                }
                table.take_waiting()
            });
            for waker in waiting.into_values() {
                contain(|| waker.wake());
            }
        }
    }
}

/// A driver's place in its session.
pub(crate) struct Attached {
    pub(crate) turn: Arc<Turn>,
    place: u32,
}

/// Future for [`Session::drivers_gone`].
///
/// **Cancel safety:** dropping it deregisters it, and loses nothing.
///
/// **Ties:** it resolves in the first poll after the session's end that finds no driver. Once such a poll has found
/// some, drivers that are made after the last of them has gone are not waited for.
///
/// **Drop:** synchronous; needs no runtime.
#[must_use = "futures do nothing unless polled"]
pub struct DriversGone<E: ?Sized> {
    ended: Ended<E>,
    place: Option<Place>,
    done: bool,
}

impl<E: ?Sized> Future for DriversGone<E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { ended, place, done } = self.get_mut();
        if !ended.session.is_ended() {
            drop(ready!(Pin::new(&mut *ended).poll(cx)));
        }
        let waker = cx.waker().clone();
        let (poll, left_over) = ended.session.inner.drivers.change(|table| table.wait(place, waker));
        drop(left_over);
        *done = poll.is_ready();
        poll
    }
}

impl<E: ?Sized> FusedFuture for DriversGone<E> {
    fn is_terminated(&self) -> bool {
        self.done
    }
}

impl<E: ?Sized> Drop for DriversGone<E> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let own = self.ended.session.inner.drivers.change(|table| table.remove(place));
        drop(own);
    }
}

impl<E: ?Sized> fmt::Debug for DriversGone<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DriversGone").field(&self.ended.session).finish()
    }
}

impl<E: ?Sized> Inner<E> {
    /// This session, its parent, and so on.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |at| Some(&*at.parent.as_ref()?.inner))
    }
}
