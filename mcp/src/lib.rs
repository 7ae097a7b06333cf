//! A Model Context Protocol client in which no call can hang when its session fails.
//!
//! ```text
//!  Client ── call ──▶ one choke point ──▶ Transport::send ──▶ server
//!    ▲                 │ supervised by        │ what arrives
//!    │                 ▼ the session          ▼
//!    └── reply ◀── pending calls ◀──────── Inbox ◀── Transport::run ◀── Driver
//! ```
//!
//! A call ends with its reply, with an error of its own, at its deadline, or at once with the cause of
//! its session's end: the HTTP status, the I/O error, the child's exit status and last words. What
//! concerns one call (an HTTP 500, a malformed reply) fails that call; what concerns the session (the
//! child is gone) ends all of them. Nothing is ever sent twice behind the caller's back.
//!
//! The nouns:
//!
//! - [`Client`]: the handle; [`Driver`]: the future that runs the connection;
//! - [`Stdio`], [`Http`], [`Sse`] and [`Memory`]: transports; [`Transport`]: the contract, for others;
//! - [`Error`]: what happened, whether the server may have seen it, and whether to try again;
//! - [`Limits`] and [`Timeouts`]: every bound there is.
//!
//! It runs on any executor and spawns nothing. The only threads are those of the default timer and
//! sockets (`async-io`, one for the process), one small one per child process, and those that
//! `getaddrinfo` needs. On tokio the first can be spared: `TokioTimer`, `TokioNet` and
//! `Stdio::spawn_on_tokio`, with the feature `tokio`.

#![forbid(unsafe_code)]

mod builder;
mod call;
mod client;
mod connect;
mod driver;
mod era;
mod error;
mod event;
mod handlers;
mod inbox;
mod joint;
mod keep_alive;
mod limits;
mod methods;
mod modern;
mod options;
mod progress;
mod protocol;
mod reconnect;
mod subscription;
mod sync;
mod task;
mod timer;
#[cfg(feature = "tokio")]
mod tokio;
mod transport;
pub mod types;
mod visits;
mod watched;
mod work;

#[cfg(feature = "tokio")]
pub use self::tokio::{TokioIo, TokioTimer};
pub use builder::Builder;
pub use client::{Client, WeakClient};
pub use connect::Mode;
pub use driver::{Driver, RunUntil};
pub use era::EraCache;
pub use error::{
    Delivery, Error, ErrorKind, ExitStatus, HttpError, InvalidInput, IoError, IoStage, LimitError,
    ProtocolError, ServerExited, SessionLost, TimeoutError, Violation,
};
pub use event::{Event, LogMessage, Progress};
pub use handlers::{ElicitForm, ElicitUrl, Elicited, HandlerResult, Root};
pub use inbox::Inbox;
pub use limits::{Limits, Timeouts};
pub use options::CallOptions;
pub use protocol::challenge::Challenge;
pub use protocol::handshake::Revision;
pub use protocol::message::RpcError;
#[cfg(shared_fate_fuzz)]
#[doc(hidden)]
pub use protocol::properties;
pub use reconnect::{Reconnecting, ReconnectingDriver};
pub use subscription::{Change, Interest, Subscription};
pub use timer::{AsyncIoTimer, BoxFuture, Timer};
#[cfg(all(feature = "http", feature = "tokio"))]
pub use transport::http::TokioNet;
#[cfg(feature = "http")]
pub use transport::http::{AsyncIo, ConnectError, Connecting, Http, Net, Sse, Stream, TokenProvider};
pub use transport::memory::{Memory, MemoryServer};
pub use transport::stdio::Stdio;
pub use transport::{Outgoing, Sent, Tracking, Transport};

/// The README's examples are compiled, and run.
#[cfg(all(doctest, feature = "stdio", feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
