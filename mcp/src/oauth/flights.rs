//! [`Flights`]: what all who need other tokens wait for.
//!
//! Invariants:
//!
//! 1. There is one flight at a time, but for one that has a person asked: while the question is open, another goes on
//!    beside it, for whoever does not need the answer.
//! 2. A part of each flight is kept here and never polled, so the flight outlives whoever waits: a refresh token that has
//!    been used is not lost with the answer to it.
//! 3. Whoever waits polls it. When nobody does, the drivers of the clients that have the handle do ([`carry`](Flights::carry)).
//! 4. Whoever waits for the right to ask polls the flights that ask for other servers, too: one that nobody waits for has a
//!    time, and keeps that right no longer.
//! 5. A flight does not know what it is kept in, so with the last handle it is gone.

use super::event::AuthEvent;
use super::flight::{Outcome, Purpose, fly};
use super::store::StoreKey;
use super::tokens::Tokens;
use crate::http_client::EngineConfig;
use crate::sync::shared_future::{SharedFuture, Waiter};
use crate::sync::{Mutex, contain};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The flights for one server's tokens.
pub(super) struct Flights {
    tokens: Arc<Tokens>,
    pub(super) table: Mutex<Table>,
    questions: Questions,
}

/// The last flight of each server that may have a person asked: all that share one handle. It keeps none going.
pub(super) type Questions = Arc<Mutex<HashMap<StoreKey, SharedFuture<Outcome>>>>;

#[derive(Default)]
pub(super) struct Table {
    /// One; or two, while the first has a person asked or has only just had its answer.
    pub(super) flying: Vec<Flying>,
    /// How many there have been.
    count: u64,
    /// Drivers that wait for one.
    pub(super) idle: Vec<(u64, Waker)>,
    drivers: u64,
}

pub(super) struct Flying {
    number: u64,
    /// Whether it may have a person asked.
    asks: bool,
    began: Instant,
    shared: SharedFuture<Outcome>,
    /// Never polled.
    _kept: Waiter<Outcome>,
}

/// What is told to whoever waits.
pub(crate) enum Seen<'a> {
    /// Whether a person is asked just now.
    Asking(bool),
    Event(&'a AuthEvent),
}

/// How connections are opened; asked when some are needed.
pub(crate) type Connect<'a> = &'a (dyn Fn() -> EngineConfig + Send + Sync);

/// Told what happens while a request waits. Called without a lock.
pub(crate) type Watch<'a> = &'a (dyn Fn(Seen<'_>) + Send + Sync);

impl Table {
    /// The flight that whoever comes now waits for. While a question is open, only those wait who need its answer.
    fn join(&self, asks: bool, is_asking: bool) -> Option<Joined> {
        let of_kind = self.flying.iter().filter(|it| it.asks == asks);
        let others = self.flying.iter().filter(|it| it.asks != asks);
        let mut fit = of_kind.chain(others).filter(|it| asks || !(it.asks && is_asking));
        fit.find_map(|it| {
            let waiter = it.shared.waiter()?;
            Some(Joined { waiter, number: it.number, asks: it.asks, is_own: false })
        })
    }
}

impl Flights {
    pub(super) fn new(tokens: Arc<Tokens>, questions: Questions) -> Self {
        Self { tokens, table: Mutex::default(), questions }
    }

    /// Waits for a flight under way, or begins this one. Without `watch` events are left to whoever has one.
    pub(super) async fn fly(
        &self,
        purpose: Purpose,
        connect: Connect<'_>,
        watch: Option<Watch<'_>>,
    ) -> Outcome {
        let asks = matches!(&purpose, Purpose::Authorize { asks: true, .. });
        loop {
            let joined = match self.join(asks) {
                Some(joined) => joined,
                None => self.begin(fly(Arc::clone(&self.tokens), purpose.clone(), connect()), asks),
            };
            let Joined { waiter, number, asks: has_asked, is_own } = joined;
            let mut waiter = pin!(waiter);
            let mut others: Option<Vec<Waiter<Outcome>>> = None;
            let outcome = poll_fn(|cx| {
                others.iter_mut().for_each(|others| help(others, cx));
                let polled = waiter.as_mut().poll(cx);
                let is_asking = has_asked && polled.is_pending() && self.tokens.state.lock().is_asking;
                if is_asking && !asks {
                    // The question was not open yet when this one came.
                    return Poll::Ready(None);
                }
                if is_asking && others.is_none() {
                    help(others.insert(self.other_questions()), cx);
                }
                if let Some(watch) = watch {
                    watch(Seen::Asking(is_asking));
                    for event in self.tokens.take_events() {
                        watch(Seen::Event(&event));
                    }
                }
                polled.map(Some)
            })
            .await;
            let Some(outcome) = outcome else { continue };
            self.clear(number);
            match outcome {
                // It was given up by somebody who has found that it stood still.
                None => {}
                // That one could not ask.
                Some(Err(_)) if asks && !has_asked => {}
                // What came of another's flight is not what a logout is for.
                Some(Err(_)) if !is_own && matches!(&purpose, Purpose::Logout) => {}
                Some(outcome) => return outcome,
            }
        }
    }

    fn other_questions(&self) -> Vec<Waiter<Outcome>> {
        let questions = self.questions.lock();
        let others = questions.iter().filter(|(key, _)| **key != self.tokens.key);
        others.filter_map(|(_, shared)| shared.helper()).collect()
    }

    /// The flight under way that this one waits for. One that has stood still for too long is given up: whoever waits for
    /// it without carrying it on begins again when it is next polled.
    fn join(&self, asks: bool) -> Option<Joined> {
        let (is_asking, answered) = self.question();
        let now = Instant::now();
        let is_stale = |it: &Flying| {
            let (is_asking, answered) = (it.asks && is_asking, answered.filter(|_| it.asks));
            now >= self.stale(it.began, answered, is_asking)
        };
        let (joined, stale) = {
            let mut flights = self.table.lock();
            let flying = std::mem::take(&mut flights.flying);
            let (stale, flying): (Vec<_>, Vec<_>) = flying.into_iter().partition(is_stale);
            flights.flying = flying;
            (flights.join(asks, is_asking), stale)
        };
        for stale in stale {
            stale.shared.give_up();
        }
        joined
    }

    /// Whether a person is asked just now, and when the last of them has answered.
    fn question(&self) -> (bool, Option<Instant>) {
        let state = self.tokens.state.lock();
        (state.is_asking, state.answered)
    }

    /// When a flight has stood still for too long: whoever carried it on has not.
    pub(super) fn stale(&self, began: Instant, answered: Option<Instant>, is_asking: bool) -> Instant {
        let timeouts = &self.tokens.parts.timeouts;
        let person = if is_asking { timeouts.person } else { Duration::ZERO };
        let longest = timeouts.flow.saturating_add(timeouts.store.saturating_mul(4)).saturating_add(person);
        // Without a limit that a clock has, it is not given up for long.
        let year = Duration::from_secs(365 * 24 * 3600);
        answered.map_or(began, |answered| answered.max(began)) + longest.min(year)
    }

    /// Of two who begin at the same time the second waits for the first one's.
    fn begin(&self, flight: impl Future<Output = Outcome> + Send + 'static, asks: bool) -> Joined {
        let (shared, kept) = SharedFuture::start(flight);
        let question = asks.then(|| shared.clone());
        let is_asking = self.question().0;
        let (begun, idle, left_over) = {
            let mut flights = self.table.lock();
            match flights.join(asks, is_asking) {
                Some(present) => (present, Vec::new(), Some(kept)),
                None => {
                    let waiter = shared.waiter().expect("nobody has polled it");
                    flights.count += 1;
                    let number = flights.count;
                    flights.flying.push(Flying { number, asks, began: Instant::now(), shared, _kept: kept });
                    let begun = Joined { waiter, number, asks, is_own: true };
                    (begun, std::mem::take(&mut flights.idle), None)
                }
            }
        };
        drop(left_over);
        if let (Some(question), true) = (question, begun.is_own) {
            let old = self.questions.lock().insert(self.tokens.key.clone(), question);
            drop(old);
        }
        for (_, waker) in idle {
            contain(|| waker.wake());
        }
        begun
    }

    /// It is over.
    fn clear(&self, number: u64) {
        let over = {
            let mut flights = self.table.lock();
            let index = flights.flying.iter().position(|it| it.number == number);
            index.map(|index| flights.flying.remove(index))
        };
        drop(over);
    }

    /// Carries flights on that nobody waits for, as long as it is polled. Never resolves.
    ///
    /// **Drop:** takes its waker away.
    pub(super) async fn carry(&self, watch: Watch<'_>) -> Infallible {
        let number = {
            let mut flights = self.table.lock();
            flights.drivers += 1;
            flights.drivers
        };
        let _leaving = Leaving { flights: self, number };
        let mut helpers: Vec<(Waiter<Outcome>, u64)> = Vec::new();
        poll_fn(|cx| {
            loop {
                helpers.retain_mut(|(waiter, flight)| {
                    let is_pending = Pin::new(waiter).poll(cx).is_pending();
                    if !is_pending {
                        self.clear(*flight);
                    }
                    is_pending
                });
                for event in self.tokens.take_events() {
                    watch(Seen::Event(&event));
                }
                let waker = cx.waker().clone();
                let carried = helpers.len();
                let left_over = {
                    let mut flights = self.table.lock();
                    let new =
                        flights.flying.iter().filter(|it| helpers.iter().all(|(_, has)| *has != it.number));
                    let new: Vec<_> = new.filter_map(|it| Some((it.shared.helper()?, it.number))).collect();
                    helpers.extend(new);
                    match flights.idle.iter_mut().find(|(it, _)| *it == number) {
                        Some((_, registered)) => Some(std::mem::replace(registered, waker)),
                        None => {
                            flights.idle.push((number, waker));
                            None
                        }
                    }
                };
                drop(left_over);
                if helpers.len() == carried {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Waits for what is under way, if it does not wait for a person.
    pub(super) async fn settle(&self) {
        let is_asking = self.question().0;
        let mut helpers: Vec<_> = {
            let flights = self.table.lock();
            let settling = flights.flying.iter().filter(|it| !(it.asks && is_asking));
            settling.filter_map(|it| it.shared.helper()).collect()
        };
        poll_fn(|cx| {
            help(&mut helpers, cx);
            if helpers.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Polls those that are not over.
fn help(others: &mut Vec<Waiter<Outcome>>, cx: &mut Context<'_>) {
    others.retain_mut(|other| Pin::new(other).poll(cx).is_pending());
}

/// A flight, for one that waits for it.
struct Joined {
    waiter: Waiter<Outcome>,
    number: u64,
    /// Whether it may have a person asked.
    asks: bool,
    /// Whether it is the one that was to begin.
    is_own: bool,
}

struct Leaving<'a> {
    flights: &'a Flights,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let registered = {
            let mut flights = self.flights.table.lock();
            let index = flights.idle.iter().position(|(it, _)| *it == self.number);
            index.map(|index| flights.idle.swap_remove(index))
        };
        drop(registered);
    }
}

#[cfg(test)]
mod tests;
