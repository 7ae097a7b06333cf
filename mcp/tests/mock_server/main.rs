//! The mock server that this crate has for its users' tests: what it answers, its faults, and what it records. Calls are
//! polled by hand, and what wakes them is counted.

mod asks;
mod faults;
mod kit;
mod serves;
