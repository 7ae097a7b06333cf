//! [`Carrier`]: a driver carries on the flights that nobody waits for.

use super::{Flights, Outcome, Waiter, Watch};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What one driver carries on. **Drop:** takes the driver's waker out of the table.
struct Carrier<'a> {
    flights: &'a Flights,
    /// The driver's.
    number: u64,
    /// The flights, with their numbers.
    carried: Vec<(u64, Waiter<Outcome>)>,
}

impl Flights {
    /// Carries flights on that nobody waits for, as long as it is polled. Never resolves.
    ///
    /// **Drop:** takes its waker away.
    pub(in crate::oauth) async fn carry(&self, watch: Watch<'_>) -> Infallible {
        let mut carrier = Carrier::new(self);
        poll_fn(|cx| {
            loop {
                carrier.poll(cx);
                self.report(watch);
                // A flight that has begun meanwhile has to be polled.
                if !carrier.takes_more(cx) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

impl<'a> Carrier<'a> {
    fn new(flights: &'a Flights) -> Self {
        let mut table = flights.table.lock();
        table.drivers += 1;
        Self { flights, number: table.drivers, carried: Vec::new() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        self.carried.retain_mut(|(number, waiter)| {
            let is_pending = Pin::new(waiter).poll(cx).is_pending();
            if !is_pending {
                self.flights.remove(*number);
            }
            is_pending
        });
    }

    /// Registers for the next flight, and takes on those that it does not carry yet: whether there are any.
    fn takes_more(&mut self, cx: &mut Context<'_>) -> bool {
        let waker = cx.waker().clone();
        let before = self.carried.len();
        let left_over = {
            let mut table = self.flights.table.lock();
            for it in &table.flying {
                if self.carried.iter().all(|(number, _)| *number != it.number) {
                    self.carried.extend(it.shared.helper().map(|helper| (it.number, helper)));
                }
            }
            match table.idle.iter_mut().find(|(number, _)| *number == self.number) {
                Some((_, registered)) => Some(std::mem::replace(registered, waker)),
                None => {
                    table.idle.push((self.number, waker));
                    None
                }
            }
        };
        drop(left_over);
        self.carried.len() > before
    }
}

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        let registered = {
            let mut table = self.flights.table.lock();
            let index = table.idle.iter().position(|(number, _)| *number == self.number);
            index.map(|index| table.idle.swap_remove(index))
        };
        drop(registered);
    }
}
