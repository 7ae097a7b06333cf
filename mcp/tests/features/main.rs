//! What the client can do beyond one call and its answer, tested over transports whose every byte is
//! the test's: resumption, the server's own stream, requests of the server's, subscriptions,
//! reconnecting, and how a client finds out which kind of server it has.
//!
//! Tests are named after the rows of the checklist. Deadlines run on a clock that stands still unless
//! the test moves it.
#![cfg(all(any(unix, windows), feature = "stdio", feature = "http"))]
#![cfg_attr(
    windows,
    allow(dead_code, unused_imports, reason = "some tests start a shell, which windows has not")
)]

#[path = "../faults/check.rs"]
mod check;
#[path = "../fault/mod.rs"]
mod fault;

mod blocked;
mod both_revisions;
mod bounds;
mod call_hook;
mod calls;
mod causes;
mod corners;
mod deadlines;
mod delivery;
mod dropped;
mod elicit;
mod ends;
mod envelopes;
mod era;
mod era_cache;
mod era_lines;
mod handlers;
mod header_list;
mod header_list_shared;
mod http_floods;
mod keep_alive;
mod kit;
mod memory;
mod modern;
mod old;
mod params;
mod proxies;
mod reconnect;
mod reconnect_lazy;
mod results;
mod resume;
mod rounds;
mod run;
mod script;
mod seen;
mod stream;
mod stream_again;
mod subs;
mod task_runs;
mod tasks;
mod tokens;
mod unsent;
mod visits;
mod watching;
mod written_once;
