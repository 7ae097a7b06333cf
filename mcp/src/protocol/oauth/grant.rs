//! What is asked of a token endpoint, and what its answers mean.

use super::config::UnixTime;
use super::failure::{AuthErrorKind, OAuthAnswer, Refusal};
use super::form::{Form, encode};
use super::limits::OAuthLimits;
use super::metadata::{object, string};
use super::secret::Secret;
use super::stored::{AuthMethod, Members, Registration, Scheme, Tokens};
use super::{place, scope};
use crate::encoding::base64;
use serde_json::{Map, Value};

/// Adds who we are: to the form, or as the value of the `Authorization` header, never both (RFC 6749, 2.3).
pub(super) fn authenticate(
    form: Form,
    client: &Registration,
    assertion: Option<&Secret>,
) -> (Form, Option<Secret>) {
    const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let secret = client.secret.as_ref().map_or("", Secret::expose);
    match client.method {
        AuthMethod::Basic => (form, Some(basic(&client.id, secret))),
        AuthMethod::Post => (form.with("client_id", &client.id).with("client_secret", secret), None),
        AuthMethod::None if client.id.is_empty() => (form, None),
        AuthMethod::None => (form.with("client_id", &client.id), None),
        AuthMethod::PrivateKeyJwt => {
            let assertion = assertion.map_or("", Secret::expose);
            (form.with("client_assertion_type", ASSERTION).with("client_assertion", assertion), None)
        }
    }
}

/// Both are form values before they are put together (RFC 6749, 2.3.1).
fn basic(id: &str, secret: &str) -> Secret {
    let pair = Secret::new(format!("{}:{}", encode(id), encode(secret)));
    Secret::new(format!("Basic {}", base64(pair.expose().as_bytes())))
}

/// An answer that is no success, and what it means for the tokens that are stored.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) kind: AuthErrorKind,
    pub(super) refusal: Option<Refusal>,
}

impl Refused {
    fn kept(kind: AuthErrorKind) -> Self {
        Self { kind, refusal: None }
    }
}

/// Whether a status says nothing but "not now".
pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

/// The members of a successful answer.
pub(super) fn read(
    status: u16,
    retry_after: Option<u64>,
    body: &[u8],
) -> Result<Map<String, Value>, Refused> {
    let unavailable = || Refused::kept(AuthErrorKind::Unavailable { status: Some(status), retry_after });
    if is_passing(status) {
        return Err(unavailable());
    }
    // A redirect is not followed: it would take the secrets elsewhere.
    if (300..400).contains(&status) {
        return Err(Refused::kept(AuthErrorKind::TokenUnusable("the endpoint redirects")));
    }
    match error(body) {
        Some(answer) => Err(match &*answer.error {
            "temporarily_unavailable" | "slow_down" | "server_error" => unavailable(),
            code => {
                let refusal = match code {
                    "invalid_grant" => Refusal::Definitive,
                    "invalid_client" | "unauthorized_client" => Refusal::ClientForgotten,
                    _ => Refusal::Other,
                };
                Refused { refusal: Some(refusal), kind: AuthErrorKind::Refused(answer) }
            }
        }),
        None if matches!(status, 200 | 201) => object(body).map_err(|_| unavailable()),
        None => Err(unavailable()),
    }
}

/// The OAuth error of a body, if it is one; a status may say anything (GitHub says 200).
pub(super) fn error(body: &[u8]) -> Option<OAuthAnswer> {
    let members = object(body).ok()?;
    let error = match members.get("error")? {
        Value::Null => return None,
        Value::String(code) => code.clone(),
        _ => "an error without a code".to_owned(),
    };
    let uri = string(&members, "error_uri").map(|uri| place::shown(&uri).to_owned());
    Some(OAuthAnswer { error, description: string(&members, "error_description"), uri })
}

/// What a token answer says.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) tokens: Tokens,
    /// `None` if it is what was asked for, or what it was before.
    pub(super) granted: Option<Vec<String>>,
}

/// Reads a token answer. What it does not say stays as it was (RFC 6749, 6).
pub(super) fn issued(
    mut answer: Map<String, Value>,
    before: Option<&Tokens>,
    now: UnixTime,
    limits: &OAuthLimits,
) -> Result<Issued, &'static str> {
    let mut take = |member| {
        let value = answer.remove(member);
        value.filter(|it| !it.is_null())
    };
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let access = text(take("access_token")).map(Secret::new).ok_or("the answer has no `access_token`")?;
    // The token becomes a header's value.
    if !access.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the `access_token` is not visible ASCII");
    }
    let refresh = text(take("refresh_token")).map(Secret::new);
    if [Some(&access), refresh.as_ref()].into_iter().flatten().any(|it| it.expose().len() > limits.token) {
        return Err("a token is too long");
    }
    let scheme = match take("token_type") {
        None => before.map_or(Scheme::Bearer, |it| it.scheme),
        Some(Value::String(name)) => {
            Scheme::named(&name).ok_or("the `token_type` is neither Bearer nor DPoP")?
        }
        Some(_) => return Err("the `token_type` is not a text"),
    };
    let granted = text(take("scope")).map(|text| scope::read(&text, limits));
    let expires =
        take("expires_in").and_then(|value| seconds(&value)).map(|life| UnixTime(now.0.saturating_add(life)));
    let refresh = refresh.or_else(|| before.and_then(|it| it.refresh.clone()));
    let others = Members(answer);
    Ok(Issued { tokens: Tokens { access, scheme, refresh, obtained: now, expires, others }, granted })
}

/// A lifetime; `None` for one that makes no sense, which is as good as none.
fn seconds(value: &Value) -> Option<u64> {
    const CENTURY: f64 = 100.0 * 366.0 * 86_400.0;
    let seconds = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in the range")]
    (0.0..=CENTURY).contains(&seconds).then_some(seconds as u64)
}

/// For how many seconds a token endpoint is left alone after it has failed so many times in a row in a passing way.
pub(crate) fn back_off(failures: u32, retry_after: Option<u64>) -> u64 {
    const LONGEST: u64 = 60;
    const LONGEST_ASKED: u64 = 600;
    let doubled = 1u64.checked_shl(failures.saturating_sub(1)).map_or(LONGEST, |it| it.min(LONGEST));
    doubled.max(retry_after.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests;
