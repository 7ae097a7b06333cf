//! [`CallOptions`]: how the calls of one client behave.

use crate::error::{Error, TimeoutError};
use crate::inbox::changes::Changes;
use crate::inbox::progress::ProgressHandler;
use crate::types::{Json, LoggingLevel, Progress};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How one client's calls behave. See [`Client::with_options`](crate::Client::with_options).
///
/// What is not set stays as the client has it: deadlines first of all, which a client has from
/// [`Timeouts`](crate::Timeouts).
///
/// ```
/// use shared_fate_mcp::CallOptions;
/// use std::time::Duration;
///
/// // With the client's own deadlines.
/// let watched = CallOptions::default().on_progress(|progress| println!("{}", progress.progress));
/// // An hour, and no word from the server is needed in between.
/// let slow = CallOptions::timeout(Duration::from_secs(3600));
/// // As long as there is news at least every ten seconds.
/// let lively = CallOptions::default().silence(Duration::from_secs(10)).total(None);
/// // For ever.
/// let patient = CallOptions::default().silence(None).total(None);
/// ```
#[derive(Clone, Default)]
pub struct CallOptions {
    pub(crate) silence: Limit,
    pub(crate) total: Limit,
    pub(crate) progress: Option<ProgressHandler>,
    /// Where the token goes of a call that asks for a task: it outlives the call (PRG-04).
    pub(crate) task_token: Option<Arc<AtomicU64>>,
    pub(crate) meta: Vec<(String, Json)>,
    pub(crate) log_level: Option<Json>,
    pub(crate) interim: bool,
    pub(crate) subscription: Option<Arc<Changes>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Limit {
    /// As the client has it.
    #[default]
    Unset,
    /// `None`: for ever.
    Set(Option<Duration>),
}

impl Limit {
    fn or(self, base: Self) -> Self {
        if let Self::Unset = self { base } else { self }
    }

    fn get(self) -> Option<Duration> {
        match self {
            Self::Unset => None,
            Self::Set(limit) => limit,
        }
    }
}

impl CallOptions {
    /// A limit for the call as a whole, and no limit for silence.
    pub fn timeout(limit: Duration) -> Self {
        Self::default().silence(None).total(limit)
    }

    /// How long a call waits without a reply or progress. `None`: for ever.
    pub fn silence(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.silence = Limit::Set(limit.into());
        self
    }

    /// How long a call takes as a whole, all pages of a list included. `None`: for ever.
    pub fn total(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.total = Limit::Set(limit.into());
        self
    }

    /// Asks the server for progress. `handler` is called at once for each report, in the order of arrival, and must not
    /// block. Every report starts the time of [`silence`](Self::silence) anew. If the call makes a task, `handler` is kept
    /// and called until this client learns that the task has ended, or until the session ends.
    pub fn on_progress(mut self, handler: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(handler));
        self
    }

    /// Asks a server of revision 2026-07-28 for its log while it works on these requests:
    /// [`Event::Log`](crate::Event::Log). Older servers have one level for the whole session. That, for both, is set by
    /// [`Builder::log_level`](crate::Builder::log_level) and
    /// [`Client::set_logging_level`](crate::Client::set_logging_level).
    pub fn log_level(mut self, level: impl Into<LoggingLevel>) -> Self {
        self.log_level = Some(Json::new(&level.into()).expect("a string"));
        self
    }

    /// Also returns intermediate results of a server of revision 2026-07-28: that it needs input (`"resultType":
    /// "input_required"`), or, with [`Builder::task_extension`](crate::Builder::task_extension), that it has made a task of
    /// the call (`"task"`). Without this option the client asks its handlers for the input, and follows the task.
    ///
    /// This is for callers of [`Client::request`](crate::Client::request) that do the rest by themselves: they repeat the
    /// request with `inputResponses` and an unchanged `requestState` ([`Json`] keeps it as it came), or follow the task.
    pub fn interim_results(mut self) -> Self {
        self.interim = true;
        self
    }

    /// Adds a member to the requests' `_meta`, for instance `traceparent`. It replaces a member of the same name.
    ///
    /// # Errors
    ///
    /// When the value cannot be made JSON.
    pub fn meta(mut self, name: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        self.meta.push((name.into(), Json::new(value)?));
        Ok(self)
    }

    /// These options, with what they leave open taken from `base`.
    pub(crate) fn over(mut self, base: &Self) -> Self {
        self.silence = self.silence.or(base.silence);
        self.total = self.total.or(base.total);
        self.progress = self.progress.or_else(|| base.progress.clone());
        self.log_level = self.log_level.or_else(|| base.log_level.clone());
        self.interim |= base.interim;
        // Of two of the same name the latter counts.
        self.meta.splice(0..0, base.meta.iter().cloned());
        self
    }

    /// `None`: for ever.
    pub(crate) fn silence_limit(&self) -> Option<Duration> {
        self.silence.get()
    }

    /// `None`: for ever.
    pub(crate) fn total_limit(&self) -> Option<Duration> {
        self.total.get()
    }

    /// The limit of something that makes no progress: silence lasts as long as all of it. `None`: for ever.
    pub(crate) fn first_limit(&self) -> Option<TimeoutError> {
        let total = self.total_limit().map(|after| TimeoutError { after, total: true });
        let silence = self.silence_limit().map(|after| TimeoutError { after, total: false });
        total.into_iter().chain(silence).min_by_key(|limit| limit.after)
    }
}

impl fmt::Debug for CallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("silence", &self.silence)
            .field("total", &self.total)
            .field("progress", &self.progress.is_some())
            .finish_non_exhaustive()
    }
}
