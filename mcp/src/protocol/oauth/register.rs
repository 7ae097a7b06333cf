//! Who we are to an authorization server: the client's metadata, and what a registration says (RFC 7591).

use super::config::{Config, UnixTime};
use super::limits::OAuthLimits;
use super::metadata::{ServerMetadata, object, string};
use super::redirect;
use super::secret::Secret;
use super::stored::{AuthMethod, Registration, RegistrationKind};
use serde_json::{Map, Value, json};

/// How the client calls itself if the application gives it no name.
const NAME: &str = "MCP client";

/// The document to publish at [`Config::client_metadata_url`], if there is one. `redirect_uris` of this machine have no
/// port: any is allowed (RFC 8252, 7.3).
pub(crate) fn document(config: &Config, redirect_uris: &[&str]) -> Option<String> {
    let url = config.client_metadata_url.as_deref()?;
    let mut document = metadata(config, redirect_uris, AuthMethod::None);
    document.insert("client_id".to_owned(), json!(url));
    Some(Value::Object(document).to_string())
}

/// The body of a registration.
pub(super) fn request(config: &Config, redirect_uri: &str, method: AuthMethod) -> String {
    Value::Object(metadata(config, &[redirect_uri], method)).to_string()
}

fn metadata(config: &Config, redirect_uris: &[&str], method: AuthMethod) -> Map<String, Value> {
    let is_native = redirect_uris.iter().all(|uri| redirect::is_native(uri));
    let mut metadata = Map::new();
    let mut put = |name: &str, value| metadata.insert(name.to_owned(), value);
    put("client_name", json!(config.client_name.as_deref().unwrap_or(NAME)));
    put("redirect_uris", json!(redirect_uris));
    put("grant_types", json!(["authorization_code", "refresh_token"]));
    put("response_types", json!(["code"]));
    put("application_type", json!(if is_native { "native" } else { "web" }));
    put("token_endpoint_auth_method", json!(method.name()));
    metadata
}

/// The method to register with: the first of ours that the server lists. If it lists none, the client asks for no
/// secret.
pub(super) fn method_to_register(server: &ServerMetadata) -> Option<AuthMethod> {
    match &server.methods {
        Some(methods) => first_of(&[AuthMethod::Basic, AuthMethod::Post, AuthMethod::None], methods),
        None => Some(AuthMethod::None),
    }
}

/// The method of a configured client, by whether it has a key or a secret.
pub(super) fn method_for(server: &ServerMetadata, has_secret: bool, has_key: bool) -> Option<AuthMethod> {
    match (has_key, has_secret, &server.methods) {
        (true, _, methods) => {
            let listed = methods.as_ref().is_none_or(|it| it.contains(&AuthMethod::PrivateKeyJwt));
            listed.then_some(AuthMethod::PrivateKeyJwt)
        }
        (_, true, Some(methods)) => {
            first_of(&[AuthMethod::Basic, AuthMethod::Post, AuthMethod::None], methods)
        }
        (_, true, None) => Some(AuthMethod::Basic),
        // Without a secret there is no other method. The server may refuse it.
        (_, false, _) => Some(AuthMethod::None),
    }
}

fn first_of(ours: &[AuthMethod], theirs: &[AuthMethod]) -> Option<AuthMethod> {
    ours.iter().find(|method| theirs.contains(method)).copied()
}

/// Reads the answer to a registration. `Err` says why it cannot be used.
pub(super) fn read(
    body: &[u8],
    redirect_uri: &str,
    asked: AuthMethod,
    limits: &OAuthLimits,
) -> Result<Registration, &'static str> {
    let answer = object(body).map_err(|_| "the registration is not a JSON object")?;
    let id = string(&answer, "client_id").ok_or("the registration has no `client_id`")?;
    let secret = string(&answer, "client_secret").map(Secret::new);
    if id.len() > limits.token || secret.as_ref().is_some_and(|it| it.expose().len() > limits.token) {
        return Err("the registration's `client_id` or `client_secret` is too long");
    }
    let method = match (string(&answer, "token_endpoint_auth_method"), &secret) {
        (Some(name), _) => AuthMethod::named(&name)
            .filter(|method| *method != AuthMethod::PrivateKeyJwt)
            .ok_or("the registration has a `token_endpoint_auth_method` that we do not have")?,
        // The default (RFC 7591, 2).
        (None, Some(_)) if asked == AuthMethod::None => AuthMethod::Basic,
        (None, _) => asked,
    };
    if secret.is_none() && method != AuthMethod::None {
        return Err(
            "the registration has no `client_secret`, and a `token_endpoint_auth_method` that needs one",
        );
    }
    let expires = answer.get("client_secret_expires_at").and_then(Value::as_u64);
    Ok(Registration {
        kind: RegistrationKind::Dynamic,
        id,
        secret_expires: expires.filter(|&end| end != 0).map(UnixTime),
        secret,
        method,
        redirect_uri: Some(redirect_uri.to_owned()),
    })
}

#[cfg(test)]
mod tests;
