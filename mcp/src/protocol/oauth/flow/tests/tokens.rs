//! Unit tests of flows: stored tokens are refreshed, or revoked.

use super::*;
use crate::protocol::oauth::failure::Refusal;
use crate::protocol::oauth::limits::OAuthLimits;

fn refreshing() -> World {
    let mut world = World::good().knowing(stored());
    world.known.person = false;
    world
}

fn refused(answer: Answer) -> (World, Box<Failure>) {
    let mut world = refreshing().on(TOKEN, answer);
    let failure = world.run(Why::Refresh).unwrap_err();
    assert_eq!(failure.step, AuthStep::Refresh);
    (world, failure)
}

#[test]
fn oa_70_a_refresh_goes_to_whom_the_token_came_from() {
    let mut world = refreshing();
    let after = world.run(Why::Refresh).unwrap();
    assert_eq!(world.asked(), [format!("POST {TOKEN}")]);
    let body = "grant_type=refresh_token&refresh_token=refresh-s3cret-0&resource=https%3A%2F%2Fmcp.example%2Fas-it-was\
                &client_id=stored-id&client_secret=stored-s3cret";
    assert_eq!(world.last(TOKEN).body.as_ref().unwrap().expose(), body);
    assert!(!after.uncertain);
    let mut world = refreshing().set(|config| config.refresh_scope = Some("api/.default".to_owned()));
    world.run(Why::Refresh).unwrap();
    assert_eq!(world.sent(TOKEN, "scope").as_deref(), Some("api/.default"));
    // A configured client has the secret of the present configuration.
    let mut before = stored();
    before.registration.kind = RegistrationKind::Configured;
    before.registration.method = AuthMethod::Basic;
    let mut world = refreshing().knowing(before).set(|config| config.client = Some(configured("stored-id")));
    world.run(Why::Refresh).unwrap();
    assert_eq!(header(world.last(TOKEN), "authorization"), Some("Basic c3RvcmVkLWlkOmNsaWVudC1zM2NyZXQ="));
}

#[test]
fn oa_71_what_a_refresh_does_not_say_stays() {
    let after = refreshing().run(Why::Refresh).unwrap();
    let tokens = after.tokens.unwrap();
    assert_eq!(tokens.access, Secret::new("access-s3cret-1"));
    assert_eq!(tokens.refresh, Some(Secret::new("refresh-s3cret-0")));
    assert_eq!((tokens.obtained, tokens.expires), (NOW, Some(UnixTime(NOW.0 + 3600))));
    assert_eq!((after.requested, after.granted), (words("asked"), words("given")));
    let answer = token(&json!({ "refresh_token": "refresh-s3cret-1", "scope": "x", "extra": [1] }));
    let after = refreshing().on(TOKEN, answer).run(Why::Refresh).unwrap();
    assert_eq!(after.granted, ["x"]);
    let tokens = after.tokens.unwrap();
    assert_eq!(tokens.refresh, Some(Secret::new("refresh-s3cret-1")));
    assert_eq!(tokens.others.0["extra"], json!([1]));
}

#[test]
fn oa_76_a_failure_that_may_pass_takes_nothing_away() {
    for answer in [
        status(500),
        status(503),
        status(429),
        status(408),
        json(&json!([])),
        error("temporarily_unavailable"),
        error("slow_down"),
    ] {
        let (_, failure) = refused(answer);
        assert!(failure.is_transient(), "{failure:?}");
        assert_eq!((failure.refusal, failure.uncertain), (None, false));
    }
    let (_, failure) = refused(Answer { retry_after: Some(17), ..status(429) });
    assert_eq!(failure.kind, AuthErrorKind::Unavailable { status: Some(429), retry_after: Some(17) });
}

#[test]
fn oa_77_a_refusal_says_what_it_means_for_the_tokens() {
    for (code, refusal) in [
        ("invalid_grant", Refusal::Definitive),
        ("invalid_client", Refusal::ClientForgotten),
        ("unauthorized_client", Refusal::ClientForgotten),
        ("invalid_request", Refusal::Other),
    ] {
        let (world, failure) = refused(error(code));
        assert_eq!(failure.refusal, Some(refusal), "{code}");
        assert_eq!((world.fetched.len(), world.visits.len()), (1, 0), "nobody is asked");
    }
    let mut before = stored();
    before.registration.kind = RegistrationKind::Configured;
    let failure =
        refreshing().knowing(before).on(TOKEN, error("invalid_client")).run(Why::Refresh).unwrap_err();
    assert_eq!(failure.refusal, Some(Refusal::Other), "OA-48: nobody loses tokens by a wrong configuration");
    for gone in [stored().without_tokens(), {
        let mut without = stored();
        without.tokens.as_mut().unwrap().refresh = None;
        without
    }] {
        let issuer = Some(ISSUER.to_owned());
        assert_eq!(refreshing().knowing(gone).fails(Why::Refresh), AuthErrorKind::LoginRequired { issuer });
    }
}

#[test]
fn a_token_endpoint_that_has_moved_is_found_once() {
    let moved =
        metadata(&json!({ "token_endpoint": "https://as.example/v2/token", "authorization_endpoint": null }));
    for gone in [404, 405] {
        let mut world = refreshing()
            .on(TOKEN, status(gone))
            .on(METADATA, moved.clone())
            .on("https://as.example/v2/token", token(&json!({})));
        let after = world.run(Why::Refresh).unwrap();
        assert_eq!(after.token_endpoint, "https://as.example/v2/token");
        assert_eq!(
            world.asked()[1..],
            [format!("GET {METADATA}"), "POST https://as.example/v2/token".to_owned()]
        );
        let mut world = refreshing().on(TOKEN, status(gone));
        assert!(world.run(Why::Refresh).unwrap_err().is_transient());
        assert_eq!(world.count(TOKEN), 2, "the old endpoint is asked once more");
    }
    let mut world = refreshing()
        .on(METADATA, moved)
        .on("https://as.example/v2/token", token(&json!({})))
        .unreachable(TOKEN, down());
    world.run(Why::Refresh).unwrap();
    let foreign = metadata(
        &json!({ "issuer": "https://evil.example", "token_endpoint": "https://evil.example/token" }),
    );
    let mut world = refreshing().on(TOKEN, status(404)).on(METADATA, foreign);
    world.run(Why::Refresh).unwrap_err();
    assert_eq!(world.count("https://evil.example/token"), 0);
}

#[test]
fn a_refresh_token_that_may_have_arrived_is_not_sent_twice() {
    let sent = Unreachable { sent: true, ..down() };
    let mut world = refreshing().unreachable(TOKEN, sent);
    let failure = world.run(Why::Refresh).unwrap_err();
    assert!(failure.is_transient() && failure.uncertain);
    assert_eq!(world.asked().len(), 1);
    let forbidden = Unreachable { forbidden: Some("a private one"), ..down() };
    let mut world = refreshing().unreachable(TOKEN, forbidden);
    assert_eq!(world.fails(Why::Refresh), AuthErrorKind::Forbidden { what: "a private one" });
}

#[test]
fn a_logout_revokes_what_lives_longest() {
    let mut world = refreshing().on(REVOKE, status(200));
    assert_eq!(world.run(Why::Logout).unwrap(), stored().without_tokens());
    assert_eq!(world.sent(REVOKE, "token").as_deref(), Some("refresh-s3cret-0"));
    assert_eq!(world.sent(REVOKE, "token_type_hint").as_deref(), Some("refresh_token"));
    assert_eq!(world.sent(REVOKE, "client_id").as_deref(), Some("stored-id"));
    let mut bare = stored();
    bare.tokens.as_mut().unwrap().refresh = None;
    let mut world = refreshing().knowing(bare).on(REVOKE, status(200));
    world.run(Why::Logout).unwrap();
    assert_eq!(world.sent(REVOKE, "token").as_deref(), Some("access-s3cret-0"));
    let mut unrevokable = stored();
    unrevokable.revocation_endpoint = None;
    let mut world = refreshing().knowing(unrevokable);
    assert_eq!(world.run(Why::Logout).unwrap().tokens, None);
    assert!(world.asked().is_empty());
    assert!(refreshing().on(REVOKE, status(503)).run(Why::Logout).unwrap_err().is_transient());
    let kind = refreshing().on(REVOKE, error("unsupported_token_type")).fails(Why::Logout);
    assert!(matches!(kind, AuthErrorKind::Refused(_)), "{kind}");
}

#[test]
fn an_answer_that_cannot_be_used_is_no_token() {
    for (answer, why) in [
        (json(&json!({ "token_type": "Bearer" })), "access_token"),
        (token(&json!({ "token_type": "mac" })), "token_type"),
        (token(&json!({ "access_token": "a b" })), "visible"),
        (Answer { content_encoding: Some("br".to_owned()), ..token(&json!({})) }, "compressed"),
        (Answer { location: Some("https://evil.example/token".to_owned()), ..status(308) }, "redirects"),
    ] {
        let (world, failure) = refused(answer);
        assert!(failure.kind.to_string().contains(why), "{failure:?}");
        assert_eq!(
            (failure.refusal, failure.host.as_deref(), world.fetched.len()),
            (None, Some("as.example"), 1)
        );
    }
    let limit = OAuthLimits::default().document;
    let padded = |length| {
        let mut answer = token(&json!({}));
        answer.body.resize(length, b' ');
        refreshing().on(TOKEN, answer)
    };
    padded(limit).run(Why::Refresh).unwrap();
    assert_eq!(padded(limit + 1).fails(Why::Refresh), AuthErrorKind::TokenUnusable("the answer is too long"));
}

#[test]
fn what_a_server_repeats_of_a_request_is_masked() {
    let echo = json!({
        "error": "invalid_grant", "error_uri": "https://as.example/e?token=refresh-s3cret-0",
        "error_description": "no refresh-s3cret-0 of stored-id with stored-s3cret\u{7}",
    });
    let (_, failure) = refused(Answer { status: 400, ..json(&echo) });
    let text = r#"the authorization server refused: invalid_grant ("no *** of stored-id with ***�"), see https://as.example/e"#;
    assert_eq!(failure.kind.to_string(), text);
}

#[test]
fn lim_what_is_stored_has_256_kib_or_is_not_stored() {
    let answered = |length: usize, limit: usize| {
        let mut world = refreshing().on(TOKEN, token(&json!({ "unknown": "x".repeat(length) })));
        world.config.limits.stored = limit;
        world.config.limits.document = limit * 2;
        world.run(Why::Refresh)
    };
    let limit = OAuthLimits::default().stored;
    let left = limit - answered(1, limit).unwrap().to_text().len() + 1;
    let longest = answered(left, limit).unwrap();
    assert_eq!(longest.to_text().len(), limit);
    let bare = answered(left + 1, limit).unwrap();
    assert!(bare.to_text().len() < 1024 && bare.tokens.as_ref().unwrap().others.0.is_empty());
    let least = bare.to_text().len();
    answered(1, least).unwrap();
    assert_eq!(answered(1, least - 1).unwrap_err().kind, AuthErrorKind::Limit("stored"));
}

#[test]
fn what_a_server_repeats_of_a_header_is_masked() {
    let credentials = "bWluZTpjbGllbnQtczNjcmV0";
    let echo =
        json!({ "error": "invalid_client", "error_description": format!("no Basic {credentials} here") });
    let mut world = World::good()
        .set(|config| config.client = Some(configured("mine")))
        .on(METADATA, metadata(&json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] })))
        .on(TOKEN, Answer { status: 401, ..json(&echo) });
    let failure = world.run(Why::Login).unwrap_err();
    assert_eq!(header(world.last(TOKEN), "authorization"), Some(&*format!("Basic {credentials}")));
    let text = failure.kind.to_string();
    assert!(text.contains("no Basic *** here") && !text.contains(credentials), "{text}");
}
