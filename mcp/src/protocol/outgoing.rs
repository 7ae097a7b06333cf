//! Messages on their way, in both directions.

use super::handshake::Revision;
use super::message::RequestId;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One message on its way out.
#[derive(Clone)]
pub struct Outgoing<'a> {
    pub(crate) id: Option<u64>,
    pub(crate) method: Option<Cow<'a, str>>,
    pub(crate) body: Vec<u8>,
    /// What a request of revision 2026-07-28 says in headers, over a transport that has some.
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "pipes have no headers"))]
    pub(crate) routing: Option<Routing>,
    /// What the application adds, over a transport that has headers.
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "pipes have no headers"))]
    pub(crate) headers: Vec<(String, String)>,
}

/// What a request is about, for whoever routes it without reading it.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "pipes have no headers"))]
pub(crate) struct Routing {
    pub(crate) revision: Revision,
    /// `Mcp-Name`.
    pub(crate) name: Option<String>,
    /// `Mcp-Param-*`, without that prefix.
    pub(crate) arguments: Vec<(String, String)>,
}

impl<'a> Outgoing<'a> {
    /// A message that has no reply.
    pub(crate) fn unasked(method: Option<Cow<'a, str>>, body: Vec<u8>) -> Self {
        Self { id: None, method, body, routing: None, headers: Vec::new() }
    }

    /// A request's id; `None` for a notification or an answer.
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// The method; `None` for an answer to the server.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// The message: JSON text without a line break.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for Outgoing<'_> {
    /// Without what is in it, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Outgoing")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("bytes", &self.body.len())
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

/// A request of the server's, on its way to its handler.
#[derive(Debug)]
pub(crate) struct ServerRequest {
    pub(crate) id: RequestId,
    pub(crate) method: String,
    pub(crate) params: Option<Box<RawValue>>,
}

impl ServerRequest {
    /// How much text it has.
    pub(crate) fn bytes(&self) -> usize {
        self.params.as_ref().map_or(0, |params| params.get().len()) + self.method.len()
    }
}
