//! [`ServerKindCache`]: which servers want a handshake (ERA-01).

use crate::protocol::handshake::Revision;
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Remembers, by origin, which servers want a handshake. The next client in [`Mode::Auto`](crate::Mode::Auto) does not ask
/// a server that wants one, and one unexpected answer does not change what is remembered of a server. When a server proves
/// to be of another kind, the client forgets it and asks again.
///
/// Clones are the same cache, and so are those of the clones of one [`Builder`](crate::Builder); give one
/// to several builders with [`Builder::server_kinds`](crate::Builder::server_kinds). The kind of a child process is
/// remembered by its own client, for [`Client::reconnect`](crate::Client::reconnect). A server that is upgraded to
/// 2026-07-28 and still accepts a handshake is noticed only after [`clear`](Self::clear). If one origin has servers of
/// different kinds, give each kind a cache of its own.
///
/// It holds at most [`Limits::server_kinds`](crate::Limits::server_kinds) origins.
#[derive(Clone, Default)]
pub struct ServerKindCache {
    /// The one that was connected to last is last.
    known: Arc<Mutex<VecDeque<(String, ServerKind)>>>,
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// It speaks 2026-07-28, without a handshake.
    Stateless,
    /// It wants a handshake, perhaps at this revision.
    Handshake(Option<Revision>),
}

impl ServerKindCache {
    /// One that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.known.lock().clear();
    }

    pub(crate) fn get(&self, origin: &str) -> Option<ServerKind> {
        self.known.lock().iter().find(|(key, _)| key == origin).map(|(_, known)| *known)
    }

    pub(crate) fn set(&self, origin: &str, found: ServerKind, limit: usize) {
        let mut known = self.known.lock();
        known.retain(|(key, _)| key != origin);
        known.push_back((origin.to_owned(), found));
        while known.len() > limit {
            known.pop_front();
        }
    }

    /// Unless somebody has found out something else meanwhile.
    pub(crate) fn forget(&self, origin: &str, wrong: ServerKind) {
        self.known.lock().retain(|(key, known)| key != origin || *known != wrong);
    }
}

impl fmt::Debug for ServerKindCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKindCache").field("origins", &self.known.lock().len()).finish()
    }
}
