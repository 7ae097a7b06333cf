//! [`Flights`]: the one flight that all who need other tokens wait for.
//!
//! Invariants:
//!
//! 1. There is one flight at a time. A part of it is kept here and never polled, so it outlives whoever waits: a refresh
//!    token that has been used is not lost with the answer to it.
//! 2. Whoever waits polls it. When nobody does, the drivers of the clients that have the handle do ([`carry`](Flights::carry)).
//! 3. Whoever waits for the right to ask polls the flights that ask for other servers, too: one that nobody waits for has a
//!    time, and keeps that right no longer.
//! 4. A flight does not know what it is kept in, so with the last handle it is gone.

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

/// The flight for one server's tokens, if there is one.
pub(super) struct Flights {
    tokens: Arc<Tokens>,
    pub(super) table: Mutex<Table>,
    questions: Questions,
}

/// The last flight of each server that may have a person asked: all that share one handle. It keeps none going.
pub(super) type Questions = Arc<Mutex<HashMap<StoreKey, SharedFuture<Outcome>>>>;

#[derive(Default)]
pub(super) struct Table {
    pub(super) present: Option<Flying>,
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

impl Flights {
    pub(super) fn new(tokens: Arc<Tokens>, questions: Questions) -> Self {
        Self { tokens, table: Mutex::default(), questions }
    }

    /// Waits for the flight under way, or begins this one.
    /// `waits`: while a person is asked, too.
    pub(super) async fn fly(
        &self,
        purpose: Purpose,
        waits: bool,
        connect: Connect<'_>,
        watch: Watch<'_>,
    ) -> Outcome {
        loop {
            let asks = matches!(&purpose, Purpose::Authorize { asks: true, .. });
            let (waiter, number, has_asked, is_own) = match self.join(asks || waits) {
                Joined::Flight(waiter, number, has_asked) => (waiter, number, has_asked, false),
                // Nobody waits for a person who has not asked for that.
                Joined::Asking => return Err(self.tokens.login_required()),
                Joined::None => {
                    let flight = fly(Arc::clone(&self.tokens), purpose.clone(), connect());
                    self.begin(flight, asks)
                }
            };
            let mut waiter = pin!(waiter);
            let mut others: Option<Vec<Waiter<Outcome>>> = None;
            let outcome = poll_fn(|cx| {
                help(&mut others, cx);
                let polled = waiter.as_mut().poll(cx);
                let is_asking = polled.is_pending() && self.tokens.state.lock().is_asking;
                if is_asking && has_asked && !(asks || waits) {
                    return Poll::Ready(None);
                }
                if is_asking && others.is_none() {
                    others = Some(self.other_questions());
                    help(&mut others, cx);
                }
                watch(Seen::Asking(is_asking));
                for event in self.tokens.take_events() {
                    watch(Seen::Event(&event));
                }
                polled.map(Some)
            })
            .await;
            // The question was not open yet when this one came.
            let Some(outcome) = outcome else { return Err(self.tokens.login_required()) };
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

    fn join(&self, waits: bool) -> Joined {
        let (is_asking, answered) = {
            let state = self.tokens.state.lock();
            (state.is_asking, state.answered)
        };
        let now = Instant::now();
        let (joined, stale) = {
            let mut flights = self.table.lock();
            match &flights.present {
                Some(flying) if now >= self.stale(flying.began, answered, is_asking) => {
                    (Joined::None, flights.present.take())
                }
                Some(flying) if is_asking && flying.asks && !waits => (Joined::Asking, None),
                Some(flying) => match flying.shared.waiter() {
                    Some(waiter) => (Joined::Flight(waiter, flying.number, flying.asks), None),
                    None => (Joined::None, flights.present.take()),
                },
                None => (Joined::None, None),
            }
        };
        if let Some(stale) = stale {
            // Whoever waits for it without carrying it on begins again when it is next polled.
            stale.shared.give_up();
        }
        joined
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

    /// Of two who begin at the same time the second waits for the first one's. The last of what it returns says whether
    /// it is this one's.
    fn begin(
        &self,
        flight: impl Future<Output = Outcome> + Send + 'static,
        asks: bool,
    ) -> (Waiter<Outcome>, u64, bool, bool) {
        let (shared, kept) = SharedFuture::start(flight);
        let question = asks.then(|| shared.clone());
        let (begun, idle, left_over) = {
            let mut flights = self.table.lock();
            let present = flights.present.as_ref();
            match present
                .and_then(|flying| Some((flying.shared.waiter()?, flying.number, flying.asks, false)))
            {
                Some(present) => (present, Vec::new(), (None, Some(kept))),
                None => {
                    let waiter = shared.waiter().expect("nobody has polled it");
                    flights.count += 1;
                    let number = flights.count;
                    let began = Instant::now();
                    let old = flights.present.replace(Flying { number, asks, began, shared, _kept: kept });
                    ((waiter, number, asks, true), std::mem::take(&mut flights.idle), (old, None))
                }
            }
        };
        drop(left_over);
        if let (Some(question), true) = (question, begun.3) {
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
            match &flights.present {
                Some(flying) if flying.number == number => flights.present.take(),
                _ => None,
            }
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
        let mut helper: Option<(Waiter<Outcome>, u64)> = None;
        poll_fn(|cx| {
            loop {
                if let Some((waiter, flight)) = &mut helper {
                    let polled = Pin::new(waiter).poll(cx);
                    for event in self.tokens.take_events() {
                        watch(Seen::Event(&event));
                    }
                    if polled.is_pending() {
                        return Poll::Pending;
                    }
                    let flight = *flight;
                    helper = None;
                    self.clear(flight);
                }
                let waker = cx.waker().clone();
                let left_over = {
                    let mut flights = self.table.lock();
                    let present = flights.present.as_ref();
                    helper = present.and_then(|flying| Some((flying.shared.helper()?, flying.number)));
                    match flights.idle.iter_mut().find(|(it, _)| *it == number) {
                        Some((_, registered)) => Some(std::mem::replace(registered, waker)),
                        None => {
                            flights.idle.push((number, waker));
                            None
                        }
                    }
                };
                drop(left_over);
                if helper.is_none() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Waits for the flight under way, if it does not wait for a person.
    pub(super) async fn settle(&self) {
        let is_asking = self.tokens.state.lock().is_asking;
        let helper = self.table.lock().present.as_ref().and_then(|flying| flying.shared.helper());
        if let (Some(helper), false) = (helper, is_asking) {
            helper.await;
        }
    }
}

/// Polls those that are not over.
fn help(others: &mut Option<Vec<Waiter<Outcome>>>, cx: &mut Context<'_>) {
    if let Some(others) = others {
        others.retain_mut(|other| Pin::new(other).poll(cx).is_pending());
    }
}

enum Joined {
    /// Its number, and whether it may have a person asked.
    Flight(Waiter<Outcome>, u64, bool),
    /// A person is asked.
    Asking,
    None,
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
