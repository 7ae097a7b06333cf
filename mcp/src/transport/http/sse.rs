//! HTTP+SSE, the transport of revision 2024-11-05: one event stream for all that comes, POSTs for all
//! that goes (OLD-01 to OLD-10). Deprecated; kept for servers that know nothing else.
//!
//! The stream is the session: when it ends, everything ends with it, since nothing can be resumed. A
//! POST only delivers; one that is refused fails its call at once, because its answer could only have
//! come on the stream.

use super::answer::http_error;
use super::authorizer::Authorizer;
use super::endpoint::{Endpoint, endpoint_options};
use super::events::{EVENT_STREAM, Events, deliver, is_message};
use super::secrets::Secrets;
use super::tokens::{TokenProvider, Tokens};
use super::{PROTOCOL_VERSION, url};
use crate::error::{Delivery, Error, ErrorKind, HttpError, TimeoutError, Violation};
#[cfg(feature = "webpki-roots")]
use crate::http_client::Roots;
use crate::http_client::{Net, Proxy};
use crate::inbox::Inbox;
use crate::inbox::deadline::{Clock, within_either};
use crate::inbox::limits::Timeouts;
use crate::protocol::event_stream::Event;
use crate::protocol::handshake::{INITIALIZE, Revision};
use crate::protocol::message::{self, Inbound, Message};
use crate::protocol::outgoing::Outgoing;
use crate::runtime::timer::BoxFuture;
use crate::transport::{Sending, Sent, Tracking, Transport};
use ::http::header::{self, HeaderValue};
use ::http::{Method, Uri};
use bytes::Bytes;
use shared_fate::Session;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A server behind the URL of its event stream, over the deprecated HTTP+SSE transport.
///
/// Options as for [`Http`](crate::Http), which finds such servers by itself.
#[derive(Debug)]
pub struct Sse {
    endpoint: Endpoint,
    /// Where to POST, as the server said.
    target: OnceLock<Uri>,
    /// Ends, `Closed`, when `target` is known.
    open: Session<Infallible>,
    /// What the handshake has settled on.
    revision: OnceLock<Revision>,
}

impl Sse {
    /// A server's event stream: an absolute `http` or `https` URL.
    ///
    /// # Errors
    ///
    /// When it is not, or carries credentials: those belong in a header.
    pub fn new(url: &str) -> Result<Self, Error> {
        Endpoint::new(url).map(Self::over)
    }

    endpoint_options!();

    pub(super) fn over(endpoint: Endpoint) -> Self {
        Self { endpoint, target: OnceLock::new(), open: Session::new(), revision: OnceLock::new() }
    }

    /// What a request carries that no text may show. A session's id is in the query of `target`.
    fn secrets(&self) -> Secrets {
        let url = self.target.get().unwrap_or(&self.endpoint.url);
        self.endpoint.secrets(&self.endpoint.headers, url)
    }

    /// Whether the server has said where to POST.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_ended()
    }

    async fn post(&self, message: Outgoing<'_>, tracking: &Tracking, inbox: &Inbox) -> Result<Sent, Error> {
        tracking.waiting();
        // Should the stream fail first, the session ends, and this call with it.
        self.open.ended().await;
        let target = self.target.get().expect("set before it is called open");
        if message.method() == Some(INITIALIZE) {
            self.endpoint.begins(tracking);
        }
        let mut headers = self.endpoint.headers.clone();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // INI-09: a server may well speak a newer revision than the one that this transport comes from.
        if let Some(revision) = self.revision.get() {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
        }
        self.endpoint.added.add(&mut headers, &message.headers)?;
        let body = message.body.into();
        let response = self.endpoint.request(Method::POST, target, &headers, body, tracking, inbox).await?;
        match response.status().is_success() {
            // What is in the body does not matter (OLD-04).
            true => Ok(Sent::accepted()),
            false => Err(http(http_error(response, inbox).await)),
        }
    }

    async fn listen(&self, inbox: &Inbox) -> Result<(), Error> {
        let begin = async { Ok(self.begin(inbox).await) };
        let Timeouts { endpoint, handshake, .. } = *inbox.timeouts();
        // The handshake must not run out first: it could not say what it was that did not come.
        let limit = endpoint.into_iter().chain(handshake.map(|handshake| handshake / 2)).min();
        let limit = limit.map(|after| TimeoutError { after, total: true });
        let mut events = match within_either(inbox, limit, Clock::Stops, begin).await {
            Ok(begun) => begun?,
            Err(late) => {
                return Err(Error::protocol_with(Violation::Endpoint("it did not come in time"), late));
            }
        };
        while let Some(event) = events.next().await {
            // Only the first `endpoint` counts: calls may be on their way there already.
            self.take(&event?, inbox);
        }
        Err(self.ended(events))
    }

    /// Opens the stream and reads as far as its `endpoint` (OLD-06).
    async fn begin<'a>(&self, inbox: &'a Inbox) -> Result<Events<'a>, Error> {
        let mut headers = self.endpoint.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        let (stream, tracking) = (&self.endpoint.url, Tracking::default());
        // Without it there is no session.
        tracking.allow_asking(true);
        self.endpoint.begins(&tracking);
        let response =
            self.endpoint.request(Method::GET, stream, &headers, Bytes::new(), &tracking, inbox).await?;
        if !response.status().is_success() {
            return Err(http(http_error(response, inbox).await));
        }
        // It is the place where the stream was found that a relative endpoint belongs to (RFC 3986, 5.1.3).
        let place = response.extensions().get::<Uri>().unwrap_or(stream).clone();
        let mut events = Events::open(response, inbox, || self.secrets())?;
        while let Some(event) = events.next().await {
            let event = event?;
            if event.name.as_deref() == Some("endpoint") {
                let target = url::endpoint(&place, &event.data)?;
                self.target.get_or_init(|| target);
                self.open.close();
                return Ok(events);
            }
            self.take(&event, inbox);
        }
        Err(self.ended(events))
    }

    fn ended(&self, mut events: Events<'_>) -> Error {
        Error::instead(Violation::StreamEnded, events.rest(|| self.secrets()).unwrap_or_default())
    }

    /// A reply is taken wherever it is, and the words of an error may say why there is none. Of other events than messages
    /// nothing else is (SSE-04): above all not what keeps the connection alive.
    fn take(&self, event: &Event, inbox: &Inbox) {
        let is_ours = is_message(event)
            || match message::parse(&event.data) {
                Ok(inbound) => matches!(inbound, Inbound::One(Message::Response { .. })),
                Err(_) => event.name.as_deref() == Some("error") && !event.data.is_empty(),
            };
        if is_ours {
            deliver(inbox, &event.data, || self.secrets());
        }
    }
}

fn http(error: HttpError) -> Error {
    Error::new(ErrorKind::Http(error), Delivery::Answered)
}

#[cfg(feature = "oauth")]
impl crate::oauth::ProtectedServer for Sse {}

#[cfg(feature = "oauth")]
impl crate::oauth::Sealed for Sse {
    fn place(&self) -> crate::oauth::Place<'_> {
        self.endpoint.place()
    }
}

impl Transport for Sse {
    fn send<'a>(&'a self, message: Outgoing<'a>, tracking: &'a Tracking, inbox: &'a Inbox) -> Sending<'a> {
        Sending::later(self.post(message, tracking, inbox))
    }

    fn run<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.endpoint.with_tokens(inbox, self.listen(inbox)))
    }

    fn negotiated(&self, revision: Revision) {
        self.endpoint.negotiated(revision);
        self.revision.get_or_init(|| revision);
    }

    /// The stream is closed with `run`; there is nothing else to end.
    fn close<'a>(&'a self, inbox: &'a Inbox) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.endpoint.settle_tokens(inbox).await;
            self.abort();
        })
    }

    /// Another origin than that of a server of the newer transport in the same place.
    fn origin(&self) -> Option<String> {
        Some(format!("sse {}", self.endpoint.origin()))
    }

    fn abort(&self) {
        self.endpoint.close();
    }

    fn renew(&self) -> Option<Result<Box<dyn Transport>, Error>> {
        Some(Ok(Box::new(Self::over(self.endpoint.renewed()))))
    }
}
