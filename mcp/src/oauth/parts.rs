//! [`Parts`]: what a handle is made of, as its flights see it.

use super::consent::{BoxError, Consent};
use super::key::SigningKey;
use super::store::TokenStore;
use crate::protocol::oauth::config::Config;
use crate::runtime::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// What flights need of a handle. It does not know the accounts, so it keeps no flight alive.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) key: Option<SigningKey>,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) consent: Option<Arc<dyn Consent>>,
    pub(super) prompt: Prompt,
    pub(super) subject: Option<Subject>,
    pub(super) allow_private: bool,
    pub(super) timeouts: OAuthTimeouts,
    pub(super) profile: String,
    /// The right to ask a person: whoever has put something into the channel has it.
    pub(super) question: (async_channel::Sender<()>, async_channel::Receiver<()>),
}

pub(super) type Subject = Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, BoxError>> + Send + Sync>;

/// When a person may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt {
    /// By [`OAuth::login`](super::OAuth::login) only. A call that would need it fails at once with
    /// [`LoginRequired`](super::AuthErrorKind::LoginRequired).
    #[default]
    OnLogin,
    /// By calls, too, while they wait. Never by what goes on behind them: pings, notifications, the server's own stream,
    /// however often it is opened again. A session that [`Reconnecting`](crate::Reconnecting) begins anew may ask, as the
    /// first one.
    ///
    /// Calls ask at most twice within 10 minutes; a call that would ask once more is as with [`OnLogin`](Self::OnLogin).
    /// So are all calls after a refusal, and after an answer that does not come, until
    /// [`OAuth::login`](super::OAuth::login) has succeeded.
    OnCall,
}

/// How long the parts of signing in and of refreshing may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OAuthTimeouts {
    /// One exchange with an authorization server, connecting included. So long may also
    /// [`Consent::begin`] and [`OAuthBuilder::subject`](super::OAuthBuilder::subject) take.
    /// Default 30 s.
    pub exchange: Duration,
    /// All exchanges of one flow, without the time in which a person is asked. Default 90 s.
    pub flow: Duration,
    /// A person's answer; and, before they are asked, the wait for the end of another question of the handle. Default
    /// 5 min.
    pub person: Duration,
    /// One operation of the store; waiting for its lock is one, too. Default 35 s.
    pub store: Duration,
}

impl Default for OAuthTimeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { exchange: seconds(30), flow: seconds(90), person: seconds(300), store: seconds(35) }
    }
}
