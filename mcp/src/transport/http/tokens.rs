//! Access tokens: asked for before every request; and one that the server refuses is replaced once, for
//! all who were refused meanwhile (SEC-03, SEC-05).
//!
//! Whoever finds no replacement under way leads one; the others wait for it and take what comes of it,
//! token or failure. A leader that is dropped leaves nothing behind, and those who waited for it begin
//! anew. The provider is called, and wakers are woken, without the lock.

use super::BoxFuture;
use crate::error::{Delivery, Error, HttpError, InvalidInput, IoStage};
use crate::sync::Mutex;
use ::http::header::HeaderValue;
use shared_fate::Session;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};

/// Where access tokens come from. See [`Http::token_provider`](super::Http::token_provider).
pub trait TokenProvider: Send + Sync + 'static {
    /// The token for the next request. `refused` is the server's answer (401) if it has just refused
    /// one: then it takes a new one. Of several requests that are refused at the same time one asks, and
    /// the others get what it gets; should it be given up before that, another asks.
    fn token<'a>(
        &'a self,
        refused: Option<&'a HttpError>,
    ) -> BoxFuture<'a, Result<String, Box<dyn StdError + Send + Sync>>>;
}

/// A provider, and its state for all requests to one server. Clones are the same.
#[derive(Clone)]
pub(super) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many tokens were replaced.
    generation: u64,
    replacement: Option<Arc<Replacement>>,
}

/// One replacement of a refused token.
#[derive(Default)]
struct Replacement {
    /// Ends, `Closed`, when there is an outcome, or its leader is gone.
    over: Session<Infallible>,
    outcome: OnceLock<Result<HeaderValue, Failed>>,
}

#[derive(Clone)]
enum Failed {
    Provider(Arc<dyn StdError + Send + Sync>),
    Unusable,
}

/// A token as it is sent.
pub(super) struct Token {
    pub(super) value: HeaderValue,
    /// How many had been replaced when it was asked for.
    generation: u64,
}

impl Tokens {
    pub(super) fn new(provider: impl TokenProvider) -> Self {
        Self { provider: Arc::new(provider), state: Arc::default() }
    }

    pub(super) async fn get(&self) -> Result<Token, Error> {
        let generation = self.state.lock().generation;
        let value = self.ask(None).await.map_err(Failed::into_error)?;
        Ok(Token { value, generation })
    }

    /// Another token than the one that the server has refused with this answer.
    ///
    /// **Cancel safety:** another who waits, if there is one, asks in its place.
    pub(super) async fn replace(&self, refused: &Token, answer: &HttpError) -> Result<Token, Error> {
        loop {
            let part = {
                let mut state = self.state.lock();
                (state.generation == refused.generation).then(|| {
                    let leads = state.replacement.is_none();
                    (Arc::clone(state.replacement.get_or_insert_default()), leads)
                })
            };
            // It has been replaced since it was asked for.
            let Some((replacement, leads)) = part else { return self.get().await };
            if leads {
                let lead = Lead { state: &self.state, replacement: &replacement };
                lead.end(self.ask(Some(answer)).await);
            } else {
                replacement.over.ended().await;
            }
            // Without an outcome the leader has gone.
            if let Some(outcome) = replacement.outcome.get() {
                let value = outcome.clone().map_err(Failed::into_error)?;
                return Ok(Token { value, generation: refused.generation + 1 });
            }
        }
    }

    async fn ask(&self, refused: Option<&HttpError>) -> Result<HeaderValue, Failed> {
        let token = self.provider.token(refused).await.map_err(|error| Failed::Provider(error.into()))?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Failed::Unusable)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The one who asks. However it ends, the replacement is over with it.
struct Lead<'a> {
    state: &'a Mutex<State>,
    replacement: &'a Replacement,
}

impl Lead<'_> {
    fn end(self, outcome: Result<HeaderValue, Failed>) {
        self.replacement.outcome.get_or_init(|| outcome);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let replaced = matches!(self.replacement.outcome.get(), Some(Ok(_)));
        let left_over = {
            let mut state = self.state.lock();
            state.generation += u64::from(replaced);
            state.replacement.take()
        };
        drop(left_over);
        self.replacement.over.close();
    }
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Provider(error) => Error::io_shared(IoStage::Credentials, error, Delivery::NotSent),
            Self::Unusable => Error::invalid(InvalidInput::Header("the token is not allowed in HTTP")),
        }
    }
}
