//! The OAuth scenarios of the conformance suite, one by one, as scripts of answers: what its mocks say, and what it wants
//! to see. They speak plain http on `localhost`.

use super::*;
use crate::protocol::oauth::base64;
use crate::protocol::oauth::config::{Algorithm, AssertionKey, IdentityProvider};

const MCP: &str = "http://localhost:3000/mcp";
const AS: &str = "http://localhost:3001";
const AT_MCP: &str = "http://localhost:3000/.well-known/oauth-protected-resource";
const PRM_PATH: &str = "http://localhost:3000/.well-known/oauth-protected-resource/mcp";
const AS_METADATA: &str = "http://localhost:3001/.well-known/oauth-authorization-server";
const AS_TOKEN: &str = "http://localhost:3001/token";
const AS_REGISTER: &str = "http://localhost:3001/register";

fn local(issuer: &str, extra: &Value) -> Answer {
    let document = json!({
        "issuer": issuer, "authorization_endpoint": "http://localhost:3001/authorize", "token_endpoint": AS_TOKEN,
        "registration_endpoint": AS_REGISTER, "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
    });
    json(&merged(document, extra))
}

fn about(extra: &Value) -> Answer {
    json(&merged(json!({ "resource": MCP, "authorization_servers": [AS] }), extra))
}

fn mock() -> World {
    World { server: MCP.to_owned(), ..World::empty() }
        .on(PRM_PATH, about(&json!({})))
        .on(AS_METADATA, local(AS, &json!({})))
        .on(
            AS_REGISTER,
            Answer {
                status: 201,
                ..json(&json!({ "client_id": "test-client", "redirect_uris": [CALLBACK] }))
            },
        )
        .on(AS_TOKEN, token(&json!({})))
}

fn challenge(place: Option<&str>, scope: &str) -> Why {
    Why::Unauthorized(Demand {
        resource_metadata: place.map(str::to_owned),
        scope: words(scope),
        error: None,
    })
}

/// What the suite checks of every flow with a person.
fn agrees(world: &World, resource: &str) {
    assert_eq!(world.visited("response_type").as_deref(), Some("code"));
    assert_eq!(world.visited("code_challenge_method").as_deref(), Some("S256"));
    assert!(world.visited("code_challenge").is_some() && world.sent(AS_TOKEN, "code_verifier").is_some());
    assert_eq!(world.visited("resource").as_deref(), Some(resource));
    assert_eq!(world.sent(AS_TOKEN, "resource").as_deref(), Some(resource));
    assert_eq!((world.visits.len(), world.count(AS_TOKEN)), (1, 1));
}

#[test]
fn metadata_default() {
    let mut world = mock().on(AT_MCP, about(&json!({ "resource": "http://localhost:3000/trap" })));
    world.run(challenge(Some(PRM_PATH), "")).unwrap();
    agrees(&world, MCP);
    assert_eq!(world.count(AT_MCP), 0);
}

#[test]
fn metadata_var1() {
    let openid = "http://localhost:3001/.well-known/openid-configuration";
    let mut world = mock().on(AS_METADATA, status(404)).on(openid, local(AS, &json!({})));
    world.run(challenge(None, "")).unwrap();
    agrees(&world, MCP);
}

#[test]
fn metadata_var2() {
    let (issuer, bare) = ("http://localhost:3001/tenant1", "http://localhost:3000");
    let place = "http://localhost:3001/.well-known/oauth-authorization-server/tenant1";
    let root = about(&json!({ "resource": bare, "authorization_servers": [issuer] }));
    let mut world = mock().on(PRM_PATH, status(404)).on(AT_MCP, root).on(place, local(issuer, &json!({})));
    world.run(challenge(None, "")).unwrap();
    agrees(&world, bare);
    assert_eq!(world.count(AS_METADATA), 0, "the wrong path");
}

#[test]
fn metadata_var3() {
    let (issuer, custom) =
        ("http://localhost:3001/tenant1", "http://localhost:3000/custom/metadata/location.json");
    let place = "http://localhost:3001/tenant1/.well-known/openid-configuration";
    let mut world = mock()
        .on(custom, about(&json!({ "authorization_servers": [issuer] })))
        .on(place, local(issuer, &json!({})));
    world.run(challenge(Some(custom), "")).unwrap();
    agrees(&world, MCP);
    assert_eq!(world.count(PRM_PATH), 0);
}

#[test]
fn basic_cimd() {
    let url = "https://conformance-test.local/client-metadata.json";
    let mut world =
        mock().on(AS_METADATA, local(AS, &json!({ "client_id_metadata_document_supported": true })));
    world.config.client_metadata_url = Some(url.to_owned());
    world.run(challenge(None, "")).unwrap();
    agrees(&world, MCP);
    assert_eq!(world.visited("client_id").as_deref(), Some(url));
}

#[test]
fn scope_from_www_authenticate_from_scopes_supported_and_omitted() {
    for (challenged, listed, sent) in [
        ("mcp:basic", json!(["a", "b", "c"]), Some("mcp:basic")),
        ("", json!(["mcp:basic", "mcp:read", "mcp:write"]), Some("mcp:basic mcp:read mcp:write")),
        ("", Value::Null, None),
    ] {
        let mut world = mock().on(PRM_PATH, about(&json!({ "scopes_supported": listed })));
        world.run(challenge(None, challenged)).unwrap();
        assert_eq!(world.visited("scope").as_deref(), sent);
    }
}

#[test]
fn scope_step_up() {
    let listed = || {
        mock().on(PRM_PATH, about(&json!({ "scopes_supported": ["mcp:basic", "mcp:write", "mcp:other"] })))
    };
    let mut world = listed();
    let first = world.run(challenge(None, "mcp:basic")).unwrap();
    assert_eq!(world.visited("scope").as_deref(), Some("mcp:basic"));
    let mut world = listed().knowing(first);
    world.run(step_up("mcp:write")).unwrap();
    assert_eq!(world.visited("scope").as_deref(), Some("mcp:basic mcp:write"));
}

#[test]
fn scope_retry_limit() {
    let first = mock().run(challenge(None, "mcp:basic")).unwrap();
    let mut world = mock().knowing(first);
    assert!(matches!(world.fails(step_up("mcp:basic")), AuthErrorKind::InsufficientScope { .. }));
    assert!(world.visits.is_empty());
}

#[test]
fn token_endpoint_auth_basic_post_and_none() {
    for (method, has_header, has_secret) in
        [("client_secret_basic", true, false), ("client_secret_post", false, true), ("none", false, false)]
    {
        let document = local(AS, &json!({ "token_endpoint_auth_methods_supported": [method] }));
        let secret = (method != "none").then_some("client-s3cret");
        let registered =
            json!({ "client_id": "id", "client_secret": secret, "token_endpoint_auth_method": method });
        let mut world = mock().on(AS_METADATA, document).on(AS_REGISTER, json(&registered));
        world.run(challenge(None, "")).unwrap();
        agrees(&world, MCP);
        assert_eq!(header(world.last(AS_TOKEN), "authorization").is_some(), has_header, "{method}");
        assert_eq!(world.sent(AS_TOKEN, "client_secret").is_some(), has_secret, "{method}");
    }
}

#[test]
fn pre_registration() {
    let document = json!({ "registration_endpoint": null, "token_endpoint_auth_methods_supported": ["client_secret_basic"] });
    let mut world = mock().on(AS_METADATA, local(AS, &document));
    world.config.client = Some(configured("pre-registered-client"));
    world.run(challenge(None, "")).unwrap();
    agrees(&world, MCP);
    assert!(header(world.last(AS_TOKEN), "authorization").unwrap().starts_with("Basic "));
}

#[test]
fn resource_mismatch() {
    let mut world = mock().on(PRM_PATH, about(&json!({ "resource": "https://evil.example/mcp" })));
    assert!(matches!(world.fails(challenge(None, "")), AuthErrorKind::ResourceMismatch { .. }));
    assert_eq!((world.asked(), world.visits.len()), (vec![format!("GET {PRM_PATH}")], 0));
}

#[test]
fn offline_access_scope_and_not_supported() {
    for (listed, sent) in [(json!(["mcp", "offline_access"]), "mcp offline_access"), (json!(["mcp"]), "mcp")]
    {
        let document = json!({ "scopes_supported": listed, "client_id_metadata_document_supported": true });
        let mut world = mock()
            .on(AS_METADATA, local(AS, &document))
            .on(PRM_PATH, about(&json!({ "scopes_supported": ["mcp"] })));
        world.run(challenge(None, "")).unwrap();
        agrees(&world, MCP);
        assert_eq!(world.visited("scope").as_deref(), Some(sent));
        let body: Value =
            serde_json::from_str(world.last(AS_REGISTER).body.as_ref().unwrap().expose()).unwrap();
        assert_eq!(body["grant_types"], json!(["authorization_code", "refresh_token"]));
    }
}

#[test]
fn authorization_server_migration() {
    let first = mock().run(challenge(None, "mcp")).unwrap();
    let second = "http://localhost:3002";
    let document = json!({
        "authorization_endpoint": "http://localhost:3002/authorize", "token_endpoint": "http://localhost:3002/token",
        "registration_endpoint": "http://localhost:3002/register",
    });
    let mut world = mock()
        .knowing(first)
        .on(PRM_PATH, about(&json!({ "authorization_servers": [second] })))
        .on("http://localhost:3002/.well-known/oauth-authorization-server", local(second, &document))
        .on("http://localhost:3002/register", json(&json!({ "client_id": "second-client" })))
        .on("http://localhost:3002/token", token(&json!({})));
    let stored = world.run(challenge(None, "")).unwrap();
    assert_eq!((&*stored.issuer, &*stored.registration.id), (second, "second-client"));
    assert_eq!(world.sent("http://localhost:3002/token", "client_id").as_deref(), Some("second-client"));
    assert_eq!(world.count(AS_TOKEN) + world.count(AS_REGISTER), 0);
}

#[test]
fn iss_supported_not_advertised_missing_wrong_unexpected_and_normalized() {
    type Back = fn(&str) -> String;
    let right: Back = |state| format!("code=c&state={state}&iss=http%3A%2F%2Flocalhost%3A3001");
    let none: Back = |state| format!("code=c&state={state}");
    let wrong: Back = |state| format!("code=c&state={state}&iss=https%3A%2F%2Fevil.example");
    let slash: Back = |state| format!("code=c&state={state}&iss=http%3A%2F%2Flocalhost%3A3001%2F");
    for (promised, back, tokens) in [
        (true, right, 1),
        (false, none, 1),
        (true, none, 0),
        (true, wrong, 0),
        (false, wrong, 0),
        (true, slash, 0),
    ] {
        let document = local(AS, &json!({ "authorization_response_iss_parameter_supported": promised }));
        let mut world = World { back, ..mock() }.on(AS_METADATA, document);
        let outcome = world.run(challenge(None, ""));
        assert_eq!(outcome.is_ok(), tokens == 1);
        assert_eq!((world.visits.len(), world.count(AS_TOKEN)), (1, tokens), "the authorization was reached");
    }
}

#[test]
fn metadata_issuer_mismatch() {
    let mut world = mock().on(AS_METADATA, local("https://evil.example", &json!({})));
    assert!(matches!(world.fails(challenge(None, "")), AuthErrorKind::IssuerMismatch { .. }));
    assert_eq!((world.count(AS_METADATA), world.visits.len(), world.count(AS_REGISTER)), (1, 0, 0));
}

#[test]
fn the_first_editions_metadata_backcompat_and_endpoint_fallback() {
    let own = "http://localhost:3000/.well-known/oauth-authorization-server";
    let mut world = mock().on(PRM_PATH, status(404)).on(own, local("http://localhost:3000", &json!({})));
    world.run(challenge(None, "")).unwrap();
    agrees(&world, MCP);
    let mut world = World { server: MCP.to_owned(), ..World::empty() }
        .on("http://localhost:3000/register", json(&json!({ "client_id": "id" })))
        .on("http://localhost:3000/token", token(&json!({})));
    world.config.guess_endpoints = true;
    world.run(challenge(None, "")).unwrap();
    assert!(world.visits[0].starts_with("http://localhost:3000/authorize?"));
}

#[test]
fn client_credentials_basic_and_jwt() {
    let with = |methods: Value| {
        let document =
            json!({ "token_endpoint_auth_methods_supported": methods, "authorization_endpoint": null });
        let mut world = mock().on(AS_METADATA, local(AS, &document));
        world.config.grant = GrantKind::ClientCredentials;
        world.config.client = Some(configured("conformance-client"));
        world
    };
    let mut world = with(json!(["client_secret_basic"]));
    world.run(challenge(None, "")).unwrap();
    assert!(header(world.last(AS_TOKEN), "authorization").unwrap().starts_with("Basic "));
    let mut world = with(json!(["private_key_jwt"]));
    let key = Some(AssertionKey { algorithm: Algorithm::Es256, id: None });
    world.config.client = Some(Client { secret: None, key, ..configured("conformance-client") });
    world.run(challenge(None, "")).unwrap();
    let (_, claims) = world.signed[0].0.split_once('.').unwrap();
    let claims: Value = serde_json::from_slice(&base64::decode(claims).unwrap()).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!("conformance-client"), &json!("conformance-client"), &json!(AS))
    );
    assert!(world.sent(AS_TOKEN, "client_assertion").is_some());
}

#[test]
fn enterprise_managed_authorization_and_wif_jwt_bearer() {
    let idp = "http://localhost:3003/token";
    let jag = json!({ "access_token": "jag", "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A" });
    let document = local(AS, &json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] }));
    let mut world = mock().on(idp, json(&jag)).on(AS_METADATA, document);
    let provider = IdentityProvider {
        token_endpoint: idp.to_owned(),
        client_id: "idp-client".to_owned(),
        client_secret: None,
    };
    world.config.grant = GrantKind::IdentityAssertion(provider);
    world.config.client = Some(configured("mine"));
    let mut flow = world.begin(challenge(None, ""));
    drive(&mut world, &mut flow, "id-token");
    assert_eq!(world.sent(idp, "subject_token").as_deref(), Some("id-token"));
    assert_eq!(world.sent(idp, "audience").as_deref(), Some(AS));
    assert_eq!(world.sent(AS_TOKEN, "assertion").as_deref(), Some("jag"));
    assert!(header(world.last(AS_TOKEN), "authorization").unwrap().starts_with("Basic "));
    let mut world = mock();
    world.config.grant = GrantKind::JwtBearer;
    let mut flow = world.begin(challenge(None, ""));
    drive(&mut world, &mut flow, "workload-jwt");
    assert_eq!(world.sent(AS_TOKEN, "assertion").as_deref(), Some("workload-jwt"));
    assert_eq!(
        (header(world.last(AS_TOKEN), "authorization"), world.sent(AS_TOKEN, "client_id")),
        (None, None)
    );
}

/// Runs a flow in which the application is asked for something, at an issuer of this file's.
fn drive(world: &mut World, flow: &mut Flow, subject: &str) {
    loop {
        match flow.step(NOW) {
            Step::Fetch(fetch) => {
                let answer = world.script(&fetch.url).front().cloned().unwrap_or(Ok(status(404)));
                world.fetched.push(fetch);
                flow.answered(answer.unwrap());
            }
            Step::Subject { issuer } => {
                assert_eq!(issuer, AS);
                flow.subject(Secret::new(subject));
            }
            Step::Done(_) => return,
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn dpop_and_dpop_nonce() {
    let document = local(AS, &json!({ "dpop_signing_alg_values_supported": ["ES256"] }));
    let bound = token(&json!({ "token_type": "DPoP" }));
    let proving = |mut world: World| {
        world.config.dpop = Dpop::Auto;
        world.known.proof_key = Some(ProofKey { pkcs8: Secret::new("key-s3cret"), x: [1; 32], y: [2; 32] });
        world.on(AS_METADATA, document.clone())
    };
    let mut world = proving(mock()).on(AS_TOKEN, bound.clone());
    let stored = world.run(challenge(None, "")).unwrap();
    assert!(stored.authorization().unwrap().expose().starts_with("DPoP "));
    let wanted = Answer { dpop_nonce: Some("nonce-1".to_owned()), ..error("use_dpop_nonce") };
    let mut world = proving(mock());
    *world.script(AS_TOKEN) = [Ok(wanted), Ok(bound)].into();
    world.run(challenge(None, "")).unwrap();
    assert_eq!((world.count(AS_TOKEN), world.visits.len(), world.signed.len()), (2, 1, 2));
}
