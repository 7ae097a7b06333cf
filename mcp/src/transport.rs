//! The [`Transport`] contract, and the transports.
//!
//! All that an author of one needs is here. This one counts the messages of another:
//!
//! ```
//! use shared_fate_mcp::transport::{BoxFuture, Inbox, Outgoing, Sending, Tracking, Transport};
//! use shared_fate_mcp::{Error, Revision};
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! struct Counting<T> {
//!     inner: T,
//!     sent: AtomicUsize,
//! }
//!
//! impl<T: Transport> Transport for Counting<T> {
//!     fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
//!         self.sent.fetch_add(1, Ordering::Relaxed);
//!         self.inner.send(message, tracking, inbox)
//!     }
//!
//!     fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
//!         self.inner.run(inbox)
//!     }
//!
//!     fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
//!         self.inner.close(inbox)
//!     }
//!
//!     fn abort(&self) {
//!         self.inner.abort();
//!     }
//!
//!     // What has a default is passed on, too: the inner one may need it.
//!     fn is_request_response(&self) -> bool {
//!         self.inner.is_request_response()
//!     }
//!
//!     fn retract(&self, id: u64) -> bool {
//!         self.inner.retract(id)
//!     }
//!
//!     fn negotiated(&self, revision: Revision) {
//!         self.inner.negotiated(revision);
//!     }
//!
//!     fn ready<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
//!         self.inner.ready(inbox)
//!     }
//!
//!     // Each session of a `Reconnecting` is counted by itself.
//!     fn renew(&self) -> Option<Result<Box<dyn Transport>, Error>> {
//!         let inner = self.inner.renew()?;
//!         Some(inner.map(|inner| Box::new(Counting { inner, sent: AtomicUsize::new(0) }) as Box<dyn Transport>))
//!     }
//!
//!     fn origin(&self) -> Option<String> {
//!         self.inner.origin()
//!     }
//!
//!     fn server(&self) -> Option<String> {
//!         self.inner.server()
//!     }
//! }
//! ```

use crate::error::Error;
pub use crate::inbox::Inbox;
use crate::protocol::handshake::Revision;
pub use crate::protocol::outgoing::Outgoing;
use crate::protocol::pending_calls::Reply;
pub use crate::runtime::BoxFuture;

#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod memory;
mod sending;
pub(crate) mod stdio;
mod tracking;

pub use sending::Sending;
#[cfg(feature = "http")]
pub(crate) use tracking::Odd;
pub use tracking::Tracking;

/// A way to one server: it carries messages and reports its end.
///
/// A transport has two halves. [`send`](Self::send) is polled by the call that sends; it may carry the
/// whole exchange itself (an HTTP POST and its answer), or hand the message over (a pipe).
/// [`run`](Self::run) is polled by the [`Driver`](crate::Driver) and does everything that belongs to no
/// single call. Neither may spawn. What arrives goes to the [`Inbox`].
///
/// - A failure of **one call** is `send`'s error.
/// - The end of **the session** is the end of `run`: `Ok` for a normal end, `Err` with the cause for a failure. Report a
///   failure at once, before anything is cleaned up.
/// - Errors are made by [`Error::io`].
/// - Every future may be dropped at any point. A dropped `send` may have sent its message, but never
///   half of one.
pub trait Transport: Send + Sync + 'static {
    /// Sends one message, and says in `tracking` how far it has come. A transport that knows the outcome at once returns
    /// [`Sending::now`].
    fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a>;

    /// Whether every request is an exchange of its own, with its reply, as over HTTP. Then, from revision 2026-07-28
    /// on, dropping `send` is how a request is cancelled.
    fn is_request_response(&self) -> bool {
        false
    }

    /// Takes back a request that nobody has begun to write. Returns whether it was in time.
    fn retract(&self, id: u64) -> bool {
        let _ = id;
        false
    }

    /// Everything that belongs to no single call: reading, writing what `send` handed over, watching
    /// for the end.
    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>>;

    /// Tells the transport which revision was agreed, before anything else is sent.
    fn negotiated(&self, revision: Revision) {
        let _ = revision;
    }

    /// Resolves when the client may be handed out, within a bounded time. It is polled after the handshake, beside `run`.
    fn ready<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        let _ = inbox;
        Box::pin(std::future::ready(()))
    }

    /// Ends in an orderly way, within a bounded time. The session has ended before this is called, and
    /// `run` has been or is about to be dropped.
    fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()>;

    /// A transport to the same server for a new session; `None` if this transport cannot be reopened.
    fn renew(&self) -> Option<Result<Box<dyn Transport>, Error>> {
        None
    }

    /// Identifies the server for a [`ServerKindCache`](crate::ServerKindCache), which holds for the next connection to the
    /// same place; `None` if the server cannot be identified.
    fn origin(&self) -> Option<String> {
        None
    }

    /// What the server is called in errors: a place or a program, without anything secret.
    fn server(&self) -> Option<String> {
        self.origin()
    }

    /// Gives everything up at once. Needs no executor, may be called at any time and repeatedly.
    fn abort(&self);
}

/// A transport that is chosen while the program runs:
///
/// ```
/// # #[cfg(all(feature = "http", feature = "stdio"))]
/// # fn f() {
/// use shared_fate_mcp::{Error, Http, Stdio, Transport};
/// use std::process::Command;
///
/// fn transport(server: &str) -> Result<Box<dyn Transport>, Error> {
///     Ok(match server.contains("://") {
///         true => Box::new(Http::new(server)?),
///         false => Box::new(Stdio::spawn(Command::new(server))?),
///     })
/// }
/// # }
/// ```
impl<T: Transport + ?Sized> Transport for Box<T> {
    fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        (**self).send(message, tracking, inbox)
    }

    fn is_request_response(&self) -> bool {
        (**self).is_request_response()
    }

    fn retract(&self, id: u64) -> bool {
        (**self).retract(id)
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        (**self).run(inbox)
    }

    fn negotiated(&self, revision: Revision) {
        (**self).negotiated(revision);
    }

    fn ready<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        (**self).ready(inbox)
    }

    fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        (**self).close(inbox)
    }

    fn renew(&self) -> Option<Result<Box<dyn Transport>, Error>> {
        (**self).renew()
    }

    fn origin(&self) -> Option<String> {
        (**self).origin()
    }

    fn server(&self) -> Option<String> {
        (**self).server()
    }

    fn abort(&self) {
        (**self).abort();
    }
}

/// What became of a message.
#[derive(Debug)]
pub struct Sent {
    /// The reply, where it came in the same exchange.
    pub(crate) reply: Option<Reply>,
}

impl Sent {
    /// It was handed over; a reply, if any, comes to the inbox.
    pub fn accepted() -> Self {
        Self { reply: None }
    }

    #[cfg(feature = "http")]
    pub(crate) fn replied(reply: Reply) -> Self {
        Self { reply: Some(reply) }
    }
}
