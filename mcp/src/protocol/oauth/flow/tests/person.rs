//! Unit tests of flows: a person is sent away, and comes back.

use super::*;
use crate::protocol::oauth::config::ResourceParameter;
use crate::protocol::oauth::dpop::sha256;
use crate::protocol::oauth::failure::{IssuerIn, OAuthAnswer};

#[test]
fn what_a_person_is_sent_away_with() {
    let mut world = World::good();
    world.run(unauthorized("a b")).unwrap();
    let verifier = world.sent(TOKEN, "code_verifier").unwrap();
    let state = world.visited("state").unwrap();
    assert_eq!((state.len(), verifier.len()), (22, 43), "128 and 256 random bits");
    let challenge = sha256(&verifier);
    let expected = format!(
        "https://as.example/authorize?response_type=code&client_id=registered-id\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A4000%2Fcallback&code_challenge={challenge}&code_challenge_method=S256\
         &state={state}&resource=https%3A%2F%2Fmcp.example%2Fmcp&scope=a%20b"
    );
    assert_eq!(world.visits, [expected]);
    let body = format!(
        "grant_type=authorization_code&code=code-s3cret&redirect_uri=http%3A%2F%2F127.0.0.1%3A4000%2Fcallback\
         &code_verifier={verifier}&resource=https%3A%2F%2Fmcp.example%2Fmcp&client_id=registered-id"
    );
    assert_eq!(world.last(TOKEN).body.as_ref().unwrap().expose(), body);
    assert_eq!(header(world.last(TOKEN), "content-type"), Some("application/x-www-form-urlencoded"));
    let mut other = World { seed: 8, ..World::good() };
    other.run(Why::Login).unwrap();
    assert_ne!(other.visited("state"), Some(state));
}

#[test]
fn an_endpoint_may_have_a_query_and_the_application_parameters() {
    for (endpoint, start) in [
        ("https://as.example/a?tenant=1", "https://as.example/a?tenant=1&response_type=code&"),
        ("https://as.example/a?", "https://as.example/a?response_type=code&"),
        ("https://as.example/a?x=1&", "https://as.example/a?x=1&response_type=code&"),
    ] {
        let mut world = World::good().on(METADATA, metadata(&json!({ "authorization_endpoint": endpoint })));
        world.config.authorize_parameters = vec![("access_type".to_owned(), "off line".to_owned())];
        world.run(Why::Login).unwrap();
        assert!(world.visits[0].starts_with(start), "{}", world.visits[0]);
        assert!(world.visits[0].ends_with("&access_type=off%20line"), "{}", world.visits[0]);
    }
    use crate::protocol::oauth::config::is_reserved_parameter;
    assert!(
        ["state", "resource", "redirect_uri", "code_challenge"]
            .iter()
            .all(|name| is_reserved_parameter(name))
    );
    assert!(!is_reserved_parameter("access_type") && !is_reserved_parameter("prompt"));
}

#[test]
fn oa_30_the_resource_is_the_documents_byte_for_byte() {
    for resource in ["https://mcp.example", "https://mcp.example/", "https://MCP.example:443/mcp"] {
        let mut world = World::good().on(PRM, prm(&json!({ "resource": resource })));
        let stored = world.run(Why::Login).unwrap();
        assert_eq!(world.visited("resource").as_deref(), Some(resource));
        assert_eq!(world.sent(TOKEN, "resource").as_deref(), Some(resource));
        assert_eq!(stored.resource.as_deref(), Some(resource));
    }
}

#[test]
fn oa_31_without_a_document_it_is_the_url_as_the_user_wrote_it() {
    for (url, resource) in [
        ("https://mcp.example/?key=1#x", "https://mcp.example"),
        ("https://mcp.example", "https://mcp.example"),
        ("https://mcp.example/a/?q", "https://mcp.example/a/"),
    ] {
        let own = metadata(&json!({ "issuer": "https://mcp.example" }));
        let mut world = World { server: url.to_owned(), ..World::good() }
            .on("https://mcp.example/.well-known/oauth-authorization-server", own);
        world.run(Why::Login).unwrap();
        assert_eq!(world.visited("resource").as_deref(), Some(resource));
    }
}

#[test]
fn oa_32_the_resource_is_left_out_only_if_that_is_asked_for() {
    for (parameter, sent) in
        [(ResourceParameter::Omit, None), (ResourceParameter::Fixed("x y".to_owned()), Some("x y"))]
    {
        let mut world = World::good().set(|config| config.resource_parameter = parameter);
        let stored = world.run(Why::Login).unwrap();
        assert_eq!(world.visited("resource").as_deref(), sent);
        assert_eq!(world.sent(TOKEN, "resource").as_deref(), sent);
        assert_eq!(stored.resource.as_deref(), sent);
    }
    let kind = World::good().on(TOKEN, error("invalid_target")).fails(Why::Login);
    assert!(
        matches!(kind, AuthErrorKind::Refused(_)),
        "the request is never repeated without the resource: {kind}"
    );
}

#[test]
fn oa_60_a_redirect_of_another_attempt_is_refused() {
    for back in
        [|_: &str| "code=x&state=other".to_owned(), |_: &str| "code=x".to_owned()] as [fn(&str) -> String; 2]
    {
        let mut world = World { back, ..World::good() };
        assert_eq!(world.fails(Why::Login), AuthErrorKind::State);
        assert_eq!(world.count(TOKEN), 0);
    }
}

#[test]
fn oa_61_a_redirect_of_another_server_is_refused() {
    let promised = metadata(&json!({ "authorization_response_iss_parameter_supported": true }));
    let silent = metadata(&json!({}));
    type Back = fn(&str) -> String;
    let right: Back = |state| format!("code=c&state={state}&iss=https%3A%2F%2Fas.example");
    let none: Back = |state| format!("code=c&state={state}");
    let foreign: Back =
        |state| format!("error=x&error_description=s&state={state}&iss=https%3A%2F%2Fevil.example");
    let slash: Back = |state| format!("code=c&state={state}&iss=https%3A%2F%2Fas.example%2F");
    for (document, back, found) in [
        (&promised, right, None),
        (&silent, right, None),
        (&silent, none, None),
        (&promised, none, Some("")),
        (&promised, foreign, Some("https://evil.example")),
        (&silent, foreign, Some("https://evil.example")),
        (&promised, slash, Some("https://as.example/")),
    ] {
        let mut world = World { back, ..World::good().on(METADATA, document.clone()) };
        let outcome = world.run(Why::Login).map(drop).map_err(|failure| failure.kind);
        let mismatch = |found: &str| {
            let (expected, found) = (ISSUER.to_owned(), found.to_owned());
            AuthErrorKind::IssuerMismatch { expected, found, at: IssuerIn::Redirect }
        };
        assert_eq!(outcome.err(), found.map(mismatch));
        assert_eq!((world.visits.len(), world.count(TOKEN)), (1, usize::from(found.is_none())));
    }
}

#[test]
fn oa_62_a_code_is_used_once_at_the_server_that_gave_it() {
    for answer in [status(500), error("invalid_grant"), status(307), json(&json!({}))] {
        let mut world =
            World::good().on(TOKEN, Answer { location: Some("https://evil.example".to_owned()), ..answer });
        world.run(Why::Login).unwrap_err();
        assert_eq!((world.count(TOKEN), world.count("https://evil.example")), (1, 0));
    }
}

#[test]
fn a_person_who_says_no_is_an_error_with_the_servers_words() {
    let back: fn(&str) -> String =
        |state| format!("error=access_denied&error_description=no%0A%1B[2Jway&state={state}");
    let failure = World { back, ..World::good() }.run(Why::Login).unwrap_err();
    let description = Some("no\u{fffd}\u{fffd}[2Jway".to_owned());
    let words = OAuthAnswer { error: "access_denied".to_owned(), description, uri: None };
    assert_eq!((failure.kind, failure.step), (AuthErrorKind::Denied(words), AuthStep::Consent));
    let failure =
        World { back: |state| format!("state={state}"), ..World::good() }.run(Why::Login).unwrap_err();
    assert_eq!(failure.kind, AuthErrorKind::Consent);
    assert_eq!(failure.source.unwrap().to_string(), "the redirect has neither a code nor an error");
}

#[test]
fn nobody_is_asked_if_nobody_may_be() {
    for why in [unauthorized("a"), step_up("new"), Why::Login] {
        let mut world = World::good().knowing(stored());
        world.known.person = false;
        let issuer = Some(ISSUER.to_owned());
        assert_eq!(world.fails(why), AuthErrorKind::LoginRequired { issuer });
        assert!(world.asked().is_empty(), "the flow ends at once");
    }
}

#[test]
fn lim_an_authorization_url_has_8_kib_and_a_redirect_16() {
    let padded = |length: usize| {
        let mut world = World::good();
        world.config.authorize_parameters = vec![("x".to_owned(), "y".repeat(length))];
        world
    };
    let mut world = padded(0);
    world.run(Why::Login).unwrap();
    let left = 8 * 1024 - world.visits[0].len();
    padded(left).run(Why::Login).unwrap();
    let mut world = padded(left + 1);
    assert_eq!(world.fails(Why::Login), AuthErrorKind::Limit("authorization_url"));
    assert!(world.visits.is_empty());
    fn back<const LENGTH: usize>(state: &str) -> String {
        let query = format!("state={state}&code=");
        let left = LENGTH - CALLBACK.len() - 1 - query.len();
        query + &"c".repeat(left)
    }
    World { back: back::<{ 16 * 1024 }>, ..World::good() }.run(Why::Login).unwrap();
    let kind = World { back: back::<{ 16 * 1024 + 1 }>, ..World::good() }.fails(Why::Login);
    assert_eq!(kind, AuthErrorKind::Limit("redirect_url"));
}
