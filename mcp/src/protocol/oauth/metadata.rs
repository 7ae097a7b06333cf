//! The two documents: what a server says about itself (RFC 9728), and what an authorization server does (RFC 8414).

use super::config::Algorithm;
use super::limits::OAuthLimits;
use super::stored::AuthMethod;
use super::{place, scope};
use serde_json::{Map, Value};

/// What an MCP server says about itself.
#[derive(Clone, Debug)]
pub(super) struct ResourceMetadata {
    /// As it stands there, byte for byte.
    pub(super) resource: String,
    pub(super) servers: Vec<String>,
    pub(super) scopes: Vec<String>,
    /// Whether it takes tokens that are bound to a key, and no others.
    pub(super) wants_proofs: bool,
}

impl ResourceMetadata {
    /// `Err` says why it is no such document.
    pub(super) fn read(body: &[u8], limits: &OAuthLimits) -> Result<Self, &'static str> {
        let document = object(body)?;
        let resource = string(&document, "resource").ok_or("it has no `resource`")?;
        let servers = strings(&document, "authorization_servers");
        if document.get("authorization_servers").is_some_and(|it| !it.is_null()) && servers.is_empty() {
            return Err("its `authorization_servers` is not a list with strings in it");
        }
        let scopes = strings(&document, "scopes_supported");
        let scopes = scope::union(scopes.into_iter().filter(|it| scope::is_scope(it, limits)), limits);
        let wants_proofs = document.get("dpop_bound_access_tokens_required") == Some(&Value::Bool(true));
        Ok(Self { resource, servers, scopes, wants_proofs })
    }
}

/// What an authorization server says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerMetadata {
    pub(super) issuer: Option<String>,
    pub(super) token_endpoint: String,
    pub(super) authorization_endpoint: Option<String>,
    pub(super) registration_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    /// Whether it has the scope for refresh tokens.
    pub(super) offline_access: bool,
    /// The ways for a client to say who it is, those of them that we know; `None` if it does not say.
    pub(super) methods: Option<Vec<AuthMethod>>,
    /// The algorithms for assertions of clients; `None` if it does not say.
    pub(super) algorithms: Option<Vec<String>>,
    pub(super) pkce: bool,
    /// Whether a client's id may be the URL of a document about it.
    pub(super) client_documents: bool,
    /// Whether redirects say who sends them (RFC 9207).
    pub(super) names_itself: bool,
    pub(super) proofs: bool,
}

/// Why a document is of no use.
#[derive(Debug, PartialEq)]
pub(super) enum Unusable {
    /// It is something else: ask elsewhere.
    Other(&'static str),
    /// It is an authorization server's, and wrong: the member.
    Broken(String),
}

impl ServerMetadata {
    /// `person`: whether a person has to be sent there.
    pub(super) fn read(body: &[u8], person: bool) -> Result<Self, Unusable> {
        let document = object(body).map_err(Unusable::Other)?;
        let token_endpoint =
            endpoint(&document, "token_endpoint")?.ok_or(Unusable::Other("it has no `token_endpoint`"))?;
        let authorization_endpoint = endpoint(&document, "authorization_endpoint")?;
        if person && authorization_endpoint.is_none() {
            return Err(Unusable::Other("it has no `authorization_endpoint`"));
        }
        let has = |list, word: &str| strings(&document, list).iter().any(|it| it == word);
        let is_true = |member| document.get(member) == Some(&Value::Bool(true));
        let listed = |list| document.get(list).is_some_and(Value::is_array).then(|| strings(&document, list));
        Ok(Self {
            issuer: string(&document, "issuer"),
            registration_endpoint: endpoint(&document, "registration_endpoint")?,
            revocation_endpoint: endpoint(&document, "revocation_endpoint")?,
            offline_access: has("scopes_supported", "offline_access"),
            methods: listed("token_endpoint_auth_methods_supported")
                .map(|names| names.iter().filter_map(|name| AuthMethod::named(name)).collect()),
            algorithms: listed("token_endpoint_auth_signing_alg_values_supported"),
            pkce: has("code_challenge_methods_supported", "S256"),
            client_documents: is_true("client_id_metadata_document_supported"),
            names_itself: is_true("authorization_response_iss_parameter_supported"),
            proofs: has("dpop_signing_alg_values_supported", "ES256"),
            token_endpoint,
            authorization_endpoint,
        })
    }

    /// What is assumed of a server that says nothing about itself.
    pub(super) fn guessed(origin: &str) -> Self {
        Self {
            issuer: Some(origin.to_owned()),
            token_endpoint: format!("{origin}/token"),
            authorization_endpoint: Some(format!("{origin}/authorize")),
            registration_endpoint: Some(format!("{origin}/register")),
            pkce: true,
            ..Self::default()
        }
    }

    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.as_ref().is_none_or(|names| names.iter().any(|name| name == algorithm.name()))
    }
}

/// The members of a JSON object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, &'static str> {
    serde_json::from_slice(body).map_err(|_| "it is not a JSON object")
}

/// A member that is a text, and not an empty one.
pub(super) fn string(document: &Map<String, Value>, member: &str) -> Option<String> {
    document.get(member)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn strings(document: &Map<String, Value>, member: &str) -> Vec<String> {
    let items = document.get(member).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn endpoint(document: &Map<String, Value>, member: &str) -> Result<Option<String>, Unusable> {
    match document.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(url)) if place::is_endpoint(url) => Ok(Some(url.clone())),
        Some(_) => Err(Unusable::Broken(format!("`{member}` is not an absolute http or https URL"))),
    }
}

#[cfg(test)]
mod tests;
