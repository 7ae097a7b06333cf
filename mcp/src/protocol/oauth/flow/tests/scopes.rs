//! Unit tests of flows: which scopes are asked for.

use super::*;

#[test]
fn oa_50_configured_then_challenged_then_listed_then_none() {
    for (configured, challenged, listed, sent) in [
        (Some("mine too"), "chal", json!(["prm"]), Some("mine too")),
        (None, "chal b chal", json!(["prm"]), Some("chal b")),
        (None, "", json!(["p1", "p2"]), Some("p1 p2")),
        (None, "", json!(null), None),
        (Some(""), "chal", json!(["prm"]), None),
    ] {
        let mut world = World::good().on(PRM, prm(&json!({ "scopes_supported": listed })));
        world.config.scopes = configured.map(words);
        let stored = world.run(unauthorized(challenged)).unwrap();
        assert_eq!(world.visited("scope").as_deref(), sent);
        assert_eq!(stored.requested, words(sent.unwrap_or_default()));
        assert_eq!(stored.granted, stored.requested, "what the answer does not say is what was asked for");
    }
    let mut world = World::good().on(TOKEN, token(&json!({ "scope": "less" })));
    assert_eq!(world.run(unauthorized("less more")).unwrap().granted, ["less"]);
}

#[test]
fn oa_51_refresh_tokens_are_asked_for_where_there_are_any() {
    let offered = |list: Value| World::good().on(METADATA, metadata(&json!({ "scopes_supported": list })));
    let mut world = offered(json!(["x", "offline_access"]));
    world.run(unauthorized("a")).unwrap();
    assert_eq!(world.visited("scope").as_deref(), Some("a offline_access"));
    assert_eq!(world.visited("prompt").as_deref(), Some("consent"));
    for list in [json!(["x"]), json!(null)] {
        let mut world = offered(list);
        world.run(unauthorized("a")).unwrap();
        assert_eq!((world.visited("scope").as_deref(), world.visited("prompt")), (Some("a"), None));
    }
    let mut world = offered(json!(["offline_access"])).set(|config| config.no_offline_access = true);
    world.run(unauthorized("")).unwrap();
    assert_eq!((world.visited("scope"), world.visited("prompt")), (None, None));
    let mut world = offered(json!(["offline_access"]));
    world.config.authorize_parameters = vec![("prompt".to_owned(), "login".to_owned())];
    world.run(unauthorized("")).unwrap();
    assert_eq!(world.visited("prompt").as_deref(), Some("login"), "once, as the application wants it");
}

#[test]
fn oa_52_a_step_up_asks_for_all_of_it() {
    let listed = prm(&json!({ "scopes_supported": ["unrelated"] }));
    for why in [step_up("new asked"), unauthorized("new")] {
        let mut world = World::good().on(PRM, listed.clone()).knowing(stored());
        let after = world.run(why).unwrap();
        assert_eq!(world.visited("scope").as_deref(), Some("asked given new"));
        assert_eq!(after.requested, words("asked given new"));
    }
    let mut world = World::good().on(PRM, listed.clone()).knowing(stored());
    world.config.scopes = Some(words("mine"));
    world.run(step_up("new")).unwrap();
    assert_eq!(
        world.visited("scope").as_deref(),
        Some("asked given new"),
        "configured scopes are for the first authorization"
    );
    let mut world = World::good().knowing(stored());
    world.run(Why::Login).unwrap();
    assert_eq!(world.visited("scope"), None, "a new login starts from scratch");
    let mut foreign = stored();
    foreign.issuer = "https://old.example".to_owned();
    let mut world = World::good().on(PRM, listed).knowing(foreign);
    world.run(step_up("new")).unwrap();
    assert_eq!(world.visited("scope").as_deref(), Some("new"), "another issuer is asked from scratch");
}

#[test]
fn oa_53_a_step_up_is_no_refresh() {
    let mut world = World::good().knowing(stored());
    world.run(step_up("new")).unwrap();
    assert_eq!(world.sent(TOKEN, "grant_type").as_deref(), Some("authorization_code"));
    assert_eq!((world.visits.len(), world.count(TOKEN)), (1, 1));
}

#[test]
fn oa_54_what_was_asked_for_already_is_not_asked_for_again() {
    for wanted in ["asked", ""] {
        let mut world = World::good().knowing(stored());
        let kind = AuthErrorKind::InsufficientScope { wanted: words(wanted), granted: words("given") };
        assert_eq!(world.fails(step_up(wanted)), kind);
        assert!(world.asked().is_empty());
    }
    // After a step-up the same challenge is in vain, whatever was granted.
    let mut world = World::good().knowing(stored()).on(TOKEN, token(&json!({ "scope": "given" })));
    let after = world.run(step_up("new")).unwrap();
    let kind = World::good().knowing(after).fails(step_up("new"));
    assert!(matches!(kind, AuthErrorKind::InsufficientScope { .. }), "{kind}");
    World::good().knowing(stored().without_tokens()).run(step_up("asked")).unwrap();
}

#[test]
fn oa_55_a_401_may_be_a_step_up() {
    let demand =
        Demand { scope: words("asked"), error: Some("insufficient_scope".to_owned()), ..Demand::default() };
    let kind = World::good().knowing(stored()).fails(Why::Unauthorized(demand));
    assert!(matches!(kind, AuthErrorKind::InsufficientScope { .. }), "{kind}");
}

#[test]
fn lim_a_scope_parameter_has_4_kib() {
    let asked = |length: usize| {
        let mut world = World::good();
        let mut scopes: Vec<_> = (0..16).map(|index| format!("{index:0255}")).collect();
        scopes[15] = "x".repeat(255 + length - 4095);
        world.config.scopes = Some(scopes);
        world.config.limits.authorization_url = 100_000;
        world
    };
    let mut world = asked(4096);
    world.run(Why::Login).unwrap();
    assert_eq!(world.visited("scope").unwrap().len(), 4096);
    assert_eq!(asked(4097).fails(Why::Login), AuthErrorKind::Limit("scope_parameter"));
}
