//! Who is told how far a call, or the task that it became, has come (PRG-01 to PRG-04).

use crate::sync::{Mutex, contain};
use crate::types::Progress;
use std::collections::HashMap;
use std::sync::Arc;

/// Told how far a call has come.
pub(crate) type ProgressHandler = Arc<dyn Fn(&Progress) + Send + Sync>;

/// The handlers by their tokens, which are the ids of the calls that asked.
///
/// Handlers are foreign code: what goes is returned, and dropped without the lock.
#[derive(Default)]
pub(crate) struct Reporters(Mutex<HashMap<u64, Reporter>>);

/// **Drop:** what a handler holds is the application's; a panic in its drop goes no further.
struct Reporter {
    /// `None` while it is dropped.
    handler: Option<ProgressHandler>,
    until: Until,
}

impl Drop for Reporter {
    fn drop(&mut self) {
        contain(|| drop(self.handler.take()));
    }
}

/// How long a token is valid.
#[derive(PartialEq)]
enum Until {
    /// The call's reply.
    Reply,
    /// The end of the task that the call asks for; who asks will tell which it is.
    TaskIsKnown,
    /// The end of this task.
    TaskEnds(String),
}

impl Reporters {
    pub(crate) fn add(&self, token: u64, handler: ProgressHandler, makes_task: bool) {
        let until = if makes_task { Until::TaskIsKnown } else { Until::Reply };
        self.0.lock().insert(token, Reporter { handler: Some(handler), until });
    }

    /// Who is told. `pending` is whether the call still waits for its reply.
    pub(crate) fn get(&self, token: u64, pending: bool) -> Option<ProgressHandler> {
        let reporters = self.0.lock();
        let reporter = reporters.get(&token)?;
        reporter.handler.clone().filter(|_| pending || reporter.until != Until::Reply)
    }

    /// A call has ended; if it asked for a task, that may go on.
    pub(crate) fn call_ended(&self, token: u64) {
        let gone = self.take(token, &Until::Reply);
        drop(gone);
    }

    /// There will be no task.
    pub(crate) fn no_task(&self, token: u64) {
        let gone = self.take(token, &Until::TaskIsKnown);
        drop(gone);
    }

    /// The call has become this task. Of more than `limit` tasks the oldest is told of no more.
    pub(crate) fn became_task(&self, token: u64, task: &str, limit: usize) {
        let gone = {
            let mut reporters = self.0.lock();
            if let Some(reporter) = reporters.get_mut(&token) {
                reporter.until = Until::TaskEnds(task.to_owned());
            }
            let tasks = reporters.iter().filter(|(_, it)| matches!(it.until, Until::TaskEnds(_)));
            let tasks: Vec<u64> = tasks.map(|(token, _)| *token).collect();
            let oldest = tasks.iter().min().filter(|_| tasks.len() > limit);
            oldest.and_then(|oldest| reporters.remove(oldest))
        };
        drop(gone);
    }

    pub(crate) fn task_ended(&self, task: &str) {
        let of_task = |it: &Reporter| matches!(&it.until, Until::TaskEnds(id) if id == task);
        let gone: Vec<_> = {
            let mut reporters = self.0.lock();
            let ended = reporters.iter().filter(|(_, it)| of_task(it));
            let tokens: Vec<u64> = ended.map(|(token, _)| *token).collect();
            tokens.iter().filter_map(|token| reporters.remove(token)).collect()
        };
        drop(gone);
    }

    /// The session is over, and with it all its tasks.
    pub(crate) fn clear(&self) {
        let gone = std::mem::take(&mut *self.0.lock());
        drop(gone);
    }

    fn take(&self, token: u64, until: &Until) -> Option<Reporter> {
        let mut reporters = self.0.lock();
        reporters.get(&token).filter(|it| it.until == *until)?;
        reporters.remove(&token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("an application may do so");
        }
    }

    /// The driver drops them when it hears that the tasks have ended.
    #[test]
    fn handlers_that_panic_while_they_are_dropped_harm_nobody() {
        let reporters = Reporters::default();
        for token in 0..4 {
            let held = Panics;
            let handler = move |_: &Progress| _ = &held;
            reporters.add(token, Arc::new(handler), true);
            reporters.became_task(token, if token < 3 { "a" } else { "b" }, 10);
        }
        reporters.task_ended("a");
        assert!(reporters.get(2, false).is_none() && reporters.get(3, false).is_some());
        reporters.clear();
    }
}
