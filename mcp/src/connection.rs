//! [`Connection`]: what a client, its driver and its calls share.

pub(crate) mod stateless;
pub(crate) mod tool_headers;

use crate::inbox::Inbox;
use crate::inbox::config::Config;
use crate::protocol::handshake::Revision;
use crate::sync::shared_future::{SharedFuture, Waiter};
use crate::transport::Transport;
use crate::types::InitializeResult;
use stateless::Stateless;
use std::sync::{Arc, OnceLock};

/// A connection to one server: the way there, what arrives, and what was agreed.
pub(crate) struct Connection {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) server: OnceLock<InitializeResult>,
    pub(crate) revision: OnceLock<Revision>,
    pub(crate) stateless: OnceLock<Box<Stateless>>,
    /// The orderly close of the transport, from when it is first asked for.
    closing: OnceLock<SharedFuture<()>>,
}

impl Connection {
    pub(crate) fn new(config: Config, transport: Box<dyn Transport>) -> Self {
        let server = transport.server().map(Arc::from);
        Self {
            inbox: Inbox::new(config, server),
            transport,
            server: OnceLock::new(),
            revision: OnceLock::new(),
            stateless: OnceLock::new(),
            closing: OnceLock::new(),
        }
    }

    /// What goes with every request, if the server is of the kind without a handshake.
    pub(crate) fn stateless(&self) -> Option<&Stateless> {
        self.stateless.get().map(Box::as_ref)
    }

    /// The orderly close of the transport, to be waited for; `None` when it is over.
    pub(crate) fn close(self: &Arc<Self>) -> Option<Waiter<()>> {
        let mut first = None;
        let closing = self.closing.get_or_init(|| {
            let closing = Closing { connection: Arc::clone(self), finished: false };
            let (shared, waiter) = SharedFuture::start(closing.finish());
            first = Some(waiter);
            shared
        });
        first.or_else(|| closing.waiter())
    }

    /// The orderly close for the driver, which helps those who close, or closes by itself.
    pub(crate) fn help_close(self: &Arc<Self>) -> Option<Waiter<()>> {
        match self.closing.get() {
            Some(closing) => closing.helper(),
            None => self.close(),
        }
    }
}

/// An orderly close under way. Dropped before it is finished, it aborts the transport.
struct Closing {
    connection: Arc<Connection>,
    finished: bool,
}

impl Closing {
    async fn finish(mut self) {
        self.connection.transport.close(&self.connection.inbox).await;
        self.finished = true;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.transport.abort();
        }
    }
}
