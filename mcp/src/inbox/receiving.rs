//! [`Receiving`]: what has come of replies that are not whole yet, of all calls together.
//!
//! Invariants:
//!
//! 1. The sum is what all [`Share`]s have; a share that is dropped takes its part away.
//! 2. A share may grow if the sum stays within the limit, or if nobody else has anything: one reply at a time may always
//!    grow to its own limit.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A reply of up to so many bytes is not counted. Most replies are smaller.
const SMALL: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Receiving(AtomicUsize);

/// What one reply has.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    of: &'a Receiving,
    bytes: usize,
    limit: usize,
}

impl Receiving {
    pub(crate) fn share(&self, limit: usize) -> Share<'_> {
        Share { of: self, bytes: 0, limit }
    }
}

impl Share<'_> {
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// From now on the reply has so many bytes. Up to [`SMALL`] they are not counted. `false` if there is no room for them: then
    /// the share stays what it was.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        let bytes = if bytes <= SMALL { 0 } else { bytes };
        if bytes == self.bytes {
            return true;
        }
        let (of, own, limit) = (self.of, self.bytes, self.limit);
        let set = of.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
            let others = sum - own;
            let fits = bytes <= own || others == 0 || others.saturating_add(bytes) <= limit;
            fits.then(|| others.saturating_add(bytes))
        });
        if set.is_ok() {
            self.bytes = bytes;
        }
        set.is_ok()
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fit_up_to_the_limit_and_one_alone_may_be_larger() {
        const M: usize = 1024 * 1024;
        let receiving = Receiving::default();
        let mut one = receiving.share(10 * M);
        assert!(one.set(4 * M));
        let mut two = receiving.share(10 * M);
        assert!(two.set(6 * M), "at the limit");
        assert!(!two.set(6 * M + 1), "and one past it");
        assert!(two.set(5 * M) && one.set(5 * M) && !one.set(5 * M + 1), "what was refused is not counted");
        drop(two);
        assert!(one.set(1000 * M), "alone");
        let mut three = receiving.share(10 * M);
        assert!(three.set(SMALL) && !three.set(SMALL + 1) && one.set(9 * M) && three.set(SMALL + 1));
        drop((one, three));
        assert_eq!(receiving.0.load(Ordering::Relaxed), 0);
    }
}
