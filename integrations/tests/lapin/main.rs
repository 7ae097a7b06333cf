//! lapin, whose connection is a thread of its own, against RabbitMQ, before and after.
//!
//! Needs `INTEGRATIONS_RABBITMQ`, the address of a server, and `INTEGRATIONS_RABBITMQ_DOOMED`, address and process of
//! one that is to be killed: "127.0.0.1:5672,1234".

mod ends;
mod faults;
mod hold;
mod killed;
mod kit;
mod lines;

/// The server. The test is skipped where it is not.
const VARIABLE: &str = "INTEGRATIONS_RABBITMQ";
