//! The engine against real sockets on the loopback interface, and against scripted streams where the
//! order of events matters. Nothing sleeps; a test that would hang fails after [`kit::PATIENCE`].

#[cfg(feature = "tls")]
mod awkward;
mod body;
mod connect;
mod exchange;
mod executors;
mod failures;
mod kit;
mod opening;
mod proxy;
mod proxy_answers;
mod reuse;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_of_ones_own;
#[cfg(feature = "tokio")]
mod tokio;
