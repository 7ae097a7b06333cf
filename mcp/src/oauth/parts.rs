//! What a handle is made of, for those who do its work.

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
    /// One question at a time: whoever has put something in may ask.
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
    /// first one. After a refusal, an answer that does not come, or the second question within 10 minutes it is as with
    /// [`OnLogin`](Self::OnLogin), until [`OAuth::login`](super::OAuth::login) has succeeded.
    OnCall,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OAuthTimeouts {
    /// One exchange with an authorization server, connecting included. Default 30 s.
    pub exchange: Duration,
    /// All exchanges of one flow, without the time in which a person is asked. Default 90 s.
    pub flow: Duration,
    /// A person's answer; and, before they are asked, the answer to another question of the handle. Default 5 min.
    pub person: Duration,
    /// One operation of the store; a lock included. Default 35 s.
    pub store: Duration,
}

impl Default for OAuthTimeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { exchange: seconds(30), flow: seconds(90), person: seconds(300), store: seconds(35) }
    }
}
