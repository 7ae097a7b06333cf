//! OAuth 2.1 as plain functions and tables: what to ask of whom next, and what an answer means.
//!
//! [`Flow`](flow::Flow) is the machine. It is given the answers and says what comes next; it knows no clock and no
//! randomness, so both come in as arguments. Signatures are made outside, too: ECDSA needs randomness.

pub(crate) mod base64;
pub(crate) mod config;
pub(crate) mod demand;
pub(crate) mod dpop;
pub(crate) mod failure;
pub(crate) mod flow;
mod form;
pub(crate) mod grant;
pub(crate) mod jwt;
pub(crate) mod limits;
mod mask;
mod metadata;
pub(crate) mod place;
pub(crate) mod redirect;
pub(crate) mod register;
pub(crate) mod scope;
pub(crate) mod secret;
pub(crate) mod step;
pub(crate) mod stored;
mod unix_time;
