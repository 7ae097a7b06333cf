//! [`CallStart`] and [`CallEnd`]: what whoever watches calls is told, and what it may add to them.

use crate::error::{Delivery, Error};
use crate::types::Json;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A request that is about to be sent. See [`Builder::on_call`](crate::Builder::on_call).
pub struct CallStart<'a> {
    pub(crate) method: &'a str,
    pub(crate) id: u64,
    pub(crate) server: Option<&'a str>,
    pub(crate) meta: Vec<(String, Json)>,
    pub(crate) headers: Vec<(String, String)>,
}

impl CallStart<'_> {
    /// The method.
    pub fn method(&self) -> &str {
        self.method
    }

    /// The request's id. No two requests of a session have the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What errors call the server: see [`Error::server`].
    pub fn server(&self) -> Option<&str> {
        self.server
    }

    /// Adds a member to the request's `_meta`. One of the same name that
    /// [`CallOptions::meta`](crate::CallOptions::meta) has takes its place.
    ///
    /// # Errors
    ///
    /// When the value cannot be made JSON.
    pub fn meta(&mut self, name: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.meta.push((name.into(), Json::new(value)?));
        Ok(())
    }

    /// Adds a header, where the request is one over HTTP; elsewhere there are none. The same ones are allowed as for
    /// `Http::header`. One that is not makes the call fail, before anything is sent.
    pub fn header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.headers.push((name.into(), value.into()));
    }
}

impl fmt::Debug for CallStart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is added may be secret.
        f.debug_struct("CallStart")
            .field("method", &self.method)
            .field("id", &self.id)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// How a request has ended. See [`Builder::on_call`](crate::Builder::on_call).
#[derive(Debug)]
pub struct CallEnd<'a> {
    pub(crate) elapsed: Duration,
    pub(crate) error: Option<&'a Error>,
    pub(crate) delivery: Delivery,
    pub(crate) dropped: bool,
}

impl CallEnd<'_> {
    /// How long it took, by the client's [timer](crate::Builder::timer).
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Why it failed; `None` where it has a result, or was dropped. A tool that fails by itself is a result.
    pub fn error(&self) -> Option<&Error> {
        self.error
    }

    /// Whether the server may have seen it.
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Whether the caller has dropped it.
    pub fn is_dropped(&self) -> bool {
        self.dropped
    }
}

/// Is told that a request begins, and returns what is to be told its end.
pub(crate) type CallHook = Arc<dyn Fn(&mut CallStart<'_>) -> EndHook + Send + Sync>;

pub(crate) type EndHook = Box<dyn FnOnce(&CallEnd<'_>) + Send>;
