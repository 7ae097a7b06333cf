//! Access tokens: asked for before every request; and one that the server refuses is replaced once, for
//! all who were refused meanwhile (SEC-03, SEC-05).
//!
//! A replacement under way is one future that all who wait for it carry on. The provider is called without the lock.

use crate::error::{Delivery, Error, HttpError, InvalidInput, IoStage};
use crate::runtime::timer::BoxFuture;
use crate::sync::Mutex;
use crate::sync::shared_future::SharedFuture;
use ::http::header::HeaderValue;
use std::error::Error as StdError;
use std::sync::Arc;

/// Where access tokens come from. See [`Http::token_provider`](crate::Http::token_provider).
pub trait TokenProvider: Send + Sync + 'static {
    /// The token for the next request. `refused` is the server's answer (401) if the server has just refused a token: then
    /// return a new one. If several requests are refused at the same time, only one of them asks, and all get the token
    /// that it gets; if that request is given up, another asks.
    fn token<'a>(
        &'a self,
        refused: Option<&'a HttpError>,
    ) -> BoxFuture<'a, Result<String, Box<dyn StdError + Send + Sync>>>;
}

/// A provider, and its state for all requests to one server. Clones share both.
#[derive(Clone)]
pub(super) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many tokens were replaced.
    generation: u64,
    /// The last one.
    latest: Option<HeaderValue>,
    /// The one under way, if one is.
    replacement: Option<SharedFuture<Outcome>>,
}

/// A token as it is sent, or why there is none.
type Outcome = Result<HeaderValue, Failed>;

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
    /// **Cancel safety:** others who wait carry the replacement on. When there are none, it is given up.
    pub(super) async fn replace(&self, refused: &Token, answer: &HttpError) -> Result<Token, Error> {
        loop {
            let (waiter, left_over) = {
                let mut state = self.state.lock();
                let State { generation, replacement, .. } = &mut *state;
                match replacement.as_ref().and_then(SharedFuture::waiter) {
                    _ if *generation != refused.generation => (None, None),
                    Some(waiter) => (Some(waiter), None),
                    None => {
                        let (shared, waiter) = SharedFuture::start(self.clone().ask_again(answer.clone()));
                        (Some(waiter), replacement.replace(shared))
                    }
                }
            };
            drop(left_over);
            // It has been replaced since it was asked for.
            let Some(waiter) = waiter else { return self.get().await };
            // `None` if a poll of another's panicked.
            if let Some(outcome) = waiter.await {
                let value = outcome.map_err(Failed::into_error)?;
                return Ok(Token { value, generation: refused.generation + 1 });
            }
        }
    }

    async fn ask_again(self, refused: HttpError) -> Outcome {
        let outcome = self.ask(Some(&refused)).await;
        let left_over = {
            let mut state = self.state.lock();
            state.generation += u64::from(outcome.is_ok());
            state.replacement.take()
        };
        drop(left_over);
        outcome
    }

    async fn ask(&self, refused: Option<&HttpError>) -> Result<HeaderValue, Failed> {
        let token = self.provider.token(refused).await.map_err(|error| Failed::Provider(error.into()))?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Failed::Unusable)?;
        value.set_sensitive(true);
        let old = self.state.lock().latest.replace(value.clone());
        drop(old);
        Ok(value)
    }

    /// The last one, which no text may show.
    pub(super) fn latest(&self) -> Option<HeaderValue> {
        self.state.lock().latest.clone()
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
