//! A Model Context Protocol client in which no call can hang when its session fails.
//!
//! ```text
//!  Client ── call ──▶ one choke point ──▶ Transport::send ──▶ server
//!    ▲                 │ supervised by        ▲  │
//!    │                 │ the session          │  └─ HTTP: the answer to the POST is the value of `send`
//!    │                 ▼                      │
//!    └── reply ◀── pending calls ◀── Inbox ◀──┴── pipes: Transport::run, polled by the Driver
//! ```
//!
//! A call ends with its reply, with an error of its own, at its deadline, or at once with the cause of
//! its session's end: the HTTP status, the I/O error, the child's exit status and last words. What
//! concerns one call (an HTTP 500, a malformed reply) fails that call; what concerns the session (the
//! child is gone) ends all of them. Nothing that the server may have acted on is sent again.
//!
//! The nouns:
//!
//! - [`Client`]: the handle; [`Driver`]: the future that runs the connection;
//! - `Stdio`, `Http`, `Sse` and [`Memory`]: transports; [`Transport`]: the contract, for others;
//! - [`Error`]: what happened, whether the server may have seen it, and whether to try again;
//! - [`Limits`] and [`Timeouts`]: every bound there is;
//! - [`testing`]: a server in memory for your tests, with faults on call.
//!
//! It runs on any executor and spawns nothing. The only threads are those of the default timer and
//! sockets (`async-io`, one for the process), one small one per child process, and those that
//! `getaddrinfo` needs. On tokio the first can be spared: `Builder::on_tokio`, with the feature `tokio`.
//!
//! There is no wasm: `async-io`, which has the default timer and sockets, does not compile there, and every set of features
//! needs it.

#![cfg_attr(doc, doc = "\n[`design`] has the layout and its reasons.")]
// docs.rs shows which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(doc)]
pub mod design {
    #![doc = include_str!("../docs/design.md")]
}

mod call;
mod client;
mod connection;
mod encoding;
pub mod error;
#[cfg(feature = "http")]
mod http_client;
mod inbox;
#[cfg(feature = "oauth")]
pub mod oauth;
mod process;
mod protocol;
pub mod runtime;
mod sync;
pub mod testing;
pub mod transport;
pub mod types;

/// Servers behind a URL, and what they are reached with: sockets of one's own, proxies, TLS, tokens.
///
/// ```
/// use shared_fate_mcp::http::{Connecting, Http, Net};
/// use std::time::Duration;
///
/// /// Every server is on this machine, whatever its name.
/// struct Local<N>(N);
///
/// impl<N: Net> Net for Local<N> {
///     fn connect<'a>(&'a self, _: &'a str, port: u16) -> Connecting<'a> {
///         self.0.connect("127.0.0.1", port)
///     }
///
///     fn sleep(&self, duration: Duration) -> shared_fate_mcp::runtime::BoxFuture<'static, ()> {
///         self.0.sleep(duration)
///     }
/// }
///
/// fn local(net: impl Net) -> Result<Http, shared_fate_mcp::Error> {
///     Ok(Http::new("http://server.example/mcp")?.net(Local(net)))
/// }
/// ```
#[cfg(feature = "http")]
pub mod http {
    pub use crate::error::Challenge;
    pub use crate::http_client::{AsyncIo, ByteStream, ConnectError, Connecting, Net, Proxy};
    #[doc(no_inline)]
    pub use crate::transport::http::{Http, Sse, TokenProvider};
    /// For [`Http::tls_config`]: the version of rustls that this crate is built with. One that is not compatible with it
    /// is a breaking change of this crate.
    #[cfg(feature = "tls")]
    pub use rustls;
}

pub use call::options::CallOptions;
pub use client::builder::Builder;
pub use client::driver::{Driver, RunUntil};
pub use client::reconnect::{Reconnecting, ReconnectingDriver};
pub use client::subscription::Subscription;
pub use client::{Client, WeakClient};
#[doc(inline)]
pub use error::{Delivery, Error, ErrorKind};
pub use inbox::call_hook::{CallEnd, CallStart};
pub use inbox::changes::Change;
pub use inbox::config::Mode;
pub use inbox::event::Event;
pub use inbox::handlers::HandlerResult;
pub use inbox::interest::Interest;
pub use inbox::limits::{Limits, Timeouts};
pub use inbox::server_kinds::ServerKindCache;
pub use protocol::handshake::Revision;
pub use protocol::message::RpcError;
#[cfg(shared_fate_fuzz)]
#[doc(hidden)]
pub use protocol::properties;
#[doc(inline)]
/// The core, whose `Cause` and `Session` are a part of this crate's errors and of a transport's interface.
pub use shared_fate;
pub use transport::Transport;
#[cfg(feature = "http")]
pub use transport::http::{Http, Sse, TokenProvider};
pub use transport::memory::{Memory, MemoryServer};
pub use transport::stdio::Stdio;

/// The README's examples are compiled, and run.
#[cfg(all(doctest, feature = "stdio", feature = "http", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples of the page for those who come from elsewhere are compiled, and run.
#[cfg(all(doctest, feature = "stdio"))]
#[doc = include_str!("../docs/coming-from.md")]
struct ComingFrom;
