//! OAuth 2.1 as plain functions and tables: what to ask of whom next, and what an answer means.
//!
//! [`Flow`](flow::Flow) is the machine. It is given the answers and says what comes next; it knows no clock and no
//! randomness, so both come in as arguments. Signatures are made outside, too: ECDSA needs randomness.

pub(crate) mod config;
pub(crate) mod demand;
pub(crate) mod failure;
pub(crate) mod flow;
pub(crate) mod limits;
pub(crate) mod secret;
pub(crate) mod step;
pub(crate) mod stored;
