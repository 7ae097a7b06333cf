//! [`Loopback`]: a person's browser comes back to a socket on this machine (RFC 8252, 7.3).

use super::consent::{BoxError, Consent, Visit};
use crate::protocol::oauth::redirect::belongs;
use crate::runtime::BoxFuture;
use async_io::{Async, Timer};
use futures_io::{AsyncRead, AsyncWrite};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

/// How much of a request is read, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long one connection is listened to, except in tests.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many connections there are at a time: browsers open some that they never use.
const MOST: usize = 32;
/// How long no connection is accepted after the system had no room for a socket.
const PAUSE: Duration = Duration::from_millis(200);

/// Sends a person to the authorization server with a closure of yours, and waits on this machine for their browser to come
/// back.
///
/// The socket is bound before anything else is done, to 127.0.0.1 and a port that the system chooses, so the address that
/// the authorization server is told is the one that is listened to. Nothing here opens a browser: print the URL, or hand
/// it to whatever opens one.
///
/// ```no_run
/// use shared_fate_mcp::oauth::{Loopback, OAuth};
///
/// let consent = Loopback::new(|url| println!("Please visit {url}"));
/// let oauth = OAuth::builder().consent(consent).build();
/// ```
///
/// It reads at most 16 KiB of a request, from at most 32 connections at a time, for at most 5 s each. Whatever does not
/// carry the secret `state` of this attempt gets 404, and the wait goes on: any program on this machine can ask.
#[derive(Clone)]
pub struct Loopback {
    show: Arc<dyn Fn(&str) + Send + Sync>,
    paste: Option<Arc<dyn Fn() -> Line + Send + Sync>>,
    port: u16,
    host: LoopbackHost,
    path: String,
    patience: Duration,
}

type Line = BoxFuture<'static, Result<String, BoxError>>;

/// What this machine is called in the redirect URI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoopbackHost {
    /// `127.0.0.1`: what the standard wants.
    #[default]
    Address,
    /// `localhost`: the only name that some servers take. `[::1]` is listened to as well, if the port is free there.
    Localhost,
}

impl Loopback {
    /// `show` is given the URL that the person is to visit.
    pub fn new(show: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            show: Arc::new(show),
            paste: None,
            port: 0,
            host: LoopbackHost::default(),
            path: "/callback".to_owned(),
            patience: PATIENCE,
        }
    }

    /// Listens to this port, for clients that were registered with it. If it is taken, the login fails at once. Default:
    /// one that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// What this machine is called in the redirect URI. Default: its address, and its name where an authorization server
    /// refuses to register that.
    pub fn host(mut self, host: LoopbackHost) -> Self {
        self.host = host;
        self
    }

    /// The path of the redirect URI. Default `/callback`.
    pub fn path(mut self, path: &str) -> Self {
        self.path = format!("/{}", path.trim_start_matches('/'));
        self
    }

    /// Takes a line that the person pastes, too, whichever comes first: for a browser on another machine (SSH,
    /// containers), which shows an error and has the answer in its address bar. The line is the **whole** URL of
    /// that page.
    ///
    /// **Ties:** the browser wins.
    pub fn or_paste<F, L>(mut self, line: F) -> Self
    where
        F: Fn() -> L + Send + Sync + 'static,
        L: Future<Output = Result<String, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.paste = Some(Arc::new(move || Box::pin(line()) as Line));
        self
    }

    fn bind(&self) -> io::Result<Bound> {
        let bind = |ip: IpAddr, port| {
            let socket = TcpListener::bind(SocketAddr::new(ip, port))?;
            Async::new(socket)
        };
        let first = bind(Ipv4Addr::LOCALHOST.into(), self.port).map_err(|error| {
            let text = format!("port {} of this machine cannot be listened to: {error}", self.port);
            io::Error::new(error.kind(), text)
        })?;
        let port = first.get_ref().local_addr()?.port();
        let mut listeners = vec![first];
        let host = match self.host {
            LoopbackHost::Address => "127.0.0.1",
            LoopbackHost::Localhost => {
                listeners.extend(bind(Ipv6Addr::LOCALHOST.into(), port).ok());
                "localhost"
            }
        };
        let authority = format!("{host}:{port}");
        let redirect_uri = format!("http://{authority}{}", self.path);
        Ok(Bound { listeners, authority, redirect_uri, loopback: self.clone() })
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, host, path, .. } = self;
        f.debug_struct("Loopback")
            .field("port", port)
            .field("host", host)
            .field("path", path)
            .finish_non_exhaustive()
    }
}

impl Consent for Loopback {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Visit>, BoxError>> {
        Box::pin(async { Ok(Box::new(self.bind()?) as Box<dyn Visit>) })
    }

    /// Some servers take the name of this machine only.
    fn other(&self) -> Option<Box<dyn Consent>> {
        let is_first = self.host == LoopbackHost::Address;
        is_first.then(|| Box::new(self.clone().host(LoopbackHost::Localhost)) as Box<dyn Consent>)
    }
}

/// The ready receiver of one question.
struct Bound {
    listeners: Vec<Async<TcpListener>>,
    authority: String,
    redirect_uri: String,
    loopback: Loopback,
}

impl Visit for Bound {
    fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    fn visit(self: Box<Self>, url: String) -> BoxFuture<'static, Result<String, BoxError>> {
        Box::pin(async move {
            (self.loopback.show)(&url);
            let mut line = self.loopback.paste.as_ref().map(|paste| paste());
            let mut received = pin!(self.receive(&url));
            poll_fn(|cx| {
                if let Poll::Ready(received) = received.as_mut().poll(cx) {
                    return Poll::Ready(received.map_err(BoxError::from));
                }
                match line.as_mut().map(|line| line.as_mut().poll(cx)) {
                    Some(Poll::Ready(line)) => Poll::Ready(line.map(|line| line.trim().to_owned())),
                    _ => Poll::Pending,
                }
            })
            .await
        })
    }
}

impl Bound {
    /// Waits for the browser that comes back from `url`.
    async fn receive(&self, url: &str) -> io::Result<String> {
        type Conversation<'a> = Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;
        let mut open: Vec<Conversation<'_>> = Vec::new();
        let mut pause: Option<Timer> = None;
        poll_fn(|cx| {
            loop {
                let mut index = 0;
                while index < open.len() {
                    match open[index].as_mut().poll(cx) {
                        Poll::Ready(Some(redirected)) => return Poll::Ready(Ok(redirected)),
                        Poll::Ready(None) => drop(open.swap_remove(index)),
                        Poll::Pending => index += 1,
                    }
                }
                if let Some(timer) = &mut pause {
                    if Pin::new(timer).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    pause = None;
                }
                let before = open.len();
                for listener in &self.listeners {
                    if open.len() < MOST {
                        match poll_accept(listener, cx) {
                            Poll::Ready(Ok(socket)) => {
                                let conversation = self.converse(socket, url);
                                open.push(Box::pin(in_time(conversation, self.loopback.patience)));
                            }
                            Poll::Ready(Err(error)) if is_for_want_of_something(&error) => {
                                pause = Some(Timer::after(PAUSE));
                            }
                            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                            Poll::Pending => {}
                        }
                    }
                }
                if pause.is_some() {
                    continue;
                }
                // New conversations are polled at once.
                if open.len() == before {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// One request and its answer: the whole URL if it is the one that is waited for.
    async fn converse(&self, mut socket: Async<TcpStream>, url: &str) -> Option<String> {
        let head = read_head(&mut socket).await?;
        let found = self.redirected(&head, url);
        write_all(&mut socket, if found.is_some() { THANKS } else { NOT_FOUND }.as_bytes()).await;
        found
    }

    fn redirected(&self, head: &str, url: &str) -> Option<String> {
        let mut lines = head.lines();
        let target = lines.next()?.strip_prefix("GET ")?.split(' ').next()?;
        let query = target.strip_prefix(&*self.loopback.path)?;
        let fields = lines.filter_map(|line| line.split_once(':'));
        let mut hosts = fields.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = hosts.next()?.1.trim();
        let is_ours = host.eq_ignore_ascii_case(&self.authority) && hosts.next().is_none();
        let redirected = format!("{}{query}", self.redirect_uri);
        (is_ours && query.starts_with('?') && belongs(url, &redirected)).then_some(redirected)
    }
}

/// Repeats nothing of the request. The page's own address has the code in it, so it must not become a referrer.
const THANKS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n\
content-security-policy: default-src 'none'\r\nreferrer-policy: no-referrer\r\ncache-control: no-store\r\n\
connection: close\r\ncontent-length: 89\r\n\r\n\
<!doctype html><title>Signed in</title><p>The answer has arrived. You may close this tab.";

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

fn poll_accept(listener: &Async<TcpListener>, cx: &mut Context<'_>) -> Poll<io::Result<Async<TcpStream>>> {
    loop {
        match listener.get_ref().accept() {
            Ok((socket, _)) => return Poll::Ready(Async::new(socket)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match listener.poll_readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Whether only one connection is lost: the browser has gone again, or somebody has tried the port.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Whether the process or the system has too many files open, or no memory for a socket: that passes.
fn is_for_want_of_something(error: &io::Error) -> bool {
    // ENOMEM, ENFILE, EMFILE, which all unixes number so; ENOBUFS of Linux and of the BSDs.
    const UNIX: [i32; 5] = [12, 23, 24, 105, 55];
    // WSAEMFILE, WSAENOBUFS.
    const WINDOWS: [i32; 2] = [10024, 10055];
    let codes = if cfg!(windows) { &WINDOWS[..] } else { &UNIX[..] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

async fn in_time(conversation: impl Future<Output = Option<String>>, limit: Duration) -> Option<String> {
    let (mut conversation, mut timer) = (pin!(conversation), Timer::after(limit));
    poll_fn(|cx| match conversation.as_mut().poll(cx) {
        Poll::Pending => Pin::new(&mut timer).poll(cx).map(|_| None),
        ready => ready,
    })
    .await
}

/// A request's head, if it is one and not longer than 16 KiB.
async fn read_head(socket: &mut Async<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let read = poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, &mut buffer)).await.ok()?;
        head.extend_from_slice(&buffer[..read]);
        if head.len() > LONGEST_HEAD {
            return None;
        }
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            head.truncate(end);
            return String::from_utf8(head).ok();
        }
        if read == 0 {
            return None;
        }
    }
}

/// Writes what can be written: the redirect has arrived, whether or not the browser shows the page.
async fn write_all(socket: &mut Async<TcpStream>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match poll_fn(|cx| Pin::new(&mut *socket).poll_write(cx, bytes)).await {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            _ => return,
        }
    }
    let _ = poll_fn(|cx| Pin::new(&mut *socket).poll_close(cx)).await;
}

#[cfg(test)]
mod tests;
