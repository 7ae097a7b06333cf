//! Moments, as tokens and proofs have them.

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct UnixTime(pub(crate) u64);

impl UnixTime {
    /// By how many seconds it is later than `other`; negative if it is earlier.
    pub(crate) fn ahead_of(self, other: Self) -> i64 {
        let seconds = |time: Self| i64::try_from(time.0).unwrap_or(i64::MAX);
        seconds(self) - seconds(other)
    }

    /// The moment that is so many seconds later; earlier, if they are negative.
    pub(crate) fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add_signed(seconds))
    }
}
