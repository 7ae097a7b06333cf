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
//! - [`Limits`] and [`Timeouts`]: every bound there is.
//!
//! It runs on any executor and spawns nothing. The only threads are those of the default timer and
//! sockets (`async-io`, one for the process), one small one per child process, and those that
//! `getaddrinfo` needs. On tokio the first can be spared: `TokioTimer`, `TokioNet` and
//! `Stdio::spawn_on_tokio`, with the feature `tokio`.

#![cfg_attr(doc, doc = "\n[`design`] has the layout and its reasons.")]
#![forbid(unsafe_code)]

#[cfg(doc)]
pub mod design {
    #![doc = include_str!("../docs/design.md")]
}

mod call;
mod client;
mod connection;
mod error;
#[cfg(feature = "http")]
mod http_client;
mod inbox;
#[cfg(feature = "oauth")]
pub mod oauth;
mod process;
mod protocol;
mod runtime;
mod sync;
mod transport;
pub mod types;

pub use call::options::CallOptions;
pub use client::builder::Builder;
pub use client::driver::{Driver, RunUntil};
pub use client::reconnect::{Reconnecting, ReconnectingDriver};
pub use client::subscription::{Interest, Subscription};
pub use client::{Client, WeakClient};
pub use error::{
    Delivery, Error, ErrorKind, FormError, HttpError, InvalidInput, IoError, IoStage, LimitError,
    ProtocolError, ServerExited, SessionLost, TimeoutError, Violation,
};
#[cfg(feature = "http")]
pub use http_client::{AsyncIo, ByteStream, ConnectError, Connecting, Net};
pub use inbox::Inbox;
pub use inbox::changes::Change;
pub use inbox::config::Mode;
pub use inbox::event::Event;
pub use inbox::handlers::HandlerResult;
pub use inbox::limits::{Limits, Timeouts};
pub use inbox::server_kinds::ServerKindCache;
pub use process::ExitStatus;
pub use protocol::handshake::Revision;
pub use protocol::message::RpcError;
pub use protocol::outgoing::Outgoing;
#[cfg(shared_fate_fuzz)]
#[doc(hidden)]
pub use protocol::properties;
pub use protocol::www_authenticate::Challenge;
pub use runtime::timer::{AsyncIoTimer, BoxFuture, Timer};
#[cfg(all(feature = "http", feature = "tokio"))]
pub use runtime::tokio::TokioNet;
#[cfg(feature = "tokio")]
pub use runtime::tokio::{TokioIo, TokioTimer};
#[cfg(feature = "http")]
pub use transport::http::{Http, Sse, TokenProvider};
pub use transport::memory::{Memory, MemoryServer};
pub use transport::stdio::Stdio;
pub use transport::{Sending, Sent, Tracking, Transport};
pub use types::{ElicitForm, ElicitUrl, Elicited, LogMessage, Progress, Root};

/// The README's examples are compiled, and run.
#[cfg(all(doctest, feature = "stdio", feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
