//! How long callers waited.

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// By how much the median may be longer under a session: a machine that does other things, too, is as exact as that.
const ALLOWANCE: Duration = Duration::from_millis(50);

/// When the first of some calls resolved. What a test makes of their errors comes later.
#[derive(Debug, Default)]
pub struct Resolved(Mutex<Option<Instant>>);

impl Resolved {
    pub async fn of<F: Future>(&self, call: F) -> F::Output {
        let output = call.await;
        self.0.lock().expect("nothing panics under it").get_or_insert_with(Instant::now);
        output
    }

    /// How long after `start` that was.
    pub fn after(&self, start: Instant) -> Duration {
        let resolved = *self.0.lock().expect("nothing panics under it");
        resolved.map_or(Duration::ZERO, |at| at.saturating_duration_since(start))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Waits(Vec<Duration>);

impl Waits {
    pub fn add(&mut self, wait: Duration) {
        self.0.push(wait);
    }

    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// The median, for people.
    pub fn text(&self) -> String {
        format!("{:.2} ms", 1e3 * self.median().as_secs_f64())
    }

    /// Panics if callers wait longer than `before`.
    pub fn are_no_longer_than(&self, before: &Self, what: &str) {
        let (before, after) = (before.median(), self.median());
        assert!(after <= before + ALLOWANCE, "{what}: {after:?} and not {before:?}");
    }
}
