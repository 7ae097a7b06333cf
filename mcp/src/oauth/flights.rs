//! [`Flights`]: what all who need other tokens wait for.
//!
//! A **flight** is one load, refresh, login or logout. Whoever needs it joins the one under way, or begins it
//! ([`Flights::fly`]), and carries it on while they wait. When nobody waits, the drivers of the clients that have the
//! handle carry it on ([`Flights::carry`]).
//!
//! Invariants:
//!
//! 1. There is one flight at a time, but for one that has a person asked: while the question is open, a second one goes
//!    on beside it, for whoever does not need the answer.
//! 2. The table keeps one waiter of each flight that is never polled, so the flight outlives those who wait: a refresh
//!    token that was used is not lost with the answer to it.
//! 3. A flight that nobody carries on is given up after the longest time that one takes, by whoever comes next.
//! 4. Whoever waits for the right to ask carries on the flights that ask for other servers, too: a question that nobody
//!    waits for runs into its time limit, and keeps the right no longer.
//! 5. A flight does not know the table that keeps it, so it is gone with the last handle.

mod carrier;

use super::event::AuthEvent;
use super::flight::{Outcome, Purpose, fly};
use super::store::StoreKey;
use super::tokens::Tokens;
use crate::http_client::EngineConfig;
use crate::sync::shared_future::{SharedFuture, Waiter};
use crate::sync::{Mutex, contain};
use std::collections::HashMap;
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

/// For each server of one handle its last flight that may have a person asked. It keeps no flight going.
pub(super) type Questions = Arc<Mutex<HashMap<StoreKey, SharedFuture<Outcome>>>>;

#[derive(Default)]
pub(super) struct Table {
    /// One flight; or two, while the first has a person asked or has only just had the answer.
    pub(super) flying: Vec<Flying>,
    /// How many flights there have been.
    count: u64,
    /// The drivers that wait for the next flight.
    pub(super) idle: Vec<(u64, Waker)>,
    /// How many drivers there have been.
    drivers: u64,
}

pub(super) struct Flying {
    number: u64,
    /// Whether it may have a person asked.
    asks: bool,
    began: Instant,
    pub(super) shared: SharedFuture<Outcome>,
    /// Never polled.
    _kept: Waiter<Outcome>,
}

/// A flight, for one who waits for it.
struct Joined {
    waiter: Waiter<Outcome>,
    number: u64,
    /// Whether it may have a person asked.
    asks: bool,
    /// Whether it is the flight that the waiter was about to begin.
    is_own: bool,
}

/// How waiting for a flight ends.
enum Waited {
    Over(Outcome),
    /// Somebody has found that the flight stood still.
    GivenUp,
    /// The flight has a person asked, and the waiter does not need the answer.
    NotNeeded,
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

    /// Waits for a flight under way, or begins this one. Without `watch` the events are left to whoever has one.
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
            let (number, has_asked, is_own) = (joined.number, joined.asks, joined.is_own);
            let waited = self.wait(joined, asks, watch).await;
            if !matches!(waited, Waited::NotNeeded) {
                self.remove(number);
            }
            match waited {
                Waited::NotNeeded | Waited::GivenUp => {}
                // A flight that could not ask says nothing about one that can.
                Waited::Over(Err(_)) if asks && !has_asked => {}
                // Why another flight has failed is of no interest to a logout.
                Waited::Over(Err(_)) if !is_own && matches!(&purpose, Purpose::Logout) => {}
                Waited::Over(outcome) => return outcome,
            }
        }
    }

    /// Carries a flight on, and tells `watch` what happens meanwhile.
    async fn wait(&self, joined: Joined, asks: bool, watch: Option<Watch<'_>>) -> Waited {
        let mut waiter = pin!(joined.waiter);
        let mut questions: Option<Vec<Waiter<Outcome>>> = None;
        poll_fn(|cx| {
            questions.iter_mut().for_each(|questions| help(questions, cx));
            let polled = waiter.as_mut().poll(cx);
            let is_asking = joined.asks && polled.is_pending() && self.tokens.state.lock().is_asking;
            if is_asking && !asks {
                // The question was not open yet when this waiter joined.
                return Poll::Ready(Waited::NotNeeded);
            }
            if is_asking && questions.is_none() {
                help(questions.insert(self.questions_elsewhere()), cx);
            }
            if let Some(watch) = watch {
                watch(Seen::Asking(is_asking));
                self.report(watch);
            }
            polled.map(|outcome| outcome.map_or(Waited::GivenUp, Waited::Over))
        })
        .await
    }

    fn report(&self, watch: Watch<'_>) {
        for event in self.tokens.take_events() {
            watch(Seen::Event(&event));
        }
    }

    /// The flights that ask for other servers.
    fn questions_elsewhere(&self) -> Vec<Waiter<Outcome>> {
        let questions = self.questions.lock();
        let others = questions.iter().filter(|(key, _)| **key != self.tokens.key);
        others.filter_map(|(_, shared)| shared.helper()).collect()
    }

    /// The flight under way that this waiter waits for. A flight that has stood still for too long is given up: those who
    /// wait for it without polling it begin again when they are next polled.
    fn join(&self, asks: bool) -> Option<Joined> {
        let (is_asking, answered) = self.question();
        let now = Instant::now();
        let is_stale = |it: &Flying| {
            let (is_asking, answered) = (it.asks && is_asking, answered.filter(|_| it.asks));
            now >= self.stale(it.began, answered, is_asking)
        };
        let (joined, stale) = {
            let mut table = self.table.lock();
            let flying = std::mem::take(&mut table.flying);
            let (stale, flying): (Vec<_>, Vec<_>) = flying.into_iter().partition(is_stale);
            table.flying = flying;
            (table.join(asks, is_asking), stale)
        };
        for stale in stale {
            stale.shared.give_up();
        }
        joined
    }

    /// Whether a person is asked just now, and when the last question was over.
    fn question(&self) -> (bool, Option<Instant>) {
        let state = self.tokens.state.lock();
        (state.is_asking, state.answered)
    }

    /// When a flight has stood still for too long: nobody has carried it on.
    pub(super) fn stale(&self, began: Instant, answered: Option<Instant>, is_asking: bool) -> Instant {
        let timeouts = &self.tokens.parts.timeouts;
        let person = if is_asking { timeouts.person } else { Duration::ZERO };
        let longest = timeouts.flow.saturating_add(timeouts.store.saturating_mul(4)).saturating_add(person);
        // A clock cannot add every time limit that a user may set.
        let year = Duration::from_secs(365 * 24 * 3600);
        answered.map_or(began, |answered| answered.max(began)) + longest.min(year)
    }

    /// Begins a flight; or joins another one, if somebody has begun it in the meantime.
    fn begin(&self, flight: impl Future<Output = Outcome> + Send + 'static, asks: bool) -> Joined {
        let (shared, kept) = SharedFuture::start(flight);
        let question = asks.then(|| shared.clone());
        let is_asking = self.question().0;
        let (begun, idle, left_over) = {
            let mut table = self.table.lock();
            match table.join(asks, is_asking) {
                Some(present) => (present, Vec::new(), Some(kept)),
                None => {
                    let waiter = shared.waiter().expect("nobody has polled it");
                    table.count += 1;
                    let number = table.count;
                    table.flying.push(Flying { number, asks, began: Instant::now(), shared, _kept: kept });
                    let begun = Joined { waiter, number, asks, is_own: true };
                    (begun, std::mem::take(&mut table.idle), None)
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

    /// Takes a flight that is over out of the table.
    fn remove(&self, number: u64) {
        let over = {
            let mut table = self.table.lock();
            let index = table.flying.iter().position(|it| it.number == number);
            index.map(|index| table.flying.remove(index))
        };
        drop(over);
    }

    /// Waits for the flights under way, but for one that waits for a person.
    pub(super) async fn settle(&self) {
        let is_asking = self.question().0;
        let mut helpers: Vec<_> = {
            let table = self.table.lock();
            let settling = table.flying.iter().filter(|it| !(it.asks && is_asking));
            settling.filter_map(|it| it.shared.helper()).collect()
        };
        poll_fn(|cx| {
            help(&mut helpers, cx);
            if helpers.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Polls flights, and leaves out those that are over.
fn help(helpers: &mut Vec<Waiter<Outcome>>, cx: &mut Context<'_>) {
    helpers.retain_mut(|helper| Pin::new(helper).poll(cx).is_pending());
}

#[cfg(test)]
mod tests;
