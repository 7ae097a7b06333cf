//! [`Stateless`]: a server without a handshake, of revision 2026-07-28 (MOD-01 to MOD-12).

use super::tool_headers::ToolHeaders;
use crate::inbox::config::Config;
use crate::protocol::handshake::Revision;
use crate::protocol::headers::header_value;
use crate::protocol::outgoing::Routing;
use crate::protocol::stateless::request_meta;
use crate::sync::Mutex;
use crate::types::{Json, LoggingLevel};
use serde_json::value::RawValue;
use std::fmt;

/// What this client says to a server without a handshake with every request, and what it knows of its tools.
pub(crate) struct Stateless {
    revision: Revision,
    meta: Vec<(&'static str, Box<RawValue>)>,
    pub(crate) tool_headers: ToolHeaders,
    /// Which lines of its log each request asks for.
    log_level: Mutex<Option<Json>>,
}

impl Stateless {
    pub(crate) fn new(revision: Revision, config: &Config) -> Self {
        let capabilities = config.handlers.stateless_capabilities();
        let meta = request_meta(revision, &capabilities, &config.identity);
        let log_level = Mutex::new(config.log_level.as_ref().map(level_text));
        Self { revision, meta, tool_headers: ToolHeaders::default(), log_level }
    }

    pub(crate) fn meta(&self) -> &[(&'static str, Box<RawValue>)] {
        &self.meta
    }

    pub(crate) fn set_log_level(&self, level: &LoggingLevel) {
        let replaced = self.log_level.lock().replace(level_text(level));
        drop(replaced);
    }

    pub(crate) fn log_level(&self) -> Option<Json> {
        self.log_level.lock().clone()
    }

    pub(crate) fn routing(&self, name: Option<String>) -> Routing {
        let name = name.map(|name| header_value(&name).into_owned());
        Routing { revision: self.revision, name, arguments: Vec::new() }
    }
}

fn level_text(level: &LoggingLevel) -> Json {
    Json::new(level).expect("a string")
}

impl fmt::Debug for Stateless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stateless").field("revision", &self.revision).finish_non_exhaustive()
    }
}
