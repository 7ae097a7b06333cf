//! What there is to know of each kind of failure.

use super::last_words::last_words;
use super::{Error, Source};
#[cfg(feature = "http")]
use crate::http_client::InvalidProxy;
use crate::process::ExitStatus;
use crate::protocol::excerpt::{excerpt, is_unseen};
use crate::protocol::message::RpcError;
use crate::protocol::www_authenticate::Challenge;
use shared_fate::Cause;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Input that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInput {
    /// Not an absolute `http` or `https` URL.
    #[error("the URL cannot be used: {0}")]
    Url(&'static str),
    /// A header name or value that HTTP does not allow, or a header that belongs to the transport.
    #[error("the header cannot be used: {0}")]
    Header(&'static str),
    /// A proxy's URL, or a variable of the environment with one.
    #[cfg(feature = "http")]
    #[error("the proxy cannot be used: {0}")]
    Proxy(InvalidProxy),
    /// Certificates or keys, or options that have no effect beside a TLS configuration of one's own.
    #[error("the TLS configuration cannot be used: {0}")]
    Tls(&'static str),
    /// A method name, tool name or URI that cannot be sent.
    #[error("the method cannot be used: {0}")]
    Method(&'static str),
    /// Arguments or parameters that are not a JSON object, or cannot be made JSON.
    #[error("the parameters cannot be used: {0}")]
    Params(&'static str),
    /// An extension's key or settings.
    #[error("the extension cannot be used: {0}")]
    Extension(&'static str),
    /// A setting of OAuth's.
    #[cfg(feature = "oauth")]
    #[error("the OAuth setting cannot be used: {0}")]
    OAuth(&'static str),
    /// A transport that cannot be reopened: it was made from streams that exist, or in memory.
    #[error("this transport cannot be reopened (it was made from existing streams)")]
    Transport,
}

/// JSON that does not have the form of the caller's type. The source says where they differ.
#[derive(Debug, thiserror::Error)]
#[error("the JSON does not have the form of `{expected}`")]
pub struct FormError {
    expected: &'static str,
    source: serde_json::Error,
}

impl FormError {
    pub(crate) fn new<T: ?Sized>(source: serde_json::Error) -> Self {
        Self { expected: std::any::type_name::<T>(), source: bounded(source) }
    }

    /// The type's name, as the compiler has it.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

/// Shortens the error's text to 1 KiB: serde's has the whole of a string that it did not expect.
pub(crate) fn bounded(error: serde_json::Error) -> serde_json::Error {
    use serde::de::Error as _;
    const LONGEST: usize = 1024;
    let text = error.to_string();
    match text.len() > LONGEST || text.contains(is_unseen) {
        true => serde_json::Error::custom(excerpt(text.as_bytes(), LONGEST)),
        false => error,
    }
}

/// A failure of the operating system, the network or TLS; the cause is the error's source.
#[derive(Debug)]
pub struct IoError {
    pub(super) kind: Option<std::io::ErrorKind>,
    pub(super) stage: IoStage,
    pub(super) source: Arc<dyn StdError + Send + Sync>,
    /// The answer (401) for which a new token was to be got.
    pub(super) refused: Option<HttpError>,
}

impl IoError {
    /// What was being done.
    pub fn stage(&self) -> IoStage {
        self.stage
    }
}

/// What was being done when I/O failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoStage {
    /// Starting the server's process.
    Spawn,
    /// Reading from the server.
    Read,
    /// Writing to the server.
    Write,
    /// Looking up the server's name.
    Resolve,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending an HTTP request, or waiting for its answer.
    Exchange,
    /// Reading the body of an HTTP answer.
    Body,
    /// Getting an access token from the caller's provider.
    Credentials,
}

impl fmt::Display for IoStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spawn => "the server could not be started",
            Self::Read => "reading from the server failed",
            Self::Write => "writing to the server failed",
            Self::Resolve => "the server's name could not be resolved",
            Self::Connect => "connecting to the server failed",
            Self::Tls => "the TLS handshake failed",
            Self::Exchange => "the HTTP exchange failed",
            Self::Body => "reading the HTTP answer failed",
            Self::Credentials => "getting an access token failed",
        })
    }
}

/// An HTTP answer that is not a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpError {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) www_authenticate: Vec<String>,
    /// Read before the headers were cut.
    pub(crate) challenges: Vec<Challenge>,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
    pub(crate) rpc: Option<RpcError>,
}

impl HttpError {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// How long the server asks to wait (`Retry-After`), from when it answered.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The `WWW-Authenticate` headers, as sent: of each at most [`Self::EXCERPT`] bytes.
    pub fn www_authenticate(&self) -> &[String] {
        &self.www_authenticate
    }

    /// The challenges in them: what the server wants before it answers (401, or 403 for more scope). They are read
    /// from the whole of each header, as far as [`Self::CHALLENGES`].
    pub fn challenges(&self) -> &[Challenge] {
        &self.challenges
    }

    /// Where a redirect leads that was not followed (301, 302, 303: that would make a GET of the POST).
    /// Origin and path only: the rest may be secret.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The beginning of the body: at most [`Self::EXCERPT`] bytes, control characters replaced.
    pub fn body_excerpt(&self) -> &str {
        &self.body
    }

    /// The JSON-RPC error in the body, if that was one.
    pub fn rpc(&self) -> Option<&RpcError> {
        self.rpc.as_ref()
    }

    /// The longest body excerpt kept, in bytes.
    pub const EXCERPT: usize = 1024;

    /// How much of all `WWW-Authenticate` headers together is read, in bytes.
    pub const CHALLENGES: usize = 16 * 1024;
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered with HTTP status {}", self.status)?;
        if let Some(location) = &self.location {
            write!(f, ", which leads to {:?}", excerpt(location.as_bytes(), 200))?;
        }
        match &self.rpc {
            Some(rpc) => write!(f, ": {rpc}"),
            None if self.body.is_empty() => Ok(()),
            None => write!(f, ": {:?}", excerpt(self.body.as_bytes(), 200)),
        }
    }
}

impl StdError for HttpError {}

/// The server broke the protocol; see [`violation`](Self::violation).
#[derive(Debug)]
pub struct ProtocolError {
    pub(super) violation: Violation,
    pub(super) source: Option<Source>,
}

impl ProtocolError {
    /// How the server broke the protocol.
    pub fn violation(&self) -> &Violation {
        &self.violation
    }
}

/// What a server sent in the place of something else.
#[derive(Debug, thiserror::Error)]
#[error("the server sent {0:?}")]
pub(super) struct Came(pub(super) String);

/// How a server broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A success status without a reply in it (202, 204, or an empty body).
    #[error("the server sent HTTP status {status} and no reply")]
    NoReply {
        /// The HTTP status.
        status: u16,
    },
    /// A body that is neither JSON nor an event stream.
    #[error("{}", content_type(.0.as_deref()))]
    ContentType(Option<String>),
    /// A body that is compressed, though that was declined; its encoding.
    #[error("the reply is compressed, which was not asked for: {0:?}")]
    ContentEncoding(String),
    /// A reply that is not JSON-RPC; what is wrong with it.
    #[error("the reply is malformed: {0}")]
    Malformed(&'static str),
    /// A reply with somebody else's id.
    #[error("the reply's id does not match the request")]
    ForeignId,
    /// A request or a notification where a reply belongs.
    #[error("expected a reply, got a request or notification")]
    NotAReply,
    /// The event stream ended before the reply.
    #[error("the event stream ended before the reply")]
    StreamEnded,
    /// The server's own event stream has ended, and a subscription with it; or it turns out that there is none.
    #[error("the server's own event stream is lost")]
    OwnStreamLost,
    /// A result that does not have the method's form.
    #[error("the result does not have the form that the method requires")]
    Result,
    /// A result of a kind that this client did not offer to take.
    #[error("the result is of a kind that this client did not offer to take")]
    ResultType,
    /// The server has cancelled the task that it made of a call.
    #[error("the server has cancelled the task")]
    TaskCancelled,
    /// A request for input that this client did not offer; its method.
    #[error("the server asks for input that this client did not offer: {:?}", short(.0))]
    InputNotOffered(String),
    /// The server speaks none of our protocol revisions; its own choice.
    #[error("the server speaks protocol revision {:?}, which this client does not", short(.0))]
    Version(String),
    /// A session id that cannot be sent back: it has characters that HTTP does not allow, or more than 4 KiB.
    #[error("the server's session id cannot be used: it is too long, or has characters that are not allowed")]
    SessionId,
    /// The `endpoint` event of HTTP+SSE names no place that may be used; why.
    #[error("the server's endpoint cannot be used: {0}")]
    Endpoint(&'static str),
    /// A redirect that must not be followed; why.
    #[error("the redirect was not followed: {0}")]
    Redirect(&'static str),
    /// Not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// A page cursor that came before: the list would never end.
    #[error("the server repeats a page cursor")]
    CursorLoop,
    /// What comes over a pipe is not one message on a line: it is framed in another way, or a line has no end
    /// (it is longer than five times [`Limits::line`](crate::Limits::line)).
    #[error("the server does not write one message on a line")]
    Framing,
    /// What came over a pipe while a call waited in vain: no message, or a reply to a call that nobody made. Or an event of
    /// another kind than messages, on the stream of the call, which is still open.
    #[error("what the server wrote meanwhile belongs to nobody")]
    Stray,
    /// More messages in a row that belong to nobody than [`Limits::stray`](crate::Limits::stray).
    #[error("the server floods the client with messages that belong to nobody")]
    Flood,
}

fn short(text: &str) -> String {
    excerpt(text.as_bytes(), 200)
}

fn content_type(found: Option<&str>) -> String {
    match found {
        Some(found) => format!("the reply is neither JSON nor an event stream but {found:?}"),
        None => "the reply has no content type".to_owned(),
    }
}

/// No reply in time. The session and its other calls are unharmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {} {after:?}", if *.total { "reply within" } else { "reply or progress for" })]
pub struct TimeoutError {
    pub(crate) after: Duration,
    pub(crate) total: bool,
}

impl TimeoutError {
    /// The limit that ran out.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// Whether it was the limit for the whole call, and not the one for silence.
    pub fn is_total(&self) -> bool {
        self.total
    }
}

/// A [`Limits`](crate::Limits) value was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit for {what} is {limit}")]
pub struct LimitError {
    pub(super) what: &'static str,
    pub(super) limit: usize,
}

impl LimitError {
    /// What was limited, in words.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The limit.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// The server's process ended, or closed its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerExited {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stderr: String,
    pub(crate) stdout: String,
}

impl ServerExited {
    /// How it ended; `None` if it only closed its output and was still running.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// The end of what it wrote to its standard error, at most
    /// [`Limits::stderr_tail`](crate::Limits::stderr_tail) bytes.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// The end of what it wrote to its standard output that is no message, at most 4 KiB.
    pub fn stdout(&self) -> &str {
        &self.stdout
    }
}

impl fmt::Display for ServerExited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "the server process ended with {status}")?,
            None => f.write_str("the server closed its output")?,
        }
        let words = last_words(&self.stderr, &self.stdout);
        if words.is_empty() { Ok(()) } else { write!(f, "; {words}") }
    }
}

/// The session ended, and a call with it.
#[derive(Debug)]
pub struct SessionLost {
    pub(super) cause: Cause<Error>,
    pub(super) request: Option<Error>,
    /// Whether there was one.
    pub(super) was_there: bool,
}

impl SessionLost {
    /// Why; the same for every call.
    pub fn cause(&self) -> &Cause<Error> {
        &self.cause
    }

    /// The call's own error, if it failed by itself, too.
    pub fn request_error(&self) -> Option<&Error> {
        self.request.as_ref()
    }
}

impl fmt::Display for SessionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Failed(_) if self.was_there => f.write_str("the session ended"),
            Cause::Failed(_) => f.write_str("there is no session"),
            cause => cause.fmt(f),
        }
    }
}
