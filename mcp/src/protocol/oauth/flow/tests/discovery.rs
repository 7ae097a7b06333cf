//! Unit tests of flows: how the authorization server is found.

use super::*;
use crate::protocol::oauth::config::{ChooseServer, PinnedServer};
use crate::protocol::oauth::failure::IssuerIn;

fn get(url: &str) -> String {
    format!("GET {url}")
}

fn advertised(url: &str) -> Why {
    Why::Unauthorized(Demand { resource_metadata: Some(url.to_owned()), ..Demand::default() })
}

#[test]
fn oa_10_the_challenges_document_comes_first_wherever_it_is() {
    let elsewhere = "https://docs.example/prm?x=1";
    let mut world = World::good().on(elsewhere, prm(&json!({})));
    world.run(advertised(elsewhere)).unwrap();
    assert_eq!(world.asked()[..2], [get(elsewhere), get(METADATA)]);
    let mut world = World::good();
    world.run(advertised(PRM)).unwrap();
    assert_eq!(world.count(PRM), 1, "not twice");
}

#[test]
fn oa_11_a_candidate_that_is_of_no_use_costs_only_itself() {
    for useless in
        [status(404), status(401), status(403), json(&json!({})), json(&json!([])), status(204), status(301)]
    {
        let there = "https://mcp.example/other";
        let mut world = World::good()
            .on(there, useless.clone())
            .on(PRM, useless)
            .on(ROOT_PRM, prm(&json!({ "resource": "https://mcp.example" })));
        let stored = world.run(advertised(there)).unwrap();
        assert_eq!(world.asked()[..3], [get(there), get(PRM), get(ROOT_PRM)]);
        assert_eq!(stored.resource.as_deref(), Some("https://mcp.example"));
    }
    let mut world = World::good();
    world.run(advertised("ftp://x")).unwrap();
    assert_eq!(world.asked()[0], get(PRM));
}

#[test]
fn oa_12_a_document_about_another_server_ends_it() {
    for resource in
        ["https://evil.example/mcp", "https://mcp.example/mcp/below", "https://mcp.example/mcp#x", "mcp"]
    {
        let mut world = World::good().on(PRM, prm(&json!({ "resource": resource })));
        let expected = SERVER.to_owned();
        assert_eq!(
            world.fails(Why::Login),
            AuthErrorKind::ResourceMismatch { expected, found: resource.to_owned() }
        );
        assert_eq!(world.asked(), [get(PRM)], "nobody else is asked");
    }
}

#[test]
fn oa_13_without_a_list_the_server_itself_is_asked() {
    let own = "https://mcp.example/.well-known/oauth-authorization-server";
    let document = metadata(&json!({ "issuer": "https://mcp.example" }));
    let mut world = World::good().on(PRM, status(404)).on(own, document.clone());
    let stored = world.run(Why::Login).unwrap();
    assert_eq!(world.asked()[..3], [get(PRM), get(ROOT_PRM), get(own)]);
    assert_eq!((&*stored.issuer, stored.resource.as_deref()), ("https://mcp.example", Some(SERVER)));
    // What the document does say holds.
    let about = prm(
        &json!({ "authorization_servers": null, "resource": "https://mcp.example/", "scopes_supported": ["s"] }),
    );
    let mut world = World::good().on(PRM, about).on(own, document);
    let stored = world.run(Why::Login).unwrap();
    assert_eq!(
        (stored.resource.as_deref(), &*stored.requested),
        (Some("https://mcp.example/"), &words("s")[..])
    );
}

#[test]
fn oa_14_endpoints_are_guessed_only_if_asked_for_and_if_nothing_is_in_doubt() {
    let guessed = |guess| {
        World::empty()
            .on("https://mcp.example/register", json(&json!({ "client_id": "id" })))
            .on("https://mcp.example/token", token(&json!({})))
            .set(|config| config.guess_endpoints = guess)
    };
    let mut world = guessed(true);
    let stored = world.run(Why::Login).unwrap();
    assert_eq!(
        (&*stored.issuer, &*stored.token_endpoint),
        ("https://mcp.example", "https://mcp.example/token")
    );
    assert!(world.visits[0].starts_with("https://mcp.example/authorize?response_type=code&"));
    let kind = guessed(false).fails(Why::Login);
    let AuthErrorKind::NoAuthorizationServer { tried } = kind else { panic!("{kind}") };
    assert_eq!(tried.len(), 4);
    assert_eq!(tried[0], (PRM.to_owned(), "status 404".to_owned()));
    let unavailable = guessed(true).on(ROOT_PRM, status(503)).fails(Why::Login);
    assert_eq!(unavailable, AuthErrorKind::Unavailable { status: Some(503), retry_after: None });
    // A server that is named is not replaced by a guess.
    let mut world = guessed(true).on(PRM, prm(&json!({})));
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::NoAuthorizationServer { .. }));
}

#[test]
fn oa_15_a_server_that_has_moved_is_found_again() {
    let other = "https://new.example";
    let document = metadata(&json!({ "issuer": other }));
    let mut world = World::good()
        .knowing(stored())
        .on(PRM, prm(&json!({ "authorization_servers": [other] })))
        .on("https://new.example/.well-known/oauth-authorization-server", document);
    let after = world.run(unauthorized("")).unwrap();
    assert_eq!(after.issuer, other);
    assert_eq!(after.registration.id, "registered-id", "OA-44: the old one is not shown to it");
    assert_eq!(after.requested, [""; 0], "from scratch");
    let bodies: String = world.fetched.iter().filter_map(|it| it.body.as_ref()).map(Secret::expose).collect();
    assert!(!bodies.contains("stored-") && !bodies.contains("s3cret-0"), "{bodies}");
}

#[test]
fn oa_16_what_may_pass_is_remembered_while_others_are_asked() {
    for passing in [408, 425, 429, 500, 502, 503] {
        let mut world = World::good()
            .on(PRM, status(passing))
            .on(ROOT_PRM, prm(&json!({})))
            .on(METADATA, status(passing))
            .on(OPENID, metadata(&json!({})));
        world.run(Why::Login).unwrap();
        let answer = Answer { retry_after: Some(9), ..status(passing) };
        let mut world = World::good().on(METADATA, answer);
        let failure = world.run(Why::Login).unwrap_err();
        let kind = AuthErrorKind::Unavailable { status: Some(passing), retry_after: Some(9) };
        assert_eq!((failure.kind, failure.step), (kind, AuthStep::Server));
        assert_eq!(failure.host.as_deref(), Some("as.example"));
    }
    let mut world = World::good().unreachable(METADATA, down());
    let failure = world.run(Why::Login).unwrap_err();
    assert!(failure.is_transient());
    assert_eq!(failure.source.unwrap().to_string(), "connection refused");
    assert_eq!(world.asked().last().unwrap(), &get(OPENID));
    // What is wrong with another document does not come before what may pass.
    let foreign = metadata(&json!({ "issuer": "https://evil.example" }));
    let mut world = World::good().on(METADATA, foreign).on(OPENID, status(503));
    assert!(world.run(Why::Login).unwrap_err().is_transient());
    let forbidden = Unreachable { forbidden: Some("a private one"), ..down() };
    let kind = World::good().unreachable(METADATA, forbidden).fails(Why::Login);
    assert_eq!(kind, AuthErrorKind::Forbidden { what: "a private one" });
}

#[test]
fn oa_20_of_several_servers_the_one_that_is_known() {
    let several = |servers: &[&str]| World::good().on(PRM, prm(&json!({ "authorization_servers": servers })));
    let mut world = several(&["https://a.example", ISSUER]);
    assert_eq!(world.run(Why::Login).unwrap().issuer, ISSUER, "the first with usable metadata");
    assert_eq!(world.count("https://a.example/.well-known/oauth-authorization-server"), 1);
    let mut world = several(&["https://a.example", "https://as.example/"]).knowing(stored());
    assert_eq!(world.run(Why::Login).unwrap().issuer, ISSUER);
    assert_eq!(world.asked()[1], get(METADATA), "the one that we have tokens of");
    let choose = |index| Some(ChooseServer(Arc::new(move |_: &[String]| index)));
    let mut world =
        several(&["https://a.example", ISSUER]).set(|config| config.choose_server = choose(Some(1)));
    world.run(Why::Login).unwrap();
    assert_eq!(world.asked()[1], get(METADATA));
    for index in [None, Some(2)] {
        let mut world =
            several(&["https://a.example", ISSUER]).set(|config| config.choose_server = choose(index));
        assert!(matches!(world.fails(Why::Login), AuthErrorKind::NoAuthorizationServer { .. }));
    }
}

#[test]
fn oa_21_an_issuer_with_a_path_has_three_places() {
    let issuer = "https://as.example/t1";
    let places = [
        "https://as.example/.well-known/oauth-authorization-server/t1",
        "https://as.example/.well-known/openid-configuration/t1",
        "https://as.example/t1/.well-known/openid-configuration",
    ];
    for (index, place) in places.iter().enumerate() {
        let about = prm(&json!({ "authorization_servers": [issuer] }));
        let mut world = World::good().on(PRM, about).on(place, metadata(&json!({ "issuer": issuer })));
        world.run(Why::Login).unwrap();
        let asked: Vec<_> = places[..=index].iter().map(|place| get(place)).collect();
        assert_eq!(world.asked()[1..=index + 1], asked);
    }
}

#[test]
fn oa_22_a_document_of_somebody_else_is_remembered_and_not_used() {
    let foreign = metadata(
        &json!({ "issuer": "https://evil.example", "token_endpoint": "https://evil.example/token" }),
    );
    let mut world = World::good().on(METADATA, foreign.clone());
    let (expected, found) = (ISSUER.to_owned(), "https://evil.example".to_owned());
    let mismatch = AuthErrorKind::IssuerMismatch { expected, found, at: IssuerIn::Metadata };
    assert_eq!(world.fails(Why::Login), mismatch);
    assert_eq!(world.asked(), [get(PRM), get(METADATA), get(OPENID)]);
    let mut world = World::good().on(METADATA, foreign).on(OPENID, metadata(&json!({})));
    world.run(Why::Login).unwrap();
    // Only a final slash may differ; redirects are compared with the document's own words.
    let mut world = World::good().on(METADATA, metadata(&json!({ "issuer": "https://as.example/" })));
    assert_eq!(world.run(Why::Login).unwrap().issuer, "https://as.example/");
}

#[test]
fn oa_23_a_document_without_an_issuer_is_refused() {
    let nameless = || World::good().on(METADATA, metadata(&json!({ "issuer": null })));
    let kind = nameless().fails(Why::Login);
    assert!(matches!(&kind, AuthErrorKind::Metadata(why) if why.contains("`issuer`")), "{kind}");
    let stored = nameless().set(|config| config.allow_missing_issuer = true).run(Why::Login).unwrap();
    assert_eq!(stored.issuer, ISSUER);
}

#[test]
fn oa_24_a_pinned_server_is_asked_and_no_other() {
    let place = "https://as.example/odd/place";
    let pinned = |metadata_url: Option<&str>| {
        let (issuer, metadata_url) = (ISSUER.to_owned(), metadata_url.map(str::to_owned));
        move |config: &mut Config| config.server = Some(PinnedServer { issuer, metadata_url })
    };
    let about = prm(&json!({ "authorization_servers": ["https://other.example"] }));
    let mut world =
        World::good().on(PRM, about.clone()).on(place, metadata(&json!({}))).set(pinned(Some(place)));
    world.run(Why::Login).unwrap();
    assert_eq!(world.asked()[..2], [get(PRM), get(place)]);
    let mut world = World::good().on(PRM, about).set(pinned(None));
    world.run(Why::Login).unwrap();
    assert_eq!(world.asked()[..2], [get(PRM), get(METADATA)]);
    let foreign = metadata(&json!({ "issuer": "https://other.example" }));
    let mut world = World::good().on(place, foreign).set(pinned(Some(place)));
    assert!(
        matches!(world.fails(Why::Login), AuthErrorKind::IssuerMismatch { .. }),
        "a pinned place does not change whose document it is"
    );
}

#[test]
fn oa_25_a_server_without_pkce_is_refused() {
    for methods in [json!(null), json!([]), json!(["plain"])] {
        let world =
            || World::good().on(METADATA, metadata(&json!({ "code_challenge_methods_supported": methods })));
        let failure = world().run(Why::Login).unwrap_err();
        assert_eq!((failure.kind, failure.host.as_deref()), (AuthErrorKind::NoPkce, Some("as.example")));
        let mut assumed = world().set(|config| config.assume_pkce = true);
        assumed.run(Why::Login).unwrap();
        assert_eq!(
            assumed.visited("code_challenge_method").as_deref(),
            Some("S256"),
            "PKCE is used all the same"
        );
    }
}

#[test]
fn oa_26_a_document_with_a_bad_endpoint_is_not_used() {
    let bad = metadata(&json!({ "token_endpoint": "/token" }));
    let mut world = World::good().on(METADATA, bad.clone());
    let kind = world.fails(Why::Login);
    assert!(matches!(&kind, AuthErrorKind::Metadata(why) if why.contains("token_endpoint")), "{kind}");
    World::good().on(METADATA, bad).on(OPENID, metadata(&json!({}))).run(Why::Login).unwrap();
}

#[test]
fn oa_04_oa_05_nothing_secret_travels_in_the_clear() {
    for member in ["token_endpoint", "authorization_endpoint", "registration_endpoint"] {
        let mut document = json!({});
        document[member] = json!("http://as.example/x");
        let world = || World::good().on(METADATA, metadata(&document));
        let kind = world().fails(Why::Login);
        let what = r#""http://as.example/x""#.to_owned();
        assert_eq!(kind, AuthErrorKind::Insecure { what }, "{member}");
        let answer = json(&json!({ "client_id": "id", "access_token": "t" }));
        let mut insecure =
            world().on("http://as.example/x", answer).set(|config| config.insecure_http = true);
        insecure.run(Why::Login).unwrap();
    }
    let mut world = World::good().on(PRM, prm(&json!({ "authorization_servers": ["http://as.example"] })));
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::Insecure { .. }));
    assert_eq!(world.asked(), [get(PRM)]);
    let mut world = World { server: "http://mcp.example/mcp?key=s3cret".to_owned(), ..World::good() };
    let kind = world.fails(Why::Login);
    assert!(
        matches!(&kind, AuthErrorKind::Insecure { what } if what.contains("http://mcp.example/mcp")),
        "{kind}"
    );
    assert!(world.asked().is_empty());
}

#[test]
fn oa_06_a_document_is_followed_three_times_and_not_to_another_origin() {
    let hop = |to: &str| Answer { location: Some(to.to_owned()), ..status(302) };
    let chain = |hops: usize| {
        let mut world = World::good().on(PRM, hop("/1"));
        for index in 1..hops {
            world = world.on(&format!("https://mcp.example/{index}"), hop(&format!("/{}", index + 1)));
        }
        world.on(&format!("https://mcp.example/{hops}"), prm(&json!({})))
    };
    chain(3).run(Why::Login).unwrap();
    let kind = chain(4).fails(Why::Login);
    assert!(matches!(kind, AuthErrorKind::NoAuthorizationServer { .. }), "{kind}");
    let mut world = World::good()
        .on(PRM, hop("https://evil.example/prm"))
        .on("https://evil.example/prm", prm(&json!({})));
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::NoAuthorizationServer { .. }));
    assert_eq!(world.count("https://evil.example/prm"), 0);
}

#[test]
fn documents_are_asked_for_plainly() {
    let mut world = World::good();
    world.run(Why::Login).unwrap();
    for fetch in &world.fetched {
        assert_eq!(header(fetch, "accept"), Some("application/json"));
        assert_eq!(header(fetch, "accept-encoding"), Some("identity"));
        assert_eq!(header(fetch, "authorization"), None);
        assert_eq!(fetch.longest, 256 * 1024);
    }
    assert_eq!(header(world.last(PRM), "mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(header(world.last(METADATA), "mcp-protocol-version"), None);
    let compressed = Answer { content_encoding: Some("gzip".to_owned()), ..metadata(&json!({})) };
    let kind = World::good().on(METADATA, compressed).fails(Why::Login);
    assert!(kind.to_string().contains("compressed"), "{kind}");
    for plain in ["Identity", "none"] {
        let plain = Answer { content_encoding: Some(plain.to_owned()), ..metadata(&json!({})) };
        World::good().on(METADATA, plain).run(Why::Login).unwrap();
    }
}

#[test]
fn lim_a_document_has_256_kib() {
    let padded = |length: usize| {
        let mut document = metadata(&json!({}));
        document.body.resize(length, b' ');
        World::good().on(METADATA, document)
    };
    padded(256 * 1024).run(Why::Login).unwrap();
    let kind = padded(256 * 1024 + 1).fails(Why::Login);
    assert!(kind.to_string().contains("too long"), "{kind}");
}

#[test]
fn lim_servers_candidates_and_fetches() {
    let listed = |count: usize| {
        let servers: Vec<_> = (1..count)
            .map(|index| format!("https://as{index}.example/t"))
            .chain([ISSUER.to_owned()])
            .collect();
        World::good().on(PRM, prm(&json!({ "authorization_servers": servers })))
    };
    listed(4).set(|config| config.limits.candidates = 11).run(Why::Login).unwrap();
    let mut world = listed(5);
    assert_eq!(world.fails(Why::Login), AuthErrorKind::Limit("candidates"));
    assert_eq!(world.asked().len(), 12);
    let mut world = listed(5).set(|config| config.limits.candidates = 100);
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::NoAuthorizationServer { .. }));
    assert_eq!(world.count(METADATA), 0, "the fifth server is not asked");
    let kind = listed(4).set(|config| config.limits.candidates = 10).fails(Why::Login);
    assert_eq!(kind, AuthErrorKind::Limit("candidates"));
    World::good().set(|config| config.limits.fetches = 4).run(Why::Login).unwrap();
    let kind = World::good().set(|config| config.limits.fetches = 3).fails(Why::Login);
    assert_eq!(kind, AuthErrorKind::Limit("fetches"));
}
