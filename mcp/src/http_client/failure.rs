//! Why an exchange failed, how far it had come, and whether it may be repeated.

use std::error::Error;
use std::{fmt, io, iter};

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// A failed exchange.
///
/// The text names the stage only; the cause is in [`source`](Error::source). Neither contains the URL,
/// which may carry secrets.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    /// A byte of the request may have reached the peer. If not, it is safe to repeat it.
    pub(crate) sent: bool,
    cause: Option<Cause>,
}

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The URL cannot be used; nothing was tried.
    BadUrl,
    /// The host name has no address.
    Dns,
    /// No address of the host accepts connections.
    Connect,
    /// Name lookup, connecting and the TLS handshake together took too long.
    ConnectTimeout,
    /// The proxy could not be reached, or refused; the cause is a `ProxyError`.
    Proxy,
    /// The TLS handshake failed, or the certificates needed for it could not be loaded.
    #[cfg(feature = "tls")]
    Tls,
    /// The connection ended before the request was begun on it.
    Send,
    /// The request was begun, and no response head came.
    Head,
    /// The response body broke off.
    Body,
}

impl Failure {
    pub(super) fn unsent(stage: Stage, cause: impl Into<Cause>) -> Self {
        Self { stage, sent: false, cause: Some(cause.into()) }
    }

    pub(super) fn sent(stage: Stage, cause: impl Into<Cause>) -> Self {
        Self { stage, sent: true, cause: Some(cause.into()) }
    }

    pub(super) fn connect_timeout() -> Self {
        Self { stage: Stage::ConnectTimeout, sent: false, cause: None }
    }

    /// The cause alone, for whoever names the stage in its own words.
    pub(crate) fn into_cause(self) -> Cause {
        match self.cause {
            Some(cause) => cause,
            None => Box::new(self),
        }
    }

    /// The I/O error at the root, if there is one. A peer that closes the connection instead of
    /// answering is `UnexpectedEof`.
    pub(crate) fn io_kind(&self) -> Option<io::ErrorKind> {
        self.chain().find_map(io_kind)
    }

    /// Whether the peer does not speak HTTP.
    pub(crate) fn is_parse(&self) -> bool {
        self.chain().any(|error| {
            error.is::<Unsolicited>() || error.downcast_ref().is_some_and(hyper::Error::is_parse)
        })
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        iter::successors(self.source(), |&error| error.source())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::BadUrl => "the url cannot be used",
            Stage::Dns => "the host name could not be resolved",
            Stage::Connect => "connecting failed",
            Stage::ConnectTimeout => "connecting timed out",
            Stage::Proxy => "the proxy is of no help",
            #[cfg(feature = "tls")]
            Stage::Tls => "tls could not be set up",
            Stage::Send => "the connection ended before the request was sent",
            Stage::Head => "no response arrived",
            Stage::Body => "the response body broke off",
        })
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Whether the I/O error is at the root of `error`.
pub(super) fn has_io_error(error: &hyper::Error) -> bool {
    iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source())
        .any(|error| io_kind(error).is_some())
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(error.kind());
    }
    let error = error.downcast_ref::<hyper::Error>()?;
    error.is_incomplete_message().then_some(io::ErrorKind::UnexpectedEof)
}

/// The peer talks first, so it is no HTTP server.
#[derive(Debug)]
pub(super) struct Unsolicited;

impl fmt::Display for Unsolicited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer sent bytes before it was asked anything")
    }
}

impl Error for Unsolicited {}
