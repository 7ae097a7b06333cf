//! [`Error`]: what failed, whether the server may have seen the request, and what may help.
//!
//! ```
//! use shared_fate_mcp::error::{Error, ErrorKind, HttpError};
//!
//! /// How long to wait before the next try, if there is to be one.
//! fn next_try(error: &Error) -> Option<std::time::Duration> {
//!     let asked = error.http().and_then(HttpError::retry_after);
//!     match error.kind() {
//!         ErrorKind::Http(_) => asked,
//!         _ => error.is_retryable().then_some(std::time::Duration::from_secs(1)),
//!     }
//! }
//! ```

#[cfg(feature = "http")]
pub use crate::http_client::{InvalidProxy, ProxyError};
pub use crate::process::ExitStatus;
pub use crate::protocol::message::RpcError;
pub use crate::protocol::www_authenticate::Challenge;
use shared_fate::{Cause, RequestFailed};
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "oauth")]
mod auth;
mod details;
mod last_words;

pub(crate) use crate::protocol::excerpt::excerpt;
#[cfg(feature = "oauth")]
pub use auth::AuthError;
pub(crate) use details::bounded;
pub use details::{
    FormError, HttpError, InvalidInput, IoError, IoStage, LimitError, ProtocolError, ServerExited,
    SessionLost, TimeoutError, Violation,
};

type Source = Box<dyn StdError + Send + Sync>;

/// Why a call, or a whole session, failed.
///
/// [`kind`](Self::kind) says what happened, [`delivery`](Self::delivery) whether the server may have
/// acted on the request, [`is_retryable`](Self::is_retryable) whether it is worth another try. The
/// message is of this level only, after the [server's](Self::server) name; the cause is [`source`](StdError::source). `{:#}`
/// prints the whole chain on one line:
///
/// ```text
/// my-server: the session ended: the server process ended with exit status 7; its last words: "disk full"
/// ```
///
/// No error of this crate contains a token, a session id, or a URL's user info or query. A server's own words are quoted: at
/// most 1 KiB of them, with invisible characters replaced. If an answer repeats a token, a session id, the value of one of
/// the application's headers, or a value of the URL's query, that is masked.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    /// See [`Error::lost_stream`].
    lost: Option<Error>,
    /// See [`Error::server`].
    server: Option<Arc<str>>,
    /// See [`Error::result_text`].
    text: Option<Box<str>>,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input cannot be used. Nothing was sent.
    InvalidInput(InvalidInput),
    /// The operating system, the network or TLS failed.
    Io(IoError),
    /// The proxy could not be reached, refused, or made no sense. Mostly, the server has seen nothing then:
    /// [`Error::delivery`] says so.
    #[cfg(feature = "http")]
    Proxy(ProxyError),
    /// The server answered with an HTTP status that is not a reply. The status may come with a
    /// JSON-RPC error: [`HttpError::rpc`].
    Http(HttpError),
    /// There is no access token that the server takes.
    #[cfg(feature = "oauth")]
    Auth(AuthError),
    /// The server answered with a JSON-RPC error.
    Rpc(RpcError),
    /// The server broke the protocol.
    Protocol(ProtocolError),
    /// No reply in time.
    Timeout(TimeoutError),
    /// A [`Limits`](crate::Limits) value was reached.
    Limit(LimitError),
    /// The server's process ended, or closed its output.
    ServerExited(ServerExited),
    /// The server did not answer a ping ([`Timeouts::keep_alive`](crate::Timeouts::keep_alive)); the source says
    /// how that failed.
    PingMissed(Box<Error>),
    /// The server no longer knows our HTTP session (404).
    SessionExpired(HttpError),
    /// The server speaks neither Streamable HTTP, which it refused with this answer, nor HTTP+SSE; the
    /// source says how that failed.
    NoEndpoint(HttpError, Box<Error>),
    /// JSON does not have the form of a type of the caller's ([`Json::parse`](crate::types::Json::parse)).
    Form(FormError),
    /// The server needed something from this client before it could answer, and the client's handler
    /// refused with this error.
    Handler(RpcError),
    /// The session ended, and this call with it.
    SessionEnded(SessionLost),
}

/// Whether the server may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no fourth case")]
pub enum Delivery {
    /// Not a byte of it was written: it is safe to repeat elsewhere.
    NotSent,
    /// It may have been sent, and the server may have acted on it.
    MaybeSent,
    /// The server has seen it: it answered.
    Answered,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, delivery: Delivery) -> Self {
        Self { inner: Box::new(Inner { kind, delivery, lost: None, server: None, text: None }) }
    }

    pub(crate) fn invalid(input: InvalidInput) -> Self {
        Self::new(ErrorKind::InvalidInput(input), Delivery::NotSent)
    }

    /// An I/O failure, for a [`Transport`](crate::Transport) of one's own: what was being done, the cause, and whether the
    /// server may have seen the message.
    ///
    /// From [`send`](crate::Transport::send) it fails that call, from [`run`](crate::Transport::run) the session. In `run`,
    /// `delivery` says nothing of any call: use [`MaybeSent`](Delivery::MaybeSent).
    ///
    /// ```
    /// use shared_fate_mcp::error::IoStage;
    /// use shared_fate_mcp::{Delivery, Error};
    ///
    /// let error = Error::io(IoStage::Write, "the cable is unplugged", Delivery::NotSent);
    /// assert_eq!(format!("{error:#}"), "writing to the server failed: the cable is unplugged");
    /// ```
    pub fn io(
        stage: IoStage,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
        delivery: Delivery,
    ) -> Self {
        Self::io_shared(stage, Arc::from(source.into()), delivery)
    }

    /// A failure of a server that is not known to have exited, with what it wrote beside its messages.
    pub(crate) fn io_after_words(stage: IoStage, source: io::Error, stderr: &str, stdout: &str) -> Self {
        let words = last_words::last_words(stderr, stdout);
        match words.is_empty() {
            true => Self::io(stage, source, Delivery::MaybeSent),
            false => {
                let source = last_words::AfterWords { words: words.to_string(), source };
                Self::io(stage, source, Delivery::MaybeSent)
            }
        }
    }

    /// One failure of several calls.
    pub(crate) fn io_shared(
        stage: IoStage,
        source: Arc<dyn StdError + Send + Sync>,
        delivery: Delivery,
    ) -> Self {
        let kind = io_kind_of(&*source);
        Self::new(ErrorKind::Io(IoError { kind, stage, source, refused: None }), delivery)
    }

    /// A failure whose kind is known: its source may be of another library.
    #[cfg(feature = "http")]
    pub(crate) fn io_of_kind(
        kind: Option<io::ErrorKind>,
        stage: IoStage,
        source: impl Into<Source>,
        delivery: Delivery,
    ) -> Self {
        let source = Arc::from(source.into());
        Self::new(ErrorKind::Io(IoError { kind, stage, source, refused: None }), delivery)
    }

    pub(crate) fn protocol(violation: Violation) -> Self {
        Self::new(ErrorKind::Protocol(ProtocolError { violation, source: None }), Delivery::Answered)
    }

    pub(crate) fn protocol_with(violation: Violation, source: impl Into<Source>) -> Self {
        let source = Some(source.into());
        Self::new(ErrorKind::Protocol(ProtocolError { violation, source }), Delivery::Answered)
    }

    /// A violation with the text that came in the place of the expected one.
    pub(crate) fn instead(violation: Violation, text: String) -> Self {
        match text.is_empty() {
            true => Self::protocol(violation),
            false => Self::protocol_with(violation, details::Came(text)),
        }
    }

    /// A call's event stream has ended: how it broke, if it did not just end, and how resuming it failed.
    #[cfg(feature = "http")]
    pub(crate) fn stream_ended(broke: Option<Self>, resuming: Option<Self>) -> Self {
        match (broke, resuming) {
            (None, None) => Self::protocol(Violation::StreamEnded),
            (Some(error), None) | (None, Some(error)) => Self::protocol_with(Violation::StreamEnded, error),
            (Some(broke), Some(resuming)) => {
                Self::protocol_with(Violation::StreamEnded, resuming).after_losing(Some(broke))
            }
        }
    }

    /// Adds how the call had lost its event stream before it failed (RES-09, LIV-05).
    pub(crate) fn after_losing(mut self, lost: Option<Self>) -> Self {
        self.inner.lost = lost;
        self
    }

    /// Adds the answer by which the server refused the request for want of a token; `self` is the failure to get one.
    #[cfg(feature = "http")]
    pub(crate) fn after_refusal(mut self, answer: HttpError) -> Self {
        if let ErrorKind::Io(error) = &mut self.inner.kind {
            error.refused = Some(answer);
        }
        self
    }

    pub(crate) fn limit(what: &'static str, limit: usize, delivery: Delivery) -> Self {
        Self::new(ErrorKind::Limit(LimitError { what, limit }), delivery)
    }

    #[cfg(feature = "http")]
    pub(crate) fn no_endpoint(refused: HttpError, sse: Self) -> Self {
        Self::new(ErrorKind::NoEndpoint(refused, Box::new(sse)), Delivery::Answered)
    }

    /// There is no session, and why.
    pub(crate) fn not_connected(cause: Cause<Self>) -> Self {
        Self::new(
            ErrorKind::SessionEnded(SessionLost { cause, request: None, was_there: false }),
            Delivery::NotSent,
        )
    }

    /// A session has ended, and what was going on in it.
    pub(crate) fn lost(cause: Cause<Self>) -> Self {
        let lost = SessionLost { cause, request: None, was_there: true };
        Self::new(ErrorKind::SessionEnded(lost), Delivery::MaybeSent)
    }

    /// Says that the server had begun to answer the call when this step of it failed.
    pub(crate) fn of_answered(mut self) -> Self {
        if self.inner.delivery == Delivery::NotSent {
            self.inner.delivery = Delivery::Answered;
        }
        self
    }

    /// Puts the limit for all steps together in the place of the limit for one step, where this is a timeout.
    pub(crate) fn of_limit(mut self, limit: Option<Duration>) -> Self {
        if let (ErrorKind::Timeout(error), Some(after)) = (&mut self.inner.kind, limit) {
            error.after = after;
        }
        self
    }

    /// Says that not a byte of the request was written.
    pub(crate) fn not_sent(mut self) -> Self {
        self.inner.delivery = Delivery::NotSent;
        self
    }

    /// What a supervised request's failure looks like to its caller.
    pub(crate) fn from_request(failed: RequestFailed<Self, Cause<Self>>, not_written: bool) -> Self {
        match failed.into_parts() {
            (Some(error), None) if not_written => error.not_sent(),
            (Some(error), None) => error,
            (request, Some(ended)) => {
                let delivery = match &request {
                    _ if !ended.request_started() || not_written => Delivery::NotSent,
                    Some(request) => request.delivery(),
                    None => match ended.cause().error().map(Self::kind) {
                        // That could only be `initialize`, and both transports have answered it.
                        Some(ErrorKind::NoEndpoint(..)) => Delivery::Answered,
                        _ => Delivery::MaybeSent,
                    },
                };
                let lost = SessionLost { cause: ended.into_cause(), request, was_there: true };
                Self::new(ErrorKind::SessionEnded(lost), delivery)
            }
            (None, None) => unreachable!("a failed request has a reason"),
        }
    }

    /// Names the server in the error, unless the error has one already or is about the caller's input alone.
    pub(crate) fn of_server(mut self, server: Option<&Arc<str>>) -> Self {
        use ErrorKind::{Form, InvalidInput};
        if self.inner.server.is_none() && !matches!(self.inner.kind, InvalidInput(_) | Form(_)) {
            self.inner.server = server.cloned();
        }
        self
    }

    /// The server that the error is about: its origin over HTTP, or the name of the program that was started for it. The
    /// message begins with it.
    ///
    /// `None` if the server has no name, if the error is about the caller's input alone, and for an error that
    /// [ended a session](Self::session_cause): there the errors of the calls name the server.
    pub fn server(&self) -> Option<&str> {
        self.inner.server.as_deref()
    }

    /// What happened.
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// Whether the server may have seen the request. Ask each call's own error: the error that ended a session does not know
    /// of single calls.
    pub fn delivery(&self) -> Delivery {
        self.inner.delivery
    }

    /// Whether the same request may succeed later, on this client, because the failure may pass.
    ///
    /// It says nothing about side effects: unless [`delivery`](Self::delivery) is
    /// [`NotSent`](Delivery::NotSent), the server may have acted on the request already. Nothing is
    /// ever repeated behind the caller's back. A session that ended needs a new client, so that is
    /// `false` here.
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            // What is not supported here will not be; and what is wrongly framed, or refused by TLS, was no accident.
            ErrorKind::Io(error) => {
                use io::ErrorKind::{InvalidData, InvalidInput, Unsupported};
                !matches!(error.stage, IoStage::Spawn | IoStage::Tls | IoStage::Credentials)
                    && !matches!(self.io_kind(), Some(InvalidData | InvalidInput | Unsupported))
            }
            ErrorKind::Http(error) => matches!(error.status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            #[cfg(feature = "oauth")]
            ErrorKind::Auth(error) => error.is_retryable(),
            #[cfg(feature = "http")]
            ErrorKind::Proxy(error) => error.is_passing(),
            ErrorKind::Timeout(_) => true,
            ErrorKind::Limit(error) => error.what == "pending calls",
            _ => false,
        }
    }

    /// The HTTP answer, if there was one: of this failure, or of the one that ended the session.
    pub fn http(&self) -> Option<&HttpError> {
        match self.kind() {
            ErrorKind::Http(error) | ErrorKind::SessionExpired(error) | ErrorKind::NoEndpoint(error, _) => {
                Some(error)
            }
            ErrorKind::Io(error) => error.refused.as_ref(),
            #[cfg(feature = "oauth")]
            ErrorKind::Auth(error) => error.refused(),
            // A stream that was lost, and could not be had again because of this answer.
            ErrorKind::Protocol(error) => {
                let source = error.source.as_ref()?;
                let shared = || source.downcast_ref::<Arc<Self>>().map(|error| &**error);
                source.downcast_ref::<Self>().or_else(shared)?.http()
            }
            _ => self.session_cause()?.error()?.http(),
        }
    }

    /// The server's JSON-RPC error for this request, with or without an HTTP status around it.
    pub fn rpc(&self) -> Option<&RpcError> {
        match self.kind() {
            ErrorKind::Rpc(error) => Some(error),
            ErrorKind::Http(error) | ErrorKind::NoEndpoint(error, _) => error.rpc(),
            _ => None,
        }
    }

    /// The kind of I/O error behind this failure, or behind the session's end, if there was one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        io_kind_of(self)
    }

    /// Why the session ended, if this call ended with it.
    pub fn session_cause(&self) -> Option<&Cause<Self>> {
        match self.kind() {
            ErrorKind::SessionEnded(lost) => Some(&lost.cause),
            _ => None,
        }
    }

    /// Whether the call failed because its session ended.
    pub fn is_session_ended(&self) -> bool {
        self.session_cause().is_some()
    }

    /// How the call had lost its event stream before it failed. If a deadline ran out while the stream was to be resumed,
    /// this is the source, too. If resuming the stream failed, the source is that failure, and this is how the stream had
    /// broken. If the stream was still open, or over a pipe, where there is none, this is what came meanwhile and was of no
    /// use.
    pub fn lost_stream(&self) -> Option<&Self> {
        self.inner.lost.as_ref()
    }

    /// The text of a result that has come and could not be made a value: it has another form than the method's results,
    /// or its value would take more memory than [`Limits::decoded`](crate::Limits::decoded). A tool that has run is not
    /// run again to see what it said.
    pub fn result_text(&self) -> Option<&str> {
        self.inner.text.as_deref()
    }

    /// An error about a result that has come.
    pub(crate) fn with_result(mut self, text: &str) -> Self {
        self.inner.text = Some(text.into());
        self
    }

    /// Whether a deadline of ours ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), ErrorKind::Timeout(_))
    }
}

/// The kind of the first I/O error in a chain.
fn io_kind_of(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        // Found when it was made, by those who know what it is made of.
        if let Some(ErrorKind::Io(io)) = error.downcast_ref::<Error>().map(Error::kind) {
            return io.kind;
        }
        next = error.source();
    }
    None
}

#[cfg(feature = "http")]
impl From<InvalidProxy> for Error {
    fn from(invalid: InvalidProxy) -> Self {
        Self::invalid(InvalidInput::Proxy(invalid))
    }
}

impl From<FormError> for Error {
    fn from(error: FormError) -> Self {
        Self::new(ErrorKind::Form(error), Delivery::Answered)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, delivery, lost, server, text: _ } = &*self.inner;
        let mut debug = f.debug_struct("Error");
        debug.field("kind", kind).field("delivery", delivery);
        if let Some(lost) = lost {
            debug.field("lost", lost);
        }
        if let Some(server) = server {
            debug.field("server", server);
        }
        debug.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = self.server() {
            write!(f, "{server}: ")?;
        }
        match self.kind() {
            ErrorKind::InvalidInput(error) => error.fmt(f),
            ErrorKind::Io(IoError { stage, refused: None, .. }) => stage.fmt(f),
            ErrorKind::Io(IoError { stage, refused: Some(refused), .. }) => {
                write!(f, "{refused}, and {stage}")
            }
            #[cfg(feature = "http")]
            ErrorKind::Proxy(error) => error.fmt(f),
            ErrorKind::Http(error) => error.fmt(f),
            #[cfg(feature = "oauth")]
            ErrorKind::Auth(error) => error.fmt(f),
            ErrorKind::Rpc(error) => write!(f, "the server answered with an error: {error}"),
            ErrorKind::Protocol(error) => match self.lost_stream() {
                None => error.violation.fmt(f),
                Some(lost) => write!(f, "{}: {lost:#}; and resuming it failed", error.violation),
            },
            ErrorKind::Timeout(error) => error.fmt(f),
            ErrorKind::Limit(error) => error.fmt(f),
            ErrorKind::ServerExited(error) => error.fmt(f),
            ErrorKind::PingMissed(_) => f.write_str("the server did not answer a ping"),
            ErrorKind::SessionExpired(_) => f.write_str("the server no longer knows the session"),
            ErrorKind::Form(error) => error.fmt(f),
            ErrorKind::Handler(error) => write!(f, "the client's handler refused: {error}"),
            ErrorKind::NoEndpoint(refused, _) => {
                write!(f, "there is no MCP endpoint: {refused}; and over HTTP+SSE")
            }
            ErrorKind::SessionEnded(lost) => lost.fmt(f),
        }?;
        if f.alternate() {
            let mut source = self.source();
            while let Some(error) = source {
                write!(f, ": {error}")?;
                source = error.source();
            }
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.kind() {
            ErrorKind::Io(error) => Some(&*error.source),
            #[cfg(feature = "oauth")]
            ErrorKind::Auth(error) => error.source(),
            #[cfg(feature = "http")]
            ErrorKind::Proxy(error) => error.source(),
            ErrorKind::Protocol(error) => error.source.as_ref().map(|source| &**source as _),
            ErrorKind::Timeout(_) => self.lost_stream().map(|lost| lost as _),
            ErrorKind::SessionExpired(error) => Some(error),
            ErrorKind::Form(error) => error.source(),
            ErrorKind::NoEndpoint(_, error) | ErrorKind::PingMissed(error) => Some(&**error),
            // The cause is told by `SessionLost` where it is not an error of its own.
            ErrorKind::SessionEnded(lost) => lost.cause.error().map(|error| error as _),
            _ => None,
        }
    }
}
