//! A Model Context Protocol client in which no call can hang when its session fails.

mod protocol;
mod transport;
