//! What became of a call, and how often.

use crate::runtimes::LIMIT;
use crate::texts::{each_text_once, innermost};
use shared_fate::{Failed, Session, SupervisedExt};
use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use tokio::time::timeout;

/// A session that can end with any error.
pub type AnySession = Session<dyn Error + Send + Sync>;

/// How a call ended, as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Whose error leads.
    pub whose: Whose,
    /// What the last source says.
    pub says: String,
    /// What the last source of the other side says, where both have an error.
    pub beside: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    Answered,
    /// The request's own error leads.
    Request,
    Session,
    /// The call did not end for as long as the test waited.
    Hang,
}

impl Seen {
    /// Makes a call, plain where there is no session.
    pub async fn of<T, R>(session: Option<&AnySession>, request: impl Future<Output = Result<T, R>>) -> Self
    where
        R: Error + Send + Sync + 'static,
    {
        match session {
            None => Self::plain(request).await,
            Some(session) => Self::result(request.try_supervised(session)).await,
        }
    }

    /// Makes a call of the plain crate.
    pub async fn plain<T, R: Error + 'static>(request: impl Future<Output = Result<T, R>>) -> Self {
        match timeout(LIMIT, request).await {
            Err(_) => Self::without_text(Whose::Hang),
            Ok(Ok(_)) => Self::without_text(Whose::Answered),
            Ok(Err(error)) => Self { whose: Whose::Request, says: innermost(&error), beside: String::new() },
        }
    }

    /// Makes a call that is supervised. Its error is fit to be printed.
    pub async fn result<T, R>(
        request: impl Future<Output = Result<T, Failed<R, dyn Error + Send + Sync>>>,
    ) -> Self
    where
        R: Error + Send + Sync + 'static,
    {
        let error = match timeout(LIMIT, request).await {
            Err(_) => return Self::without_text(Whose::Hang),
            Ok(Ok(_)) => return Self::without_text(Whose::Answered),
            Ok(Err(error)) => error,
        };
        let says = innermost(&error);
        let (whose, beside) = match (error.request_error(), error.cause()) {
            (Some(_), Some(cause)) if error.request_leads() => (Whose::Request, innermost(cause)),
            (Some(request), Some(_)) => (Whose::Session, innermost(request)),
            (Some(_), None) => (Whose::Request, String::new()),
            (None, _) => (Whose::Session, String::new()),
        };
        each_text_once(error);
        Self { whose, says, beside }
    }

    fn without_text(whose: Whose) -> Self {
        Self { whose, says: String::new(), beside: String::new() }
    }
}

/// How often each was seen.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<Seen, usize>);

impl Counts {
    pub fn add(&mut self, seen: Seen) {
        *self.0.entry(seen).or_default() += 1;
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Seen, usize)> {
        self.0.iter().map(|(seen, &runs)| (seen, runs))
    }

    pub fn runs(&self) -> usize {
        self.count(|_| true)
    }

    /// In how many runs it was one of these.
    pub fn count(&self, is_counted: impl Fn(&Seen) -> bool) -> usize {
        self.iter().filter(|(seen, _)| is_counted(seen)).map(|(_, runs)| runs).sum()
    }

    pub fn of(&self, whose: Whose) -> usize {
        self.count(|seen| seen.whose == whose)
    }
}
