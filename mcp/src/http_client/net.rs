//! Sockets and timers: the one seam that a runtime has to fill.

use std::collections::VecDeque;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use std::{fmt, io, mem};

use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};

/// Opens sockets and waits: all that HTTP needs from a runtime.
///
/// The default, [`AsyncIo`], works on every executor. `TokioNet` (feature `tokio`) does without its
/// helper thread; an implementation of one's own can send the traffic through a tunnel, or put a test in
/// charge of the network and the clock.
pub trait Net: Send + Sync + 'static {
    /// Opens a connection. `host` is a name or an IP address, an IPv6 address without its brackets.
    /// Where a request goes through a proxy, it is the proxy's.
    ///
    /// There is no need to limit the time. Dropping the future gives up.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a>;

    /// Opens a connection as [`connect`](Self::connect) does, but only to addresses that are `allowed`. The host is treated
    /// as if it had no others; if none is left, the error is [`PermissionDenied`](io::ErrorKind::PermissionDenied).
    ///
    /// It is for hosts that a server has named, not the user: those of the authorization servers of OAuth. Unless it is
    /// implemented, a `host` that is an address is checked, and what a name stands for is not.
    fn connect_to<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        allowed: &'a (dyn Fn(IpAddr) -> bool + Sync),
    ) -> Connecting<'a> {
        match host.parse() {
            Ok(address) if !allowed(address) => Box::pin(async { Err(not_allowed()) }),
            _ => self.connect(host, port),
        }
    }

    /// Resolves when `duration` has passed. Dropping the future cancels the timer.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The scope of a socket that is opened now. An idle socket is used again only in the scope that opened it.
    ///
    /// If a socket works only while the runtime that opened it runs, each such runtime is a scope with a number of its own.
    /// Sockets that work everywhere share the scope 0.
    fn scope(&self) -> u64 {
        0
    }
}

/// The future returned by [`Net::connect`].
pub type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<Box<dyn ByteStream>, ConnectError>> + Send + 'a>>;

type Sleeping = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A two-way byte stream, such as a socket.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> ByteStream for T {}

/// No connection could be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host name has no address.
    Dns(io::Error),
    /// No address of the host accepts a connection; the error is that of the last one that failed.
    Connect(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns(_) => "the host name could not be resolved",
            Self::Connect(_) => "connecting failed",
        })
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dns(error) | Self::Connect(error) => Some(error),
        }
    }
}

/// Sockets and timers from the `async-io` crate, name lookup on the `blocking` crate's threads.
///
/// Works on every executor, and needs no runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncIo;

impl Net for AsyncIo {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        self.connect_to(host, port, &|_| true)
    }

    fn connect_to<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        allowed: &'a (dyn Fn(IpAddr) -> bool + Sync),
    ) -> Connecting<'a> {
        Box::pin(async move {
            // getaddrinfo cannot be cancelled: if the caller gives up, its thread is left behind until it
            // returns.
            let lookup = |host: String| blocking::unblock(move || (host, port).to_socket_addrs());
            let addresses = resolve(host, port, lookup).await.map_err(ConnectError::Dns)?;
            let addresses = only(allowed, addresses)?;
            let connect =
                |address| Box::pin(Async::<TcpStream>::connect(address)) as Attempt<Async<TcpStream>>;
            let socket = race(addresses, HEAD_START, |time| self.sleep(time), connect);
            let socket = socket.await.map_err(ConnectError::Connect)?;
            // Only a wish: a socket that cannot take it any more says why at the first read or write.
            let _ = socket.get_ref().set_nodelay(true);
            Ok(Box::new(socket) as Box<dyn ByteStream>)
        })
    }

    fn sleep(&self, duration: Duration) -> Sleeping {
        let timer = async_io::Timer::after(duration);
        Box::pin(async move {
            timer.await;
        })
    }
}

/// The addresses of a host, never none. `lookup` is asked for names only.
pub(crate) async fn resolve<F, I>(
    host: &str,
    port: u16,
    lookup: impl FnOnce(String) -> F,
) -> io::Result<Vec<SocketAddr>>
where
    F: Future<Output = io::Result<I>>,
    I: Iterator<Item = SocketAddr>,
{
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let addresses = alternate_families(lookup(host.to_owned()).await?);
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host name has no address"));
    }
    Ok(addresses)
}

/// Those that are allowed, never none.
pub(crate) fn only(
    allowed: &(dyn Fn(IpAddr) -> bool + Sync),
    mut addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, ConnectError> {
    addresses.retain(|address| allowed(address.ip()));
    if addresses.is_empty() { Err(not_allowed()) } else { Ok(addresses) }
}

fn not_allowed() -> ConnectError {
    let error = io::Error::new(io::ErrorKind::PermissionDenied, "no address of the host is allowed");
    ConnectError::Connect(error)
}

/// IPv6, IPv4, IPv6, …, starting with the family the resolver prefers: a family that does not work
/// here costs one attempt, not all of its addresses.
pub(super) fn alternate_families(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (mut next, mut other): (VecDeque<_>, VecDeque<_>) = (VecDeque::new(), VecDeque::new());
    for address in addresses {
        let preferred = next.front().is_none_or(|first: &SocketAddr| first.is_ipv6() == address.is_ipv6());
        if preferred { next.push_back(address) } else { other.push_back(address) }
    }
    let mut ordered = Vec::with_capacity(next.len() + other.len());
    while let Some(address) = next.pop_front() {
        ordered.push(address);
        if !other.is_empty() {
            mem::swap(&mut next, &mut other);
        }
    }
    ordered
}

/// How long an address has to itself before the next one is tried beside it (RFC 8305, section 8).
pub(crate) const HEAD_START: Duration = Duration::from_millis(250);

/// One attempt to connect.
pub(crate) type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Connects to the first address that answers. The next attempt starts when all before it have failed
/// or the last of them has had its head start, by `sleep`; when one wins, the others are dropped. If all
/// fail, the error is that of the last to fail.
pub(crate) async fn race<T>(
    addresses: Vec<SocketAddr>,
    head_start: Duration,
    sleep: impl Fn(Duration) -> Sleeping,
    attempt: impl Fn(SocketAddr) -> Attempt<T>,
) -> io::Result<T> {
    let mut waiting = addresses.into_iter();
    let mut running: Vec<Attempt<T>> = Vec::new();
    let mut timer: Option<Sleeping> = None;
    let mut last_error = None;
    poll_fn(|cx| {
        loop {
            let mut at = 0;
            while let Some(attempt) = running.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(socket)) => return Poll::Ready(Ok(socket)),
                    Poll::Ready(Err(error)) => {
                        last_error = Some(error);
                        drop(running.remove(at));
                    }
                }
            }
            let next_is_due = match &mut timer {
                Some(timer) => timer.as_mut().poll(cx).is_ready(),
                None => false,
            };
            if !running.is_empty() && !next_is_due {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(address) => running.push(attempt(address)),
                None if running.is_empty() => {
                    let none = || io::Error::from(io::ErrorKind::NotFound);
                    return Poll::Ready(Err(last_error.take().unwrap_or_else(none)));
                }
                None => {}
            }
            let more = !waiting.as_slice().is_empty();
            timer = more.then(|| sleep(head_start));
        }
    })
    .await
}
