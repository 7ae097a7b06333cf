//! An HTTP/1.1 client that spawns nothing: whoever sends a request drives its connection. It knows nothing of MCP.
//!
//! ```text
//! engine ──▶ pool ──▶ connection ──▶ net (a socket), proxy, tls
//!    └──▶ body ─────────┘    the body of an answer drives its connection, and gives it back at its end
//! ```

mod body;
mod connection;
mod engine;
mod failure;
mod net;
mod pool;
mod port;
mod proxy;
mod target;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use body::Body;
pub(crate) use engine::{Engine, EngineConfig};
pub(crate) use failure::{Failure, Stage};
pub use net::{AsyncIo, ByteStream, ConnectError, Connecting, Net};
#[cfg(feature = "tokio")]
pub(crate) use net::{Attempt, HEAD_START, only, race, resolve};
pub(crate) use port::explicit_port;
pub use proxy::{InvalidProxy, Proxy, ProxyError};
#[cfg(feature = "webpki-roots")]
pub(crate) use tls::Roots;
