//! hyper's `client::conn`, HTTP/1 and HTTP/2, before and after.

mod ends;
mod faults;
mod kit;
mod lines;
mod slow_body;
mod texts;
