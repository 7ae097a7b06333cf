//! [`Config`]: what a client is made with.

use super::call_hook::CallHook;
use super::event::Event;
use super::handlers::Handlers;
use super::limits::{Limits, Timeouts};
use super::server_kinds::ServerKindCache;
use crate::runtime::Reactor;
use crate::runtime::timer::{AsyncIoTimer, Timer};
use crate::types::{Implementation, LoggingLevel};
use std::sync::Arc;

/// Which protocol revisions a client speaks with its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Asks the server with a request of revision 2026-07-28 (`server/discover`). If the server turns out to be an older
    /// one, or is remembered as one ([`ServerKindCache`]), the client shakes hands.
    #[default]
    Auto,
    /// Shakes hands: revisions 2024-11-05 to 2025-11-25.
    Legacy,
    /// Revision 2026-07-28 only.
    Stateless,
}

/// What a client is made with.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) identity: Implementation,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) timer: Arc<dyn Timer>,
    /// For transports that have no reactor of their own.
    #[cfg_attr(
        not(any(feature = "stdio", feature = "http")),
        allow(dead_code, reason = "others have their streams")
    )]
    pub(crate) reactor: Reactor,
    pub(crate) on_event: Option<EventHook>,
    pub(crate) on_call: Option<CallHook>,
    pub(crate) handlers: Handlers,
    pub(crate) mode: Mode,
    pub(crate) log_level: Option<LoggingLevel>,
    pub(crate) server_kinds: ServerKindCache,
}

pub(crate) type EventHook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

impl Config {
    pub(crate) fn new() -> Self {
        Self {
            identity: Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            timer: Arc::new(AsyncIoTimer),
            reactor: Reactor::default(),
            on_event: None,
            on_call: None,
            handlers: Handlers::default(),
            mode: Mode::Auto,
            log_level: None,
            server_kinds: ServerKindCache::new(),
        }
    }
}
