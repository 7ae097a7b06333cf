//! What a caller gets when its request has no answer: [`SessionEnded`] and [`RequestFailed`].
//!
//! Rule: each text is printed once. An error says what happened, and leaves what is on its `source()` chain to the
//! code that prints chains. What is *not* on the chain, the other side's error, is added in parentheses with its
//! own chain. The alternate form, `{:#}`, prints the chain too.

use crate::cause::Cause;
use std::error::Error;
use std::fmt::{self, Write as _};

/// A request has no answer, because its session ended.
///
/// `C` is [`Cause<E>`](Cause) for a [`Session<E>`](crate::Session), and the output of any other supervisor
/// future. [`Error::source`] is the cause. `{:#}` prints it too, with its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnded<C> {
    cause: C,
    request_started: bool,
}

impl<C> SessionEnded<C> {
    pub(crate) fn new(cause: C, request_started: bool) -> Self {
        Self { cause, request_started }
    }

    /// Why the session ended.
    pub fn cause(&self) -> &C {
        &self.cause
    }

    /// Why the session ended, by value.
    pub fn into_cause(self) -> C {
        self.cause
    }

    /// Whether the request was polled at all. If it was not, none of its work has begun.
    ///
    /// That concerns what the request does in its polls. Where it is only the receiving end of a reply
    /// channel, the message may be on its way already. Put sending and waiting into one `async` block, and
    /// supervise that.
    pub fn request_started(&self) -> bool {
        self.request_started
    }

    fn text(&self) -> &'static str {
        if self.request_started {
            "the session ended before the request resolved"
        } else {
            "the session had ended before the request was started"
        }
    }
}

impl<C: Error + 'static> fmt::Display for SessionEnded<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        alternate(f, self.source())
    }
}

impl<C: Error + 'static> Error for SessionEnded<C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// [`RequestFailed`] under a [`Session<E>`](crate::Session), by the two error types that people name: the
/// request's and the session's, which are often the same.
///
/// ```
/// use shared_fate::Failed;
/// use std::io;
///
/// async fn echo(session: &shared_fate::Session<io::Error>) -> Result<(), Failed<io::Error>> {
///     # use shared_fate::SupervisedExt;
///     async { Ok(()) }.try_supervised(session).await
/// }
/// ```
pub type Failed<R, E = R> = RequestFailed<R, Cause<E>>;

/// Why a fallible request failed: its own error, the session's cause, or both.
///
/// There is at least one of the two. Where there are both, one of them *leads*: it is on the
/// [`source`](Error::source) chain, and the other one is in the text, with its own chain.
///
/// | the session's cause | leads | because |
/// |---|---|---|
/// | it failed, panicked or was dropped | the cause | the request's own error is most often its echo |
/// | it finished or was closed | the request's own error | that knows more |
/// | any, and the request's error is declared to be no echo | the request's own error | that is the reason |
///
/// With a supervisor that is no session the cause leads. Which one leads is settled when the error is made.
/// `{}` says what happened and names the side that does not lead. `{:#}` prints everything, each text once.
///
/// ```
/// use shared_fate::{Session, SupervisedExt};
/// use std::io;
///
/// let session = Session::new();
/// let request = async {
///     session.fail(io::Error::other("status 500")); // the driver's verdict
///     Err::<(), _>(io::Error::other("channel closed")) // and what its library makes of it
/// };
/// let error = pollster::block_on(request.try_supervised(&session)).unwrap_err();
/// assert_eq!(
///     format!("{error:#}"),
///     "the session ended (and the request failed: channel closed): the session failed: status 500"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFailed<R, C>(Sides<R, C>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sides<R, C> {
    /// The session lives.
    Request(R),
    Session(SessionEnded<C>),
    Both {
        request: R,
        session: SessionEnded<C>,
        request_leads: bool,
    },
}

impl<R, C> RequestFailed<R, C> {
    pub(crate) fn own(request: R) -> Self {
        Self(Sides::Request(request))
    }

    pub(crate) fn ended(session: SessionEnded<C>) -> Self {
        Self(Sides::Session(session))
    }

    /// The request was started, and failed.
    pub(crate) fn both(request: R, cause: C, request_leads: bool) -> Self {
        Self(Sides::Both { request, session: SessionEnded::new(cause, true), request_leads })
    }

    /// Why the session ended, if it had.
    pub fn cause(&self) -> Option<&C> {
        self.session_ended().map(SessionEnded::cause)
    }

    /// The end of the session, if it had ended.
    pub fn session_ended(&self) -> Option<&SessionEnded<C>> {
        match &self.0 {
            Sides::Request(_) => None,
            Sides::Session(session) | Sides::Both { session, .. } => Some(session),
        }
    }

    /// The request's own error, if it had one.
    pub fn request_error(&self) -> Option<&R> {
        match &self.0 {
            Sides::Request(request) | Sides::Both { request, .. } => Some(request),
            Sides::Session(_) => None,
        }
    }

    /// Whether the request was polled at all; see [`SessionEnded::request_started`].
    pub fn request_started(&self) -> bool {
        self.session_ended().is_none_or(SessionEnded::request_started)
    }

    /// Both sides by value: the request's own error, and the end of the session. At least one is there.
    pub fn into_parts(self) -> (Option<R>, Option<SessionEnded<C>>) {
        match self.0 {
            Sides::Request(request) => (Some(request), None),
            Sides::Session(session) => (None, Some(session)),
            Sides::Both { request, session, .. } => (Some(request), Some(session)),
        }
    }

    /// Whether the request's own error is the one on the [`source`](Error::source) chain.
    pub fn request_leads(&self) -> bool {
        match &self.0 {
            Sides::Request(_) => true,
            Sides::Session(_) => false,
            Sides::Both { request_leads, .. } => *request_leads,
        }
    }

    /// Changes the request's error, if there is one, into another type. With it `?` works for a request whose error is
    /// no [`Error`], such as a box of one or a text. Which side leads stays as it is.
    ///
    /// ```
    /// use shared_fate::{Session, SupervisedExt};
    /// use std::error::Error;
    /// use std::io;
    ///
    /// async fn call(session: &Session<io::Error>) -> Result<(), Box<dyn Error>> {
    ///     let request = async { Err::<(), Box<dyn Error + Send + Sync>>("not found".into()) };
    ///     let result = request.try_supervised(session).await;
    ///     Ok(result.map_err(|failed| failed.map_request(io::Error::other))?)
    /// }
    /// # assert!(pollster::block_on(call(&Session::new())).is_err());
    /// ```
    pub fn map_request<T>(self, map: impl FnOnce(R) -> T) -> RequestFailed<T, C> {
        RequestFailed(match self.0 {
            Sides::Request(request) => Sides::Request(map(request)),
            Sides::Session(session) => Sides::Session(session),
            Sides::Both { request, session, request_leads } => {
                Sides::Both { request: map(request), session, request_leads }
            }
        })
    }
}

/// So that `?` works where a function has requests of both kinds.
impl<R, C> From<SessionEnded<C>> for RequestFailed<R, C> {
    fn from(ended: SessionEnded<C>) -> Self {
        Self::ended(ended)
    }
}

impl<R: Error + 'static, C: Error + 'static> RequestFailed<R, C> {
    /// The side that is not on the chain of sources.
    fn other(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Sides::Request(_) | Sides::Session(_) => None,
            Sides::Both { session, request_leads: true, .. } => Some(&session.cause),
            Sides::Both { request, request_leads: false, .. } => Some(request),
        }
    }
}

impl<R: Error + 'static, C: Error + 'static> fmt::Display for RequestFailed<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Sides::Session(session) => session.text(),
            Sides::Both { request_leads: false, .. } => "the session ended",
            Sides::Request(_) | Sides::Both { .. } => "the request failed",
        })?;
        let source = self.source();
        if let Some(other) = self.other() {
            let mut said = String::new();
            let mut texts = Texts::default();
            chain(source).for_each(|error| _ = texts.once(error));
            write_chain(&mut said, &mut texts, Some(other))?;
            match (said.as_str(), self.request_leads()) {
                ("", _) => {}
                (said, true) => write!(f, " ({said})")?,
                (said, false) => write!(f, " (and the request failed: {said})")?,
            }
        }
        alternate(f, source)
    }
}

impl<R: Error + 'static, C: Error + 'static> Error for RequestFailed<R, C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Sides::Request(request) | Sides::Both { request, request_leads: true, .. } => Some(request),
            Sides::Session(session) | Sides::Both { session, .. } => Some(&session.cause),
        }
    }
}

/// The rest of `{:#}`: the sources, each after a colon.
pub(crate) fn alternate(f: &mut fmt::Formatter<'_>, source: Option<&(dyn Error + 'static)>) -> fmt::Result {
    if !f.alternate() {
        return Ok(());
    }
    let mut said = String::new();
    write_chain(&mut said, &mut Texts::default(), source)?;
    if said.is_empty() { Ok(()) } else { write!(f, ": {said}") }
}

/// Writes an error and its sources, without those that `texts` knows already.
fn write_chain(
    to: &mut impl fmt::Write,
    texts: &mut Texts,
    error: Option<&(dyn Error + 'static)>,
) -> fmt::Result {
    let mut colon = "";
    for error in chain(error) {
        if let Some(text) = texts.once(error) {
            write!(to, "{colon}{text}")?;
            colon = ": ";
        }
    }
    Ok(())
}

fn chain<'a>(error: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error, |&error| error.source())
}

/// What has been said. Many errors repeat their source at the end of their own text.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    /// The error's text, unless it is empty or has been said.
    fn once(&mut self, error: &dyn Error) -> Option<&str> {
        let mut text = String::new();
        // A failing `Display` says less, and must not make this one fail.
        _ = write!(text, "{error}");
        let is_said = |said: &String| {
            said.strip_suffix(&text).is_some_and(|before| before.is_empty() || before.ends_with(": "))
        };
        if text.is_empty() || self.0.iter().any(is_said) {
            return None;
        }
        self.0.push(text);
        self.0.last().map(String::as_str)
    }
}
