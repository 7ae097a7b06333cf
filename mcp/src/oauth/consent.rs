//! Who can ask a person to sign in: [`Consent`], one question: [`Visit`], and a closure for both.

use crate::runtime::BoxFuture;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Who can ask a person to sign in. [`Loopback`](super::Loopback) is the usual one; [`consent_fn`] makes one of a closure.
///
/// An implementation of yours can show the address in a desktop shell, post it to a web front end, or send it to a chat.
pub trait Consent: Send + Sync + 'static {
    /// Prepares one question. When this resolves, the receiver of the answer listens already: its address is a part of what
    /// is registered with the authorization server.
    ///
    /// **Cancel safety:** the future may be dropped at any time, and then nothing has been asked.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Visit>, Box<dyn StdError + Send + Sync>>>;

    /// A consent with another redirect URI, for an authorization server that refuses to register the first one. Default:
    /// there is none.
    fn other(&self) -> Option<Box<dyn Consent>> {
        None
    }
}

/// One question to a person.
pub trait Visit: Send {
    /// Where the person's browser is sent back to.
    fn redirect_uri(&self) -> &str;

    /// Shows the address to the person, and resolves to the whole URL that the browser is sent back to, with its query.
    ///
    /// The address is `https`, or `http` on this machine (elsewhere only with
    /// [`insecure_http`](super::OAuthBuilder::insecure_http)), and has nothing in it but what a URL may have. There is no
    /// need to limit the time.
    ///
    /// **Cancel safety:** the future is dropped when the time for the person is over, and when nobody wants the answer any
    /// more.
    fn visit(
        self: Box<Self>,
        url: String,
    ) -> BoxFuture<'static, Result<String, Box<dyn StdError + Send + Sync>>>;
}

/// A [`Consent`] made of a closure, which gets the address that a person is to visit, and resolves to the whole URL that
/// the browser is sent back to: a prompt to paste it, a desktop shell with a scheme of its own, a test.
///
/// ```
/// use shared_fate_mcp::oauth::{OAuth, consent_fn};
///
/// # async fn ask(_: &str) -> Result<String, std::io::Error> { Ok(String::new()) }
/// let consent = consent_fn("com.example.app:/signed-in", |url| async move {
///     let redirected: String = ask(&format!("Please visit {url}")).await?;
///     Ok(redirected)
/// });
/// let oauth = OAuth::builder().consent(consent).build();
/// ```
pub fn consent_fn<F, A>(redirect_uri: impl Into<String>, ask: F) -> impl Consent
where
    F: Fn(String) -> A + Send + Sync + 'static,
    A: Future<Output = Result<String, Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let ask = Arc::new(move |url| Box::pin(ask(url)) as Answering);
    Closure { redirect_uri: redirect_uri.into(), ask }
}

type Answering = BoxFuture<'static, Result<String, BoxError>>;

#[derive(Clone)]
struct Closure {
    redirect_uri: String,
    ask: Arc<dyn Fn(String) -> Answering + Send + Sync>,
}

impl Consent for Closure {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Visit>, BoxError>> {
        Box::pin(async { Ok(Box::new(self.clone()) as Box<dyn Visit>) })
    }
}

impl Visit for Closure {
    fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    fn visit(self: Box<Self>, url: String) -> Answering {
        (self.ask)(url)
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consent").field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}
