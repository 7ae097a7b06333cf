//! A pending request shares the fate of its session.
//!
//! A client library usually splits into a *handle*, which sends requests, and a *driver*, a
//! background future that owns the connection. When the driver fails, panics, is dropped or never
//! runs, pending requests hang, or end in an opaque "channel closed". Here a request resolves to its
//! own output, or at once to its session's **root cause**:
//!
//! ```
//! use shared_fate::{Session, SupervisedExt};
//! use std::io;
//!
//! # pollster::block_on(async {
//! let session = Session::new();
//!
//! // The driver owns the connection. Spawn it on any executor, or run it inline as here.
//! let driver = session.drive(async { Err(io::Error::from(io::ErrorKind::ConnectionReset)) });
//!
//! // A request: it waits for a reply that nobody will ever send.
//! let request = std::future::pending::<String>();
//!
//! let error = driver.with(request.supervised(&session)).await.unwrap_err();
//! let cause = error.cause().error().unwrap(); // the driver's own `io::Error`, not an echo of it
//! assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
//! # });
//! ```
//!
//! The nouns:
//!
//! - [`Session`]: alive, or ended with one [`Cause`]. A cheap handle that anybody may report to.
//! - [`Driver`]: wraps the future that owns the connection; publishes its end *before* dropping it.
//! - [`Supervised`]: a request under a session, made by [`supervised`](SupervisedExt::supervised);
//!   [`TrySupervised`] for requests that may fail by themselves.
//! - [`Lane`]: a session as seen by one task that makes call after call; registered once for all of them.
//! - [`stream`] and [`io`]: the same for streams, and a tap that catches what a driver swallows.
//!
//! It runs on any executor, spawns nothing, and keeps no timer. Nothing is restarted or retried: it
//! tells you *that* and *why*, and the rest is yours.

#![forbid(unsafe_code)]

#[cfg(not(any(shared_fate_loom, shared_fate_shuttle)))]
#[cfg(feature = "mcp")]
pub mod mcp;

mod contain;
mod driver;
mod ext;
pub mod io;
mod lane;
#[cfg(all(test, any(shared_fate_loom, shared_fate_shuttle)))]
mod models;
mod session;
pub mod stream;
mod supervised;
mod sync;

pub use driver::{Driver, DriverOutput, With};
pub use ext::SupervisedExt;
pub use lane::Lane;
pub use session::{Cause, Ended, PanicMessage, Session};
pub use supervised::{RequestFailed, SessionEnded, Supervised, Supervisor, TrySupervised};

/// The README's examples are compiled, and run.
#[cfg(all(doctest, feature = "mcp-stdio", feature = "mcp-http"))]
#[doc = include_str!("../README.md")]
struct Readme;
