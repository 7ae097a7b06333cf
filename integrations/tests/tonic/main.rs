//! tonic over a connection of one's own and over its `Channel`, before and after.

mod channel;
mod kit;
mod lines;
mod own;
mod texts;
