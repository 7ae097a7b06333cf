//! Unit tests of flows: who we are to an authorization server.

use super::*;

const DOCUMENT: &str = "https://app.example/client.json";

fn documents(config: &mut Config) {
    config.client_metadata_url = Some(DOCUMENT.to_owned());
}

#[test]
fn oa_40_configured_then_a_document_then_registered() {
    let document = metadata(&json!({ "client_id_metadata_document_supported": true }));
    let mut world = World::good()
        .on(METADATA, document.clone())
        .set(documents)
        .set(|config| config.client = Some(configured("mine")));
    let stored = world.run(Why::Login).unwrap();
    assert_eq!((stored.registration.kind, &*stored.registration.id), (RegistrationKind::Configured, "mine"));
    let mut world = World::good().on(METADATA, document).set(documents);
    let stored = world.run(Why::Login).unwrap();
    assert_eq!((stored.registration.kind, &*stored.registration.id), (RegistrationKind::Document, DOCUMENT));
    assert_eq!(world.visited("client_id").as_deref(), Some(DOCUMENT));
    assert_eq!(world.sent(TOKEN, "client_id").as_deref(), Some(DOCUMENT));
    assert_eq!(world.count(REGISTER), 0);
    let mut world = World::good().set(documents);
    let stored = world.run(Why::Login).unwrap();
    assert_eq!(
        (stored.registration.kind, &*stored.registration.id),
        (RegistrationKind::Dynamic, "registered-id")
    );
    for (supported, help) in [(true, "client_metadata_url"), (false, "`client`")] {
        let none = metadata(
            &json!({ "registration_endpoint": null, "client_id_metadata_document_supported": supported }),
        );
        let kind = World::good().on(METADATA, none).fails(Why::Login);
        assert!(
            matches!(kind, AuthErrorKind::ClientUnknown { .. }) && kind.to_string().contains(help),
            "{kind}"
        );
    }
}

#[test]
fn oa_42_a_configured_client_is_shown_to_its_own_issuer_alone() {
    let owned = |issuer: Option<&str>| {
        let issuer = issuer.map(str::to_owned);
        World::good().set(|config| config.client = Some(Client { issuer, ..configured("mine") }))
    };
    owned(Some("https://as.example/")).run(Why::Login).unwrap();
    let mut world = owned(Some("https://other.example"));
    let (expected, found) = ("https://other.example".to_owned(), ISSUER.to_owned());
    assert_eq!(world.fails(Why::Login), AuthErrorKind::ClientOfOtherIssuer { expected, found });
    assert!(world.visits.is_empty() && world.count(TOKEN) == 0);
    // The issuer that a client was used with first is remembered.
    let mut before = owned(None).run(Why::Login).unwrap();
    owned(None).knowing(before.clone()).run(Why::Login).unwrap();
    before.issuer = "https://first.example".to_owned();
    let kind = owned(None).knowing(before).fails(Why::Login);
    assert!(matches!(kind, AuthErrorKind::ClientOfOtherIssuer { .. }), "{kind}");
}

#[test]
fn oa_42_a_refresh_shows_the_configured_secret_to_its_own_issuer_alone() {
    let shown = |owner: &str| {
        let mut before = stored();
        before.registration.kind = RegistrationKind::Configured;
        let issuer = Some(owner.to_owned());
        let client = Client { issuer, ..configured(&before.registration.id) };
        let mut world = World::good().set(|config| config.client = Some(client)).knowing(before);
        world.run(Why::Refresh).unwrap();
        world.sent(TOKEN, "client_secret")
    };
    assert_eq!(shown(ISSUER).as_deref(), Some("client-s3cret"));
    assert_eq!(
        shown("https://other.example").as_deref(),
        Some("stored-s3cret"),
        "the issuer has seen this secret already"
    );
}

#[test]
fn oa_43_a_registration_has_the_receivers_own_uri() {
    let mut world = World::good();
    world.run(Why::Login).unwrap();
    let fetch = world.last(REGISTER);
    assert_eq!(header(fetch, "content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(fetch.body.as_ref().unwrap().expose()).unwrap();
    assert_eq!(body["redirect_uris"], json!([CALLBACK]));
    assert_eq!(body["application_type"], "native");
    assert_eq!(body["token_endpoint_auth_method"], "none");
    assert_eq!(world.visited("redirect_uri").as_deref(), Some(CALLBACK));
    assert_eq!(world.sent(TOKEN, "redirect_uri").as_deref(), Some(CALLBACK));
}

#[test]
fn oa_45_the_way_that_the_registration_says_is_taken() {
    let answer = |method: &str| {
        let body = json!({ "client_id": "id", "client_secret": "client-s3cret", "token_endpoint_auth_method": method });
        World::good().on(REGISTER, json(&body))
    };
    let mut world = answer("client_secret_basic");
    world.run(Why::Login).unwrap();
    assert_eq!(header(world.last(TOKEN), "authorization"), Some("Basic aWQ6Y2xpZW50LXMzY3JldA=="));
    assert_eq!((world.sent(TOKEN, "client_id"), world.sent(TOKEN, "client_secret")), (None, None));
    let mut world = answer("client_secret_post");
    world.run(Why::Login).unwrap();
    assert_eq!(header(world.last(TOKEN), "authorization"), None);
    assert_eq!(world.sent(TOKEN, "client_id").as_deref(), Some("id"));
    assert_eq!(world.sent(TOKEN, "client_secret").as_deref(), Some("client-s3cret"));
    let kind = answer("tls_client_auth").fails(Why::Login);
    assert!(kind.to_string().contains("token_endpoint_auth_method"), "{kind}");
    let only = metadata(&json!({ "token_endpoint_auth_methods_supported": ["tls_client_auth"] }));
    let mut world = World::good().on(METADATA, only);
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::Metadata(_)));
    assert_eq!(world.count(REGISTER), 0, "the flow ends before the registration");
}

#[test]
fn oa_46_a_registered_client_is_used_again_while_its_refresh_token_lives() {
    let registered = |why, change: fn(&mut Stored)| {
        let mut before = stored();
        change(&mut before);
        let mut world = World::good().knowing(before);
        world.run(why).unwrap();
        world.count(REGISTER)
    };
    assert_eq!(registered(unauthorized(""), |_| {}), 0);
    assert_eq!(registered(Why::Login, |_| {}), 1, "a new login registers anew");
    let no_refresh = |stored: &mut Stored| stored.tokens.as_mut().unwrap().refresh = None;
    assert_eq!(registered(unauthorized(""), no_refresh), 1);
    assert_eq!(registered(unauthorized(""), |stored| stored.tokens = None), 1);
    assert_eq!(registered(step_up("more"), no_refresh), 0);
}

#[test]
fn oa_47_a_registration_that_does_not_fit_any_more_is_made_anew() {
    let registered = |change: fn(&mut Registration)| {
        let mut before = stored();
        change(&mut before.registration);
        let mut world = World::good().knowing(before);
        world.run(step_up("more")).unwrap();
        world.count(REGISTER)
    };
    assert_eq!(registered(|it| it.redirect_uri = Some("http://127.0.0.1:1/callback".to_owned())), 1);
    assert_eq!(registered(|it| it.secret_expires = Some(UnixTime(NOW.0))), 1);
    assert_eq!(registered(|it| it.secret_expires = Some(UnixTime(NOW.0 + 1))), 0);
}

#[test]
fn oa_48_a_client_that_the_server_has_forgotten_is_registered_again_once() {
    for code in ["invalid_client", "unauthorized_client"] {
        let mut world = World::good().on(TOKEN, error(code)).then(TOKEN, token(&json!({})));
        world.receivers = [CALLBACK, "http://127.0.0.1:4001/callback"].into();
        let after = world.run(step_up("more")).unwrap();
        assert_eq!((world.visits.len(), world.count(REGISTER)), (2, 2));
        assert_eq!(after.registration.redirect_uri.as_deref(), Some("http://127.0.0.1:4001/callback"));
        let states: Vec<_> = world.visits.iter().map(|url| value(&form::decode(url), "state")).collect();
        assert_ne!(states[0], states[1], "an attempt has a state of its own");
        let mut world = World::good().on(TOKEN, error(code));
        assert!(matches!(world.fails(Why::Login), AuthErrorKind::Refused(_)));
        assert_eq!((world.visits.len(), world.count(REGISTER)), (2, 2), "not a third time");
        // A stored client may be forgotten, too.
        let mut world = World::good().knowing(stored()).on(TOKEN, error(code)).then(TOKEN, token(&json!({})));
        assert_eq!(world.run(unauthorized("")).unwrap().registration.id, "registered-id");
        // A configured client is not registered again.
        let mut world =
            World::good().set(|config| config.client = Some(configured("mine"))).on(TOKEN, error(code));
        assert!(matches!(world.fails(Why::Login), AuthErrorKind::Refused(_)));
        assert_eq!(world.visits.len(), 1);
    }
}

#[test]
fn a_redirect_uri_that_is_refused_is_changed_once() {
    let other = "http://localhost:4000/callback";
    let ok = json(&json!({ "client_id": "id" }));
    let mut world = World::good().on(REGISTER, error("invalid_redirect_uri")).then(REGISTER, ok);
    world.receivers = [CALLBACK, other].into();
    world.run(Why::Login).unwrap();
    assert_eq!(world.visited("redirect_uri").as_deref(), Some(other));
    for receivers in [&[CALLBACK][..], &[CALLBACK, CALLBACK], &[CALLBACK, other]] {
        let mut world = World::good().on(REGISTER, error("invalid_redirect_uri"));
        world.receivers = receivers.iter().copied().collect();
        let kind = world.fails(Why::Login);
        assert!(matches!(&kind, AuthErrorKind::Registration(words) if words.error == "invalid_redirect_uri"));
    }
}

#[test]
fn a_refused_registration_has_the_servers_words() {
    let refused = Answer {
        status: 403,
        ..json(&json!({ "error": "access_denied", "error_description": "by hand only" }))
    };
    let failure = World::good().on(REGISTER, refused).run(Why::Login).unwrap_err();
    assert_eq!((failure.step, failure.host.as_deref()), (AuthStep::Registration, Some("as.example")));
    assert_eq!(failure.kind.to_string(), r#"the registration was refused: access_denied ("by hand only")"#);
    let kind = World::good().on(REGISTER, status(405)).fails(Why::Login);
    assert!(kind.to_string().contains("HTTP status 405"), "{kind}");
    assert!(World::good().on(REGISTER, status(503)).run(Why::Login).unwrap_err().is_transient());
    assert!(World::good().unreachable(REGISTER, down()).run(Why::Login).unwrap_err().is_transient());
}
