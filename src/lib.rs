//! A pending request shares the fate of its session.
//!
//! A client library usually splits into a *handle*, which sends requests, and a *driver*, a
//! background future that owns the connection. When the driver fails, panics or is dropped, pending requests
//! hang, or end in an opaque "channel closed". With this crate a request resolves to its
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
//! // A request: it waits for a reply that will never be sent.
//! let request = std::future::pending::<String>();
//!
//! let error = driver.run_until(request.supervised(&session)).await.unwrap_err();
//! let cause = error.cause().error().unwrap(); // the driver's own `io::Error`, not an echo of it
//! assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
//! # });
//! ```
//!
//! # What does your driver return?
//!
//! | the driver | use |
//! |---|---|
//! | returns a `Result`, and after it no request is answered (a reader of your own with a map of pending calls) | [`session.drive(driver)`](Session::drive) |
//! | returns a `Result` that may be `Ok` while replies are still to be read (hyper, h2, tonic, tokio-postgres, quinn) | [`session.monitor(driver)`](Session::monitor), and [`explained_by`](SupervisedExt::explained_by) for its requests |
//! | returns `()`, or an error of another type | [`session.drive_map(driver, \|output\| …)`](Session::drive_map) says what its end means |
//! | swallows its I/O errors | one of the above, and an [`io::Tap`] on its connection |
//! | is a loop of your own | `session.drive(async { loop { step().await?; } })` |
//! | is spawned by the library | an [observer or a canary](#drivers-that-you-cannot-wrap) |
//! | reconnects by itself | a session for each connection, in a cell that its event handler swaps |
//!
//! Four habits:
//!
//! - **Drive the reader, not the writer.** A peer that says why it hangs up makes the next write fail, often before
//!   the reader has come to the reason: of 1 000 runs 28 had the reason with both halves driven, and 1 000 with the
//!   reader alone. Attach a writer with `session.drive_map(write, |_| None)`: its panic and its drop count, its
//!   errors do not.
//! - **Supervise the whole exchange**, not each frame. A frame is a new request, and one that is begun after the
//!   session's end is not polled.
//! - **Report before you clean up.** A driver that fails its pending requests and returns its error some polls later
//!   should call [`session.fail`](Session::fail) first.
//! - **A session per connection.** It ends once and stays ended.
//!
//! A driver that is never polled, and never dropped, ends nothing, and its requests wait for ever.
//! [`Session::driver_state`] tells a timeout of yours that this is the case.
//!
//! # The nouns
//!
//! - [`Session`]: alive, or ended with one [`Cause`]. It is a cheap handle, and everyone who has one may report.
//! - [`Driver`]: wraps the future that owns the connection; publishes its end *before* dropping it.
//! - [`Supervised`]: a request under a session, made by [`supervised`](SupervisedExt::supervised);
//!   [`TrySupervised`] for requests that may fail by themselves.
//! - [`Cause`]: why the session ended. Five ends are told apart.
//! - Registration: what a request that waits leaves with its session. [`Lane`] and [`Gate`] keep one from call to
//!   call.
//!
//! [`stream`] puts streams under supervision.
//!
//! It runs on any executor, spawns nothing, and keeps no timer. Nothing is restarted or retried: you learn *that*
//! and *why*, and the rest is yours.
//!
//! # `supervised`, `try_supervised` or `explained_by`
//!
//! Where a library fails its pending requests when its driver dies, a request *resolves*, to an echo such
//! as "channel closed". Use [`try_supervised`](SupervisedExt::try_supervised) for requests that return a
//! `Result`: the caller gets the session's cause, and the echo beside it.
//! [`supervised`](SupervisedExt::supervised) is for requests that cannot fail by themselves, and hang when
//! no answer comes.
//!
//! [`explained_by`](SupervisedExt::explained_by) never cuts a request short: it only puts the cause beside an error. It
//! is for libraries that never let a request hang, and that hand over what has arrived before their connection broke.
//!
//! # Ties, cancel safety, drop
//!
//! The request is polled before the session, so a reply that has arrived is never lost. The exception is the first
//! poll: it checks the session first and does not start the request if the session has already ended. When the
//! session ends, the request is dropped within the poll that says so, so supervise only requests that tolerate
//! being dropped. Dropping a supervised request deregisters it and affects no other. The documentation of each
//! future repeats this, and lists its panics.
//!
//! # On tokio
//!
//! tokio gives a task 128 operations a poll. When they are spent, its channels, sockets and timers say `Pending`,
//! whatever they hold. With the feature **`tokio`** a request is asked a last time outside of this budget when its
//! session has ended, so the reply is found. The feature needs no runtime, and changes nothing for others.
//!
//! Without it one promise does not hold: in a task that waits for more than 128 replies of tokio's channels at once,
//! those beyond the budget of the poll that sees the end are lost (172 of 300).
//! `tokio::task::unconstrained(request).supervised(&session)` loses none.
//!
//! # Drivers that you cannot wrap
//!
//! Some libraries spawn their connection themselves. If such a library reports its end, an **observer** is the
//! driver: a future that resolves to that report. Spawn it where the library's own task runs, and an end of the
//! runtime is told, too.
//!
//! ```
//! # use shared_fate::{Cause, Session};
//! # use std::io;
//! # enum Event { Heartbeat, Error(io::Error) }
//! # async fn next_event() -> Option<Event> { Some(Event::Error(io::ErrorKind::BrokenPipe.into())) }
//! let session = Session::<io::Error>::new();
//! let observer = session.drive_map(
//!     async {
//!         while let Some(event) = next_event().await {
//!             if let Event::Error(error) = event {
//!                 return Some(Cause::from(error));
//!             }
//!         }
//!         None // the library has nothing more to say, and the session lives on
//!     },
//!     |cause| cause,
//! );
//! # assert!(pollster::block_on(observer).is_failed());
//! ```
//!
//! It cannot be faster than the library: the report may come after the echo. If the library reports nothing, a
//! **canary**, `spawn(session.drive(std::future::pending()))`, tells that the runtime is gone, and nothing else.
//! Canary and library are two tasks, so some requests have the echo alone (70 of 300 in one case).
//!
//! # When to use something else
//!
//! - To stop work yourself, without a reason: `tokio_util::sync::CancellationToken`.
//! - To collect the results of spawned tasks: `tokio::task::JoinSet`; to wait until all are gone:
//!   `tokio_util::task::TaskTracker`.
//! - To give one result to many: `futures::future::Shared`. To abort one future: `futures::future::Abortable`.
//! - Where only the driver owns the reply channels and "closed" is all that callers need to know: plain
//!   channels, which close when the driver is dropped.
//! - Without `std`: nothing here. The core needs its locks, thread-locals and `catch_unwind`.
#![cfg_attr(
    doc,
    doc = "\n[`design`] has the rationale: what was rejected, and the numbers that rejected it."
)]
// docs.rs shows which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(doc)]
pub mod design {
    #![doc = include_str!("../docs/design.md")]
}

mod budget;
mod cause;
mod contain;
mod driver;
mod errors;
mod explained;
mod ext;
pub mod io;
mod lane;
#[cfg(all(test, any(shared_fate_loom, shared_fate_shuttle)))]
mod models;
mod session;
pub mod stream;
mod supervised;
mod sync;
mod try_supervised;

pub use cause::{AnyError, Cause, PanicMessage, SessionError};
pub use driver::{DrainUntil, Driver, ResultDriver, RunDuring, RunUntil};
pub use errors::{Failed, RequestFailed, SessionEnded};
pub use explained::Explained;
pub use ext::SupervisedExt;
pub use lane::{Gate, Lane};
pub use session::{DriverState, DriversGone, DropGuard, Ended, Session, WeakSession};
pub use supervised::{Supervised, Supervisor};
pub use try_supervised::{EveryError, MayBeEcho, TrySupervised};

/// The README's examples are compiled, and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
