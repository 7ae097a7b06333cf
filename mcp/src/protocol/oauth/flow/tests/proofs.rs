//! Unit tests of flows: tokens that are bound to a key.

use super::*;
use crate::protocol::oauth::base64;

fn key(name: &str) -> ProofKey {
    ProofKey { pkcs8: Secret::new(format!("{name}-s3cret")), x: [1; 32], y: [2; 32] }
}

fn proving(dpop: Dpop) -> World {
    let document = metadata(&json!({ "dpop_signing_alg_values_supported": ["RS256", "ES256"] }));
    let mut world = World::good().on(METADATA, document).on(TOKEN, token(&json!({ "token_type": "DPoP" })));
    world.config.dpop = dpop;
    world.known.proof_key = Some(key("new"));
    world
}

/// The claims of the `index`th thing that was signed.
fn claims(world: &World, index: usize) -> Value {
    let (_, claims) = world.signed[index].0.split_once('.').unwrap();
    serde_json::from_slice(&base64::decode(claims).unwrap()).unwrap()
}

fn nonce_wanted(nonce: &str) -> Answer {
    Answer { dpop_nonce: Some(nonce.to_owned()), ..error("use_dpop_nonce") }
}

#[test]
fn oa_90_proofs_are_made_if_asked_for_and_if_the_server_can() {
    let mut world = proving(Dpop::Auto);
    let stored = world.run(Why::Login).unwrap();
    assert_eq!(stored.proof_key, Some(key("new")));
    assert_eq!(stored.tokens.unwrap().scheme, Scheme::Dpop);
    assert_eq!(world.signed[0].1, SignWith::Proof(Secret::new("new-s3cret")));
    let proof = format!("{}.{}", world.signed[0].0, base64::encode(b"signature 1"));
    assert_eq!(header(world.last(TOKEN), "dpop"), Some(&*proof));
    let claims = claims(&world, 0);
    assert_eq!(
        (&claims["htm"], &claims["htu"], &claims["iat"]),
        (&json!("POST"), &json!(TOKEN), &json!(NOW.0))
    );
    assert_eq!((claims.get("ath"), claims.get("nonce")), (None, None));
    let mut world = proving(Dpop::Off).on(TOKEN, token(&json!({})));
    world.run(Why::Login).unwrap();
    assert!(world.signed.is_empty());
    let bearer = |dpop| proving(dpop).on(METADATA, metadata(&json!({}))).on(TOKEN, token(&json!({})));
    let mut world = bearer(Dpop::Auto);
    assert_eq!(world.run(Why::Login).unwrap().proof_key, None);
    assert!(world.signed.is_empty());
    assert!(matches!(bearer(Dpop::Required).fails(Why::Login), AuthErrorKind::Metadata(_)));
    // A stored key is used again.
    let mut before = stored_bound();
    before.issuer = ISSUER.to_owned();
    let after = proving(Dpop::Auto).knowing(before).run(step_up("new")).unwrap();
    assert_eq!(after.proof_key, Some(key("old")));
}

fn stored_bound() -> Stored {
    let mut before = stored();
    before.proof_key = Some(key("old"));
    before.tokens.as_mut().unwrap().scheme = Scheme::Dpop;
    before
}

#[test]
fn oa_91_each_repeat_has_a_proof_of_its_own() {
    let mut world = proving(Dpop::Auto);
    *world.script(TOKEN) = VecDeque::new();
    let mut world =
        world.then(TOKEN, nonce_wanted("n-1")).then(TOKEN, token(&json!({ "token_type": "DPoP" })));
    world.run(Why::Login).unwrap();
    let (first, second) = (claims(&world, 0), claims(&world, 1));
    assert_ne!(first["jti"], second["jti"]);
    assert_eq!((first.get("nonce"), &second["nonce"]), (None, &json!("n-1")));
    assert_eq!(base64::decode(first["jti"].as_str().unwrap()).unwrap().len(), 16);
}

#[test]
fn oa_92_a_bearer_token_is_no_bound_one() {
    for dpop in [Dpop::Auto, Dpop::Required] {
        let mut world = proving(dpop)
            .on(TOKEN, token(&json!({})))
            .on(PRM, prm(&json!({ "dpop_bound_access_tokens_required": true })));
        assert!(matches!(world.fails(Why::Login), AuthErrorKind::TokenUnusable(_)), "{dpop:?}");
    }
    assert!(matches!(
        proving(Dpop::Required).on(TOKEN, token(&json!({}))).fails(Why::Login),
        AuthErrorKind::TokenUnusable(_)
    ));
    let stored = proving(Dpop::Auto).on(TOKEN, token(&json!({}))).run(Why::Login).unwrap();
    assert_eq!(
        (stored.proof_key, stored.tokens.unwrap().scheme),
        (None, Scheme::Bearer),
        "nobody requires a bound token"
    );
    let kind = proving(Dpop::Off).fails(Why::Login);
    assert_eq!(kind, AuthErrorKind::TokenUnusable("it is bound to a key, and not to ours"));
    // A bound token is not replaced by one that is not bound.
    let mut world = proving(Dpop::Auto).knowing(stored_bound()).on(TOKEN, token(&json!({})));
    assert!(matches!(world.fails(Why::Refresh), AuthErrorKind::TokenUnusable(_)));
    let mut world =
        proving(Dpop::Off).knowing(stored_bound()).on(TOKEN, token(&json!({ "token_type": null })));
    assert_eq!(world.run(Why::Refresh).unwrap().tokens.unwrap().scheme, Scheme::Dpop);
    assert_eq!(world.signed[0].1, SignWith::Proof(Secret::new("old-s3cret")));
}

#[test]
fn oa_93_another_nonce_is_taken_once() {
    for status in [400, 401] {
        let mut world = proving(Dpop::Auto).on(TOKEN, Answer { status, ..nonce_wanted("n-1") });
        let failure = world.run(Why::Login).unwrap_err();
        assert!(matches!(&failure.kind, AuthErrorKind::Refused(words) if words.error == "use_dpop_nonce"));
        assert_eq!((world.count(TOKEN), world.visits.len()), (2, 1));
    }
    let mut world = proving(Dpop::Auto).on(TOKEN, error("use_dpop_nonce"));
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::Refused(_)));
    assert_eq!(world.count(TOKEN), 1, "the answer has no nonce");
    let mut world = World::good().on(TOKEN, nonce_wanted("n"));
    assert!(matches!(world.fails(Why::Login), AuthErrorKind::Refused(_)));
    assert_eq!(world.count(TOKEN), 1, "there was no proof");
}

#[test]
fn oa_94_every_answers_nonce_is_remembered() {
    let document = metadata(&json!({ "dpop_signing_alg_values_supported": ["ES256"] }));
    let mut world = proving(Dpop::Auto)
        .on(METADATA, Answer { dpop_nonce: Some("from-metadata".to_owned()), ..document.clone() })
        .on(TOKEN, Answer { dpop_nonce: Some("next".to_owned()), ..token(&json!({ "token_type": "DPoP" })) });
    world.run(Why::Login).unwrap();
    assert_eq!(claims(&world, 0)["nonce"], "from-metadata");
    assert_eq!(world.nonces.of(TOKEN), Some("next"));
    world.known.nonces = world.nonces.clone();
    let mut world = world.on(METADATA, document);
    world.run(Why::Login).unwrap();
    assert_eq!(claims(&world, 1)["nonce"], "next", "a later flow begins with it");
    assert_eq!(world.nonces.of(SERVER), None, "an origin has its own nonces");
}

#[test]
fn oa_95_a_clock_that_is_off_is_set_once() {
    let refused = |ahead: i64| {
        let date = Some(UnixTime(NOW.0.saturating_add_signed(ahead)));
        let mut world = proving(Dpop::Auto).on(TOKEN, Answer { date, ..error("invalid_dpop_proof") });
        let failure = world.run(Why::Login).unwrap_err();
        assert!(
            matches!(&failure.kind, AuthErrorKind::Refused(words) if words.error == "invalid_dpop_proof")
        );
        world
    };
    for ahead in [31, -31, 86_400] {
        let world = refused(ahead);
        assert_eq!(world.count(TOKEN), 2, "{ahead}");
        assert_eq!(claims(&world, 1)["iat"], json!(NOW.0.saturating_add_signed(ahead)));
    }
    for ahead in [0, 30, -30] {
        assert_eq!(refused(ahead).count(TOKEN), 1, "{ahead}");
    }
}
