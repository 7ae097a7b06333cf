//! Moments, as tokens and proofs have them.

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct UnixTime(pub(crate) u64);
