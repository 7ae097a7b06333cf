//! What a request is authorized with: the seam between an endpoint and whoever has its tokens.

use super::answer::http_error;
#[cfg(feature = "oauth")]
use super::answer::read_challenges;
use super::tokens::{Token, Tokens};
use crate::error::Error;
use crate::http_client::Body;
use crate::inbox::Inbox;
#[cfg(feature = "oauth")]
use crate::inbox::event::Event;
#[cfg(feature = "oauth")]
use crate::oauth::{Account, Connect, Credentials, Rounds, Seen};
use crate::transport::Tracking;
#[cfg(feature = "oauth")]
use ::http::header;
use ::http::header::HeaderValue;
use ::http::{Method, Response, StatusCode, Uri};
#[cfg(feature = "oauth")]
use std::{borrow::Cow, sync::Arc};

/// Who has the tokens. Clones share them.
#[derive(Clone)]
pub(super) enum Authorizer {
    Provider(Tokens),
    #[cfg(feature = "oauth")]
    OAuth(Arc<Account>),
}

/// What one request is sent with, and what it has been through.
pub(super) enum Authorization {
    Provided {
        token: Token,
        replaced: bool,
    },
    #[cfg(feature = "oauth")]
    OAuth {
        credentials: Credentials,
        rounds: Rounds,
    },
}

/// A request, to whoever authorizes it.
#[cfg_attr(not(feature = "oauth"), allow(dead_code, reason = "only OAuth asks people"))]
pub(super) struct Ask<'a> {
    pub(super) tracking: &'a Tracking,
    pub(super) inbox: &'a Inbox,
    #[cfg(feature = "oauth")]
    pub(super) connect: Connect<'a>,
}

impl Authorizer {
    /// What the request is sent with first.
    pub(super) async fn authorize(&self, ask: &Ask<'_>) -> Result<Authorization, Error> {
        let _ = ask;
        match self {
            Self::Provider(tokens) => {
                Ok(Authorization::Provided { token: tokens.get().await?, replaced: false })
            }
            #[cfg(feature = "oauth")]
            Self::OAuth(account) => {
                let watch = ask.watch();
                let credentials = account.credentials(ask.connect, &watch).await?;
                Ok(Authorization::OAuth { credentials, rounds: Rounds::default() })
            }
        }
    }

    /// Makes another authorization in the place of one that the server has refused with this answer, or hands the answer
    /// back if it says something else.
    pub(super) async fn renew(
        &self,
        authorization: &mut Authorization,
        response: Response<Body>,
        ask: &Ask<'_>,
    ) -> Result<Option<Response<Body>>, Error> {
        let (status, inbox) = (response.status(), ask.inbox);
        match (self, authorization) {
            (Self::Provider(tokens), Authorization::Provided { token, replaced })
                if status == StatusCode::UNAUTHORIZED && !*replaced =>
            {
                let answer = http_error(response, inbox).await;
                *token = match tokens.replace(token, &answer).await {
                    Ok(token) => token,
                    Err(error) => return Err(error.of_answered().after_refusal(answer)),
                };
                *replaced = true;
                Ok(None)
            }
            #[cfg(feature = "oauth")]
            (Self::OAuth(account), Authorization::OAuth { credentials, rounds })
                if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
            {
                // Without a mask: it might look like a secret, and is none.
                let fields = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
                let challenges = read_challenges(fields.map(HeaderValue::as_bytes), <[u8]>::to_vec);
                if !Account::is_refusal(status.as_u16(), &challenges) {
                    return Ok(Some(response));
                }
                let answer = http_error(response, inbox).await;
                let (asks, watch) = (ask.tracking.may_ask(), ask.watch());
                let renewed =
                    account.refused(credentials, &challenges, rounds, asks, ask.connect, &watch).await;
                *credentials = match renewed {
                    Ok(credentials) => credentials,
                    Err(error) => return Err(Error::from(error.after(answer)).of_answered()),
                };
                Ok(None)
            }
            _ => Ok(Some(response)),
        }
    }

    /// What one request, redirects apart, carries beside the token.
    pub(super) fn prove(
        &self,
        authorization: &Authorization,
        method: &Method,
        uri: &Uri,
    ) -> Result<Option<HeaderValue>, Error> {
        match (self, authorization) {
            #[cfg(feature = "oauth")]
            (Self::OAuth(account), Authorization::OAuth { credentials, .. }) if credentials.is_bound() => {
                Ok(account.proof(credentials, method.as_str(), &uri.to_string())?)
            }
            _ => {
                let _ = (method, uri);
                Ok(None)
            }
        }
    }

    /// An answer has come.
    pub(super) fn answered(&self, authorization: &Authorization, uri: &Uri, answer: &Response<Body>) {
        #[cfg(feature = "oauth")]
        if let (Self::OAuth(account), Authorization::OAuth { credentials, .. }) = (self, authorization) {
            if credentials.is_bound() {
                account.heard(&uri.to_string(), answer.headers());
            }
        }
        let _ = (authorization, uri, answer);
    }

    /// The last token, which no text may show.
    pub(super) fn latest(&self) -> Option<HeaderValue> {
        match self {
            Self::Provider(tokens) => tokens.latest(),
            #[cfg(feature = "oauth")]
            Self::OAuth(account) => account.latest(),
        }
    }
}

impl Authorization {
    /// What the request carries.
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Provided { token, .. } => Some(&token.value),
            #[cfg(feature = "oauth")]
            Self::OAuth { credentials, .. } => credentials.authorization.as_ref(),
        }
    }
}

#[cfg(feature = "oauth")]
impl Ask<'_> {
    /// Passes on what happens while the request waits.
    fn watch(&self) -> impl Fn(Seen<'_>) + Send + Sync {
        let waiting = Waiting { tracking: self.tracking, inbox: self.inbox };
        move |seen| match seen {
            Seen::Asking(asking) => waiting.asking(asking),
            Seen::Event(event) => waiting.inbox.emit(&Event::Auth(Cow::Borrowed(event))),
        }
    }
}

/// A request that may wait for a person.
#[cfg(feature = "oauth")]
struct Waiting<'a> {
    tracking: &'a Tracking,
    inbox: &'a Inbox,
}

#[cfg(feature = "oauth")]
impl Waiting<'_> {
    fn asking(&self, asking: bool) {
        if self.tracking.asking(asking, self.inbox.clock()) {
            self.inbox.asking(asking);
        }
    }
}

#[cfg(feature = "oauth")]
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.asking(false);
    }
}
