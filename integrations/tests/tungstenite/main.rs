//! A client by hand over tokio-tungstenite, before and after.

mod faults;
mod kit;
mod lines;
mod never_polled;
mod races;
