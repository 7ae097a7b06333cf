//! HTTP: sockets, TLS, a pool of connections, one request at a time on each.
//!
//! hyper is the protocol engine and nothing more. A connection has no task of its own: it is polled by
//! the future that sends a request on it, and after that by the response body, which owns it. So
//! nothing is spawned, any executor will do, and dropping the future or the body closes the socket at
//! once, unless the rest of the answer is here already.

mod body;
mod connection;
mod engine;
mod failure;
mod net;
mod pool;
mod target;
#[cfg(feature = "mcp-tls")]
mod tls;

#[cfg(test)]
mod tests;
