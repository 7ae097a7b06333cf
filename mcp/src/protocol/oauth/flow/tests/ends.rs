//! Property tests of flows: whatever servers and people do, a flow ends, and no text of it has a secret.

use super::*;
use crate::protocol::oauth::config::IdentityProvider;
use proptest::prelude::*;

/// The secrets that a server may repeat, wherever it likes.
const SECRETS: [&str; 7] = [
    "access-s3cret-0",
    "refresh-s3cret-0",
    "stored-s3cret",
    "client-s3cret",
    "code-s3cret",
    "subject-s3cret",
    "idp-s3cret",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(ISSUER.to_owned()),
        Just(SERVER.to_owned()),
        Just(TOKEN.to_owned()),
        Just("https://as.example/authorize".to_owned()),
        Just("https://other.example/t".to_owned()),
        Just("S256".to_owned()),
        Just("ES256".to_owned()),
        Just("DPoP".to_owned()),
        Just("Bearer".to_owned()),
        Just("invalid_grant".to_owned()),
        Just("invalid_client".to_owned()),
        Just("use_dpop_nonce".to_owned()),
        Just("invalid_dpop_proof".to_owned()),
        Just("invalid_redirect_uri".to_owned()),
        Just("client_secret_post".to_owned()),
        Just("urn:ietf:params:oauth:token-type:id-jag".to_owned()),
        Just("offline_access".to_owned()),
        proptest::sample::select(&SECRETS[..]).prop_map(|secret| format!("you sent {secret}!")),
        ".{0,12}",
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let member = proptest::sample::select(
        &[
            "resource",
            "authorization_servers",
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "registration_endpoint",
            "code_challenge_methods_supported",
            "token_endpoint_auth_methods_supported",
            "dpop_signing_alg_values_supported",
            "client_id",
            "client_secret",
            "token_endpoint_auth_method",
            "access_token",
            "token_type",
            "refresh_token",
            "scope",
            "expires_in",
            "error",
            "error_description",
            "error_uri",
            "issued_token_type",
            "scopes_supported",
        ][..],
    );
    let value = prop_oneof![
        4 => word().prop_map(Value::String),
        2 => proptest::collection::vec(word(), 0..6).prop_map(|words| json!(words)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => Just(Value::Null),
    ];
    proptest::collection::vec((member, value), 0..8)
        .prop_map(|members| members.into_iter().map(|(member, value)| (member.to_owned(), value)).collect())
}

/// Good answers, with something else in them or without something.
fn answer() -> impl Strategy<Value = Result<Answer, Unreachable>> {
    let good = prop_oneof![
        2 => Just(prm(&json!({}))),
        4 => Just(metadata(&json!({ "dpop_signing_alg_values_supported": ["ES256"] }))),
        2 => Just(metadata(&json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] }))),
        2 => Just(token(&json!({}))),
        2 => Just(json(&json!({ "client_id": "id", "client_secret": "client-s3cret" }))),
        2 => Just(json(&json!({ "access_token": "jag", "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag" }))),
        2 => document().prop_map(|document| json(&document)),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(|body| Answer { body, ..status(200) }),
    ];
    let status = prop_oneof![4 => Just(200u16), 1 => Just(201), 2 => Just(400), 1 => Just(401), 1 => Just(404), 1 => Just(302), 1 => Just(503), 1 => any::<u16>()];
    let nonce = proptest::option::of(".{0,6}");
    let location = proptest::option::of(prop_oneof![Just("/x".to_owned()), word()]);
    let extra = proptest::option::weighted(0.3, document());
    let date = proptest::option::of(prop_oneof![Just(NOW.0), any::<u64>()].prop_map(UnixTime));
    prop_oneof![
        12 => (good, status, nonce, location, extra, date).prop_map(|(answer, status, dpop_nonce, location, extra, date)| {
            let body = match (serde_json::from_slice(&answer.body), extra) {
                (Ok(body @ Value::Object(_)), Some(extra)) => merged(body, &extra).to_string().into_bytes(),
                _ => answer.body.clone(),
            };
            Ok(Answer { status, dpop_nonce, location, date, body, ..answer })
        }),
        1 => any::<bool>().prop_map(|sent| Err(Unreachable { sent, ..down() })),
    ]
}

/// An answer that the step can use, or one of the usual errors.
fn fitting(step: AuthStep, choice: u8) -> Answer {
    let bound = json!({ "dpop_signing_alg_values_supported": ["ES256"] });
    match (step, choice % 8) {
        (AuthStep::Resource, _) => prm(&json!({})),
        (AuthStep::Server, _) => metadata(&bound),
        (AuthStep::Registration, 0) => error("invalid_redirect_uri"),
        (AuthStep::Registration, _) => json(&json!({ "client_id": "id", "client_secret": "client-s3cret" })),
        (AuthStep::Identity, _) => json(
            &json!({ "access_token": "jag", "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag" }),
        ),
        (_, 0) => Answer { dpop_nonce: Some("nonce".to_owned()), ..error("use_dpop_nonce") },
        (_, 1) => Answer { date: Some(UnixTime(1)), ..error("invalid_dpop_proof") },
        (_, 2 | 3) => error("invalid_client"),
        (_, 4) => status(404),
        (_, _) => token(&json!({ "token_type": "DPoP" })),
    }
}

fn grant() -> impl Strategy<Value = GrantKind> {
    let provider = IdentityProvider {
        token_endpoint: "https://idp.example/token".to_owned(),
        client_id: "id".to_owned(),
        client_secret: Some(Secret::new("idp-s3cret")),
    };
    prop_oneof![
        4 => Just(GrantKind::AuthorizationCode),
        1 => Just(GrantKind::ClientCredentials),
        1 => Just(GrantKind::IdentityAssertion(provider)),
        1 => Just(GrantKind::JwtBearer),
    ]
}

fn why() -> impl Strategy<Value = Why> {
    prop_oneof![
        Just(unauthorized("a")),
        Just(step_up("b")),
        Just(Why::Login),
        Just(Why::Refresh),
        Just(Why::Logout),
        word()
            .prop_map(|url| Why::Unauthorized(Demand { resource_metadata: Some(url), ..Demand::default() })),
    ]
}

/// What a person comes back with; `{}` is the state.
fn redirect() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just("code=code-s3cret&state={}".to_owned()),
        1 => Just("code=code-s3cret&state={}&iss=https%3A%2F%2Fas.example".to_owned()),
        1 => Just("code=code-s3cret&error={}&error_description=code-s3cret%20{}&state={}".to_owned()),
        1 => Just("iss={}&state={}".to_owned()),
        1 => ".{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_flow_ends_and_shows_nothing(
        // Most of the time an answer fits, or the flow would not come far.
        answers in proptest::collection::vec((proptest::option::weighted(0.15, answer()), any::<u8>()), 1..20),
        redirects in proptest::collection::vec(redirect(), 1..3),
        (grant, why, knows, has_client, dpop, switches) in (grant(), why(), any::<bool>(), any::<bool>(), 0..3usize, any::<[bool; 4]>()),
    ) {
        let mut world = World::empty();
        world.config.grant = grant;
        world.config.client = has_client.then(|| configured("mine"));
        world.config.dpop = [Dpop::Off, Dpop::Auto, Dpop::Required][dpop];
        let [guess, pkce, insecure, issuer] = switches;
        world.config.guess_endpoints = guess;
        world.config.assume_pkce = pkce;
        world.config.insecure_http = insecure;
        world.config.allow_missing_issuer = issuer;
        world.known.stored = knows.then(stored);
        world.known.proof_key = Some(ProofKey { pkcs8: Secret::new("new-s3cret"), x: [1; 32], y: [2; 32] });
        let mut flow = world.begin(why);
        // The secrets that the flow knows by now.
        let mut known = Vec::new();
        if knows {
            known.extend(["access-s3cret-0", "refresh-s3cret-0", "stored-s3cret"]);
        }
        if has_client {
            known.push("client-s3cret");
        }
        if matches!(world.config.grant, GrantKind::IdentityAssertion(_)) {
            known.push("idp-s3cret");
        }
        let (mut fetches, mut visits, mut steps, mut states) = (0, 0, 0, Vec::new());
        loop {
            steps += 1;
            prop_assert!(steps <= 70, "the flow does not end");
            let step = flow.step(NOW);
            let mut shown = format!("{step:?} {flow:?} {:?}", flow.step(NOW));
            let mut is_over = false;
            match step {
                Step::Fetch(fetch) => {
                    fetches += 1;
                    let (answer, choice) = answers[(fetches - 1) % answers.len()].clone();
                    match answer.unwrap_or_else(|| Ok(fitting(fetch.step, choice))) {
                        Ok(answer) => flow.answered(answer),
                        Err(why) => flow.unreachable(why),
                    }
                }
                Step::Sign(_) => flow.signed(b"signature"),
                Step::Receiver { refused: false } => flow.receiver(CALLBACK),
                Step::Receiver { refused: true } => flow.receiver("http://localhost:1/callback"),
                Step::Visit { url } => {
                    visits += 1;
                    let state = value(&form::decode(url.expose().split_once('?').unwrap().1), "state").unwrap();
                    let back = redirects[(visits - 1) % redirects.len()].replace("{}", &state);
                    states.push(state);
                    if back.contains("code=") {
                        known.push("code-s3cret");
                    }
                    flow.redirected(Secret::new(format!("{CALLBACK}?{back}")));
                }
                Step::Subject { .. } => {
                    known.push("subject-s3cret");
                    flow.subject(Secret::new("subject-s3cret"));
                }
                Step::Done(stored) => {
                    prop_assert_eq!(Stored::from_text(&stored.to_text()), Ok(*stored));
                    is_over = true;
                }
                Step::Failed(failure) => {
                    shown += &format!("{} {} {:?}", failure.kind, failure.step, failure);
                    is_over = true;
                }
            }
            prop_assert!(!known.iter().any(|secret| shown.contains(*secret)), "{shown}");
            prop_assert!(!states.iter().any(|state| shown.contains(state)), "{shown}");
            if is_over {
                break;
            }
        }
        prop_assert!(fetches <= 16 && visits <= 2, "{fetches} {visits}");
    }
}
