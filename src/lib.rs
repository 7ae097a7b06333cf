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
//!
//! # Which of the two
//!
//! Where a library fails its pending requests when its driver dies, a request *resolves*, to an echo such
//! as "channel closed". Use [`try_supervised`](SupervisedExt::try_supervised) for requests that return a
//! `Result`: the caller gets the session's cause, and the echo beside it.
//! [`supervised`](SupervisedExt::supervised) is for requests that cannot fail by themselves, and hang when
//! nobody answers.
//!
//! # Ties, cancel safety, drop
//!
//! The request is asked before the session, so a reply that has arrived is never lost; only the first poll
//! asks the session first, and on a dead one polls nothing. When the session ends, the request is dropped
//! within the poll that says so, so wrap requests that tolerate it. Dropping a supervised request
//! unregisters it and touches nobody else. Every future here says the same of itself, with its panics.
//!
//! # When to use something else
//!
//! - To stop work yourself, without a reason: `tokio_util::sync::CancellationToken`.
//! - To collect the results of spawned tasks: `tokio::task::JoinSet`; to wait until all are gone:
//!   `tokio_util::task::TaskTracker`.
//! - To give one result to many: `futures::future::Shared`. To abort one future: `futures::future::Abortable`.
//! - Where only the driver owns the reply channels and "closed" is all that callers need to know: plain
//!   channels, which close when the driver is dropped.
#![cfg_attr(
    doc,
    doc = "\n[`design`] has the rationale: what was rejected, and the numbers that rejected it."
)]
#![forbid(unsafe_code)]

#[cfg(not(any(shared_fate_loom, shared_fate_shuttle)))]
#[cfg(feature = "mcp")]
pub mod mcp;

#[cfg(doc)]
pub mod design {
    #![doc = include_str!("../docs/design.md")]
}

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

pub use driver::{Driver, DriverOutput, MapOutput, With};
pub use ext::SupervisedExt;
pub use lane::Lane;
pub use session::{Cause, Ended, PanicMessage, Session};
pub use supervised::{RequestFailed, SessionEnded, Supervised, Supervisor, TrySupervised};

/// The README's examples are compiled, and run.
#[cfg(all(doctest, feature = "mcp-stdio", feature = "mcp-http"))]
#[doc = include_str!("../README.md")]
struct Readme;
