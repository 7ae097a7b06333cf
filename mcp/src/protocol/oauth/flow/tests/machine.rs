//! Unit tests of flows: grants without a person.

use super::*;
use crate::protocol::oauth::base64;
use crate::protocol::oauth::config::{Algorithm, AssertionKey, IdentityProvider};

const PROVIDER: &str = "https://idp.example/token";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

fn machine(grant: GrantKind) -> World {
    let mut world = World::good().on(METADATA, metadata(&json!({ "authorization_endpoint": null, "code_challenge_methods_supported": null, "token_endpoint_auth_methods_supported": null })));
    world.known.person = false;
    world.config.grant = grant;
    world.config.client = Some(configured("mine"));
    world
}

fn with_key(world: &mut World, algorithm: Algorithm) {
    let key = Some(AssertionKey { algorithm, id: None });
    world.config.client = Some(Client { secret: None, key, ..configured("mine") });
}

#[test]
fn oa_80_a_client_asks_for_itself() {
    let mut world = machine(GrantKind::ClientCredentials);
    let stored = world.run(unauthorized("a")).unwrap();
    assert_eq!(
        world.last(TOKEN).body.as_ref().unwrap().expose(),
        "grant_type=client_credentials&resource=https%3A%2F%2Fmcp.example%2Fmcp&scope=a"
    );
    assert_eq!(header(world.last(TOKEN), "authorization"), Some("Basic bWluZTpjbGllbnQtczNjcmV0"));
    assert_eq!((stored.requested.clone(), world.visits.len()), (words("a"), 0));
    let mut world = machine(GrantKind::ClientCredentials).knowing(stored.clone());
    world.run(step_up("b")).unwrap();
    assert_eq!(world.sent(TOKEN, "scope").as_deref(), Some("a b"));
    let kind = machine(GrantKind::ClientCredentials).knowing(stored).fails(step_up("a"));
    assert!(matches!(kind, AuthErrorKind::InsufficientScope { .. }), "{kind}");
    let mut world = machine(GrantKind::ClientCredentials).set(|config| config.client = None);
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::ClientUnknown { .. }));
    let failure =
        machine(GrantKind::ClientCredentials).on(TOKEN, error("invalid_client")).run(Why::Login).unwrap_err();
    assert!(matches!(failure.kind, AuthErrorKind::Refused(_)) && failure.step == AuthStep::ClientCredentials);
}

#[test]
fn oa_81_a_client_signs_in_place_of_showing_a_secret() {
    let mut world = machine(GrantKind::ClientCredentials);
    with_key(&mut world, Algorithm::Es256);
    world.run(Why::Login).unwrap();
    let (input, with) = &world.signed[0];
    assert_eq!(*with, SignWith::Client(Algorithm::Es256));
    let claims: Value =
        serde_json::from_slice(&base64::decode(input.split_once('.').unwrap().1).unwrap()).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!("mine"), &json!("mine"), &json!(ISSUER))
    );
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW.0), &json!(NOW.0 + 60)));
    let assertion = format!("{input}.{}", base64::encode(b"signature 1"));
    assert_eq!(world.sent(TOKEN, "client_assertion"), Some(assertion));
    assert_eq!((world.sent(TOKEN, "client_id"), header(world.last(TOKEN), "authorization")), (None, None));
    let listed = |methods: Value, algorithms: Value| {
        let document = json!({
            "token_endpoint_auth_methods_supported": methods, "token_endpoint_auth_signing_alg_values_supported": algorithms,
        });
        let mut world = machine(GrantKind::ClientCredentials).on(METADATA, metadata(&document));
        with_key(&mut world, Algorithm::EdDsa);
        world.run(Why::Login).map(drop).map_err(|failure| failure.kind)
    };
    assert_eq!(listed(json!(["private_key_jwt"]), json!(["EdDSA"])), Ok(()));
    assert!(matches!(listed(json!(["private_key_jwt"]), json!(["ES256"])), Err(AuthErrorKind::Metadata(_))));
    assert!(matches!(
        listed(json!(["client_secret_basic"]), json!(["EdDSA"])),
        Err(AuthErrorKind::Metadata(_))
    ));
}

#[test]
fn oa_82_an_identity_is_exchanged_for_an_assertion_and_that_for_a_token() {
    let provider = |secret: Option<&str>| {
        let (token_endpoint, client_id) = (PROVIDER.to_owned(), "at-idp".to_owned());
        let client_secret = secret.map(Secret::new);
        machine(GrantKind::IdentityAssertion(IdentityProvider { token_endpoint, client_id, client_secret }))
    };
    let jag = json!({ "access_token": "jag-s3cret", "issued_token_type": ID_JAG, "token_type": "N_A" });
    let mut world = provider(None).on(PROVIDER, json(&jag));
    world.run(unauthorized("a")).unwrap();
    for (name, sent) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", ID_JAG),
        ("audience", ISSUER),
        ("resource", SERVER),
        ("scope", "a"),
        ("subject_token", "subject-s3cret"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("client_id", "at-idp"),
    ] {
        assert_eq!(world.sent(PROVIDER, name).as_deref(), Some(sent));
    }
    assert_eq!(
        header(world.last(PROVIDER), "authorization"),
        None,
        "the authorization server's client is not shown to the identity provider"
    );
    for (name, sent) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", "jag-s3cret"),
        ("resource", SERVER),
        ("scope", "a"),
    ] {
        assert_eq!(world.sent(TOKEN, name).as_deref(), Some(sent));
    }
    assert_eq!(header(world.last(TOKEN), "authorization"), Some("Basic bWluZTpjbGllbnQtczNjcmV0"));
    let mut world = provider(Some("idp-s3cret")).on(PROVIDER, json(&jag));
    world.run(Why::Login).unwrap();
    assert_eq!(header(world.last(PROVIDER), "authorization"), Some("Basic YXQtaWRwOmlkcC1zM2NyZXQ="));
    for wrong in [
        json!({ "issued_token_type": null }),
        json!({ "issued_token_type": "x" }),
        json!({ "access_token": 1 }),
    ] {
        let mut world = provider(None).on(PROVIDER, json(&merged(jag.clone(), &wrong)));
        let failure = world.run(Why::Login).unwrap_err();
        assert!(matches!(failure.kind, AuthErrorKind::TokenUnusable(_)), "{failure:?}");
        assert_eq!((failure.step, failure.host.as_deref()), (AuthStep::Identity, Some("idp.example")));
        assert_eq!(world.count(TOKEN), 0);
    }
}

#[test]
fn oa_83_an_assertion_is_exchanged_once() {
    let mut world = machine(GrantKind::JwtBearer).set(|config| config.client = None);
    world.run(Why::Login).unwrap();
    let body = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=subject-s3cret\
                &resource=https%3A%2F%2Fmcp.example%2Fmcp";
    assert_eq!(world.last(TOKEN).body.as_ref().unwrap().expose(), body, "without client authentication");
    assert_eq!(header(world.last(TOKEN), "authorization"), None);
    for code in ["invalid_grant", "invalid_client"] {
        let mut world =
            machine(GrantKind::JwtBearer).set(|config| config.client = None).on(TOKEN, error(code));
        let failure = world.run(Why::Login).unwrap_err();
        assert!(matches!(failure.kind, AuthErrorKind::Refused(_)) && failure.step == AuthStep::Assertion);
        assert_eq!((world.count(TOKEN), world.subjects), (1, 1), "no second try, no other grant");
    }
}
