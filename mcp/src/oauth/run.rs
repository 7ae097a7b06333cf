//! [`Run`] does what a flow wants done: requests, signatures, questions. Flow and I/O meet here only.

use super::consent::{BoxError, Visit};
use super::engines::Engines;
use super::guard::forbidden;
use super::key;
use super::parts::Parts;
use crate::http_client::{self, Body, EngineConfig, Net};
use crate::protocol::excerpt::excerpt;
use crate::protocol::oauth::config::{Known, Nonces, Resource, UnixTime, Why};
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure};
use crate::protocol::oauth::flow::Flow;
use crate::protocol::oauth::place;
use crate::protocol::oauth::secret::{Entropy, Secret};
use crate::protocol::oauth::step::{Answer, Fetch, Sign, SignWith, Step, Unreachable};
use crate::protocol::oauth::stored::Stored;
use crate::runtime::BoxFuture;
use crate::sync::{contain, yield_now};
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderValue, Request, Response, Uri};
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(super) fn unix_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// One flow, and what it is run with.
pub(super) struct Run<'a> {
    pub(super) parts: &'a Parts,
    /// The MCP server's URL, as the user wrote it, and its host.
    pub(super) url: &'a str,
    pub(super) host: &'a str,
    /// The revision of MCP, if it is agreed on.
    pub(super) revision: Option<&'static str>,
    pub(super) connect: EngineConfig,
    /// Told when a person is asked (the authorization server's host), when another question is waited for (an empty host),
    /// and when either is over (`None`).
    pub(super) asking: &'a (dyn Fn(Option<&str>) + Send + Sync),
}

impl Run<'_> {
    /// Runs a flow to its end. Returns what is to be stored, and the nonces that were heard.
    pub(super) async fn flow(&self, why: Why, mut known: Known) -> Result<(Stored, Nonces), Failure> {
        if self.parts.config.dpop != Default::default() {
            known.proof_key = Some(key::new_proof_key().map_err(key::failure)?);
        }
        let resource = Resource { url: self.url.to_owned(), revision: self.revision };
        let entropy = Entropy::new(key::random().map_err(key::failure)?);
        let mut flow = Flow::begin(Arc::clone(&self.parts.config), resource, why, known, entropy);
        let engines = Engines::new(self.parts, self.url, self.host, &self.connect).map_err(|failure| {
            let kind = AuthErrorKind::Unavailable { status: None, retry_after: None };
            Failure { source: Some(Arc::new(failure)), ..Failure::new(kind, AuthStep::Server) }
        })?;
        let mut visit = None;
        let mut left = self.parts.timeouts.flow;
        loop {
            match flow.step(unix_now()) {
                Step::Fetch(fetch) => {
                    let since = Instant::now();
                    let limit = left.min(self.parts.timeouts.exchange);
                    match self.fetch(&engines, &fetch, limit).await {
                        Ok(answer) => flow.answered(answer),
                        Err(unreachable) => flow.unreachable(unreachable),
                    }
                    left = left.saturating_sub(since.elapsed());
                }
                Step::Sign(Sign { input, with }) => {
                    let input = input.expose().as_bytes();
                    let signature = match (with, &self.parts.key) {
                        (SignWith::Proof(key), _) => key::sign_proof(&key, input),
                        (SignWith::Client(_), Some(key)) => key.sign(input),
                        (SignWith::Client(_), None) => Err("there is none"),
                    };
                    flow.signed(&signature.map_err(key::failure)?);
                }
                Step::Receiver { refused } => {
                    // The first receiver is dropped, and its port free, before the second one is bound.
                    let question = match visit.take() {
                        Some((question, _)) => question,
                        None => self.question().await?,
                    };
                    match self.begin_visit(refused).await? {
                        Some(ready) => {
                            flow.receiver(ready.redirect_uri());
                            visit = Some((question, ready));
                        }
                        None => flow.no_receiver(),
                    }
                }
                Step::Visit { url } => {
                    let Some((question, visit)) = visit.take() else {
                        return Err(consent_failed("no receiver is ready".into()));
                    };
                    let redirected = self.visit(visit, url.expose()).await;
                    drop(question);
                    flow.redirected(Secret::new(redirected?));
                }
                Step::Subject { issuer } => {
                    let failed = |error| Failure { step: AuthStep::Assertion, ..consent_failed(error) };
                    let Some(subject) = &self.parts.subject else {
                        return Err(failed("nobody yields an assertion: set `subject`".into()));
                    };
                    let limit = self.parts.timeouts.exchange;
                    let token = self.in_time(limit, foreign(|| subject(issuer))).await;
                    let token = token.unwrap_or_else(|| Err("it took too long".into()));
                    flow.subject(Secret::new(token.map_err(failed)?));
                }
                Step::Done(stored) => return Ok((*stored, flow.nonces().clone())),
                Step::Failed(failure) => return Err(failure),
            }
        }
    }

    async fn fetch(&self, engines: &Engines, fetch: &Fetch, limit: Duration) -> Result<Answer, Unreachable> {
        let sent = std::sync::atomic::AtomicBool::new(false);
        let unreachable = |source: Arc<dyn StdError + Send + Sync>, sent| Unreachable {
            forbidden: forbidden(&*source).map(|class| class.as_str()),
            source,
            sent,
        };
        let request = build(fetch).map_err(|error| unreachable(Arc::from(error), false))?;
        let engine = match engines.of(&fetch.url) {
            Ok(engine) => engine,
            Err(error) => return Err(unreachable(Arc::new(error), false)),
        };
        let exchange = async {
            let begun = |begun| sent.store(begun, std::sync::atomic::Ordering::Relaxed);
            let response = engine.send_noting(request, begun).await?;
            read(response, fetch.longest).await
        };
        match self.in_time(limit, exchange).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(failure)) => {
                let sent = failure.sent;
                Err(unreachable(Arc::new(failure), sent))
            }
            None => Err(unreachable(Arc::new(TooLate(limit)), sent.into_inner())),
        }
    }

    /// The right to ask, as soon as nobody else has it.
    pub(super) async fn question(&self) -> Result<Question<'_>, Failure> {
        let (sender, _) = &self.parts.question;
        if sender.try_send(()).is_err() {
            // Whoever waits for the answer to another question waits for a person.
            (self.asking)(Some(""));
            let _over = Over(self.asking);
            yield_now().await;
            let person = self.parts.timeouts.person;
            // The channel is never closed: the handle has both ends.
            if self.in_time(person, sender.send(())).await.is_none() {
                let kind = AuthErrorKind::TimedOut { seconds: person.as_secs() };
                return Err(Failure::new(kind, AuthStep::Consent));
            }
        }
        Ok(Question(self.parts))
    }

    /// `None` if another receiver is wanted, and there is none.
    async fn begin_visit(&self, other: bool) -> Result<Option<Box<dyn Visit>>, Failure> {
        let Some(consent) = &self.parts.consent else {
            return Err(Failure::new(AuthErrorKind::LoginRequired { issuer: None }, AuthStep::Consent));
        };
        let mut second = None;
        let consent = match other {
            false => &**consent,
            true => {
                contain(|| second = consent.other());
                let Some(second) = &second else { return Ok(None) };
                &**second
            }
        };
        let begun = self.in_time(self.parts.timeouts.exchange, foreign(|| consent.begin())).await;
        let begun = begun.unwrap_or_else(|| Err("the receiver was not ready in time".into()));
        begun.map(Some).map_err(consent_failed)
    }

    async fn visit(&self, visit: Box<dyn Visit>, url: &str) -> Result<String, Failure> {
        // Whoever opens the URL is handed nothing but an http or https one.
        let Some(host) = place::authority(url) else {
            return Err(consent_failed("the URL to visit is not an http one".into()));
        };
        (self.asking)(Some(&host));
        let _over = Over(self.asking);
        // All who wait for the flight are polled once more, and learn that a person is asked.
        yield_now().await;
        let person = self.parts.timeouts.person;
        let url = url.to_owned();
        let visited = self.in_time(person, foreign(move || visit.visit(url))).await;
        let of_host = |failure| Failure { host: Some(host.clone()), ..failure };
        match visited {
            Some(Ok(redirected)) => Ok(redirected),
            Some(Err(error)) => Err(of_host(consent_failed(error))),
            None => {
                let kind = AuthErrorKind::TimedOut { seconds: person.as_secs() };
                Err(of_host(Failure::new(kind, AuthStep::Consent)))
            }
        }
    }

    /// `None` when the time is over.
    async fn in_time<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        in_time(&*self.connect.net, limit, future).await
    }
}

/// `None` when the time is over. The timer is made only if it is needed.
pub(super) async fn in_time<T>(net: &dyn Net, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut timer) = (pin!(future), None);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            let timer = timer.get_or_insert_with(|| net.sleep(limit));
            timer.as_mut().poll(cx).map(|()| None)
        }
    })
    .await
}

/// **Drop:** says that the question is over.
struct Over<'a>(&'a (dyn Fn(Option<&str>) + Send + Sync));

impl Drop for Over<'_> {
    fn drop(&mut self) {
        (self.0)(None);
    }
}

/// The right to ask a person, which one flow of a handle has at a time. **Drop:** gives it back.
pub(super) struct Question<'a>(&'a Parts);

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let _ = self.0.question.1.try_recv();
    }
}

fn consent_failed(error: BoxError) -> Failure {
    Failure { source: Some(Arc::from(error)), ..Failure::new(AuthErrorKind::Consent, AuthStep::Consent) }
}

/// Runs what the application has handed in. A panic in it becomes its error, and unwinds no further.
pub(super) async fn foreign<'a, T>(
    make: impl FnOnce() -> BoxFuture<'a, Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let panicked = |payload: Box<dyn std::any::Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let text = text.map(|text| format!("it panicked: {}", excerpt(text.as_bytes(), 200)));
        let text = text.unwrap_or_else(|| "it panicked".to_owned());
        contain(move || drop(payload));
        BoxError::from(text)
    };
    let mut future = match catch_unwind(AssertUnwindSafe(make)) {
        Ok(future) => Some(future),
        Err(payload) => return Err(panicked(payload)),
    };
    let result = poll_fn(|cx| {
        let Some(polled) = &mut future else { return Poll::Ready(Err("it was polled again".into())) };
        match catch_unwind(AssertUnwindSafe(|| polled.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(payload) => Poll::Ready(Err(panicked(payload))),
        }
    })
    .await;
    contain(move || drop(future));
    result
}

/// There was no answer in time.
#[derive(Debug)]
struct TooLate(Duration);

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there was no answer within {:?}", self.0)
    }
}

impl StdError for TooLate {}

fn build(fetch: &Fetch) -> Result<Request<Bytes>, BoxError> {
    // The text does not repeat the URL, which may hold a secret.
    let uri: Uri = fetch.url.parse().map_err(|_| "its URL cannot be used")?;
    let body = fetch.body.as_ref().map_or_else(Bytes::new, |body| Bytes::from(body.expose().to_owned()));
    let mut request = Request::builder().method(fetch.method).uri(uri);
    for (name, value) in &fetch.headers {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| "a header cannot be sent")?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    if fetch.body.is_some() {
        request = request.header(header::CONTENT_LENGTH, body.len());
    }
    request.body(body).map_err(|_| "the request cannot be made".into())
}

async fn read(response: Response<Body>, longest: usize) -> Result<Answer, http_client::Failure> {
    let (head, mut stream) = response.into_parts();
    let text = |name: &str| text(&head.headers, name);
    let mut answer = Answer {
        status: head.status.as_u16(),
        location: text("location"),
        retry_after: text("retry-after").and_then(|value| retry_after(&value)),
        dpop_nonce: text("dpop-nonce"),
        date: text("date").and_then(|text| date(&text)),
        content_encoding: text("content-encoding"),
        body: Vec::new(),
    };
    while answer.body.len() <= longest {
        match stream.chunk().await {
            Some(chunk) => answer.body.extend_from_slice(&chunk?),
            None => break,
        }
    }
    answer.body.truncate(longest.saturating_add(1));
    Ok(answer)
}

/// The moment that a `Date` header names.
pub(super) fn date(text: &str) -> Option<UnixTime> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(UnixTime(date.duration_since(UNIX_EPOCH).ok()?.as_secs()))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Seconds from now; at most a year.
fn retry_after(value: &str) -> Option<u64> {
    const YEAR: u64 = 365 * 24 * 3600;
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        return Some(value.parse().unwrap_or(YEAR).min(YEAR));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default().as_secs().min(YEAR))
}
