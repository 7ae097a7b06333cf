//! Unit tests of `protocol::oauth::metadata`.

use super::*;
use serde_json::json;

fn limits() -> OAuthLimits {
    OAuthLimits::default()
}

fn resource(document: &Value) -> Result<ResourceMetadata, &'static str> {
    ResourceMetadata::read(document.to_string().as_bytes(), &limits())
}

fn server(document: &Value, person: bool) -> Result<ServerMetadata, Unusable> {
    ServerMetadata::read(document.to_string().as_bytes(), person)
}

#[test]
fn oa_16_what_is_no_resource_metadata() {
    for body in ["", "<html>", "[]", "null", "{}", r#"{"resource":1}"#, r#"{"resource":""}"#] {
        assert!(ResourceMetadata::read(body.as_bytes(), &limits()).is_err(), "{body}");
    }
    for servers in [json!([]), json!("https://as.example"), json!([1]), json!({})] {
        assert!(resource(&json!({ "resource": "https://h", "authorization_servers": servers })).is_err());
    }
    let deep = format!(r#"{{"resource":"x","a":{}"#, "[".repeat(100_000));
    assert!(ResourceMetadata::read(deep.as_bytes(), &limits()).is_err());
}

#[test]
fn oa_30_the_resource_stays_as_it_stands() {
    let read = resource(&json!({
        "resource": "https://H.example:443", "authorization_servers": ["https://as.example/"],
        "scopes_supported": ["a", "a", "no scope", 1], "dpop_bound_access_tokens_required": true,
    }));
    let read = read.unwrap();
    assert_eq!(read.resource, "https://H.example:443");
    assert_eq!(read.servers, ["https://as.example/"]);
    assert_eq!(read.scopes, ["a"]);
    assert!(read.wants_proofs);
    assert!(resource(&json!({ "resource": "x" })).unwrap().servers.is_empty());
}

/// RFC 8414, 3.2: the example, without its line about JWKs.
#[test]
fn oa_22_the_example_of_rfc_8414() {
    let read = server(
        &json!({
            "issuer": "https://server.example.com",
            "authorization_endpoint": "https://server.example.com/authorize",
            "token_endpoint": "https://server.example.com/token",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
            "userinfo_endpoint": "https://server.example.com/userinfo",
            "registration_endpoint": "https://server.example.com/register",
            "scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access"],
            "response_types_supported": ["code", "code token"],
            "service_documentation": "http://server.example.com/service_documentation.html",
            "ui_locales_supported": ["en-US", "en-GB", "en-CA", "fr-FR", "fr-CA"],
        }),
        true,
    );
    let read = read.unwrap();
    assert_eq!(read.issuer.as_deref(), Some("https://server.example.com"));
    assert_eq!(read.token_endpoint, "https://server.example.com/token");
    assert_eq!(read.registration_endpoint.as_deref(), Some("https://server.example.com/register"));
    assert_eq!(read.methods, Some(vec![AuthMethod::Basic, AuthMethod::PrivateKeyJwt]));
    assert!(
        read.offline_access && !read.pkce && !read.client_documents && !read.names_itself && !read.proofs
    );
    assert!(read.takes(Algorithm::Es256) && read.takes(Algorithm::Rs256) && !read.takes(Algorithm::EdDsa));
}

#[test]
fn what_a_server_does_not_say_is_not_assumed() {
    let document = json!({ "token_endpoint": "https://as.example/t", "authorization_endpoint": null });
    let read = server(&document, false).unwrap();
    assert_eq!((read.issuer.clone(), read.methods.clone()), (None, None));
    assert!(read.takes(Algorithm::EdDsa), "it lists none");
    assert!(matches!(server(&document, true), Err(Unusable::Other(_))), "a person has nowhere to go");
    assert!(matches!(server(&json!({ "issuer": "https://as.example" }), false), Err(Unusable::Other(_))));
    let guessed = ServerMetadata::guessed("https://h.example");
    assert_eq!(guessed.token_endpoint, "https://h.example/token");
    assert_eq!(guessed.authorization_endpoint.as_deref(), Some("https://h.example/authorize"));
    assert_eq!(guessed.registration_endpoint.as_deref(), Some("https://h.example/register"));
}

#[test]
fn oa_26_an_endpoint_that_is_none_makes_the_document_unusable() {
    for member in ["token_endpoint", "authorization_endpoint", "registration_endpoint", "revocation_endpoint"]
    {
        for url in [
            json!("/t"),
            json!("https://me:key@as.example/t"),
            json!("https://as.example/t#f"),
            json!(1),
            json!("file:///x"),
        ] {
            let mut document = json!({
                "issuer": "https://as.example", "token_endpoint": "https://as.example/t",
                "authorization_endpoint": "https://as.example/a",
            });
            document[member] = url;
            let broken = server(&document, true);
            assert!(matches!(&broken, Err(Unusable::Broken(why)) if why.contains(member)), "{broken:?}");
        }
    }
}
