//! Unit tests of `oauth::account`: what the MCP server's refusals do to the proofs that go with bound tokens.

use super::*;
use crate::http_client::EngineConfig;
use crate::oauth::OAuth;
use crate::protocol::oauth::base64;
use crate::protocol::oauth::stored::Tokens;
use crate::protocol::oauth::stored::tests::{bare, tokens};
use crate::protocol::www_authenticate;
use serde_json::Value;
use std::time::SystemTime;

const URL: &str = "http://127.0.0.1:1/mcp";

/// With a token that is bound to a key, and that nobody can refresh.
fn account() -> (OAuth, Arc<Account>) {
    let oauth = OAuth::builder().build();
    let account = oauth.account(URL);
    let stored = Stored {
        tokens: Some(Tokens { scheme: Scheme::Dpop, ..tokens(unix_now(), None) }),
        proof_key: Some(key::new_proof_key().unwrap()),
        ..bare()
    };
    account.tokens.install(Some(stored), false);
    (oauth, account)
}

fn sent(account: &Account) -> Credentials {
    let state = account.tokens.state.lock();
    account.present(&state).unwrap()
}

fn refused(account: &Account, error: &'static str, rounds: &mut Rounds) -> Result<(), AuthError> {
    let challenge = format!("DPoP error=\"{error}\"");
    let challenges = www_authenticate::challenges(&challenge);
    let connect = EngineConfig::default;
    pollster::block_on(account.refused(&sent(account), &challenges, rounds, false, &connect, &|_| ()))
        .map(drop)
}

/// By how many seconds a proof's time is ahead of ours, and its nonce.
fn proof(account: &Account) -> (i64, Option<String>) {
    let proof = account.proof(&sent(account), "POST", URL).unwrap().unwrap();
    let claims = proof.to_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&base64::decode(claims).unwrap()).unwrap();
    let ahead = claims["iat"].as_i64().unwrap() - i64::try_from(unix_now().0).unwrap();
    (ahead, claims["nonce"].as_str().map(str::to_owned))
}

fn answer(ahead: i64) -> HeaderMap {
    let shift = Duration::from_secs(ahead.unsigned_abs());
    let now = SystemTime::now();
    let date = if ahead < 0 { now - shift } else { now + shift };
    let date = httpdate::fmt_http_date(date).try_into().unwrap();
    [(http::header::DATE, date)].into_iter().collect()
}

fn is_about(seconds: i64, expected: i64) -> bool {
    (seconds - expected).abs() <= 5
}

#[test]
fn oa_95_a_proof_has_the_servers_time_when_ours_was_refused_once() {
    for (ahead, is_adjusted) in [(3600, true), (-3600, true), (40, true), (20, false), (-20, false)] {
        let (_oauth, account) = account();
        account.heard(URL, &answer(ahead));
        assert!(is_about(proof(&account).0, 0), "nobody has said that it is wrong");
        let mut rounds = Rounds::default();
        assert_eq!(refused(&account, "invalid_dpop_proof", &mut rounds).is_ok(), is_adjusted, "{ahead}");
        assert!(is_about(proof(&account).0, if is_adjusted { ahead } else { 0 }), "{ahead}");
        assert_eq!(rounds.count, u32::from(!is_adjusted), "it is no round");
        assert!(refused(&account, "invalid_dpop_proof", &mut rounds).is_err(), "it is not the time");
        // A request that was on its way before is refused for the same reason.
        assert_eq!(refused(&account, "invalid_dpop_proof", &mut Rounds::default()).is_ok(), is_adjusted);
        // Our clock was set right.
        account.heard(URL, &answer(0));
        assert_eq!(refused(&account, "invalid_dpop_proof", &mut Rounds::default()).is_ok(), is_adjusted);
        assert!(is_about(proof(&account).0, 0));
    }
}

#[test]
fn oa_93_a_second_nonce_for_one_request_is_final() {
    let (_oauth, account) = account();
    let mut headers = HeaderMap::new();
    headers.insert("dpop-nonce", HeaderValue::from_static("nonce-1"));
    account.heard(URL, &headers);
    let mut rounds = Rounds::default();
    refused(&account, "use_dpop_nonce", &mut rounds).unwrap();
    assert_eq!(proof(&account).1.as_deref(), Some("nonce-1"));
    assert_eq!(rounds.count, 0, "it is no round");
    let error = refused(&account, "use_dpop_nonce", &mut rounds).unwrap_err();
    assert!(matches!(error.kind(), AuthErrorKind::TokenRejected { .. }), "{error}");
    assert_eq!(rounds.count, 0, "nothing was tried");
    refused(&account, "use_dpop_nonce", &mut Rounds::default()).unwrap();
}
